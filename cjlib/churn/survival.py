"""Time to the next purchase, counted in the engine for Kaplan-Meier curves by group."""

import ibis
import pandas as pd
from ibis.expr.types import Table

from cjlib.markov.dwell import survival

AGAIN, OPEN = "bought again", "open"
ORDERS = ["after the 1st order", "after the 2nd", "after the 3rd to 5th", "after later orders"]
FELT = ["after a good or neutral experience", "after a bad experience"]


def by_order(events: Table, as_of: pd.Timestamp) -> Table:
    """Count the days from each day with a purchase to the next one, by how many came before.

    Returns
    -------
    Table
        bucket, stage (one of ``ORDERS``), exit ("bought again" or "open"), days (whole), n.
    """
    bought = events.filter(events.purchase)
    days = bought.mutate(day=bought.timestamp.truncate("D"))
    days = days.group_by(["customer_id", "day"]).aggregate(bucket=days.bucket.min())
    in_turn = ibis.window(group_by="customer_id", order_by=days.day)
    spells = days.mutate(
        following=days.day.lead().over(in_turn), before=ibis.row_number().over(in_turn)
    )
    first, second, few, later = ORDERS
    group = ibis.cases(
        (spells.before == 0, first),
        (spells.before == 1, second),
        (spells.before < 5, few),
        else_=later,
    )
    return _counted(spells.mutate(stage=group, since=spells.day), as_of)


def by_feeling(events: Table, as_of: pd.Timestamp) -> Table:
    """Count the days from each experience after a purchase to the next purchase, good or bad.

    The clock starts at the experience, not at the purchase, so that nobody counts as waiting before
    it was known. Experiences are events on stages after the purchase that carry a feeling.

    Returns
    -------
    Table
        bucket, stage (one of ``FELT``), exit ("bought again" or "open"), days (whole), n.
    """
    backwards = ibis.cumulative_window(
        group_by="customer_id", order_by=[events.timestamp.desc(), events.line.desc()]
    )
    bought = ibis.ifelse(events.purchase, events.timestamp, ibis.null("timestamp"))
    spells = events.mutate(following=bought.min().over(backwards))
    spells = spells.filter((spells.role == "after") & spells.sentiment.notnull())
    stage = ibis.ifelse(spells.sentiment < 0, FELT[1], FELT[0])
    return _counted(spells.mutate(stage=stage, since=spells.timestamp), as_of)


def curves(
    counts: pd.DataFrame, groups: list[str], *, fewest: int = 30, returns: int = 20
) -> pd.DataFrame:
    """Return the Kaplan-Meier curve of each group with enough spells that enough returns ended.

    Returns
    -------
    DataFrame
        stage (the group), days, at_risk, survival (share not yet back), lower, upper.
    """
    sizes = counts.groupby("stage")["n"].sum()
    ended = counts[counts["exit"] == AGAIN].groupby("stage")["n"].sum()
    enough = [g for g in groups if sizes.get(g, 0) >= fewest and ended.get(g, 0) >= returns]
    parts = [survival(counts, group) for group in enough]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def back_within(curves: pd.DataFrame, days: float) -> pd.DataFrame:
    """Return the share of each group back within so many days, with its interval.

    Returns
    -------
    DataFrame
        group, n (spells watched), back, lower, upper.
    """
    rows = []
    for name, curve in curves.groupby("stage", sort=False):
        seen = curve[curve["days"] <= days].tail(1)
        limits = seen[["survival", "upper", "lower"]].to_numpy()
        back = 1 - limits[0] if len(seen) else [0.0, 0.0, 0.0]
        rows.append((name, int(curve["at_risk"].max()), *back))
    return pd.DataFrame(rows, columns=["group", "n", "back", "lower", "upper"])


def _counted(spells: Table, as_of: pd.Timestamp) -> Table:
    until = spells.following.coalesce(ibis.timestamp(as_of))
    seconds = until.epoch_seconds() - spells.since.epoch_seconds()
    timed = spells.mutate(
        exit=ibis.ifelse(spells.following.isnull(), OPEN, AGAIN),
        days=(seconds / 86_400).floor().cast("float64"),
    )
    return timed.group_by(["bucket", "stage", "exit", "days"]).aggregate(n=timed.count())
