"""What each customer will do next: the likeliest next stage, given the stage and the silence.

A customer silent for two thirds of the time after which a journey counts as lost is not where one
seen this morning is. So the next stage is learned from earlier events of the same stage that were
followed by at least as long a silence.
"""

import datetime as dt

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from cjlib.errors import Unanswerable
from cjlib.journeys import BOUGHT, DAY, LOST
from cjlib.stages import StageModel

SILENCE_BANDS = 12
"""Into how many equal bands the silence up to the inactivity is divided, here and in the forecast.

Most moves of a stage come within its first days, so a band of a week (what the forecast once had)
takes who has been silent for six days for one seen today. On five logs, scored one inactivity
before their end, twelve bands foresaw the next stage much better than weekly ones where the
inactivity is two or three weeks (log-loss 0.96 against 1.19, 0.56 against 0.67), and as well where
it is two to six months (0.05, 0.67 and 0.63 both); more bands gained nothing. Forecasts of the
weeks ahead erred as little with them, or less.
"""
CAUTION = 10.0  # how many events of the band before stand in for a band's own
KEYS = ["stage", "band"]


def silence_band(seconds: ir.Value, inactivity: dt.timedelta) -> ir.Value:
    """Return the band of a silence, 0 to 11; 12 and more beyond the inactivity."""
    return (seconds * SILENCE_BANDS / inactivity.total_seconds()).floor().cast("int64")


def next_stages(log) -> pd.DataFrame:
    """Say for every customer with an open journey what comes next.

    Parameters
    ----------
    log : Log

    Returns
    -------
    DataFrame
        The published table ``next_stage``: customer_id, stage (where the customer is), next_stage
        (the likeliest; among them the declared endings and silence, ``lost`` before a purchase of
        the journey and ``bought`` after one; the same stage: another purchase), probability,
        expected_days until it, given that it comes, lost_probability (of silence) and silent_days;
        by customer, and journey where a customer has several under way.

    Raises
    ------
    Unanswerable
        Where no journey is open.
    """
    inactivity = log.dataset.journey.inactivity
    open_now = log.journeys.filter(log.journeys.end == "open")
    here = open_now.select(
        "customer_id",
        "journey",
        stage=open_now.last_stage,
        ended=open_now.ended,
        bought=open_now.purchases > 0,
    )
    here = here.order_by("customer_id", "journey").to_pandas()
    if here.empty:
        raise Unanswerable("no journey is under way at the moment of the report")
    here["silent_days"] = (log.as_of - here.pop("ended")) / pd.Timedelta(days=1)
    width = inactivity / pd.Timedelta(days=1) / SILENCE_BANDS
    here["band"] = (here["silent_days"] // width).clip(0, SILENCE_BANDS - 1).astype(int)
    chances = after_silence(silence_counts(log), inactivity)
    lost = chances[chances["next_stage"] == LOST].rename(
        columns={"probability": "lost_probability"}
    )
    best = chances.sort_values("probability", ascending=False, kind="stable").drop_duplicates(KEYS)
    best = best.merge(lost[[*KEYS, "lost_probability"]], on=KEYS, how="left")
    best = best.fillna({"lost_probability": 0.0})
    columns = ["customer_id", "stage", "next_stage", "probability", "expected_days"]
    found = here.merge(best, on=KEYS)
    silence = (found["next_stage"] == LOST) & found["bought"]
    found["next_stage"] = found["next_stage"].mask(silence, BOUGHT)
    return found[[*columns, "lost_probability", "silent_days"]]


def likeliest_next(nexts: pd.DataFrame, stages: StageModel) -> pd.DataFrame:
    """Sum up what comes next, without showing a single customer.

    Parameters
    ----------
    nexts : DataFrame
        Of `next_stages`.
    stages : StageModel

    Returns
    -------
    DataFrame
        stage, next_stage (``again``: another purchase in the same stage; ``end``: silence after a
        purchase), customers, probability, expected_days (means), largest first.
    """
    following = nexts["next_stage"].mask(nexts["next_stage"] == nexts["stage"], "again")
    over = (following == BOUGHT) | ((following == LOST) & ~nexts["stage"].isin(stages.before))
    table = nexts.assign(next_stage=following.mask(over, "end"), customers=1)
    figures = {"customers": "sum", "probability": "mean", "expected_days": "mean"}
    table = table.groupby(["stage", "next_stage"], as_index=False).agg(figures)
    return table.sort_values("customers", ascending=False, kind="stable", ignore_index=True)


def silence_counts(log) -> pd.DataFrame:
    """Count what followed an event's silence.

    A further purchase within the visit is something that follows, too: a customer who buys again
    is not lost. Only events at least the inactivity before ``as_of`` count: their silence is known.

    Parameters
    ----------
    log : Log

    Returns
    -------
    DataFrame
        stage, band (of the silence that followed the event), next_stage (a stage, a declared ending
        or ``lost``, whether or not a purchase came before; the stage itself when the next thing is
        a purchase in it), n, days (sum from the event until
        then).
    """
    events, visits, inactivity = log.events, log.visits, log.dataset.journey.inactivity
    patience = int(inactivity.total_seconds())
    visit = ["customer_id", "journey", "visit"]
    order = ["timestamp", "line"]
    in_order = ibis.window(group_by="customer_id", order_by=order)
    later_in_visit = ibis.window(group_by=visit, order_by=order, following=(1, None))
    at = events.timestamp.epoch_seconds()
    bought = events.purchase.ifelse(at, ibis.null("int64"))
    placed = events.select(
        *visit,
        "timestamp",
        "stage",
        at=at,
        silence=ibis.least(ibis.coalesce(at.lead().over(in_order) - at, patience), patience),
        again=bought.min().over(later_in_visit),
        ends=events.ending.notnull(),
    )
    known_by = ibis.timestamp(log.as_of - inactivity)
    placed = placed.filter((placed.timestamp <= known_by) & ~placed.ends)
    ends = visits.select(*visit, "next_stage", left=visits.left.epoch_seconds())
    known = placed.join(ends, visit)
    known = known.mutate(
        next_stage=known.again.notnull().ifelse(
            known.stage, (known.next_stage == BOUGHT).ifelse(LOST, known.next_stage)
        ),
        until=ibis.coalesce(known.again, known.left),
        band=silence_band(known.silence, inactivity),
    )
    known = known.filter(known.next_stage.notnull())
    counts = known.group_by([*KEYS, "next_stage"]).agg(
        n=known.count(), days=((known.until - known.at) / DAY).sum()
    )
    return counts.to_pandas()


def after_silence(counts: pd.DataFrame, inactivity: dt.timedelta) -> pd.DataFrame:
    """Turn counts by silence into what comes next after *at least* that silence.

    Parameters
    ----------
    counts : DataFrame
        Of `silence_counts`.
    inactivity : timedelta

    Returns
    -------
    DataFrame
        stage, band, next_stage, probability, expected_days; probabilities add up to 1 in each stage
        and band. Thin bands lean on the band before.
    """
    width = inactivity / pd.Timedelta(days=1) / SILENCE_BANDS
    bands, parts = np.arange(SILENCE_BANDS), []
    for stage, part in counts.astype({"n": float}).groupby("stage", sort=True):
        sums = part.pivot_table(["n", "days"], "band", "next_stage", "sum", fill_value=0.0)
        sums = sums.reindex(range(SILENCE_BANDS + 1), fill_value=0.0)[::-1].cumsum()[::-1]
        n, days = sums["n"].to_numpy(), sums["days"].to_numpy()
        share, remaining = n[0] / n[0].sum(), days[0] / n[0]
        for band in bands:
            share = (n[band] + CAUTION * share) / (n[band].sum() + CAUTION)
            seen = days[band] / np.maximum(n[band], 1) - band * width
            remaining = np.where(n[band] > 0, seen, remaining)
            found = {"next_stage": sums["n"].columns, "probability": share}
            found["expected_days"] = np.maximum(remaining, 0)
            parts.append(pd.DataFrame({"stage": stage, "band": band} | found))
    if not parts:
        raise Unanswerable("no event is old enough to know what followed its silence")
    return pd.concat(parts, ignore_index=True)
