"""How sure a figure is: intervals and tests from counts by bucket of customers.

Customers, not their transitions, are the sampling unit. Each customer is hashed into a bucket; one
GROUP BY gives counts or sums by bucket (:func:`bucket_array`), and everything here needs no more:

* :func:`resample`: any statistic of the total counts (an absorption probability, a removal effect);
* :func:`proportion` and :func:`ratio`: shares and means, without resampling, many cells at once;
* :func:`difference_test`: two shares from the same buckets against each other;
* :func:`ratio_test`: a ratio of sums, such as a regression coefficient, against 0;
* :func:`benjamini_hochberg`: q-values for many tests at once.

Arrays have the buckets on their first axis, ``(B, ...)``, and add up over it. All results are
deterministic: the same counts and seed give the same interval.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

BUCKETS = 256
"""Into how many buckets customers are hashed; fewer customers are a bucket each."""
FEWEST_BUCKETS = 20
"""Buckets below which no test by exchanging or resampling them is made."""
FOUND = 0.05
"""q-value from which downwards something counts as found, on every page."""
CHUNK = 4_000_000  # numbers held at once while resampling
FEW = 5  # successes or failures, at the effective sample size, below which a cell is nearly empty


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval; arrays of one shape, NaN where the data say nothing.

    Attributes
    ----------
    estimate, lower, upper : ndarray
    replicates : ndarray or None
        The statistic on each resample, ``(R, ...)``; from :func:`resample` alone.
    """

    estimate: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    replicates: np.ndarray | None = None


@dataclass(frozen=True)
class Difference:
    """A difference with its interval and the two-sided p-value of no difference."""

    effect: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    p_value: np.ndarray


def bucket_array(
    frame: pd.DataFrame,
    cells: Sequence[str],
    values: str | Sequence[str],
    buckets: int | Sequence[int] | None = None,
    levels: dict[str, Sequence] | None = None,
) -> np.ndarray:
    """Turn the result of a GROUP BY bucket into an array with the buckets first.

    Parameters
    ----------
    frame : DataFrame
        Columns ``bucket``, those of ``cells`` and those of ``values``.
    cells : list of str
        The columns that make a cell, one axis each.
    values : str or list of str
        What to add up; a list adds a last axis.
    buckets : int or sequence of int, optional
        How many buckets there are (0 to ``buckets`` - 1), or which; by default those present.
    levels : dict, optional
        Column to its levels in the order wanted; by default the sorted levels present. Rows of
        other levels are left out.

    Returns
    -------
    ndarray of float, shape (B, *cells) or (B, *cells, values)
    """
    if buckets is None:
        buckets = np.sort(frame["bucket"].unique())
    elif isinstance(buckets, int | np.integer):
        buckets = range(buckets)
    axes = [("bucket", buckets)]
    for cell in cells:
        wanted = (levels or {}).get(cell)
        axes.append((cell, np.sort(frame[cell].dropna().unique()) if wanted is None else wanted))
    codes = [pd.Index(list(wanted)).get_indexer(frame[name]) for name, wanted in axes]
    inside = np.logical_and.reduce([code >= 0 for code in codes])
    names = [values] if isinstance(values, str) else list(values)
    array = np.zeros([len(wanted) for _, wanted in axes] + [len(names)])
    rows = frame.loc[inside, names].to_numpy(dtype=float, na_value=0.0)
    np.add.at(array, tuple(code[inside] for code in codes), rows)
    return array[..., 0] if isinstance(values, str) else array


def resample(
    counts: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    seed: int = 0,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Return the interval of any statistic of the total counts, by resampling buckets.

    The buckets are drawn with replacement. The limits are percentiles of the replicates at a level
    widened from normal to t quantiles, whose degrees of freedom follow from leaving out one bucket
    at a time: a few very active customers leave fewer of them than there are buckets. So the limits
    hold with few customers of unequal activity too, and stay within the range of the statistic.

    Parameters
    ----------
    counts : ndarray, shape (B, ...)
        Counts or sums by bucket.
    statistic : callable
        From total counts with a leading axis of replicates, ``(R, ...)``, to ``(R, *out)``.
    seed : int
        Of the draws.
    n_resamples : int
        How many draws.
    level : float
        Of the interval.

    Returns
    -------
    Interval
        Arrays of shape ``out``. Replicates where the statistic is undefined (NaN) are left out;
        where more than half of them are, so is the interval.

    Notes
    -----
    The expanded percentile interval of T. C. Hesterberg, The American Statistician 69 (2015),
    section 5.3. Where a count is 0 in every bucket no resample can change that: use
    :func:`proportion` for single shares.
    """
    counts = np.asarray(counts, dtype=float)
    size, shape = len(counts), counts.shape[1:]
    flat = counts.reshape(size, -1)
    total = flat.sum(axis=0)
    step = max(1, CHUNK // max(1, flat.shape[1]))

    def evaluate(totals: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(statistic(totals.reshape(-1, *shape)), dtype=float)

    estimate = evaluate(total[None])[0]
    weights = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), n_resamples)
    replicates = np.concatenate(
        [evaluate(weights[i : i + step] @ flat) for i in range(0, n_resamples, step)]
    )
    without = np.concatenate([evaluate(total - flat[i : i + step]) for i in range(0, size, step)])
    lower, upper = _expanded_percentiles(replicates, without, level)
    return Interval(estimate, lower, upper, replicates)


def proportion(
    successes: np.ndarray,
    trials: np.ndarray,
    *,
    level: float = 0.95,
    alike: float | None = None,
) -> Interval:
    """Return shares (sum of successes over sum of trials) with their intervals, cell by cell.

    The interval is Jeffreys' (quantiles of a beta distribution) at the effective sample size: the
    trials divided by the design effect, which is the variance of the ratio over the buckets against
    the binomial variance, and by the square of t over z, t with the degrees of freedom the buckets
    leave. Where a cell is empty, full or nearly so, the buckets cannot tell its design effect; the
    cells of the array that can tell theirs stand in, and failing them ``alike``.

    Parameters
    ----------
    successes, trials : ndarray, shape (B, ...)
        Counts by bucket; shapes must broadcast against each other.
    level : float
        Of the interval.
    alike : float, optional
        The design effect to take where no cell can tell its own: 1 when every trial is a customer;
        by default all trials of a bucket count as one, which is cautious.

    Returns
    -------
    Interval
        NaN where there are no trials. Without successes the lower limit is 0, without failures the
        upper limit is 1.

    Notes
    -----
    E. L. Korn and B. I. Graubard, Survey Methodology 24 (1998), with the interval recommended by
    L. Brown, T. Cai and A. DasGupta, Statistical Science 16 (2001), in place of Clopper-Pearson.
    """
    successes, trials = _paired(successes, trials)
    share, n, influence = _linearised(successes, trials)
    with np.errstate(divide="ignore", invalid="ignore"):
        design, few = _design_effect(share, n, influence, trials, alike)
        tail = (1 - level) / 2
        widen = scipy.stats.t.isf(tail, _degrees_of_freedom(influence)) / scipy.stats.norm.isf(tail)
        size = n / design / np.where(few, 1.0, widen**2)
        lower = scipy.special.betaincinv(share * size + 0.5, (1 - share) * size + 0.5, tail)
        upper = scipy.special.betaincinv(share * size + 0.5, (1 - share) * size + 0.5, 1 - tail)
    lower = np.where(share == 0, 0.0, lower)
    upper = np.where(share == 1, 1.0, upper)
    return Interval(share, lower, upper)


def ratio(
    numerator: np.ndarray,
    denominator: np.ndarray,
    *,
    level: float = 0.95,
    scale: tuple[float, float] = (-np.inf, np.inf),
) -> Interval:
    """Return ratios of sums, such as a mean sentiment or a mean value, with their intervals.

    The variance is that of the ratio linearised over the buckets, corrected for the weight of each
    bucket (HC2), the quantile that of a t distribution with the degrees of freedom the buckets
    leave: a few very active customers leave fewer than there are buckets.

    Parameters
    ----------
    numerator, denominator : ndarray, shape (B, ...)
        Sums and counts by bucket; shapes must broadcast against each other.
    level : float
        Of the interval.
    scale : tuple of float
        Where the scale of what is averaged ends, and so the limits.

    Returns
    -------
    Interval
        In the unit of the numerator per denominator; NaN where the denominator is 0, without limits
        (NaN) where a single bucket holds everything.

    Notes
    -----
    R. M. Bell and D. F. McCaffrey, Survey Methodology 28 (2002).
    """
    estimate, _, influence = _linearised(*_paired(numerator, denominator))
    half = _half_width(influence, level)
    return Interval(estimate, (estimate - half).clip(*scale), (estimate + half).clip(*scale))


def difference_test(
    successes_a: np.ndarray,
    trials_a: np.ndarray,
    successes_b: np.ndarray,
    trials_b: np.ndarray,
    *,
    level: float = 0.95,
) -> Difference:
    """Test share a minus share b, both counted in the same buckets.

    A customer may be in both groups: what a bucket adds to the one share and to the other is taken
    together, so that the dependence is accounted for. In a nearly empty cell the variance is at
    least that of Jeffreys' estimate at the effective sample size.

    Parameters
    ----------
    successes_a, trials_a, successes_b, trials_b : ndarray, shape (B, ...)
        Counts by bucket.
    level : float
        Of the interval.

    Returns
    -------
    Difference
        Effect in the unit of the shares; everything NaN where either group has no trials.
    """
    shares, influences, added = [], [], 0.0
    for pair in ((successes_a, trials_a), (successes_b, trials_b)):
        successes, trials = _paired(*pair)
        share, n, change = _linearised(successes, trials)
        change = np.nan_to_num(change)  # a group within one bucket
        with np.errstate(divide="ignore", invalid="ignore"):
            design, few = _design_effect(share, n, change, trials, None)
            size = n / design
            smoothed = (share * size + 0.5) / (size + 1)
            least = smoothed * (1 - smoothed) / size
        added = added + np.where(few, np.maximum(least - (change**2).sum(axis=0), 0), 0.0)
        shares.append(share)
        influences.append(change)
    effect, influence = shares[0] - shares[1], influences[0] - influences[1]
    df = _degrees_of_freedom(influence)
    error = np.sqrt((influence**2).sum(axis=0) + added)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = 2 * scipy.stats.t.sf(np.abs(effect) / error, df)
    half = scipy.stats.t.isf((1 - level) / 2, df) * error
    return Difference(effect, effect - half, effect + half, p_value)


def ratio_test(
    numerator: np.ndarray, denominator: np.ndarray, *, level: float = 0.95
) -> Difference:
    """Test whether a ratio of sums, such as a difference within strata, is 0.

    Parameters
    ----------
    numerator, denominator : ndarray, shape (B, ...)
        Sums by bucket. Of a regression coefficient: products of the regressor's residuals with the
        outcome's, and their squares.
    level : float
        Of the interval, which is that of :func:`ratio`.

    Returns
    -------
    Difference
        NaN where the denominator is 0, without limits where a single bucket holds everything.
    """
    effect, _, influence = _linearised(*_paired(numerator, denominator))
    half, df = _half_width(influence, level), _degrees_of_freedom(influence)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = 2 * scipy.stats.t.sf(np.abs(effect) / np.sqrt((influence**2).sum(axis=0)), df)
    return Difference(effect, effect - half, effect + half, p_value)


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Return the q-values of many tests: the false discovery rate at which each would be found.

    Parameters
    ----------
    p_values : array-like
        Any shape; NaN (not tested) stays NaN and does not count as a test.

    Returns
    -------
    ndarray of the same shape

    Notes
    -----
    Y. Benjamini and Y. Hochberg, Journal of the Royal Statistical Society B 57 (1995).
    """
    p_values = np.asarray(p_values, dtype=float)
    q_values = np.full(p_values.shape, np.nan)
    tested = ~np.isnan(p_values)
    if tested.any():
        q_values[tested] = scipy.stats.false_discovery_control(p_values[tested], method="bh")
    return q_values


def _paired(above: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.broadcast_arrays(np.asarray(above, dtype=float), np.asarray(below, dtype=float))


def _linearised(above: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return ratio, total below and each bucket's influence on the ratio (B, ...).

    The squares of the influences add up to the variance of the ratio. Each is divided by the root
    of one minus the bucket's weight (HC2); a bucket that holds everything has none.
    """
    total = below.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = above.sum(axis=0) / total
        weight = below / total
        influence = (above - estimate * below) / total / np.sqrt(1 - weight)
    return estimate, total, influence


def _degrees_of_freedom(influence: np.ndarray) -> np.ndarray:
    """Return how many degrees of freedom the variance has, by Satterthwaite from the buckets.

    As many as there are buckets when the influences are normal, few when a few buckets rule.
    """
    square, fourth = (influence**2).sum(axis=0), (influence**4).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        df = 2 * square**2 / (fourth - square**2 / len(influence))
    return np.where(square > 0, np.clip(np.where(df > 0, df, 1e6), 1.0, 1e6), 1e6)


def _half_width(influence: np.ndarray, level: float) -> np.ndarray:
    error = np.sqrt((influence**2).sum(axis=0))
    return scipy.stats.t.isf((1 - level) / 2, _degrees_of_freedom(influence)) * error


def _design_effect(
    share: np.ndarray,
    n: np.ndarray,
    influence: np.ndarray,
    trials: np.ndarray,
    alike: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the design effects (at least 1) and where they are borrowed from other cells."""
    binomial = share * (1 - share) / n
    own = np.maximum((influence**2).sum(axis=0) / binomial, 1.0)
    few = ~(share * (1 - share) * n / own >= FEW)  # NaN counts as few
    most = (trials**2).sum(axis=0) / n  # all trials of a bucket alike
    solid = ~few
    borrowed = np.average(own[solid], weights=n[solid]) if solid.any() else np.nan
    fallback = most if alike is None else np.full_like(most, alike)
    borrowed = np.where(np.isnan(borrowed), fallback, np.minimum(borrowed, most))
    own = np.where(np.isfinite(own), own, 1.0)
    return np.where(few, np.maximum(own, np.maximum(borrowed, 1.0)), own), few


def _expanded_percentiles(
    replicates: np.ndarray, without: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile limits at the level widened by the degrees of freedom left."""
    present = np.isfinite(without)
    mean = np.where(present, without, 0).sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    df = _degrees_of_freedom(np.where(present, without - mean, 0.0))
    tail = scipy.stats.norm.sf(scipy.stats.t.isf((1 - level) / 2, df))
    ordered = np.sort(replicates, axis=0)  # NaN last
    defined = np.isfinite(replicates).sum(axis=0)

    def quantile(probability: np.ndarray) -> np.ndarray:
        place = probability * np.maximum(defined - 1, 0)
        below = np.floor(place).astype(int)
        above = np.minimum(below + 1, np.maximum(defined - 1, 0))
        low, high = (np.take_along_axis(ordered, i[None], axis=0)[0] for i in (below, above))
        return np.where(
            2 * defined >= len(replicates), low + (place - below) * (high - low), np.nan
        )

    return quantile(tail), quantile(1 - tail)
