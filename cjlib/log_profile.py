"""What an event log holds: how much, when, of what, by whom, and with which silences between."""

import datetime as dt

import ibis
import numpy as np
import pandas as pd

from cjlib.errors import Unanswerable
from cjlib.journeys import with_journeys
from cjlib.log import Log
from cjlib.uncertainty import bucket_array, proportion

BEFORE = 13
"""Periods, a quarter of a year in weeks, that an end is held against."""

SIGMAS = 3.0
"""Standard deviations of the log's own earlier periods by which an end must lie too low."""

FEWEST_ENDS = 4
"""Earlier periods that an end is judged by, and that each of them is held against."""

YEAR = 52
"""Periods before an end in which its usual steps are looked at."""

LEAST = 30
"""Events, or customers, that an end should have held, below which its lack may be chance."""

SIDE = 8
"""Periods on either side of a change of level."""

JUMP = 1.5
"""Least factor, up or down, of a change of level that gets a name."""

MATTERS = 0.1
"""Share by which another inactivity must change the number of journeys to matter."""

_CHANGE = ["begins", "periods", "events_before", "events_since", "verdict"]


def activity(log: Log) -> pd.DataFrame:
    """Count events, active customers, new customers and purchases by week.

    Weeks begin on Monday. A first or last week that the log covers in part is left out, because
    its low counts would read as a fall; logs of under four weeks are counted by day.

    Returns
    -------
    DataFrame
        period (its first day), events, customers, new (seen for the first time), purchases, unit
        (``week`` or ``day``); periods without events count 0.

    Raises
    ------
    Unanswerable
        There are fewer than two whole periods.
    """
    events = log.events
    ends = events.aggregate(first=events.timestamp.min(), last=events.timestamp.max())
    first, last = ends.execute().iloc[0]
    weekly = last - first >= pd.Timedelta(weeks=4)
    by_customer = ibis.window(group_by="customer_id", order_by=["timestamp", "line"])
    events = events.mutate(new=(ibis.row_number().over(by_customer) == 0).cast("int64"))
    counted = events.group_by(period=events.timestamp.truncate("W" if weekly else "D")).agg(
        events=events.count(),
        new=events.new.sum(),
        customers=events.customer_id.nunique(),
        purchases=events.purchase.cast("int64").sum(),
    )
    found = counted.execute().set_index("period")
    found.index = pd.to_datetime(found.index).as_unit("us")
    step = "W-MON" if weekly else "D"
    periods = pd.date_range(found.index.min(), found.index.max(), freq=step, unit="us")
    table = found.reindex(periods, fill_value=0).rename_axis("period").reset_index()
    if weekly:
        over = table["period"] + pd.Timedelta(weeks=1) <= log.as_of.ceil("D")
        table = table[over & (table["period"] >= first.floor("D"))].reset_index(drop=True)
    if len(table) < 2:
        raise Unanswerable("the log covers too short a time to show how it runs")
    return table.assign(unit="week" if weekly else "day")


def thin_end(table: pd.DataFrame, of: str = "events", longest: int = BEFORE) -> pd.DataFrame:
    """Find periods at the end that hold too little for the log's own ups and downs.

    The longest run of last periods of which each holds less than the poorest of up to 13 before
    them (so that a weekend is not taken for an end), and all of them so much less than the median
    of these as lies three standard deviations below what such a step is in the year before: where
    a log grows, falls or has seasons, its usual steps are up, down or wide. At least 30 events, or
    new customers, must be missing.

    Parameters
    ----------
    table : DataFrame
        Of :func:`activity`.
    of : str
        The column to judge: events, or new.
    longest : int
        Periods; what lasts longer is a change rather than an end.

    Returns
    -------
    DataFrame
        One row, or none: begins (the first thin period), periods (how many there are),
        events_before and events_since (medians per period of what is judged), verdict (``lower``).
    """
    held = table[of].to_numpy()
    for start in range(max(2 * FEWEST_ENDS, len(held) - longest), len(held)):
        before, end = held[max(start - BEFORE, 0) : start], held[start:]
        missing = np.median(before) * len(end) - end.sum()
        if end.max() < before.min() and missing >= LEAST and _too_low(held, start):
            return _change(table, start, before, end)
    return pd.DataFrame(columns=_CHANGE)


def _too_low(held: np.ndarray, start: int) -> bool:
    """Say whether the step down at an end is beyond those between earlier periods."""
    length = min(len(held) - start, FEWEST_ENDS)

    def step(place: int, periods: int) -> float:
        usual = np.median(held[max(place - BEFORE, 0) : place])
        return np.log((held[place : place + periods].mean() + 0.5) / (usual + 0.5))

    places = range(max(FEWEST_ENDS, start - YEAR), start - length + 1)
    steps = [step(place, length) for place in places]
    if len(steps) < FEWEST_ENDS:
        return False
    usual = np.median(held[max(start - BEFORE, 0) : start])
    spread = max(np.std(steps, ddof=1), 1 / np.sqrt(length * (usual + 0.5)))
    return step(start, len(held) - start) < np.mean(steps) - SIGMAS * spread


def lasting_change(table: pd.DataFrame) -> pd.DataFrame:
    """Find the sharpest lasting change in the number of events, a thin end aside.

    Where all of 8 periods lie above, or all below, the 8 periods before them, and the larger of
    their medians is at least half as much again as the smaller; a single busy or empty period is
    none. A rise that takes some weeks is found as well as one overnight. Of several such places it
    is the one where the nearest periods of both sides lie furthest apart.

    Parameters
    ----------
    table : DataFrame
        Of :func:`activity`.

    Returns
    -------
    DataFrame
        One row, or none: begins (the first period of the new level), periods (8),
        events_before and events_since (medians per period), verdict (``higher`` or ``lower``).
    """
    whole = len(table) - thin_end(table)["periods"].sum()
    events = table["events"].to_numpy()[:whole]
    widest, found = 1.0, pd.DataFrame(columns=_CHANGE)
    for start in range(SIDE, len(events) - SIDE + 1):
        before, since = events[start - SIDE : start], events[start : start + SIDE]
        low, high = sorted([before, since], key=np.median)
        apart = (high.min() + 1) / (low.max() + 1)  # a level may be 0
        if apart > widest and np.median(high) >= JUMP * np.median(low):
            widest, found = apart, _change(table, start, before, since)
    return found


def _change(table: pd.DataFrame, start: int, before: np.ndarray, since: np.ndarray) -> pd.DataFrame:
    usual, then = float(np.median(before)), float(np.median(since))
    verdict = "higher" if then > usual else "lower"
    row = (table["period"].iloc[start], len(since), usual, then, verdict)
    return pd.DataFrame([row], columns=_CHANGE)


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
    table = table.fillna({"events": 0, "customers": 0}).astype({"events": int, "customers": int})
    table["reach"] = table["customers"] / _customers(log)
    table["role"] = table["stage"].map(log.stages.roles)
    table["position"] = table["stage"].map(log.stages.positions)
    order = ["position", "customers", "touchpoint"]
    table = table.sort_values(order, ascending=[True, False, True], ignore_index=True)
    return table[["stage", "role", "touchpoint", "events", "customers", "reach"]]


def filled_columns(log: Log) -> pd.DataFrame:
    """Say of every optional column whether the log has it and how often it is filled.

    Returns
    -------
    DataFrame
        column, declared, filled (share of kept events), touchpoints (how many ever fill it).
    """
    events = log.events
    optional = {name: events[name] for name in ("channel", "value", "sentiment", "event_id")}
    counted = events.aggregate(
        events=events.count(),
        **{name: column.count() for name, column in optional.items()},
        **{
            f"{name}_touchpoints": events.touchpoint.nunique(where=column.notnull())
            for name, column in optional.items()
        },
    )
    found = counted.execute().iloc[0]
    rows = [
        (name, log.has(name), found[name] / found["events"], int(found[f"{name}_touchpoints"]))
        for name in optional
    ]
    return pd.DataFrame(rows, columns=["column", "declared", "filled", "touchpoints"])


def events_per_customer(log: Log) -> pd.DataFrame:
    """Count customers by their number of events.

    Returns
    -------
    DataFrame
        events, customers, share (of customers with so many events), share_up_to (with at most so
        many); in order of events.
    """
    events = log.events
    each = events.group_by("customer_id").agg(n=events.count())
    counted = each.group_by(events=each.n).agg(customers=each.count())
    table = counted.order_by("events").execute()
    table["share"] = table["customers"] / table["customers"].sum()
    return table.assign(share_up_to=table["share"].cumsum())


def beginners(log: Log) -> pd.DataFrame:
    """Count the customers, and those who were seen to begin.

    Returns
    -------
    DataFrame
        One row: customers, began, share, and of `cjlib.beginnings.run_in` begins and
        returning_share; missing in a log that is not shown to begin in the middle of lives.
    """
    total, began = _customers(log), int(log.beginners.count().execute())
    row = pd.DataFrame([{"customers": total, "began": began, "share": began / total}])
    return row.join(log.run_in[["begins", "returning_share"]])


def buyers(log: Log) -> pd.DataFrame:
    """Count the customers and those who ever bought.

    Returns
    -------
    DataFrame
        One row: customers, buyers, share, share_lower, share_upper.
    """
    events = log.events
    each = events.group_by("customer_id", "bucket").agg(bought=events.purchase.cast("int64").max())
    counted = each.group_by("bucket").agg(customers=each.count(), buyers=each.bought.sum())
    arrays = bucket_array(counted.execute(), [], ["buyers", "customers"])
    bought, customers = arrays.sum(axis=0)
    share = proportion(arrays[:, 0], arrays[:, 1])
    row = [int(customers), int(bought), *map(float, (share.estimate, share.lower, share.upper))]
    columns = ["customers", "buyers", "share", "share_lower", "share_upper"]
    return pd.DataFrame([row], columns=columns)


def silences(log: Log) -> pd.DataFrame:
    """Count the silences between a customer's consecutive events by their length.

    Returns
    -------
    DataFrame
        days (upper edge of a band, edges a constant factor apart), n.

    Raises
    ------
    Unanswerable
        No customer has two events.
    """
    events = log.events
    order = ibis.window(group_by="customer_id", order_by=["timestamp", "line"])
    seconds = events.timestamp.epoch_seconds()
    gaps = events.select(gap=seconds - seconds.lag().over(order))
    gaps = gaps.filter(gaps.gap.notnull())
    band = (ibis.greatest(gaps.gap, 60).log2() * 2).ceil().cast("int64")
    counted = gaps.group_by(band=band).agg(n=gaps.count()).order_by("band").execute()
    if counted.empty:
        raise Unanswerable("no customer has two events, so there is no silence to look at")
    seconds_per_day = 86_400
    return pd.DataFrame({"days": np.exp2(counted["band"] / 2) / seconds_per_day, "n": counted["n"]})


def journeys_by_inactivity(log: Log, factors: tuple[float, ...] = (0.5, 1.0, 2.0)) -> pd.DataFrame:
    """Count journeys as they would be with another inactivity.

    Parameters
    ----------
    log : Log
    factors : tuple of float
        Multiples of the declared inactivity, 1 among them.

    Returns
    -------
    DataFrame
        factor, inactivity_days, journeys, journeys_per_customer, share_with_purchase, change
        (of their number, as a share of that declared), verdict (``declared``; ``more`` or
        ``fewer`` where the change is above a tenth, else ``same``).
    """
    steps = log.events.select("customer_id", "timestamp", "line", "stage", "purchase")
    rows = []
    for factor in factors:
        inactivity: dt.timedelta = log.dataset.journey.inactivity * factor
        numbered = with_journeys(steps, inactivity)
        each = numbered.group_by("customer_id", "journey").agg(
            bought=numbered.purchase.cast("int64").max()
        )
        total, bought = each.aggregate(n=each.count(), bought=each.bought.sum()).execute().iloc[0]
        rows.append((factor, inactivity / dt.timedelta(days=1), int(total), bought / total))
    columns = ["factor", "inactivity_days", "journeys", "share_with_purchase"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(3, "journeys_per_customer", table["journeys"] / _customers(log))
    declared = table.loc[table["factor"] == 1, "journeys"].item()
    table["change"] = table["journeys"] / declared - 1
    verdicts = {"declared": table["factor"] == 1, "more": table["change"] > MATTERS}
    verdicts["fewer"] = table["change"] < -MATTERS
    return table.assign(verdict=np.select(list(verdicts.values()), list(verdicts), "same"))


def _customers(log: Log) -> int:
    return int(log.events.customer_id.nunique().execute())
