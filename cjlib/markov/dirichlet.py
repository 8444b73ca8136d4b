"""Rows of few transitions between their own counts and everybody's: how far, and how sure."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import gammaln
from scipy.stats import beta

MOST = 10.0
"""Pseudo-transitions at most. Likelihood alone asks for thousands where a segment's rows are close
to everybody's, and then a difference that thousands of its own transitions show would be gone."""


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
        Pseudo-transitions per row: few where the segment's rows lie far from the base's, up to
        ``MOST`` where they differ no more than chance makes them.

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
    return float(np.exp(minimize_scalar(loss, bounds=(-1.0, np.log(MOST)), method="bounded").x))


def at_limits(
    matrix: np.ndarray, lower: np.ndarray, upper: np.ndarray, cells: np.ndarray
) -> np.ndarray:
    """Return the matrix with one cell at a time at its limits, the rest of its row in proportion.

    Parameters
    ----------
    matrix, lower, upper : arrays, shape (S, S)
        Probabilities and their limits.
    cells : array of bool, shape (S, S)
        Which to move.

    Returns
    -------
    array, shape (2 K, S, S)
        Two for each of the K cells.
    """
    origin, target = np.nonzero(cells & (matrix < 1))
    moved = np.repeat(matrix[None], 2 * len(origin), axis=0)
    place, rows, columns = np.arange(len(moved)), np.tile(origin, 2), np.tile(target, 2)
    limit = np.concatenate([lower[origin, target], upper[origin, target]])
    moved[place, rows] *= ((1 - limit) / (1 - matrix[rows, columns]))[:, None]
    moved[place, rows, columns] = limit
    return moved


def plain_interval(counts: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Jeffreys' limits (S, S) of the rows of counts (S, S), transitions as independent."""
    tail = (1 - level) / 2
    ends = (counts + 0.5, counts.sum(-1, keepdims=True) - counts + 0.5)
    return beta.ppf(tail, *ends), beta.isf(tail, *ends)
