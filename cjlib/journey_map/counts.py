"""What the journey map counts, on the engine, by bucket of customers and segment."""

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa

from cjlib.journeys import LOST
from cjlib.log import Log
from cjlib.uncertainty import Difference, Interval, bucket_array

VISIT = ["customer_id", "journey", "visit"]
OUTCOMES = ("closed", "advanced", "lost", "over", "followed", "bought")


def with_segments(table: ibis.Table, segments: pd.DataFrame | None = None) -> ibis.Table:
    """Return a table of the log with the ``segment`` of each row's customer.

    Parameters
    ----------
    table : Table
        With ``customer_id``.
    segments : DataFrame, optional
        ``customer_id`` and ``segment``, a row per customer; who is not in it is left out. By
        default everybody is in the segment ``all``.
    """
    if segments is None:
        return table.mutate(segment=ibis.literal("all"))
    names = ("customer_id", "segment")
    columns = {name: pa.array(segments[name].astype(str), pa.string()) for name in names}
    return table.inner_join(ibis.memtable(pa.table(columns)), "customer_id")


def customers_by(table: ibis.Table, *cells: str) -> pd.DataFrame:
    """Count the ``customers`` of a table by bucket and further columns."""
    counted = table.group_by(["bucket", *cells]).agg(customers=table.customer_id.nunique())
    return counted.order_by("bucket", *cells).to_pandas()


def visit_facts(log: Log) -> ibis.Table:
    """Return the visits with where they led and whether a purchase followed (ints, to add up).

    ``advanced``: the next stage is a later one or, after the purchase, the purchase again.
    ``followed``: the churn horizon from the visit's start is over; ``bought``: and the customer
    has bought within it.
    """
    events = _with_steps(log.events)
    bought = (
        events.filter(events.purchase)
        .group_by(VISIT)
        .agg(purchased=events.timestamp.min(), purchase_step=events.step.min())
    )
    visits = log.visits.left_join(bought, VISIT).drop([f"{name}_right" for name in VISIT])
    onward = ibis.window(
        rows=(0, None), group_by="customer_id", order_by=[visits.journey, visits.visit]
    )
    until = visits.started + ibis.interval(seconds=int(log.dataset.churn.horizon.total_seconds()))
    next_position = visits.next_stage.cases(*log.stages.positions.items(), else_=-1)
    buys_again = (visits.role == "after") & visits.next_stage.isin(log.stages.purchase)
    advanced = (next_position > visits.position) | buys_again
    followed = until <= ibis.timestamp(str(log.as_of))
    return visits.mutate(
        closed=as_int(visits.settled),
        advanced=as_int(visits.settled & advanced),
        lost=as_int(visits.next_stage == LOST),
        over=as_int(visits.settled & visits["last"] & (visits.next_stage != LOST)),
        followed=as_int(followed),
        bought=as_int(followed & (visits.purchased.min().over(onward) <= until)),
    )


def _with_steps(events: ibis.Table) -> ibis.Table:
    """Return the events numbered within their visit."""
    order = ibis.window(group_by=VISIT, order_by=[events.timestamp, events.line])
    return events.mutate(step=ibis.row_number().over(order))


def visits_by_stage(visits: ibis.Table) -> pd.DataFrame:
    """Count customers, journeys and visits by bucket and stage."""
    journeys = visits.group_by(["bucket", "stage", "customer_id", "journey"]).agg(
        visits=visits.count(), **{name: visits[name].sum() for name in OUTCOMES}
    )
    counted = journeys.group_by(["bucket", "stage"]).agg(
        customers=journeys.customer_id.nunique(),
        journeys=journeys.count(),
        **{name: journeys[name].sum() for name in ("visits", *OUTCOMES)},
    )
    return counted.to_pandas()


def touch_facts(log: Log) -> ibis.Table:
    """Return each visit's touchpoints, with the ``step`` of the first event of each."""
    events = _with_steps(log.events)
    return events.group_by([*VISIT, "touchpoint"]).agg(step=events.step.min())


def as_int(condition: ibis.expr.types.BooleanValue) -> ibis.expr.types.IntegerValue:
    """Turn a condition into 0 or 1, unknown into 0."""
    return condition.fill_null(False).cast("int64")


def events_by(events: ibis.Table, *cells: str) -> pd.DataFrame:
    """Count events by bucket and further columns: ``n``, ``customers`` and feelings.

    ``felt`` are the events with a feeling, ``feeling`` is its sum, ``negative`` those below 0.
    """
    counted = events.group_by(["bucket", *cells]).agg(
        n=events.count(),
        customers=events.customer_id.nunique(),
        felt=events.sentiment.count(),
        feeling=events.sentiment.sum(),
        negative=as_int(events.sentiment < 0).sum(),
    )
    return counted.to_pandas()


def bucket_counts(
    frame: pd.DataFrame, cells: list[str], buckets: np.ndarray, levels: dict
) -> dict[str, np.ndarray]:
    """Return each counted (numeric) column of a GROUP BY bucket as an array (B, *cells)."""
    cell_names = {"bucket", *cells}
    names = [name for name in frame.select_dtypes("number").columns if name not in cell_names]
    levels = {cell: levels[cell] for cell in cells}
    array = bucket_array(frame, cells, names, buckets=buckets, levels=levels)
    return {name: array[..., i] for i, name in enumerate(names)}


def total(counts: np.ndarray) -> np.ndarray:
    """Return whole counts of all buckets together, cells in one row."""
    return counts.sum(axis=0).ravel().astype(int)


def put(table: pd.DataFrame, name: str, found: Interval | Difference) -> None:
    """Add a figure with its limits, ``{name}_lower`` and ``{name}_upper``, to a table."""
    table[name] = found.effect if isinstance(found, Difference) else found.estimate
    table[f"{name}_lower"], table[f"{name}_upper"] = found.lower, found.upper
