"""Like with like: visits in which something happened against visits as like them as can be.

The one comparison of visits, for pain points, moments of truth and cards. It is made twice, since
either way alone is misled by something the other is not:

* *Like visits*: visits of the same stage, of as many events, whose customers had been known for as
  long and had been as active within the look-back before. Strata, each weighted by how much it can
  tell (overlap). It holds what is seen, and misses what sets customers apart and is not: those of a
  busy customer who prefers a touchpoint differ in the first visit already, before the log shows it.
* *The same customers*: a regression of a customer's visits to a stage on what happened in them,
  beside their length and how long the customer had been known, with an effect for each customer and
  stage. Whatever sets customers apart for good cancels. It needs customers with visits of both
  kinds, and misses what changes within a customer; so nothing is found unless both find it.

A visit is compared with those of as many events *in all*, its own touchpoint among them. Among
visits of one length a touchpoint stands in place of another one, so nothing is ascribed to it that
goes with visits of that length; compared by its *other* events it would be blamed for the length.
Of activity only what lies before a visit is used: what comes after it may be its consequence.
"""

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from cjlib.journey_map.counts import VISIT, as_int
from cjlib.uncertainty import Difference, ratio_test

LENGTHS = (2, 3, 4, 5, 6, 8, 11, 16, 23)  # numbers of events at which a further class begins
ACTIVITY = (1, 4, 10)  # the same, of events within the look-back before a visit
TENURES = 3  # the customer's first journey; known for less than the look-back; for longer
KINDS = (len(LENGTHS) + 1) * TENURES * (len(ACTIVITY) + 1)
HELD = [f"held_{i}" for i in range(len(LENGTHS) + TENURES - 1)]
OUTCOMES = {"advanced": "closed", "lost": "closed", "bought": "followed"}
"""Where visits led, and which visits tell it."""
SAMPLES = {"closed": "closed", "followed": "at_risk"}
"""Which visits tell an outcome, and which of those with a touchpoint."""
PLACEBO = "placebo of "


def comparable(visits: ir.Table, lookback: float) -> ir.Table:
    """Return visits with all that the comparison holds fixed.

    Parameters
    ----------
    visits : Table
        With ``closed``, ``followed`` and the outcomes, 0 or 1.
    lookback : float
        Seconds before a visit in which earlier activity counts.

    Returns
    -------
    Table
        Also ``kind`` (0 to `KINDS` - 1: length, tenure and earlier activity) and, for either
        sample, its outcomes and what is held as deviations from the mean of the same customer's
        visits to the stage: ``closed_lost``, ``closed_held_0``, …
    """
    visits = visits.mutate(at=visits.started.epoch_seconds().cast("int64"))
    before = ibis.window(range=(-int(lookback), 0), group_by="customer_id", order_by=visits.at)
    first = visits.at.min().over(ibis.window(group_by="customer_id"))
    visits = visits.mutate(recent=visits.events.sum().over(before) - visits.events, first=first)
    known = as_int(visits.journey > 0)
    held = [as_int(visits.events >= least) for least in LENGTHS]
    held += [known, known * as_int(visits.at - visits.first >= int(lookback))]
    visits = visits.mutate(**dict(zip(HELD, held, strict=True)))
    tenure = visits[HELD[-2]] + visits[HELD[-1]]
    length = sum(visits[name] for name in HELD[: len(LENGTHS)])
    active = sum(as_int(visits.recent >= least) for least in ACTIVITY)
    own = ibis.window(group_by=["customer_id", "stage"])
    beyond = {}
    for sample in SAMPLES:
        among, size = visits[sample], visits[sample].sum().over(own)
        for name in [*HELD, *_outcomes(sample)]:
            mean = (visits[name] * among).sum().over(own) / size
            beyond[f"{sample}_{name}"] = (among * (visits[name] - mean)).fill_null(0.0)
        beyond[f"{sample}_size"] = size
    kind = (length * TENURES + tenure) * (len(ACTIVITY) + 1) + active
    return visits.mutate(kind=kind, **beyond).drop("at", "recent", "first")


def placebos(visits: ir.Table) -> ir.Table:
    """Return a quarter of all visits, drawn by a hash, as visits with a touchpoint that is none.

    A placebo for each stage: what the comparison says of it is what it says of nothing at all.
    """
    numbers = (visits[name].cast("int64").cast("string") for name in VISIT[1:])
    name = visits.customer_id.cast("string")
    for number in numbers:
        name = name + "|" + number
    drawn = visits.filter(name.hexdigest("md5").substr(0, 1).isin(list("0123")))
    return drawn.mutate(touchpoint=ibis.literal(PLACEBO) + drawn.stage, step=ibis.literal(0, "int64"))


def with_visits(touches: ir.Table, visits: ir.Table) -> ir.Table:
    """Return what happened in visits with the facts of the visit.

    Parameters
    ----------
    touches : Table
        `VISIT`, ``touchpoint`` and its ``step`` in the visit.
    visits : Table
        Of `comparable`, with the ``purchase_step``.

    Returns
    -------
    Table
        Also ``at_risk`` and ``at_risk_bought``: followed visits in which no purchase had happened
        when it came; and for either sample ``_own``, the deviation of having it from the mean of
        the same customer's visits to the stage.
    """
    joined = touches.join(visits, VISIT)
    undecided = as_int(joined.purchase_step.isnull() | (joined.step < joined.purchase_step))
    joined = joined.mutate(at_risk=joined.followed * undecided)
    joined = joined.mutate(at_risk_bought=joined.at_risk * joined.bought)
    same = ibis.window(group_by=["customer_id", "touchpoint"])
    added = {}
    for sample, among in SAMPLES.items():
        with_it, size = joined[among].sum().over(same), joined[f"{sample}_size"]
        added[f"{sample}_own"] = (joined[among] * (1 - with_it / size)).fill_null(0.0)
    return joined.mutate(**added)


def count_visits(visits: ir.Table) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Count visits by segment, bucket and stage: by kind, and as sums of products within customers.

    Parameters
    ----------
    visits : Table
        Of `comparable`, with ``segment``.
    """
    cells = ["segment", "bucket", "stage"]
    names = [*SAMPLES, *OUTCOMES]
    by_kind = visits.group_by([*cells, "kind"]).agg(**{name: visits[name].sum() for name in names})
    products = {
        f"{sample}_{one}_{other}": (visits[f"{sample}_{one}"] * visits[f"{sample}_{other}"]).sum()
        for sample in SAMPLES
        for i, one in enumerate(HELD)
        for other in [*HELD[i:], *_outcomes(sample)]
    }
    return by_kind.to_pandas(), visits.group_by(cells).agg(**products).to_pandas()


def count_touched(touched: ir.Table) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Count visits by segment, bucket and touchpoint, as `count_visits` does.

    Parameters
    ----------
    touched : Table
        Of `with_visits`, with ``segment``.
    """
    cells = ["segment", "bucket", "touchpoint"]
    names = [*SAMPLES, *OUTCOMES, "at_risk", "at_risk_bought"]
    by_kind = touched.group_by([*cells, "kind"]).agg(
        visits=touched.count(), **{name: touched[name].sum() for name in names}
    )
    sums = {}
    for sample, among in SAMPLES.items():
        for name in [*HELD, *_outcomes(sample)]:
            sums[f"{sample}_{name}"] = (touched[f"{sample}_{name}"] * touched[among]).sum()
        sums[f"{sample}_own"] = touched[f"{sample}_own"].sum()
    return by_kind.to_pandas(), touched.group_by(cells).agg(**sums).to_pandas()


def among_like_visits(
    has: dict[str, np.ndarray], every: dict[str, np.ndarray], outcome: str, among: str
) -> tuple[Difference, np.ndarray]:
    """Compare with like visits: a difference of shares, within kinds weighted by overlap.

    Parameters
    ----------
    has, every : dict of str to ndarray, shape (B, T, kinds)
        Counts of visits with the touchpoint, and of all visits of its stage.
    outcome, among : str
        Keys of both.

    Returns
    -------
    Difference, ndarray of int, shape (3, T)
        The difference; and of the visits that had a counterpart how many were with it, without it,
        and how many had the outcome.

    Notes
    -----
    The least-squares coefficient with an effect for each stratum, which weighs a stratum by the
    variance in it of having the touchpoint. F. Li, K. L. Morgan and A. M. Zaslavsky, Journal of
    the American Statistical Association 113 (2018).
    """
    size, met = every[among].sum(axis=0), has[among].sum(axis=0)
    both = (met > 0) & (met < size)
    share, mean = (
        np.divide(part, size, out=np.zeros_like(size), where=size > 0)
        for part in (met, every[outcome].sum(axis=0))
    )
    above = has[outcome] - share * every[outcome] - mean * has[among] + share * mean * every[among]
    below = has[among] * (1 - 2 * share) + share**2 * every[among]
    found = ratio_test((above * both).sum(axis=-1), (below * both).sum(axis=-1))
    parts = (met, size - met, every[outcome].sum(axis=0))
    return found, np.array([(part * both).sum(axis=-1) for part in parts]).astype(int)


def among_same_customers(
    has: dict[str, np.ndarray], every: dict[str, np.ndarray], outcome: str, sample: str
) -> tuple[Difference, np.ndarray]:
    """Compare visits of the same customers: the coefficient of having it, all else held.

    Parameters
    ----------
    has, every : dict of str to ndarray, shape (B, T)
        Sums of products within customers, of `count_touched` and, for the stage of each touchpoint,
        `count_visits`.
    outcome : str
    sample : str
        One of `SAMPLES`.

    Returns
    -------
    Difference, ndarray, shape (T,)
        The difference; and what the visits tell: the squares of having it, less all that is held
        (a quarter for each visit where half have it).

    Notes
    -----
    R. Frisch and F. V. Waugh, Econometrica 1 (1933): what is held is first taken out of both sides.
    Sums by bucket are all that this needs; the interval is clustered by bucket.
    """
    held = range(len(HELD))
    squares = [[every[f"{sample}_{HELD[min(i, j)]}_{HELD[max(i, j)]}"] for j in held] for i in held]
    squares = np.moveaxis(np.array(squares), (0, 1), (-2, -1))
    with_outcome = np.stack([every[f"{sample}_{name}_{outcome}"] for name in HELD], axis=-1)
    with_it = np.stack([has[f"{sample}_{name}"] for name in HELD], axis=-1)
    inverse = np.linalg.pinv(squares.sum(axis=0), hermitian=True)
    of_it, of_outcome = (
        (inverse @ part.sum(axis=0)[..., None])[..., 0] for part in (with_it, with_outcome)
    )
    explained = (squares @ of_it[..., None])[..., 0]
    above = has[f"{sample}_{outcome}"] + (of_outcome * (explained - with_it)).sum(axis=-1)
    below = has[f"{sample}_own"] + (of_it * (explained - 2 * with_it)).sum(axis=-1)
    above -= (of_it * with_outcome).sum(axis=-1)
    return ratio_test(above, below), below.sum(axis=0)


def _outcomes(sample: str) -> list[str]:
    return [outcome for outcome, among in OUTCOMES.items() if among == sample]
