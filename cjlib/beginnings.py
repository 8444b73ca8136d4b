"""Whether a log begins in the middle of its customers' lives, and who is seen to begin.

A log that begins late has its old customers still to come: in its first week everybody is new,
heavy users first of all, and the number of new customers falls as the law of the customers' own
returns says. That law is known from later weeks: how many a week come back after more than so many
weeks of silence. Had the log begun that many weeks before, they would have been taken for new.
"""

import datetime as dt
from collections.abc import Sequence

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from scipy.stats import f as f_law

from cjlib.journeys import DAY

WEEK = 7 * DAY  # seconds
FEWEST_WEEKS = 20
"""Weeks below which a log is too short to tell."""
LEVEL = 0.8
"""Share of the usual customers a week that the first week holds where old ones are among them."""
FOUND = 0.05
"""p-value of the fall, beside a trend, from which downwards it is found."""
OLD = (0.1, 2.0)
"""Old customers at the begin, over those who came back a week later on: less hardly matters, more
is no company's base but a campaign."""
LONGEST_LAUNCH = 16
"""Weeks of a launch, after which arrivals drop to another level at once."""
WEEKS_A_YEAR = 52.18
_COLUMNS = ["begins", "weeks", "returning_share", "p_value"]


def weekly(events: ir.Table) -> pd.DataFrame:
    """Count by week from the log's first day who is there, who is new and who comes back.

    Parameters
    ----------
    events : Table
        customer_id, timestamp.

    Returns
    -------
    DataFrame
        begins (of the week), customers, new (never seen before), back (how many a week, in the
        later half of the log, come back after more than as many weeks of silence as have passed
        here since the log began). A last week covered in part is left out.
    """
    ends = events.aggregate(first=events.timestamp.min(), last=events.timestamp.max())
    first, last = ends.execute().iloc[0]
    begin = first.floor("D")
    seconds = events.timestamp.epoch_seconds() - int(begin.timestamp())
    seen = events.select("customer_id", week=(seconds / WEEK).floor().cast("int64")).distinct()
    in_order = ibis.window(group_by="customer_id", order_by="week")
    gaps = seen.mutate(gap=(seen.week - seen.week.lag().over(in_order)).fill_null(0))
    counts = gaps.group_by("week", "gap").agg(n=gaps.count()).execute()
    weeks = np.arange(int((last - begin) / pd.Timedelta(weeks=1)))
    counts = counts[counts["week"] < len(weeks)]
    later = counts[counts["week"] >= len(weeks) // 2]
    after = later.groupby("gap")["n"].sum().reindex(weeks, fill_value=0)
    total, new = (
        part.groupby("week")["n"].sum().reindex(weeks, fill_value=0).to_numpy()
        for part in (counts, counts[counts["gap"] == 0])
    )
    return pd.DataFrame(
        {
            "begins": begin + pd.to_timedelta(7 * weeks, unit="D"),
            "customers": total,
            "new": new,
            "back": after[::-1].cumsum()[::-1].shift(-1, fill_value=0).to_numpy()
            / max(len(weeks) - len(weeks) // 2, 1),
        }
    )


def run_in(weeks: pd.DataFrame, inactivity: dt.timedelta) -> pd.DataFrame:
    """Find whether a log begins in the middle of lives, and from when on customers begin.

    It does where, besides a trend, new customers fall as those who come back do; better so than by
    a launch (a higher level for some weeks, then a drop) or by a season; and where the log holds
    from its first week on as many customers as soon after, which a log that begins with a
    company's life does not.

    Parameters
    ----------
    weeks : DataFrame
        Of `weekly`.
    inactivity : timedelta
        Of a journey: a first one that begins sooner may have begun before the log.

    Returns
    -------
    DataFrame
        One row, or none where the log is not shown to begin late: begins (the whole week after
        which an inactivity has passed since the log's begin, so that whoever is first seen then
        begins a journey), weeks (from the log's begin until then), returning_share (estimated share
        of those first seen later who had been there all the same), p_value.

    Notes
    -----
    With ``b`` for the old customers over those who come back later on, and ``h`` for how busy a
    week is beside its neighbours: new = h (exp(trend) + b back). Square roots of counts are fitted,
    whose variance does not hang on their level; an F-test compares the fits with and without b.

    Why not wait until hardly anybody old is left: of customers with unequal rates the rarest come
    last, so that the longer the run-in, the rarer are the old ones among the "new". Without a
    run-in they are too busy, after a long one too rare; a short one leaves both in balance.
    """
    none = pd.DataFrame(columns=_COLUMNS)
    new, back, there = (weeks[name].to_numpy(float) for name in ("new", "back", "customers"))
    number = len(weeks)
    if number < FEWEST_WEEKS or not 0 < LEVEL * np.median(there[1:5]) <= there[0]:
        return none
    usual = pd.Series(there).rolling(9, center=True, min_periods=5).median().to_numpy()
    busy = (there + 1) / (usual + 1)
    week = np.arange(number)
    turn = 2 * np.pi * week / WEEKS_A_YEAR
    launches = [[week < last] for last in range(1, min(number // 3, LONGEST_LAUNCH) + 1)]
    trend = _fitted(new, busy)[0]
    falling, arrivals, old = _fitted(new, busy, back=back)
    otherwise = min(_fitted(new, busy, law)[0] for law in [*launches, [np.cos(turn), np.sin(turn)]])
    free = number - 3
    p_value = float(f_law.sf(max(trend - falling, 0) / (falling / free), 1, free))
    if p_value > FOUND or falling > otherwise or not OLD[0] <= old <= OLD[1]:
        return none
    since = inactivity.days // 7 + 1
    if since >= number:
        return none
    share = float(old * back[since:].sum() / (arrivals + old * back)[since:].sum())
    row = (weeks["begins"].iloc[since], since, share, p_value)
    return pd.DataFrame([row], columns=_COLUMNS)


def _fitted(
    new: np.ndarray,
    busy: np.ndarray,
    laws: Sequence[np.ndarray] = (),
    back: np.ndarray | None = None,
) -> tuple[float, np.ndarray, float]:
    """Return the squared error of a fit, its arrivals without old customers, and their number.

    Arrivals have a trend and follow `laws`, on the scale of logarithms; with `back`, old customers
    come besides.
    """
    columns = np.column_stack([np.ones(len(new)), np.linspace(0, 1, len(new)), *laws])

    def arrivals(fit: np.ndarray) -> np.ndarray:
        return np.exp(np.clip(columns @ fit[: columns.shape[1]], -10, 20))

    def old(fit: np.ndarray) -> float:
        return 0.0 if back is None else float(np.exp(min(fit[-1], 20)))

    def error(fit: np.ndarray) -> np.ndarray:
        expected = arrivals(fit) + (0 if back is None else old(fit) * back)
        return np.sqrt(busy * expected + 0.375) - np.sqrt(new + 0.375)

    start = np.zeros(columns.shape[1] + (back is not None))
    start[0] = np.log(np.median(new) + 0.5)
    found = least_squares(error, start, method="lm")
    return 2 * found.cost, arrivals(found.x), old(found.x)
