"""Does the next stage depend on a group, given the context: one test for every Markov question.

For memory the group is the stage before last, for stationarity the period, for homogeneity the
segment (`cjlib.markov.markov_tests`). All work on one array of counts by bucket, group, context,
outcome.

The asymptotic p-value takes transitions as independent; a customer's are not. Beside it stands a
permutation p-value by customer: were the groups alike, what the customers of a bucket do more or
less than the shared chain says would as well have gone the other way, so the signs of the buckets'
departures are exchanged at random and the statistic is taken again (for two segments of equal
customers this swaps their labels).
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from cjlib.uncertainty import FEWEST_BUCKETS, Interval, ratio


@dataclass(frozen=True)
class ChainTest:
    """The outcome of one test of independence of group and next stage, given the context.

    Attributes
    ----------
    g2, x2 : float
        Likelihood-ratio and Pearson statistics.
    df : int
        Degrees of freedom on the observed support: an outcome that no group shows after a context
        adds none.
    p_asymptotic, p_permutation : float
        The latter NaN with fewer than 20 buckets.
    effect : float
        Total variation: the share of transitions that would have to go elsewhere for the groups
        to be alike.
    effect_by_chance : float
        The mean of the same under exchanged signs: what noise alone would show.
    bic_gain : float
        By how much the larger model improves Schwarz's criterion; above 0 it is preferred.
    n : int
        Transitions.
    buckets : int
    """

    g2: float
    x2: float
    df: int
    p_asymptotic: float
    p_permutation: float
    effect: float
    effect_by_chance: float
    bic_gain: float
    n: int
    buckets: int

    @property
    def p_value(self) -> float:
        """The permutation p-value, or the asymptotic one where there is none."""
        return self.p_asymptotic if np.isnan(self.p_permutation) else self.p_permutation


def expected_counts(counts: np.ndarray) -> np.ndarray:
    """Return what is expected of groups alike: (..., G, C, J) from the same shape."""
    groups, outcomes = counts.sum(-1, keepdims=True), counts.sum(-3, keepdims=True)
    contexts = outcomes.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(contexts > 0, groups * outcomes / contexts, 0.0)


def departures(counts: np.ndarray) -> np.ndarray:
    """Return how far each bucket departs from the shared chain, as the fit sees it.

    Summed over buckets this is observed minus expected. Signs may be exchanged only after the
    part that re-estimating the shared chain would absorb is taken out of every bucket alike.
    """
    total = counts.sum(0)
    outcomes = total.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        chain = np.nan_to_num(outcomes / outcomes.sum(-1, keepdims=True))
        share = np.nan_to_num(total.sum(-1) / total.sum((0, -1)))
    raw = counts - counts.sum(-1, keepdims=True) * chain
    return raw - share[None, ..., None] * raw.sum(1, keepdims=True)


def independence_test(counts: np.ndarray, *, n_permutations: int = 999, seed: int = 0) -> ChainTest:
    """Test whether the outcome depends on the group, given the context.

    Parameters
    ----------
    counts : array, shape (B, G, C, J)
        Transitions by bucket, group, context and outcome.
    n_permutations : int
    seed : int
        Of the signs.

    Returns
    -------
    ChainTest

    Notes
    -----
    Statistics: Anderson & Goodman (1957); Kullback, Kupperman & Ku, Technometrics 4 (1962).
    """
    counts = np.asarray(counts, float)
    total = counts.sum(0)
    n = total.sum()
    expected = expected_counts(total)
    inside = expected > 0
    seen = total > 0
    g2 = 2 * (total[seen] * np.log(total[seen] / expected[seen])).sum()
    inverse = np.where(inside, 1 / np.where(inside, expected, 1.0), 0.0)
    gap = total - expected
    x2 = (gap**2 * inverse).sum()
    groups = (total.sum(-1) > 0).sum(0)
    outcomes = (total.sum(0) > 0).sum(-1)
    df = int((np.maximum(groups - 1, 0) * np.maximum(outcomes - 1, 0)).sum())
    p_permutation = by_chance = np.nan
    if len(counts) >= FEWEST_BUCKETS and df and n_permutations:
        moved = departures(counts).reshape(len(counts), -1)
        generator = np.random.default_rng(seed)
        exceeding, distance = 1, 0.0
        for start in range(0, n_permutations, 128):
            size = (min(128, n_permutations - start), len(counts))
            signs = generator.integers(0, 2, size) * 2.0 - 1.0
            again = signs @ moved
            values = again**2 @ inverse.ravel()
            exceeding += int((values >= x2 * (1 - 1e-12)).sum())
            distance += np.abs(again).sum()
        p_permutation = exceeding / (n_permutations + 1)
        by_chance = distance / n_permutations / (2 * n)
    return ChainTest(
        g2=float(g2),
        x2=float(x2),
        df=df,
        p_asymptotic=float(chi2.sf(g2, df)) if df else np.nan,
        p_permutation=p_permutation,
        effect=float(np.abs(gap).sum() / (2 * n)) if n else np.nan,
        effect_by_chance=float(by_chance),
        bic_gain=float(g2 - df * np.log(n)) if n else np.nan,
        n=int(n),
        buckets=len(counts),
    )


def held_out_gain(counts: np.ndarray, *, folds: int = 10, seed: int = 0) -> Interval:
    """Return what knowing the group saves, in nats per transition, on customers not learned from.

    Parameters
    ----------
    counts : array, shape (B, G, C, J)
    folds : int
    seed : int
        Of the split of buckets.

    Returns
    -------
    Interval
        Mean of the log-probability with the group minus without it; NaN with fewer buckets than
        folds. The chain without groups has Jeffreys' prior, the one with groups is shrunk towards
        it by as many pseudo-transitions as there are outcomes.
    """
    size = len(counts)
    if size < max(folds, 2):
        return Interval(np.array(np.nan), np.array(np.nan), np.array(np.nan))
    fold = np.random.default_rng(seed).permutation(size) % folds
    total = counts.sum(0)
    possible = total.sum(0) > 0
    width = np.maximum(possible.sum(-1, keepdims=True), 1)
    # a context that only one group ever comes to has nothing to tell apart
    several = ((total.sum(-1) > 0).sum(0) > 1)[:, None]
    gains = np.zeros(size)
    for part in range(folds):
        learned = counts[fold != part].sum(0)
        pooled = learned.sum(0) + 0.5 * possible
        with np.errstate(divide="ignore", invalid="ignore"):
            shared = np.nan_to_num(pooled / pooled.sum(-1, keepdims=True))
            own = (learned + width * shared) / (learned.sum(-1, keepdims=True) + width)
            saved = np.where(possible & several, np.log(own) - np.log(shared), 0.0)
        held = counts[fold == part]
        gains[fold == part] = (held * saved).sum((1, 2, 3))
    return ratio(gains, counts.sum((1, 2, 3)))
