r"""The removal effect: how much less often customers would buy if a level led nowhere.

A Markov chain of order k walks over the last k touches of a path, from the start to a purchase or
to nothing. Removing a level sends everyone who reaches it to nothing; its removal effect is the
relative loss in the probability of a purchase (E. Anderl et al., Mapping the customer journey,
International Journal of Research in Marketing 33, 2016). Other implementations simulate this; here
the probabilities solve :math:`v = Qv + r` exactly, for all levels at once.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from cjlib.attribution.touch_paths import TouchPaths

DENSE = 64  # states up to which a plain array is faster than a sparse one
TABLE = 1 << 22  # cells up to which counting into a table is faster than sorting
SWEEPS = 2_000  # then factorise: the chain hardly ever ends
PRECISION = 1e-14


@dataclass(frozen=True)
class RemovalEffect:
    """Removal effects and what their intervals need.

    Attributes
    ----------
    effect : ndarray, shape (L,)
        By level, between 0 and 1; the relative loss in the probability of a purchase.
    probability : ndarray, shape (L + 1,)
        Of a purchase from the start: with every level, then without each.
    by_bucket : ndarray, shape (B, L + 1), or None
        ``probability`` as a sum over buckets, to first order: what each bucket of customers
        contributes to it. Resampling the rows gives intervals without solving again.
    """

    effect: np.ndarray
    probability: np.ndarray
    by_bucket: np.ndarray | None


def removal_effect(
    paths: TouchPaths, order: int = 1, buckets: np.ndarray | None = None
) -> RemovalEffect:
    """Solve the chain of order ``order`` with every level and without each.

    Paths without a touch take no part. Touches are not merged: a level twice in a row is a step
    from the level to itself.

    Parameters
    ----------
    paths : TouchPaths
    order : int
        How many of the last touches decide the next step, 1 or more. The first touches of a path
        are states of their own (fewer touches are known then).
    buckets : ndarray of int, optional
        The buckets to return contributions for; none by default.

    Returns
    -------
    RemovalEffect

    Notes
    -----
    With expected visits g and probabilities v, the probability of a purchase moves by
    :math:`g_i (v_j - v_i) / n_i` per further step from i to j (the adjoint of the linear system),
    which is what ``by_bucket`` adds up.
    """
    levels = len(paths.levels)
    codes, heads = paths.codes, paths.offsets[:-1]
    touched = ~paths.untouched
    heads, tails = heads[touched], paths.offsets[1:][touched] - 1
    ended = (paths.conversions + paths.nulls)[touched]
    if not ended.sum():
        none = None if buckets is None else np.zeros((len(buckets), levels + 1))
        return RemovalEffect(np.zeros(levels), np.full(levels + 1, np.nan), none)

    # A state is the last `order` touches as digits of base L + 1; 0 stands for "not yet".
    base = levels + 1
    state, place = codes + 1, paths.place if order > 1 else None
    for back in range(1, order):
        state = state.copy()
        state[back:] += np.where(place[back:] >= back, codes[:-back] + 1, 0) * base**back
    if order > 1:
        digits, state = _compact(state, base**order)
        state += 1  # 0 is the start
    else:  # every level occurs
        digits = np.arange(1, base)
    size = len(digits) + 1
    before = np.empty_like(state)
    before[1:] = state[:-1]
    before[heads] = 0
    step = np.multiply(before, base, out=before)
    step += codes  # where one is, and the next touch: that decides the next state
    following = np.zeros(size * base, dtype=np.int64)
    following[step] = state
    weight = np.repeat(paths.conversions + paths.nulls, paths.lengths)
    times = np.bincount(step, weight, size * base)
    steps = np.flatnonzero(times)
    source, target, times = steps // base, following[steps], times[steps]
    at_end = state[tails]
    left = np.bincount(source, times, size) + np.bincount(at_end, ended, size)
    left[left == 0] = 1.0  # states of paths that never happened lead nowhere
    bought = np.bincount(at_end, paths.conversions[touched], size) / left

    holds = np.zeros((size, base), dtype=bool)  # column 0: nothing removed
    rest = digits
    for _ in range(order):
        holds[np.arange(1, size), rest % base] = True
        rest = rest // base
    holds[:, 0] = False
    chance = times / left[source]
    if size <= DENSE:
        chain = np.zeros((size, size))
        chain[source, target] = chance
    else:
        chain = sparse.csr_array((chance, (source, target)), shape=(size, size))
    value = _solve(chain, bought, ~holds)
    probability = value[0]
    with np.errstate(invalid="ignore"):
        effect = np.clip(np.nan_to_num(1 - probability[1:] / probability[0]), 0, 1)

    by_bucket = None
    if buckets is not None:
        begin = np.zeros(size)
        begin[0] = 1.0
        reach = _solve(chain.T, begin, ~holds) / left[:, None]
        owner = np.searchsorted(buckets, paths.bucket)

        def by(weights: np.ndarray, owners: np.ndarray, cells: np.ndarray, width: int):
            shape = (len(buckets), width)
            return sparse.csr_array((weights, (owners, cells)), shape=shape)

        walks = by(weight, np.repeat(owner, paths.lengths), step, size * base)[:, steps]
        ends = by(ended, owner[touched], at_end, size)
        buys = by(paths.conversions[touched], owner[touched], at_end, size)
        by_bucket = (
            probability / len(buckets)
            + walks @ (reach[source] * (value[target] - value[source]))
            + buys @ reach
            - ends @ (reach * value)
        )
    return RemovalEffect(effect, probability, by_bucket)


def _compact(ids: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct ids, sorted, and where each id stands among them (``numpy.unique``)."""
    if size > TABLE:
        return np.unique(ids, return_inverse=True)
    present = np.zeros(size, dtype=bool)
    present[ids] = True
    distinct = np.flatnonzero(present)
    position = np.zeros(size, dtype=np.int64)
    position[distinct] = np.arange(len(distinct))
    return distinct, position[ids]


def _solve(chain: np.ndarray | sparse.sparray, known: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Solve ``x = chain x + known`` over the states kept, one column per set of them.

    Sweeps over all columns at once, with the repeats of a state solved for; the sweeps stop when
    the error left is below ``PRECISION`` by the rate at which they converge. A chain that hardly
    ever ends is factorised instead.

    Returns
    -------
    ndarray, shape (states, sets)
        0 in the states left out.
    """
    stay = chain.diagonal()
    once = 1 / np.maximum(1 - stay, np.finfo(float).tiny)
    if isinstance(chain, np.ndarray):
        matrix = once[:, None] * (chain - np.diag(stay))
    else:
        matrix = (sparse.diags_array(once) @ (chain - sparse.diags_array(stay))).tocsr()
    keep = kept.astype(float)
    start = (known * once)[:, None] * keep
    found, moved = start, np.inf
    for sweep in range(1, SWEEPS + 1):
        following = matrix @ found
        following *= keep
        following += start
        if sweep % 8 == 0:
            change = np.abs(following - found).max()
            rate = (change / moved) ** (1 / 8) if moved < np.inf else 1.0
            scale = PRECISION * max(1.0, np.abs(following).max())
            if change == 0 or (rate < 1 and change * rate <= scale * (1 - rate)):
                return following
            moved = change
        found = following
    result, chain = np.zeros(kept.shape), sparse.csr_array(chain)
    for column in range(kept.shape[1]):
        keep = np.flatnonzero(kept[:, column])
        system = (sparse.eye_array(len(keep)) - chain[keep][:, keep]).tocsc()
        result[keep, column] = splu(system).solve(known[keep])
    return result
