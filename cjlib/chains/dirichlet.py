"""Rows of few transitions between their own counts and everybody's: how far, and how sure."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import gammaln
from scipy.stats import beta


def likeliest_pull(counts: np.ndarray, base: np.ndarray) -> float:
    """Return the Dirichlet concentration around ``base`` that makes the counts likeliest.

    Parameters
    ----------
    counts : array, shape (S, S)
        Transitions of a segment.
    base : array, shape (S, S)
        Everybody's probabilities.

    Returns
    -------
    float
        Pseudo-transitions per row: small where the segment's rows lie far from the base's, large
        where they differ no more than chance makes them.

    Notes
    -----
    Maximises the Dirichlet-multinomial likelihood of all rows with one concentration (empirical
    Bayes; Minka, Estimating a Dirichlet distribution, 2000).
    """
    rows = (counts.sum(1) > 0) & ~np.isnan(base).any(1) & (np.nanmax(base, axis=1) < 1)
    n, center = counts[rows], base[rows]
    used = center > 0

    def loss(log_pull: float) -> float:
        pull = np.exp(log_pull)
        prior = np.where(used, pull * center, 1.0)
        cells = np.where(used, gammaln(n + prior) - gammaln(prior), 0.0).sum()
        return -(cells + (gammaln(pull) - gammaln(pull + n.sum(1))).sum())

    if not rows.any():
        return 1.0
    return float(np.exp(minimize_scalar(loss, bounds=(-1.0, 10.0), method="bounded").x))


def shrunken_interval(
    bucket_counts: np.ndarray, matrix: np.ndarray, pull: np.ndarray | float, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the limits of probabilities shrunk towards a base.

    Parameters
    ----------
    bucket_counts : array, shape (B, S, S)
        Transitions of the segment by bucket of customers.
    matrix : array, shape (S, S)
        The shrunken probabilities.
    pull : array or float, shape (S, 1)
        Pseudo-transitions that the base is worth.
    level : float

    Returns
    -------
    lower, upper : arrays, shape (S, S)
        Of beta distributions around ``matrix`` whose size is the effective number of transitions
        (those counted, over the design effect of the row) and the pull.
    """
    trials = bucket_counts.sum(-1, keepdims=True)
    total = trials.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        raw = np.nan_to_num(bucket_counts.sum(0) / total)
        spread = ((bucket_counts - raw * trials) ** 2).sum(0).sum(-1, keepdims=True) / total
        design = np.fmax(spread / (raw * (1 - raw)).sum(-1, keepdims=True), 1.0)
        size = np.nan_to_num(total / design) + pull
    tail = (1 - level) / 2
    ends = (size * matrix + 1e-9, size * (1 - matrix) + 1e-9)
    return beta.ppf(tail, *ends), beta.isf(tail, *ends)


def plain_interval(counts: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Jeffreys' limits (S, S) of the rows of counts (S, S), transitions as independent."""
    tail = (1 - level) / 2
    ends = (counts + 0.5, counts.sum(-1, keepdims=True) - counts + 0.5)
    return beta.ppf(tail, *ends), beta.isf(tail, *ends)
