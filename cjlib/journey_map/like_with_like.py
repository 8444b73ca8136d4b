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

LENGTHS = (2, 3, 4, 5, 7, 11, 21)  # numbers of events at which a further class begins
TENURES = 3  # in the first journey; known for less than the look-back; for longer
ACTIVITY = (1, 4, 10)  # events within the look-back before a visit at which a class begins
OUTCOMES = {"advanced": "closed", "lost": "closed", "bought": "followed"}
"""Where visits led, and which visits tell it."""
SAMPLES = {"closed": "closed", "followed": "at_risk"}
"""Which visits tell an outcome, and which of those with a touchpoint."""
GAINED = {"advanced": "advanced", "lost": "lost", "bought": "at_risk_bought"}
"""Which of the visits with a touchpoint have an outcome that came after it."""
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
        The keys, samples and outcomes, ``purchase_step``, and what is held: the ``level`` (class of
        length and, within it, of tenure) and the ``kind`` (class of activity within levels).
    """
    visits = visits.mutate(at=visits.started.epoch_seconds().cast("int64"))
    before = ibis.window(range=(-int(lookback), 0), group_by="customer_id", order_by=visits.at)
    first = visits.at.min().over(ibis.window(group_by="customer_id"))
    visits = visits.mutate(recent=visits.events.sum().over(before) - visits.events, first=first)
    known = as_int(visits.journey > 0)
    tenure = known * (1 + as_int(visits.at - visits.first >= int(lookback)))
    level = sum(as_int(visits.events >= least) for least in LENGTHS) * TENURES + tenure
    active = sum(as_int(visits.recent >= least) for least in ACTIVITY)
    keys = [*VISIT, "bucket", "stage", *SAMPLES, *OUTCOMES, "purchase_step"]
    return visits.select(*keys, level=level, kind=level * (len(ACTIVITY) + 1) + active)


def placebos(visits: ir.Table) -> ir.Table:
    """Return a quarter of all visits, drawn by a hash, as visits with a touchpoint that is none.

    A placebo for each stage: what the comparison says of it is what it says of nothing at all.
    """
    numbers = (visits[name].cast("int64").cast("string") for name in VISIT[1:])
    name = visits.customer_id.cast("string")
    for number in numbers:
        name = name + "|" + number
    drawn = visits.filter(name.hexdigest("md5").substr(0, 1).isin(list("0123")))
    return drawn.mutate(
        touchpoint=ibis.literal(PLACEBO) + drawn.stage, step=ibis.literal(0, "int64")
    )


def with_visits(touches: ir.Table, visits: ir.Table) -> ir.Table:
    """Return what happened in visits with the facts of the visit.

    Parameters
    ----------
    touches : Table
        `VISIT`, ``touchpoint`` and its ``step`` in the visit.
    visits : Table
        Of `comparable`.

    Returns
    -------
    Table
        Also ``at_risk`` and ``at_risk_bought``: followed visits in which no purchase had happened
        when it came.
    """
    joined = touches.join(visits, VISIT)
    undecided = as_int(joined.purchase_step.isnull() | (joined.step < joined.purchase_step))
    joined = joined.mutate(at_risk=joined.followed * undecided)
    return joined.mutate(at_risk_bought=joined.at_risk * joined.bought)


def of_customers(visits: ir.Table, touched: ir.Table) -> tuple[ir.Table, ir.Table]:
    """Return what two things had in common if each customer's visits to a stage were alike.

    Parameters
    ----------
    visits : Table
        Of `comparable`.
    touched : Table
        Of `with_visits`.

    Returns
    -------
    visits, touched : Table
        A row per customer, stage and two levels (``level``, ``other``), or touchpoint and level:
        for each sample and outcome, sums of visits in the one times sums in the other, over the
        number of visits. ``closed_own`` and ``followed_own`` add up over levels to the same of
        having the touchpoint with itself.
    """
    cells, own = ["customer_id", "bucket", "stage"], ibis.window(group_by=["customer_id", "stage"])
    names = {**{sample: sample for sample in SAMPLES}, **OUTCOMES}
    sums = visits.group_by([*cells, "level"]).agg(**{name: visits[name].sum() for name in names})
    size = {sample: sums[sample].sum().over(own).nullif(0) for sample in SAMPLES}
    sums = sums.mutate(**{f"{sample}_mean": sums[sample] / size[sample] for sample in SAMPLES})
    other = sums.select(*cells, other="level", **{f"other_{name}": sums[name] for name in names})
    pairs = sums.join(other, cells)
    common = {
        name: pairs[f"{among}_mean"] * pairs[f"other_{name}"] for name, among in names.items()
    }
    had = touched.group_by([*cells, "touchpoint"]).agg(
        **{f"{sample}_own": touched[risk].sum() for sample, risk in SAMPLES.items()}
    )
    size = {f"{sample}_n": sums[sample].sum().over(own).nullif(0) for sample in SAMPLES}
    met = had.join(sums.mutate(**size), cells)
    with_it = {
        name: met[f"{among}_own"] * met[name] / met[f"{among}_n"] for name, among in names.items()
    }
    with_it |= {
        f"{sample}_own": with_it[sample] * met[f"{sample}_own"] / met[f"{sample}_n"]
        for sample in SAMPLES
    }
    return (
        pairs.select(*cells, "level", "other", **common),
        met.select(*cells, "touchpoint", "level", **with_it),
    )


def count(table: ir.Table, *cells: str) -> pd.DataFrame:
    """Add up all numbers of a table by segment, bucket and further columns."""
    keys = ["segment", "bucket", *cells]
    others = {*keys, *VISIT, "level", "kind", "step", "purchase_step"}
    names = [
        name for name in table.columns if name not in others and table[name].type().is_numeric()
    ]
    sums = {name: table[name].sum() for name in names}
    return table.group_by(keys).agg(visits=table.count(), **sums).to_pandas()


def among_like_visits(
    has: dict[str, np.ndarray], every: dict[str, np.ndarray], stages: np.ndarray, outcome: str
) -> tuple[Difference, np.ndarray]:
    """Compare with like visits: a difference of shares, within kinds weighted by overlap.

    Parameters
    ----------
    has, every : dict of str to ndarray, shapes (B, T, kinds) and (B, S, kinds)
        Counts of visits with a touchpoint, and of all visits of a stage.
    stages : ndarray of int, shape (T,)
        The stage of each touchpoint.
    outcome : str
        Visits with the touchpoint in which it had happened before the touchpoint count as neither.

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
    sample, points = OUTCOMES[outcome], np.arange(len(stages))
    with_it, gained = has[SAMPLES[sample]], has[GAINED[outcome]]
    neither, gained_neither = has[sample] - with_it, has[outcome] - gained
    size = every[sample].sum(axis=0)[stages] - neither.sum(axis=0)
    successes = every[outcome].sum(axis=0)[stages] - gained_neither.sum(axis=0)
    met = with_it.sum(axis=0)
    both = (met > 0) & (met < size)
    share, mean = (part * both / np.maximum(size, 1) for part in (met, successes))

    def of_touched(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.einsum("btk,tk->bt", counts, weights)

    def of_all(name: str, without: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return (every[name] @ weights.T)[:, stages, points] - of_touched(without, weights)

    above = of_touched(gained, 1.0 * both) - of_touched(with_it, mean)
    above -= of_all(outcome, gained_neither, share) - of_all(sample, neither, share * mean)
    below = of_touched(with_it, both - 2 * share) + of_all(sample, neither, share**2)
    parts = (met, size - met, successes)
    counted = np.array([(part * both).sum(axis=-1) for part in parts]).astype(int)
    return ratio_test(above, below), counted


def among_same_customers(
    has: dict[str, np.ndarray],
    every: dict[str, np.ndarray],
    means: dict[str, np.ndarray],
    stage_means: dict[str, np.ndarray],
    stages: np.ndarray,
    kinds: np.ndarray,
    outcome: str,
) -> tuple[Difference, np.ndarray]:
    """Compare visits of the same customers: the coefficient of having it, all else held.

    Parameters
    ----------
    has, every : dict of str to ndarray, shapes (B, T, kinds) and (B, S, kinds)
        As in `among_like_visits`.
    means, stage_means : dict of str to ndarray, shapes (B, T, levels) and (B, S, levels, levels)
        Of `of_customers`.
    stages : ndarray of int, shape (T,)
        The stage of each touchpoint.
    kinds : ndarray of int
        Those that occur, in the order of the arrays; so are their levels.
    outcome : str

    Returns
    -------
    Difference, ndarray, shape (T,)
        The difference; and what the visits tell: the squares of having it, less all that is held
        (a quarter for each visit where half have it).

    Notes
    -----
    R. Frisch and F. V. Waugh, Econometrica 1 (1933): what is held (an effect for each customer,
    class of length and tenure) is first taken out of both sides. Sums by bucket are all that this
    needs; the interval is clustered by bucket.
    """
    sample = OUTCOMES[outcome]
    own, gained = has[SAMPLES[sample]], has[GAINED[outcome]]
    held, held_levels = _held(levels_of(kinds)), _held(np.unique(levels_of(kinds)))
    squares = np.einsum("bsk,ki,kj->bsij", every[sample], held, held, optimize=True)
    squares -= held_levels.T @ stage_means[sample] @ held_levels
    held_outcome = every[outcome] @ held - stage_means[outcome].sum(axis=-1) @ held_levels
    inverse = np.linalg.pinv(squares.sum(axis=0), hermitian=True)
    of_outcome = (inverse @ held_outcome.sum(axis=0)[..., None])[stages, :, 0]
    held_it = own @ held - means[sample] @ held_levels
    of_it = (inverse[stages] @ held_it.sum(axis=0)[..., None])[..., 0]
    explained = (squares[:, stages] @ of_it[..., None])[..., 0]
    above = gained.sum(axis=-1) - means[outcome].sum(axis=-1)
    above -= (of_it * held_outcome[:, stages]).sum(axis=-1)
    above += (of_outcome * (explained - held_it)).sum(axis=-1)
    below = own.sum(axis=-1) - means[f"{sample}_own"].sum(axis=-1)
    below += (of_it * (explained - 2 * held_it)).sum(axis=-1)
    return ratio_test(above, below), below.sum(axis=0)


def levels_of(kinds: np.ndarray) -> np.ndarray:
    """Return the level of each kind: its length and tenure."""
    return kinds // (len(ACTIVITY) + 1)


def _held(levels: np.ndarray) -> np.ndarray:
    """Return what is held at each level, 0 or 1: classes of length and, beside them, of tenure."""
    length, tenure = np.divmod(levels, TENURES)
    return np.hstack([np.eye(len(LENGTHS) + 1)[length], np.eye(TENURES)[tenure][:, 1:]])
