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

import numpy as np
import pandas as pd
from scipy.stats import chi2

from cjlib.uncertainty import FEWEST_BUCKETS, Interval, bucket_array, ratio

FOLDS = 10  # parts of the customers for the held-out comparison


def count_array(moves: pd.DataFrame, group: str) -> tuple[np.ndarray, list, list, list]:
    """Return counts (B, G, C, J) of a table of transitions, and the levels of its axes."""
    axes = {
        name: sorted(moves[name].dropna().unique()) for name in (group, "from_stage", "to_stage")
    }
    return bucket_array(moves, list(axes), "n", levels=axes), *axes.values()


def expected_counts(counts: np.ndarray) -> np.ndarray:
    """Return what is expected of groups alike: (..., G, C, J) from the same shape."""
    groups, outcomes = counts.sum(-1, keepdims=True), counts.sum(-3, keepdims=True)
    contexts = outcomes.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(contexts > 0, groups * outcomes / contexts, 0.0)


def pooled(values: np.ndarray, strata: int) -> np.ndarray:
    """Add up figures (..., C, J) over the strata that the contexts are divided into, first axis."""
    *lead, contexts, outcomes = values.shape
    return values.reshape(*lead, strata, contexts // strata, outcomes).sum(-3)


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


def scores_by_bucket(counts: np.ndarray, strata: int = 1) -> np.ndarray:
    """Return what each bucket adds to observed minus expected, in standard errors (B, G, C, J).

    Where the contexts are those of several strata, like is expected of like, and added up.

    Errors are by customers, and at least those of independent moves: where few moves are expected
    and none is seen, the buckets hardly differ, which is no certainty. NaN where there is none.
    """
    total, moved = counts.sum(0), pooled(departures(counts), strata)
    expected, rows = expected_counts(total), total.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        binomial = expected * (1 - expected / rows) * (1 - rows / rows.sum(0))
        binomial = pooled(np.nan_to_num(binomial), strata)
        spread = np.sqrt(np.fmax((moved**2).sum(0), binomial))
        return np.where(spread > 0, moved / spread, np.nan)


def independence_test(
    counts: np.ndarray, *, strata: int = 1, n_permutations: int = 999, seed: int = 0
) -> dict:
    """Test whether the outcome depends on the group, given the context.

    Parameters
    ----------
    counts : array, shape (B, G, C, J)
        Transitions by bucket, group, context and outcome.
    strata : int
        Into how many strata the contexts are divided (first axis). The statistic and its asymptotic
        p-value are then those of all strata's tables; the p-value by permutation and the effects
        are those of the departures from like to like, added up over strata.
    n_permutations : int
    seed : int
        Of the signs.

    Returns
    -------
    dict
        statistic (likelihood ratio), df (on the observed support: an outcome that no group shows
        after a context adds none), p_value (by permutation, or the asymptotic one with fewer than
        20 buckets), effect (total variation: the share of transitions that would have to go
        elsewhere for the groups to be alike), effect_by_chance (its mean under exchanged signs:
        what noise alone would show), p_asymptotic, n (transitions) and buckets.

    Notes
    -----
    Anderson & Goodman (1957); Kullback, Kupperman & Ku, Technometrics 4 (1962). Under exchanged
    signs Pearson's statistic stands for the likelihood ratio, which takes far longer.
    """
    total = np.asarray(counts, float).sum(0)
    n, expected = total.sum(), expected_counts(total)
    seen = total > 0
    statistic = 2 * (total[seen] * np.log(total[seen] / expected[seen])).sum()
    gap, expected = pooled(total - expected, strata), pooled(expected, strata)
    inverse = 1 / np.where(expected > 0, expected, np.inf)
    groups, outcomes = (total.sum(-1) > 0).sum(0), (total.sum(0) > 0).sum(-1)
    df = int((np.maximum(groups - 1, 0) * np.maximum(outcomes - 1, 0)).sum())
    p_value = p_asymptotic = float(chi2.sf(statistic, df)) if df else np.nan
    by_chance = np.nan
    if len(counts) >= FEWEST_BUCKETS and df:
        moved = pooled(departures(counts) * _fitted(counts), strata).reshape(len(counts), -1)
        generator, exceeding, distance = np.random.default_rng(seed), 1, 0.0
        for start in range(0, n_permutations, 128):
            size = (min(128, n_permutations - start), len(counts))
            again = (generator.integers(0, 2, size) * 2.0 - 1.0) @ moved
            values = again**2 @ inverse.ravel()
            exceeding += int((values >= (gap**2 * inverse).sum() * (1 - 1e-12)).sum())
            distance += np.abs(again).sum()
        p_value = exceeding / (n_permutations + 1)
        by_chance = float(distance / n_permutations / (2 * n))
    return {
        "statistic": float(statistic),
        "df": df,
        "p_value": p_value,
        "effect": float(np.abs(gap).sum() / (2 * n)) if n else np.nan,
        "effect_by_chance": by_chance,
        "p_asymptotic": p_asymptotic,
        "n": int(n),
        "buckets": len(counts),
    }


def _fitted(counts: np.ndarray) -> np.ndarray:
    """Return by how much the fit shrinks departures (C, 1): n / (n - 1), n buckets of equal moves.

    Once for the chain fitted, once for the margins held: as roots, together. Nothing in one table
    of many customers, but it adds up over the thin tables of many strata.
    """
    moves = counts.sum((1, 3))
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.nan_to_num(moves.sum(0) ** 2 / (moves**2).sum(0))
    size = np.maximum(size, 2)
    return (size / (size - 1))[:, None]


def held_out_gain(counts: np.ndarray, *, seed: int = 0) -> Interval:
    """Return what knowing the group saves, in nats per transition, on customers not learned from.

    Parameters
    ----------
    counts : array, shape (B, G, C, J)
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
    if size < FOLDS:
        return Interval(np.array(np.nan), np.array(np.nan), np.array(np.nan))
    fold = np.random.default_rng(seed).permutation(size) % FOLDS
    total = counts.sum(0)
    possible = total.sum(0) > 0
    width = np.maximum(possible.sum(-1, keepdims=True), 1)
    # a context that only one group ever comes to has nothing to tell apart
    several = ((total.sum(-1) > 0).sum(0) > 1)[:, None]
    gains = np.zeros(size)
    for part in range(FOLDS):
        learned = counts[fold != part].sum(0)
        pooled = learned.sum(0) + 0.5 * possible
        with np.errstate(divide="ignore", invalid="ignore"):
            shared = np.nan_to_num(pooled / pooled.sum(-1, keepdims=True))
            own = (learned + width * shared) / (learned.sum(-1, keepdims=True) + width)
            saved = np.where(possible & several, np.log(own) - np.log(shared), 0.0)
        held = counts[fold == part]
        gains[fold == part] = (held * saved).sum((1, 2, 3))
    return ratio(gains, counts.sum((1, 2, 3)))
