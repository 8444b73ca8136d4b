"""What an event log holds: how much, when, of what, by whom, and with which silences between."""

import datetime as dt
from dataclasses import dataclass

import ibis
import numpy as np
import pandas as pd

from cjlib.log import Log
from cjlib.uncertainty import Interval, bucket_array, proportion

DAY = 86_400
"""Seconds."""

BEFORE = 13
"""Periods, a quarter of a year in weeks, that an end is held against."""

THIN = 0.2
"""Share of the usual number of events below which a period counts as hardly recorded."""

LEAST = 30
"""Events that a thin end should have held, below which its lack may be chance."""

SIDE = 8
"""Periods on either side of a change of level."""

MATTERS = 0.1
"""Share by which another inactivity must change the number of journeys to matter."""

JUMP = 1.5
"""Least factor, up or down, of a change of level that gets a name."""


@dataclass(frozen=True)
class Change:
    """Where the events of a log change their number.

    Attributes
    ----------
    begins : Timestamp
        The first period with the new level.
    periods : int
        How many of them the new level was seen in.
    usual, then : float
        The median number of events in a period before it and since.
    """

    begins: pd.Timestamp
    periods: int
    usual: float
    then: float


def activity(log: Log) -> pd.DataFrame:
    """Count events, active customers and purchases by week.

    Weeks begin on Monday. A first or last week that the log covers in part is left out, because
    its low counts would read as a fall; logs of under four weeks are counted by day.

    Returns
    -------
    DataFrame
        period (its first day), events, customers, purchases; periods without events count 0.
    """
    events = log.events
    first, last = (
        events.aggregate(first=events.timestamp.min(), last=events.timestamp.max())
        .execute()
        .iloc[0]
    )
    unit, step = ("W", "W-MON") if last - first >= pd.Timedelta(weeks=4) else ("D", "D")
    counted = events.group_by(period=events.timestamp.truncate(unit)).agg(
        events=events.count(),
        customers=events.customer_id.nunique(),
        purchases=events.purchase.cast("int64").sum(),
    )
    found = counted.execute().set_index("period")
    found.index = pd.to_datetime(found.index).as_unit("us")
    periods = pd.date_range(found.index.min(), found.index.max(), freq=step, unit="us")
    table = found.reindex(periods, fill_value=0).rename_axis("period").reset_index()
    if unit == "W":
        whole = (table["period"] >= first.floor("D")) & (
            table["period"] + pd.Timedelta(weeks=1) <= log.as_of.ceil("D")
        )
        table = table[whole].reset_index(drop=True)
    return table


def thin_end(table: pd.DataFrame) -> Change | None:
    """Find periods at the end in which hardly anything was recorded any more.

    The longest run of last periods of which each holds less than a fifth of the events that were
    usual in up to 13 periods before it, and less than the poorest of these (so that a weekend is
    not taken for an end); at least 30 events must be missing.

    Parameters
    ----------
    table : DataFrame
        Of :func:`activity`.

    Returns
    -------
    Change or None
    """
    events = table["events"].to_numpy()
    for start in range(1, len(events)):
        before, end = events[max(start - BEFORE, 0) : start], events[start:]
        usual = float(np.median(before))
        missing = usual * len(end) - end.sum()
        if end.max() < min(THIN * usual, before.min()) and missing >= LEAST:
            return Change(table["period"].iloc[start], len(end), usual, float(np.median(end)))
    return None


def lasting_jump(table: pd.DataFrame) -> Change | None:
    """Find the sharpest lasting change in the number of events.

    Where all of 8 periods lie above, or all below, the 8 periods before them, and the larger of
    their medians is at least half as much again as the smaller; a single busy or empty period is
    none. A rise that takes some weeks is found as well as one overnight. Of several such places it
    is the one where the nearest periods of both sides lie furthest apart.

    Parameters
    ----------
    table : DataFrame
        Of :func:`activity`, without a thin end.

    Returns
    -------
    Change or None
    """
    events = table["events"].to_numpy()
    widest, found = 1.0, None
    for start in range(SIDE, len(events) - SIDE + 1):
        before, since = events[start - SIDE : start], events[start : start + SIDE]
        low, high = sorted([before, since], key=np.median)
        apart = (high.min() + 1) / (low.max() + 1)  # a level may be 0
        if apart > widest and np.median(high) >= JUMP * np.median(low):
            usual, then = float(np.median(before)), float(np.median(since))
            widest, found = apart, Change(table["period"].iloc[start], SIDE, usual, then)
    return found


def touchpoint_profile(log: Log) -> pd.DataFrame:
    """Count events and customers by touchpoint.

    Returns
    -------
    DataFrame
        stage, role, touchpoint, events, customers, reach (share of all customers); declared
        touchpoints that never occur have 0. In order of the stages, most customers first.
    """
    events = log.events
    counted = events.group_by("stage", "touchpoint").agg(
        events=events.count(), customers=events.customer_id.nunique()
    )
    declared = pd.DataFrame(
        [(touchpoint.stage, name) for name, touchpoint in log.dataset.touchpoints.items()],
        columns=["stage", "touchpoint"],
    )
    table = declared.merge(counted.execute(), how="outer", on=["stage", "touchpoint"])
    table[["events", "customers"]] = table[["events", "customers"]].fillna(0).astype(int)
    table["reach"] = table["customers"] / max(_customers(log), 1)
    table["role"] = table["stage"].map(log.stages.roles)
    order = table["stage"].map(log.stages.positions)
    table = table.assign(order=order).sort_values(
        ["order", "customers", "touchpoint"], ascending=[True, False, True]
    )
    return table[["stage", "role", "touchpoint", "events", "customers", "reach"]].reset_index(
        drop=True
    )


def filled_columns(log: Log) -> pd.DataFrame:
    """Say of every optional column whether the log has it and how often it is filled.

    Returns
    -------
    DataFrame
        column, declared, filled (share of kept events), touchpoints (how many ever fill it).
    """
    events, optional = log.events, ("channel", "value", "sentiment", "event_id")
    counted = events.aggregate(
        events=events.count(),
        **{column: events[column].count() for column in optional},
        **{
            f"{column}_touchpoints": events.touchpoint.nunique(where=events[column].notnull())
            for column in optional
        },
    )
    found = counted.execute().iloc[0]
    rows = [
        (
            column,
            log.has(column),
            found[column] / max(found["events"], 1),
            int(found[f"{column}_touchpoints"]),
        )
        for column in optional
    ]
    return pd.DataFrame(rows, columns=["column", "declared", "filled", "touchpoints"])


def events_per_customer(log: Log) -> pd.DataFrame:
    """Count customers by their number of events.

    Returns
    -------
    DataFrame
        events, customers; in order of events.
    """
    events = log.events
    each = events.group_by("customer_id").agg(n=events.count())
    counted = each.group_by(events=each.n).agg(customers=each.count())
    return counted.order_by("events").execute()


def buyers(log: Log) -> tuple[int, int, Interval]:
    """Return how many customers there are, how many bought, and their share with its interval."""
    events = log.events
    each = events.group_by("customer_id", "bucket").agg(bought=events.purchase.cast("int64").max())
    counted = each.group_by("bucket").agg(customers=each.count(), buyers=each.bought.sum())
    table = counted.execute()
    arrays = bucket_array(table, [], ["buyers", "customers"])
    share = proportion(arrays[:, 0], arrays[:, 1])
    return int(table["customers"].sum()), int(table["buyers"].sum()), share


def silences(log: Log) -> pd.DataFrame:
    """Count the silences between a customer's consecutive events by their length.

    Returns
    -------
    DataFrame
        days (upper edge of a band, edges a constant factor apart), n, share_longer (share of
        silences longer than that).
    """
    events = log.events
    order = ibis.window(group_by="customer_id", order_by=["timestamp", "line"])
    seconds = events.timestamp.epoch_seconds()
    gaps = events.select(gap=seconds - seconds.lag().over(order))
    gaps = gaps.filter(gaps.gap.notnull())
    band = (ibis.greatest(gaps.gap, 60).log2() * 2).ceil().cast("int64")
    counted = gaps.group_by(band=band).agg(n=gaps.count()).order_by("band").execute()
    table = pd.DataFrame({"days": np.exp2(counted["band"] / 2) / DAY, "n": counted["n"]})
    table["share_longer"] = 1 - table["n"].cumsum() / max(table["n"].sum(), 1)
    return table


def journeys_by_inactivity(log: Log, factors: tuple[float, ...] = (0.5, 1.0, 2.0)) -> pd.DataFrame:
    """Count journeys as they would be with another inactivity.

    Parameters
    ----------
    log : Log
    factors : tuple of float
        Multiples of the declared inactivity.

    Returns
    -------
    DataFrame
        inactivity_days, journeys, per_customer, with_purchase (share of journeys).
    """
    events, rows = log.events, []
    order = ibis.window(group_by="customer_id", order_by=["timestamp", "line"])
    seconds = events.timestamp.epoch_seconds()
    steps = events.select(
        "customer_id", "purchase", "timestamp", "line", gap=seconds - seconds.lag().over(order)
    )
    customers = max(_customers(log), 1)
    for factor in factors:
        patience: dt.timedelta = log.dataset.journey.inactivity * factor
        begins = (steps.gap > patience.total_seconds()).fill_null(True)
        running = ibis.cumulative_window(
            group_by="customer_id", order_by=[steps.timestamp, steps.line]
        )
        numbered = steps.mutate(journey=begins.cast("int64").sum().over(running))
        each = numbered.group_by("customer_id", "journey").agg(
            bought=numbered.purchase.cast("int64").max()
        )
        total, bought = each.aggregate(n=each.count(), b=each.bought.sum()).execute().iloc[0]
        days = patience / dt.timedelta(days=1)
        rows.append((days, int(total), total / customers, bought / max(total, 1)))
    columns = ["inactivity_days", "journeys", "per_customer", "with_purchase"]
    return pd.DataFrame(rows, columns=columns)


def choice_matters(choices: pd.DataFrame) -> bool:
    """Return whether another inactivity changes the number of journeys by more than a tenth.

    Parameters
    ----------
    choices : DataFrame
        Of :func:`journeys_by_inactivity`, what is declared in the middle.
    """
    journeys = choices["journeys"].to_numpy()
    declared = journeys[len(journeys) // 2]
    return bool((np.abs(journeys - declared) > MATTERS * declared).any())


def _customers(log: Log) -> int:
    return int(log.events.customer_id.nunique().execute())
