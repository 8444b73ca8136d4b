"""How long until something happens: to the next purchase, or until a stage is left, and which way.

The engine counts spells by group, exit and days (`next_purchase_counts`, `stay_counts`,
`until_purchase_counts`); one function makes curves of them (`incidence`), two read the curves
(`within`, `ends`). A spell that had not ended by the moment of the report stays in the count for as
long as it was watched: it is neither dropped nor taken for an end.
"""

from collections.abc import Mapping
from typing import Literal

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from cjlib.errors import Unanswerable
from cjlib.journeys import DAY, OPEN, purchase_days
from cjlib.uncertainty import bucket_array, resample

PURCHASE = "purchase"
FEWEST_SPELLS, FEWEST_ENDS = 30, 20
"""A group with fewer spells, or fewer of them ended, has no curve."""
STEPS = 600  # into which the inactivity is divided where days are fractions


def next_purchase_counts(
    log, groups: Mapping[str, float], *, since: Literal["purchase", "experience"] = "purchase"
) -> pd.DataFrame:
    """Count the days from each purchase, or from each experience after one, to the next purchase.

    Parameters
    ----------
    log : Log
    groups : mapping of str to float
        Name of a group to where it begins: at which of a customer's purchases (1 is the first), or
        at which feeling (-1 to 1). ``{"first": 1, "later": 2}`` makes two groups of all purchases;
        of customers who were not seen to begin (`Log.beginners`) all are later ones.
        ``{"bad": -1, "good or neutral": 0}`` two of all experiences.
    since : {"purchase", "experience"}
        What starts the clock. Purchases are `cjlib.journeys.purchase_days`. Experiences are events
        on stages after the purchase that carry a feeling; their clock starts when they happen, so
        that nobody counts as waiting before it was known.

    Returns
    -------
    DataFrame
        bucket, group, exit (``purchase``, or ``open``), days (whole), n; groups in their order.

    Raises
    ------
    Unanswerable
        Where the log knows no such purchase or experience.
    """
    if since == "purchase":
        began = log.beginners.mutate(earlier=0)
        days = purchase_days(log.events).left_join(began, "customer_id")
        in_order = ibis.window(group_by="customer_id", order_by="day")
        spells = days.mutate(
            since=days.day,
            until=days.day.lead().over(in_order),
            measure=ibis.row_number().over(in_order) + 1 + days.earlier.fill_null(1),
        )
    else:
        events = log.events
        onward = ibis.cumulative_window(
            group_by="customer_id", order_by=[events.timestamp.desc(), events.line.desc()]
        )
        bought = events.purchase.ifelse(events.timestamp, ibis.null("timestamp"))
        spells = events.mutate(
            since=events.timestamp, until=bought.min().over(onward), measure=events.sentiment
        )
        spells = spells.filter((spells.role == "after") & spells.measure.notnull())
    from_the_last = sorted(groups.items(), key=lambda group: -group[1])
    spells = spells.mutate(
        group=ibis.cases(*((spells.measure >= least, name) for name, least in from_the_last)),
        exit=spells.until.isnull().ifelse(OPEN, PURCHASE),
        days=(_passed(spells, log.as_of) / DAY).floor().cast("float64"),
    )
    counts = _counted(spells.filter(spells.group.notnull()), ["bucket", "group"])
    if counts.empty:
        raise Unanswerable(f"this log knows no {since} from which to count to the next purchase")
    order = {name: place for place, name in enumerate(groups)}
    return counts.sort_values("group", key=lambda names: names.map(order), ignore_index=True)


def stay_counts(log) -> pd.DataFrame:
    """Count the visits to each stage by where they led and the days they lasted.

    Parameters
    ----------
    log : Log

    Returns
    -------
    DataFrame
        bucket, stage, exit (the next stage, how the journey ended, or ``open``),
        days (fractions), n; stages in their order.

    Raises
    ------
    Unanswerable
        Where no visit led to another stage.
    """
    visits = log.visits
    stays = visits.mutate(exit=visits.next_stage.fill_null(OPEN), until=visits.left)
    counts = _stays(stays, log)
    if not counts["exit"].isin(log.stages.names).any():
        raise Unanswerable("in this log no customer moves on to another stage")
    return counts


def until_purchase_counts(log) -> pd.DataFrame:
    """Count the visits to each stage by whether a purchase followed in the journey, and when.

    What a chain puts together from single moves is so counted from whole journeys, which remember
    where they came from.

    Parameters
    ----------
    log : Log

    Returns
    -------
    DataFrame
        As `stay_counts`; exit is ``purchase`` (a later visit with one begins), how the journey
        ended without a further one, or ``open``.
    """
    whole = ibis.window(group_by=["customer_id", "journey"])
    later = ibis.window(group_by=["customer_id", "journey"], order_by="visit", following=(1, None))
    visits, unknown = log.visits, ibis.null("timestamp")
    ends = visits.mutate(
        bought=(visits.purchases > 0).ifelse(visits.started, unknown).min().over(later),
        over=visits["last"].ifelse(visits.left, unknown).max().over(whole),
        end=visits["last"].ifelse(visits.next_stage, ibis.null("string")).max().over(whole),
    )
    ends = ends.mutate(
        exit=ends.bought.notnull().ifelse(PURCHASE, ends.end.fill_null(OPEN)),
        until=ibis.coalesce(ends.bought, ends.over),
    )
    return _stays(ends, log)


def incidence(
    counts: pd.DataFrame,
    by: str = "group",
    *,
    fewest: int = FEWEST_SPELLS,
    fewest_ends: int = FEWEST_ENDS,
    seed: int = 0,
) -> pd.DataFrame:
    """Return, by group and exit, the share that has taken the exit after so many days.

    Parameters
    ----------
    counts : DataFrame
        bucket, `by`, exit, days, n.
    by : str
        Column of the groups.
    fewest, fewest_ends : int
        Groups with fewer spells, or with fewer that were seen to end, are left out.
    seed : int
        Of the intervals (95 %), by resampling buckets of customers.

    Returns
    -------
    DataFrame
        `by`, exit, days, share, lower, upper, n (spells of the group); groups as they come, then
        exit, then days.

    Raises
    ------
    Unanswerable
        Where no group has enough spells.

    Notes
    -----
    Aalen & Johansen, Scandinavian Journal of Statistics 5 (1978): exits compete, so one minus the
    Kaplan-Meier curve of one of them would overstate it. With a single exit the share *is* one
    minus the Kaplan-Meier curve. Of exits and censorings at the same time the exits come first.
    """
    ended = counts["n"].where(counts["exit"] != OPEN, 0).groupby(counts[by]).sum()
    sizes = counts["n"].groupby(counts[by]).sum()
    enough = (sizes >= fewest) & (ended >= fewest_ends)
    groups = [name for name in dict.fromkeys(counts[by]) if enough[name]]
    if not groups:
        raise Unanswerable(
            f"a curve over time needs {fewest} customers or visits, {fewest_ends} of them seen "
            "to the end"
        )
    parts = [_curves(counts[counts[by] == name], by, seed) for name in groups]
    return pd.concat(parts, ignore_index=True)


def within(curves: pd.DataFrame, days: float) -> pd.DataFrame:
    """Return the share that has taken each exit within so many days.

    Parameters
    ----------
    curves : DataFrame
        Of `incidence`.
    days : float

    Returns
    -------
    DataFrame
        The group's column, exit, n, share, lower, upper; NaN where no spell of the group has been
        watched for so long.
    """
    by = curves.columns[0]
    figures = ["share", "lower", "upper"]
    groups = curves.groupby([by, "exit"], sort=False)
    table = groups.agg(n=("n", "first"), watched=("days", "max"))
    reached = curves[curves["days"] <= days].groupby([by, "exit"], sort=False)[figures].last()
    table = table.join(reached.reindex(table.index).fillna({"share": 0, "lower": 0, "upper": 0}))
    table.loc[table.pop("watched") < days, figures] = np.nan
    return table.reset_index()


def ends(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the share that takes each exit in the end, and when half of these have done so.

    Parameters
    ----------
    curves : DataFrame
        Of `incidence`.

    Returns
    -------
    DataFrame
        The group's column, exit, n, share, lower, upper, median_days (among those who take the
        exit at all).
    """
    by = curves.columns[0]
    last = curves.groupby([by, "exit"], sort=False).last()
    final = curves.set_index([by, "exit"]).index.map(last["share"])
    half = curves[curves["share"] >= final / 2].groupby([by, "exit"], sort=False)["days"].first()
    table = last[["n", "share", "lower", "upper"]].assign(median_days=half)
    return table.reset_index()


def _passed(spells: ir.Table, as_of: pd.Timestamp) -> ir.Value:
    """Return the seconds of each spell, up to `as_of` where it is open."""
    until = ibis.coalesce(spells.until, ibis.timestamp(as_of))
    return until.epoch_seconds() - spells.since.epoch_seconds()


def _stays(visits: ir.Table, log) -> pd.DataFrame:
    visits = visits.mutate(since=visits.started)
    step = log.dataset.journey.inactivity.total_seconds() / STEPS
    steps = (_passed(visits, log.as_of) / step).round().cast("float64")
    visits = visits.mutate(days=ibis.greatest(steps, 1.0) * (step / DAY))
    counts = _counted(visits, ["bucket", "position", "stage"])
    return counts.sort_values("position", ignore_index=True).drop(columns="position")


def _counted(spells: ir.Table, by: list[str]) -> pd.DataFrame:
    return spells.group_by([*by, "exit", "days"]).agg(n=spells.count()).to_pandas()


def _curves(counts: pd.DataFrame, by: str, seed: int) -> pd.DataFrame:
    """Return the curves of one group."""
    exits = sorted(set(counts["exit"]) - {OPEN})
    days = np.sort(counts["days"].unique())
    levels = {"exit": [*exits, OPEN], "days": days}
    spells = bucket_array(counts, ["days", "exit"], "n", levels=levels)

    def shares(sums: np.ndarray) -> np.ndarray:
        # who had not ended before each day
        at_risk = sums.sum(-1)[..., ::-1].cumsum(-1)[..., ::-1, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            hazard = np.where(at_risk > 0, sums[..., :-1] / at_risk, 0.0)
        left = (1 - hazard.sum(-1)).cumprod(-1)
        before = np.concatenate([np.ones_like(left[..., :1]), left[..., :-1]], -1)
        return (before[..., None] * hazard).cumsum(-2)

    found = resample(spells, shares, seed=seed)
    return pd.DataFrame(
        {
            by: counts[by].iloc[0],
            "exit": np.repeat(np.array(exits, object), len(days)),
            "days": np.tile(days, len(exits)),
            "share": found.estimate.T.ravel(),
            "lower": found.lower.T.ravel(),
            "upper": found.upper.T.ravel(),
            "n": int(spells.sum()),
        }
    )
