r"""The removal effect: how much less often customers would buy if a level led nowhere.

A Markov chain of order k walks over the last k touches of a path, from the start to a purchase or
to nothing. Removing a level sends everyone who reaches it to nothing; its removal effect is the
relative loss in the probability of a purchase (E. Anderl et al., Mapping the customer journey,
International Journal of Research in Marketing 33, 2016). Other implementations simulate this; here
one solve gives the expected visits :math:`N = (I - Q)^{-1}`. Without the states A that hold a
level they are :math:`N - N_{\cdot A} N_{AA}^{-1} N_{A\cdot}`, by the inverse of a block matrix.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from cjlib.attribution.touch_paths import NONE
from cjlib.errors import ParameterError
from cjlib.markov.absorption import solve_walk


@dataclass(frozen=True)
class RemovalEffect:
    """Share the purchases in proportion to the removal effects of the levels.

    Parameters
    ----------
    order : int
        How many of the last touches decide the next step, 1 or more. The first touches of a path
        are states of their own (fewer touches are known then). Touches are not merged: a level
        twice in a row is a step from the level to itself.
    """

    order: int = 1

    def __post_init__(self):
        if self.order < 1:
            raise ParameterError(f"order: {self.order!r} touches of memory; write 1 or more")

    def totals(self, paths: pd.DataFrame, touches: pd.DataFrame) -> tuple[np.ndarray, Callable]:
        """Return totals by bucket, and the function from their sum to the credit.

        Parameters
        ----------
        paths : DataFrame
            path, bucket (0 to B - 1), conversions, value, nulls.
        touches : DataFrame
            Of `touches_of`, with L levels.

        Returns
        -------
        totals : ndarray, shape (B, L + 5)
            Probabilities of a purchase with all levels and without each, to first order what a
            bucket adds to them; purchases and value with a touch before, and without.
        credit : callable
            From totals (..., L + 5) to purchases and value by level, shape (..., 2, L). The value
            follows the purchases.
        """
        levels = touches["level"].cat.categories
        touched = paths["path"].map(len).to_numpy() > 0
        ends = paths[["conversions", "value"]].to_numpy(float)
        with_touch, without = (
            pd.DataFrame(ends * kept[:, None]).groupby(paths["bucket"].to_numpy()).sum()
            for kept in (touched, ~touched)
        )
        chances = purchase_probabilities(paths, touches[touched[touches["path"]]], self.order)

        def credit(totals: np.ndarray) -> np.ndarray:
            chances, with_touch, without = np.split(totals, [-4, -2], axis=-1)
            share = np.nan_to_num(shares_of(removal_effects(chances)))
            credited = share[..., None, :] * with_touch[..., None]
            credited[..., levels == NONE] += without[..., None]
            return credited

        return np.column_stack([chances, with_touch, without]), credit


def shares_of(credit: np.ndarray) -> np.ndarray:
    """Divide credits by their sum over the last axis; NaN where that is 0."""
    total = credit.sum(axis=-1, keepdims=True)
    return np.divide(credit, total, out=np.full_like(credit, np.nan), where=total > 0)


def removal_effects(chances: np.ndarray) -> np.ndarray:
    """Return the relative loss (..., L) from probabilities with all levels and without each."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(np.nan_to_num(1 - chances[..., 1:] / chances[..., :1]), 0, 1)


def purchase_probabilities(
    paths: pd.DataFrame, touches: pd.DataFrame, order: int = 1
) -> np.ndarray:
    """Solve the chain of order `order` with every level and without each.

    Parameters
    ----------
    paths, touches : DataFrame
        As in `RemovalEffect.totals`; the touches of those paths that have some.
    order : int

    Returns
    -------
    ndarray, shape (B, L + 1)
        Adds up over the buckets to the probabilities of a purchase from the start: with all levels,
        then without each. Resampling the rows gives intervals without solving again.

    Notes
    -----
    With expected visits g and probabilities v of a purchase, the probability from the start moves
    by :math:`g_i (v_j - v_i) / n_i` per further step from i to j of the n seen from i (the adjoint
    of the linear system).
    """
    levels, buckets = len(touches["level"].cat.categories), int(paths["bucket"].max()) + 1
    if touches.empty:
        return np.zeros((buckets, levels + 1))
    path, level, place = touches["path"].to_numpy(), touches["level"].cat.codes, touches["place"]
    level, place = level.to_numpy(np.int64), place.to_numpy()
    last = place == touches["length"] - 1

    def before(state: np.ndarray) -> np.ndarray:
        return np.where(place == 0, 0, np.roll(state, 1))  # 0 is the start

    state = np.zeros_like(level)
    for _ in range(order):  # what came before, and this touch
        state = pd.factorize(before(state) * levels + level)[0] + 1
    size = state.max() + 1
    holds = np.zeros((size, levels + 1), bool)  # column 0: nothing is removed
    for back in range(order):
        known = np.flatnonzero(place >= back)
        holds[state[known], level[known - back] + 1] = True

    # a path is its steps from touch to touch, and one more to a purchase (1) or to nothing (0)
    bought, nothing = size, size + 1
    times = paths[["conversions", "nulls"]].to_numpy(float)[path]
    source = np.concatenate([before(state), state[last], state[last]])
    ends = np.repeat([bought, nothing], last.sum())
    weight = np.concatenate([times.sum(axis=1), *times[last].T])
    owner = paths["bucket"].to_numpy()[np.concatenate([path, path[last], path[last]])]
    which, step = pd.factorize(source * (size + 2) + np.concatenate([state, ends]))
    seen = sparse.coo_array((weight, (owner, which)), shape=(buckets, len(step))).tocsr()
    start, goal = np.divmod(step, size + 2)
    left = np.bincount(start, seen.sum(axis=0), size)
    chain = np.zeros((size + 2, size + 2))
    chain[start, goal] = seen.sum(axis=0) / left[start]
    inner, leaving = chain[:size, :size], chain[:size, size:].sum(axis=1)
    visits = solve_walk(inner, leaving, np.eye(size))
    value = visits @ chain[:size, bought]

    chances, moved = np.zeros(levels + 1), np.zeros((len(step), levels + 1))
    for column, gone in enumerate(map(np.flatnonzero, holds.T)):
        right = np.column_stack([value, visits])[gone]
        block = np.linalg.solve(visits[np.ix_(gone, gone)], right)
        still = value - visits[:, gone] @ block[:, 0]
        reach = visits[0] - visits[0, gone] @ block[:, 1:]
        known = np.concatenate([still, [1.0, 0.0]])
        chances[column] = still[0]
        moved[:, column] = reach[start] / left[start] * (known[goal] - known[start])
    return chances / buckets + seen @ moved
