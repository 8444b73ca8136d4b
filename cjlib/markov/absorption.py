"""What follows from a transition matrix: where a chain settles, what it reaches, how long it takes.

All functions take ``(..., S, S)``: one matrix, or one per replicate of a resampling, solved at
once. The solves never subtract: a state's probability of leaving is summed from where it goes,
not taken as ``1 - p[i, i]`` (state reduction of Grassmann, Taksar & Heyman 1985; as an LU
factorisation of M-matrices in Alfa, Xue & Ye 2002). So chains that hardly ever leave a state lose
no digits. A row of NaN (a state whose exits nobody saw) makes NaN of all that depends on it.
"""

from collections.abc import Sequence

import numpy as np

from cjlib.errors import ParameterError

Array = np.ndarray


def reduce_and_solve(inner: Array, leaving: Array, right: Array, trapped: float = 0.0) -> Array:
    """Solve ``x = right + inner @ x`` for states that leave with probabilities ``leaving``.

    Parameters
    ----------
    inner : array, shape (..., n, n)
        Transition probabilities among the states; the diagonal is not read.
    leaving : array, shape (..., n)
        Probability of a step out of these states. ``inner`` and ``leaving`` need not be
        normalised: the diagonal is implied by ``1 - p[i, i] = sum of the rest``.
    right : array, shape (..., n, m)
        Non-negative right-hand sides.
    trapped : float
        The solution for a state from which there is no way out.

    Returns
    -------
    array, shape (..., n, m)
    """
    inner, leaving = np.array(inner, float), np.array(leaving, float)
    shape = np.broadcast_shapes(inner.shape[:-2], np.shape(right)[:-2])
    right = np.array(np.broadcast_to(right, shape + np.shape(right)[-2:]), float)
    inner = np.array(np.broadcast_to(inner, shape + inner.shape[-2:]))
    leaving = np.array(np.broadcast_to(leaving, shape + leaving.shape[-1:]))
    n = leaving.shape[-1]
    out = np.empty_like(leaving)

    def share(weight: Array, row: Array) -> Array:
        # nothing of a row that is never entered, also where that row is NaN or infinite
        weight = weight[..., None]
        return np.where(weight == 0, 0.0, weight * row[..., None, :])

    with np.errstate(divide="ignore", invalid="ignore"):
        for k in range(n - 1, -1, -1):
            out[..., k] = inner[..., k, :k].sum(-1) + leaving[..., k]
            closed = out[..., k] == 0
            entering = inner[..., :k, k]
            weight = np.where(entering == 0, 0.0, entering / out[..., k, None])
            weight = np.where(closed[..., None], 0.0, weight)
            inner[..., :k, :k] += share(weight, inner[..., k, :k])
            right[..., :k, :] += share(weight, right[..., k, :])
            lost = np.where(closed[..., None], entering, 0.0)
            if trapped:
                right[..., :k, :] += np.where(lost > 0, lost * trapped, 0.0)[..., None]
            through = weight * leaving[..., k, None]
            leaving[..., :k] += np.where(weight == 0, 0.0, through) + lost
        solution = np.zeros_like(right)
        for k in range(n):
            known = inner[..., k, :k, None]
            before = np.where(known == 0, 0.0, known * solution[..., :k, :]).sum(-2)
            value = (right[..., k, :] + before) / out[..., k, None]
            solution[..., k, :] = np.where(out[..., k, None] == 0, trapped, value)
    return solution


def _split(matrix: Array, targets: Sequence[int]) -> tuple[Array, Array, Array]:
    matrix = np.asarray(matrix, float)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ParameterError(f"a transition matrix is square; this one has shape {matrix.shape}")
    targets = np.unique(np.asarray(targets, int))
    if not len(targets):
        raise ParameterError("name at least one state to be reached")
    free = np.setdiff1d(np.arange(matrix.shape[-1]), targets)
    return matrix[..., free[:, None], free], matrix[..., free[:, None], targets], free


def absorbing_states(matrix: Array) -> Array:
    """Return the states that are never left: ``p[i, i] = 1``, as an index array."""
    diagonal = np.diagonal(np.asarray(matrix, float), axis1=-2, axis2=-1)
    return np.flatnonzero(diagonal == 1.0)


def stationary_distribution(matrix: Array) -> Array:
    """Return the share of time a chain spends in each state in the long run.

    Parameters
    ----------
    matrix : array, shape (..., S, S)
        Transition probabilities of a chain with one recurrent class.

    Returns
    -------
    array, shape (..., S)
        Sums to 1; NaN where more than one class is never left (the answer depends on the start).
    """
    reduced = np.array(matrix, float)
    size = reduced.shape[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        closed = np.zeros((*reduced.shape[:-2], size), bool)
        for k in range(size - 1, 0, -1):
            out = reduced[..., k, :k].sum(-1)
            closed[..., k] = out == 0
            reduced[..., :k, k] /= np.where(out == 0, np.nan, out)[..., None]
            step = reduced[..., :k, k, None] * reduced[..., k, None, :k]
            reduced[..., :k, :k] += np.where(reduced[..., :k, k, None] == 0, 0.0, step)
        if closed.any():
            return _stationary_of_the_class(np.asarray(matrix, float))
        share = np.zeros(reduced.shape[:-1])
        share[..., 0] = 1.0
        for k in range(1, size):
            share[..., k] = (share[..., :k] * reduced[..., :k, k]).sum(-1)
    return share / share.sum(-1, keepdims=True)


def _stationary_of_the_class(matrix: Array) -> Array:
    # a state is recurrent when all it reaches reaches it back; only the recurrent class has a share
    if matrix.ndim > 2:
        return np.stack([stationary_distribution(one) for one in matrix])
    if np.isnan(matrix).any():
        return np.full(len(matrix), np.nan)
    reach = reachable(matrix)
    recurrent = np.flatnonzero((~reach | reach.T).all(1))
    share = np.zeros(len(matrix))
    if not reach[np.ix_(recurrent, recurrent)].all():
        return np.full(len(matrix), np.nan)
    share[recurrent] = stationary_distribution(matrix[np.ix_(recurrent, recurrent)])
    return share


def reachable(matrix: Array) -> Array:
    """Return which states can be reached from which, in any number of steps (also none).

    Parameters
    ----------
    matrix : array, shape (S, S)

    Returns
    -------
    array of bool, shape (S, S)
        ``[i, j]`` is true when ``j`` can be reached from ``i``.
    """
    reach = (np.asarray(matrix) > 0) | np.eye(len(matrix), dtype=bool)
    for _ in range(max(1, len(matrix).bit_length())):
        reach = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
    return reach


def fundamental_matrix(matrix: Array, targets: Sequence[int]) -> tuple[Array, Array]:
    """Return the expected visits to every state before one of ``targets`` is reached.

    Parameters
    ----------
    matrix : array, shape (..., S, S)
    targets : sequence of int
        The states that end the walk.

    Returns
    -------
    visits : array, shape (..., n, n)
        ``(I - Q)^-1`` over the other states (Kemeny & Snell 1960, 3.2); row: where it starts.
    states : array of int, shape (n,)
        The states of its rows and columns.
    """
    inner, outer, free = _split(matrix, targets)
    visits = reduce_and_solve(inner, outer.sum(-1), np.eye(len(free)))
    closed = np.diagonal(visits, axis1=-2, axis2=-1) == 0
    diagonal = np.where(closed, np.inf, 0.0)[..., None] * np.eye(len(free))
    return np.where(closed[..., None] & np.eye(len(free), dtype=bool), diagonal, visits), free


def absorption_probabilities(
    matrix: Array, outcomes: Sequence[Sequence[int]], again: bool = False
) -> Array:
    """Return, from every state, the probability that each outcome comes first.

    Parameters
    ----------
    matrix : array, shape (..., S, S)
    outcomes : sequence of sequences of int
        Disjoint sets of states; the walk ends in the first of them that it enters.
    again : bool
        How the rows of the outcomes' own states read. False: the walk has ended there, so 1 for
        that outcome. True: "what comes first after leaving it?", from a purchase to the next one.

    Returns
    -------
    array, shape (..., S, len(outcomes))
        Rows sum to 1 unless the walk can be trapped elsewhere.

    Raises
    ------
    ParameterError
        When a state belongs to two outcomes or no outcome is given.
    """
    matrix = np.asarray(matrix, float)
    members = [np.asarray(list(outcome), int) for outcome in outcomes]
    targets = np.concatenate(members) if members else np.empty(0, int)
    if len(np.unique(targets)) != len(targets):
        raise ParameterError("a state can belong to one outcome only")
    inner, outer, free = _split(matrix, targets)
    into = np.stack([matrix[..., free[:, None], group].sum(-1) for group in members], -1)
    result = np.zeros((*matrix.shape[:-1], len(members)))
    result[..., free, :] = reduce_and_solve(inner, outer.sum(-1), into)
    for column, group in enumerate(members):
        result[..., group, column] = 1.0
    if again:
        weight = matrix[..., targets, :, None]
        step = np.where(weight == 0, 0.0, weight * result[..., None, :, :]).sum(-2)
        result[..., targets, :] = step
    return result


def expected_steps(matrix: Array, targets: Sequence[int]) -> Array:
    """Return the expected number of steps until one of ``targets`` is entered.

    Parameters
    ----------
    matrix : array, shape (..., S, S)
    targets : sequence of int

    Returns
    -------
    array, shape (..., S)
        0 in the targets themselves, infinite where the walk may never arrive.
    """
    inner, outer, free = _split(matrix, targets)
    steps = np.zeros(np.shape(matrix)[:-1])
    ones = np.ones((len(free), 1))
    steps[..., free] = reduce_and_solve(inner, outer.sum(-1), ones, np.inf)[..., 0]
    return steps


def variance_of_steps(matrix: Array, targets: Sequence[int]) -> Array:
    """Return the variance of the number of steps until one of ``targets`` is entered.

    ``Var = (2N - I) t - t^2`` (Kemeny & Snell 1960, 3.3.3). Written here as the expected sum of
    the squared surprises along the way, ``sum_j p_ij (1 + t_j - t_i)^2``, which cancels no digits.

    Parameters
    ----------
    matrix : array, shape (..., S, S)
    targets : sequence of int

    Returns
    -------
    array, shape (..., S)
    """
    inner, outer, free = _split(matrix, targets)
    steps = expected_steps(matrix, targets)
    matrix = np.asarray(matrix, float)
    with np.errstate(invalid="ignore"):
        surprise = (1.0 + steps[..., None, :] - steps[..., :, None]) ** 2
        spread = np.where(matrix == 0, 0.0, matrix * surprise).sum(-1)
    variance = np.zeros_like(steps)
    right = spread[..., free, None]
    variance[..., free] = reduce_and_solve(inner, outer.sum(-1), right, np.inf)[..., 0]
    return np.where(np.isinf(steps), np.inf, variance)


def first_passage_times(matrix: Array) -> tuple[Array, Array]:
    """Return the mean and the variance of the steps from every state to every state.

    Parameters
    ----------
    matrix : array, shape (S, S)

    Returns
    -------
    mean, variance : arrays, shape (S, S)
        On the diagonal the time of return to the state itself (Kemeny & Snell 1960, 4.4 and 4.5).
    """
    matrix = np.asarray(matrix, float)
    mean, variance = np.empty_like(matrix), np.empty_like(matrix)
    with np.errstate(invalid="ignore"):
        for j in range(len(matrix)):
            steps, spread = expected_steps(matrix, [j]), variance_of_steps(matrix, [j])
            mean[:, j], variance[:, j] = steps, spread
            weight = matrix[j]
            back = 1.0 + np.where(weight == 0, 0.0, weight * steps).sum()
            second = np.where(weight == 0, 0.0, weight * (spread + (1.0 + steps - back) ** 2))
            mean[j, j] = back
            variance[j, j] = second.sum() if np.isfinite(back) else back
    return mean, variance


def expected_cost(
    matrix: Array, cost: Array, outcomes: Sequence[Sequence[int]], again: bool = False
) -> Array:
    """Return what a walk costs until it ends, given the outcome in which it ends.

    With ``cost`` the mean days of each transition this is the expected days to each outcome
    *among the walks that end in it*: customers who buy are not charged with the silence of those
    who are lost. Solved as ``x = b + Q x`` with ``b_i = sum_j p_ij h_j c_ij``, ``h`` the
    probability of the outcome, and divided by ``h_i`` (the chain conditioned on its end).

    Parameters
    ----------
    matrix : array, shape (..., S, S)
    cost : array, shape (S, S) or (..., S, S)
        Cost of each transition; not read where it does not happen.
    outcomes, again
        As in `absorption_probabilities`.

    Returns
    -------
    array, shape (..., S, len(outcomes))
        NaN where the outcome cannot be reached; 0 in the outcome's own states unless ``again``.
    """
    matrix, cost = np.asarray(matrix, float), np.asarray(cost, float)
    reach = absorption_probabilities(matrix, outcomes)
    targets = np.concatenate([np.asarray(list(outcome), int) for outcome in outcomes])
    inner, outer, free = _split(matrix, targets)

    def paid(rows: Array) -> Array:
        price = np.where(matrix == 0, 0.0, matrix * cost)[..., rows, :, None]
        return np.where(price == 0, 0.0, price * reach[..., None, :, :]).sum(-2)

    # total = probability of the outcome times its cost: additive along the walk, never divided by 0
    total = np.zeros_like(reach)
    total[..., free, :] = reduce_and_solve(inner, outer.sum(-1), paid(free))
    if again:
        weight = matrix[..., targets, :, None]
        later = np.where(weight == 0, 0.0, weight * total[..., None, :, :]).sum(-2)
        total[..., targets, :] = paid(targets) + later
        reach = absorption_probabilities(matrix, outcomes, again=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(reach == 0, np.nan, total / reach)
