"""From one purchase to the next: who buys again, and after how many days.

Stage visits merge the purchases of one visit, so this looks at the purchases themselves. It is all
that a log of orders alone can say of a journey, and no less worth knowing of any other.
"""

import datetime as dt
from collections.abc import Sequence

import ibis
import ibis.expr.types as ir
import pandas as pd

DAY = 86_400
FIRST, LATER, ANY = "the first purchase", "a later purchase", "any purchase"
WITHOUT = ", nothing bought"  # of a visit to a purchase stage
AGAIN, OPEN = "purchase", "open"


def next_purchase_counts(events: ir.Table, as_of: pd.Timestamp) -> ir.Table:
    """Count purchases by the days to the customer's next one, on the engine.

    Parameters
    ----------
    events : Table
        ``customer_id, bucket, timestamp, purchase``.
    as_of : Timestamp
        Where those who have not bought again yet are censored.

    Returns
    -------
    Table
        ``bucket, stage`` (which purchase it follows), ``exit`` (``purchase``, or ``open`` when
        censored), ``days, n``: what ``survival`` of :mod:`cjlib.markov.dwell` reads. Purchases of
        one day are one.
    """
    bought = events.filter(events.purchase)
    days = bought.select("customer_id", "bucket", day=bought.timestamp.truncate("D")).distinct()
    in_order = ibis.window(group_by="customer_id", order_by="day")
    days = days.mutate(
        following=days.day.lead().over(in_order), place=ibis.row_number().over(in_order)
    )
    until = ibis.coalesce(days.following, ibis.timestamp(as_of))
    passed = (until.epoch_seconds() - days.day.epoch_seconds()) / DAY
    timed = days.select(
        "bucket",
        stage=(days.place == 0).ifelse(FIRST, LATER),
        exit=days.following.notnull().ifelse(AGAIN, OPEN),
        days=passed.floor().cast("float64"),
    )
    return timed.group_by(["bucket", "stage", "exit", "days"]).agg(n=timed.count())


def repeat_counts(
    events: ir.Table, as_of: pd.Timestamp, inactivity: dt.timedelta, by: Sequence[str]
) -> ir.Table:
    """Count the purchases followed by another within the same visit, as moves of a stage to itself.

    Purchases of one day are one: the lines of a basket do not follow each other.

    Parameters
    ----------
    events : Table
        Of a log, with any columns of ``by``.
    as_of : Timestamp
    inactivity : timedelta
        Purchases later than this before ``as_of`` are left out, as unsettled visits are: of them
        the repeats are seen at once and the losses not yet.
    by : sequence of str

    Returns
    -------
    Table
        ``[*by, from_stage, to_stage, n, customers, days]`` (days: sum), rows to add to those of
        ``transition_counts`` and ``move_days``.
    """
    bought = events.filter(events.purchase)
    bought = bought.mutate(day=bought.timestamp.truncate("D"))
    days = ["customer_id", "journey", "visit", "stage", "day"]
    bought = bought.group_by(list(dict.fromkeys([*by, *days]))).agg(
        timestamp=bought.timestamp.min()
    )
    in_visit = ibis.window(group_by=["customer_id", "journey", "visit"], order_by="timestamp")
    following = bought.timestamp.lead().over(in_visit)
    passed = (following.epoch_seconds() - bought.timestamp.epoch_seconds()) / DAY
    pairs = bought.select(
        *by, "customer_id", "timestamp", from_stage="stage", to_stage="stage", passed=passed
    )
    settled = pairs.timestamp < ibis.timestamp(pd.Timestamp(as_of) - pd.Timedelta(inactivity))
    pairs = pairs.filter(pairs.passed.notnull() & settled)
    return pairs.group_by([*by, "from_stage", "to_stage"]).agg(
        n=pairs.count(), customers=pairs.customer_id.nunique(), days=pairs.passed.sum()
    )


def purchases_apart(visits: ir.Table) -> ir.Table:
    """Tell the visits of a purchase stage in which something was bought from the others.

    An approval or an invoice is in the purchase stage too; a customer who comes back to it has not
    bought again.

    Parameters
    ----------
    visits : Table
        Stage visits of a log.

    Returns
    -------
    Table
        The same; visits of a purchase stage without a purchase have a ``stage`` of their own, also
        as ``next_stage``.
    """
    idle = (visits.role == "purchase") & (visits.purchases == 0)
    named = visits.mutate(stage=idle.ifelse(visits.stage + WITHOUT, visits.stage))
    in_order = ibis.window(group_by=["customer_id", "journey"], order_by="visit")
    following = named.stage.lead().over(in_order)
    return named.mutate(next_stage=ibis.coalesce(following, named.next_stage))


def kinds(gaps: pd.DataFrame) -> list[str]:
    """Return the kinds of purchase that were seen, the first before the later."""
    return [kind for kind in (FIRST, LATER) if (gaps["stage"] == kind).any()]


def share_within(curve: pd.DataFrame, days: float) -> tuple[float, float, float]:
    """Return who has bought again within so many days: share, lower, upper.

    Parameters
    ----------
    curve : DataFrame
        Of ``survival``.
    days : float

    Returns
    -------
    tuple of float
        NaN when the log is too young to have seen so many days.
    """
    if not len(curve) or curve["days"].max() < days:
        return float("nan"), float("nan"), float("nan")
    before = curve[curve["days"] <= days]
    if before.empty:
        return 0.0, 0.0, 0.0
    last = before.iloc[-1]
    return 1 - last["survival"], 1 - last["upper"], 1 - last["lower"]
