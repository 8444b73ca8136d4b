"""One bad experience: who never buys again after it, against like moments of like customers.

The unit is an event of a customer who has bought before. A case is an experience, after a look-back
without another one of its kind; it is compared with the moments without one, after such a look-back
too, that are alike: the same stage and place in the visit, as many events in the look-back (almost
exactly, since heavy users meet everything more often), the same tenure and time since the last
purchase. What comes after the moment is not held fixed: it may be its consequence.
"""

from collections.abc import Iterable

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
from scipy.stats import norm

from cjlib.errors import Unanswerable
from cjlib.journey_map.counts import VISIT, as_int, put
from cjlib.journeys import DAY
from cjlib.log import Log
from cjlib.uncertainty import FOUND, Difference, benjamini_hochberg, bucket_array, ratio_test

ACTIVITY = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 19, 24, 32)
"""Events in the look-back at which a further class of activity begins."""
RECENCY = (3, 7, 14, 30, 90)  # days since the last purchase, likewise
STEPS = (2, 3, 5)  # places in the visit, likewise
TENURES = 3  # in the first journey; known for less than the look-back; for longer
LEAST = 30  # cases, moments like them, and purchases after them, below which nothing is tested
BAD_FEELING = "bad_feeling"


def moments(log: Log) -> ir.Table:
    """Return the events, purchases aside, of customers who had bought, with what is held fixed.

    Returns
    -------
    Table
        The events with ``at`` (seconds), ``next`` (of the next purchase; missing where there is
        none), ``since`` (of the first purchase) and ``kind``, the stratum.
    """
    lookback = int(log.dataset.churn.horizon.total_seconds())
    events = log.events.mutate(at=log.events.timestamp.epoch_seconds().cast("int64"))
    order = [events.timestamp, events.line]
    until, onward = (
        ibis.cumulative_window(group_by="customer_id", order_by=order),
        ibis.window(group_by="customer_id", order_by=order, following=(1, None)),
    )
    recent = ibis.window(range=(-lookback, 0), group_by="customer_id", order_by=events.at)
    bought = events.purchase.ifelse(events.at, ibis.null("int64"))
    events = events.mutate(
        last=bought.max().over(until),
        since=bought.min().over(until),
        next=bought.min().over(onward),
        recent=events.count().over(recent) - 1,
        step=ibis.row_number().over(ibis.window(group_by=VISIT, order_by=order)) + 1,
        first=events.at.min().over(ibis.window(group_by="customer_id")),
    )
    known = as_int(events.journey > 0) * (1 + as_int(events["at"] - events["first"] >= lookback))
    kind = events.position.cast("int64") * TENURES + known
    for value, classes in (
        (events.recent, ACTIVITY),
        ((events["at"] - events["last"]) / DAY, RECENCY),
        (events.step, STEPS),
    ):
        kind = kind * (len(classes) + 1) + sum(as_int(value >= least) for least in classes)
    return events.mutate(kind=kind).filter(events["last"].notnull() & ~events.purchase)


def one_bad_experience(log: Log, touchpoints: Iterable[str] = ()) -> pd.DataFrame:
    """Compare who never buys again after one bad experience with like customers without one.

    Parameters
    ----------
    log : Log
    touchpoints : iterable of str
        Those that are bad experiences, such as pain points. A feeling below 0 is one in any case.

    Returns
    -------
    DataFrame
        One row per experience: ``experience`` (``bad_feeling`` or a touchpoint), ``customers``,
        ``n`` cases, ``matched_share`` of them with a counterpart, ``gone_share`` (bought nothing
        within the churn horizon), ``otherwise_share`` (what it would be less the difference),
        ``difference`` with ``difference_lower``, ``difference_upper``, ``q_value`` and ``verdict``:
        ``found``, ``none`` or ``untested`` (fewer than 30 cases, moments like them, or purchases
        after these).

    Raises
    ------
    Unanswerable
        If no customer who had bought had such an experience, or none could be tested.
    """
    events = moments(log)
    cases = {BAD_FEELING: (events.sentiment < 0, events.sentiment.notnull())}
    cases |= {name: (events.touchpoint == name, None) for name in touchpoints}
    parts = [to_come(events, log, name, *case) for name, case in cases.items()]
    table = compare(parts, "no customer who had bought before is seen to have a bad experience")
    if (table["verdict"] == "untested").all():
        raise Unanswerable(
            f"each bad experience has fewer than {LEAST} cases, like moments or purchases after"
        )
    return table


def won_back(log: Log, experiences: Iterable[str], days: float = 7) -> pd.DataFrame:
    """Compare those to whom a bad experience was made good with those to whom it was not.

    Parameters
    ----------
    log : Log
    experiences : iterable of str
        As in the table of `one_bad_experience`.
    days : float
        In which it must be made good: by a touchpoint whose ``purpose`` is ``resolution`` in the
        dataset file or, where none is, by a next feeling above 0. The clock starts after them, for
        both sides, and who bought within them is on neither; nor is who was not met again within
        them (or told no feeling): whoever left at once cannot have been answered late.

    Returns
    -------
    DataFrame
        As `one_bad_experience`; the cases are the resolved ones.

    Raises
    ------
    Unanswerable
        If no bad experience was resolved.
    """
    events = moments(log)
    resolving = [
        name for name, one in log.dataset.touchpoints.items() if one.purpose == "resolution"
    ]
    told = events.sentiment.notnull()
    good = events.touchpoint.isin(resolving) if resolving else events.sentiment > 0
    marked = good if resolving else told
    onward = ibis.window(
        group_by="customer_id", order_by=[events.timestamp, events.line], following=(1, None)
    )
    # the first that tells: a resolving event, or the next feeling whatever it is
    events = events.mutate(
        answer=marked.ifelse(events.at, ibis.null("int64")).min().over(onward),
        better=good.ifelse(events.at, ibis.null("int64")).min().over(onward),
    )
    wait = int(days * DAY)
    soon = ibis.window(range=(1, wait), group_by="customer_id", order_by=events.at)
    met = as_int(~good if resolving else told).sum().over(soon) > 0
    resolved = (events.better == events.answer) & (events.better <= events["at"] + wait)
    parts = []
    for name in experiences:
        bad = events.sentiment < 0 if name == BAD_FEELING else events.touchpoint == name
        among = events.mutate(resolved=as_int(resolved), bad=bad, met=met)
        at_risk = to_come(among, log, name, among.bad, among.bad & among.met, wait)
        parts.append(at_risk.mutate(case=at_risk.resolved, exposed=at_risk.resolved))
    return compare(parts, "no bad experience of a customer who had bought is seen to be resolved")


def to_come(
    events: ir.Table,
    log: Log,
    name: str,
    case: ir.BooleanValue,
    among: ir.BooleanValue | None = None,
    wait: int = 0,
) -> ir.Table:
    """Return the moments at which an experience may begin and whose horizon is over.

    They come after a look-back without one. With ``case``, ``bought`` and ``exposed``: to one that
    comes then or later in the visit (0 or 1).
    """
    horizon = int(log.dataset.churn.horizon.total_seconds())
    lookback = ibis.window(range=(-horizon, 0), group_by="customer_id", order_by="at")
    events = events.mutate(case=as_int(case), among=True if among is None else among)
    events = events.mutate(
        earlier=events.case.sum().over(lookback) - events.case,
        in_visit=events.case.sum().over(ibis.window(group_by=VISIT)),
    )
    over = events["at"] + wait + horizon <= int(log.as_of.timestamp())
    waiting = events.next.isnull() | (events.next > events["at"] + wait)
    at_risk = events.filter(events.among & over & waiting & (events.earlier == 0))
    bought = as_int(at_risk.next <= at_risk["at"] + wait + horizon)
    exposed = as_int(at_risk.in_visit > 0)
    return at_risk.mutate(experience=ibis.literal(name), bought=bought, exposed=exposed)


def compare(parts: list[ir.Table], lacking: str) -> pd.DataFrame:
    """Compare the cases of each part with its other moments of the same kind.

    Parameters
    ----------
    parts : list of Table
        With ``experience``, ``case``, ``bought``, ``bucket``, ``kind``, ``customer_id``.
    lacking : str
        Why nothing can be answered where there is no case.

    Returns
    -------
    DataFrame
        See `one_bad_experience`; rows in the order of the parts, those without a case left out.
    """
    cells = ["experience", "case", "bucket", "kind"]
    sums = ["n", "bought", "exposed"]
    counted = [
        part.group_by(cells).agg(
            n=part.count(), bought=part.bought.sum(), exposed=part.exposed.sum()
        )
        for part in parts
    ]
    people = [part.filter(part.case == 1) for part in parts]
    people = [
        part.group_by("experience").agg(customers=part.customer_id.nunique()) for part in people
    ]
    counts, customers = (
        pd.concat([part.to_pandas() for part in tables], ignore_index=True) if tables else None
        for tables in (counted, people)
    )
    if customers is None or customers.empty:
        raise Unanswerable(lacking)
    table = customers
    levels = {"experience": table["experience"].tolist(), "case": [0, 1]}
    cells = ["experience", "case", "kind"]
    by_bucket = bucket_array(counts, cells, sums, levels=levels)  # (B, T, 2, kinds, 3)
    of_cases, every = by_bucket[:, :, 1], by_bucket.sum(axis=2)
    found, sizes = _among_like_moments(of_cases, every)
    total = of_cases.sum(axis=(0, 2))
    table["n"] = total[:, 0].astype(int)
    table["matched_share"] = sizes[0] / np.maximum(total[:, 0], 1)
    table["gone_share"] = 1 - total[:, 1] / np.maximum(total[:, 0], 1)
    enough = sizes.min(axis=0) >= LEAST
    less = Difference(-found.effect, -found.upper, -found.lower, found.p_value)
    put(table, "difference", less)
    table["otherwise_share"] = table["gone_share"] - table["difference"]
    table["q_value"] = benjamini_hochberg(np.where(enough, found.p_value, np.nan))
    figures = ["difference", "difference_lower", "difference_upper", "otherwise_share"]
    table.loc[~enough, figures] = np.nan
    verdicts = [~enough, table["q_value"] < FOUND]
    table["verdict"] = np.select(verdicts, ["untested", "found"], "none")
    return table


def _among_like_moments(cases: np.ndarray, every: np.ndarray) -> tuple[Difference, np.ndarray]:
    """Compare within kinds: the difference in buying that an experience goes with.

    Parameters
    ----------
    cases, every : ndarray, shape (B, T, kinds, 3)
        Moments, those after which a purchase followed, and those exposed, of cases and of all.

    Returns
    -------
    Difference, ndarray of int, shape (3, T)
        The difference; and how many cases, and moments without, had a counterpart, and after how
        many of both a purchase followed.

    Notes
    -----
    Weighted by overlap, as `cjlib.journey_map.like_with_like.among_like_visits`. A moment without
    an experience may be followed by one in the same visit; to leave those out would leave short
    visits, of those who come seldom. They stay, and the difference in buying is set against that in
    exposure (A. Wald, Annals of Mathematical Statistics 11, 1940). Residuals from the mean of a
    stratum of m are too small by 1 - 1/m; the error is widened for that.
    """
    met, size = cases[..., 0].sum(axis=0), every[..., 0].sum(axis=0)
    both = (met > 0) & (met < size)
    share = met * both / np.maximum(size, 1)
    mean = every.sum(axis=0) / np.maximum(size, 1)[..., None]
    apart = cases - share[..., None] * every
    sums = ((apart - mean * apart[..., :1]) * both[..., None]).sum(axis=2)
    found = ratio_test(sums[..., 1], sums[..., 2])
    parts = (met, size - met, every[..., 1].sum(axis=0))
    sizes = np.array([(part * both).sum(axis=-1) for part in parts]).astype(int)
    tells = met * (1 - share) * both
    with np.errstate(divide="ignore", invalid="ignore"):
        less = tells * (1 - 1 / np.maximum(size, 1))
        widen = np.sqrt(tells.sum(axis=-1) / less.sum(axis=-1))
        p_value = 2 * norm.sf(norm.isf(found.p_value / 2) / widen)
    low, high = ((end - found.effect) * widen for end in (found.lower, found.upper))
    return Difference(found.effect, found.effect + low, found.effect + high, p_value), sizes
