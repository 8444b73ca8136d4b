"""The stages of the journey: how many pass each, how long they stay, where they go next."""

import ibis
import ibis.expr.types as ir
import pandas as pd

from cjlib.journey_map.counts import (
    bucket_counts,
    customers_by,
    events_by,
    put,
    total,
    visit_facts,
    visits_by_stage,
)
from cjlib.journeys import DAY
from cjlib.log import Log
from cjlib.uncertainty import proportion, ratio


def stage_table(log: Log) -> pd.DataFrame:
    """Return how many pass each stage, how long they stay, how they feel and where they go next.

    Parameters
    ----------
    log : Log

    Returns
    -------
    DataFrame
        One row per stage of the model in its order, the published table ``stages``: ``stage``,
        ``position``, ``role``, ``events``, ``customers``, ``journeys``, ``visits``, ``closed``
        (visits whose end was seen), ``median_days`` (from the start of a closed visit to the next
        stage or, for a lost one, to the end of the silence that made it so), ``median_days_onward``
        (of the visits that led to another stage alone), and with 95 % intervals (``_lower``,
        ``_upper``): ``reach`` (share of all customers), ``sentiment`` (mean of the events that have
        one, -1 to 1), ``advance_rate`` (share of the closed visits whose next stage lies later in
        the model or, from a stage after the purchase, carries the purchase: who buys again has come
        on, not gone back), ``drop_off_rate`` (share of the closed visits after which the journey
        was lost) and ``ended_rate`` (after which it ended otherwise: in silence after a purchase,
        or as declared); ``negative_share`` of the events with a feeling. Rates are NaN where a
        stage has no such visits.

    Notes
    -----
    Open visits, whose end has not been seen, and those so young that only an early end could have
    been (not settled), count in no rate.
    """
    names = log.stages.names
    customers = customers_by(log.journeys)
    visits = visit_facts(log)
    dwell = (visits.left.epoch_seconds() - visits.started.epoch_seconds()) / DAY
    days = visits.group_by("stage").agg(
        median_days=_among(dwell, visits.settled).median(),
        median_days_onward=_among(dwell, visits.settled & ~visits["last"]).median(),
    )
    counts, felt = (
        bucket_counts(counted, ["stage"], customers["bucket"], {"stage": names})
        for counted in (visits_by_stage(visits), events_by(log.events, "stage"))
    )
    table = pd.DataFrame({"stage": names, "position": range(len(names))})
    table["role"] = table["stage"].map(log.stages.roles)
    table["events"] = total(felt["n"])
    for name in ("customers", "journeys", "visits", "closed"):
        table[name] = total(counts[name])
    table = table.merge(days.to_pandas(), on="stage", how="left")
    put(table, "reach", proportion(counts["customers"], customers[["customers"]], alike=1.0))
    put(table, "sentiment", ratio(felt["feeling"], felt["felt"], scale=(-1, 1)))
    table["negative_share"] = proportion(felt["negative"], felt["felt"]).estimate
    put(table, "advance_rate", proportion(counts["advanced"], counts["closed"]))
    put(table, "drop_off_rate", proportion(counts["lost"], counts["closed"]))
    put(table, "ended_rate", proportion(counts["over"], counts["closed"]))
    return table


def _among(value: ir.NumericValue, which: ir.BooleanValue) -> ir.NumericValue:
    """Return a value where a condition holds: Spark's quantiles take no condition of their own."""
    return which.ifelse(value, ibis.null("float64"))
