"""Where a walk over a transition matrix ends, and what it costs until then: one linear solve.

All but the last function take ``(..., S, S)``: one matrix, or one per replicate of a resampling,
solved at once. The probability of leaving a state is summed from where it goes, never taken as
``1 - p[i, i]``, so that states that are hardly ever left lose no digits.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cjlib.errors import ParameterError
from cjlib.stages import StageModel

Array = np.ndarray
PURCHASE = "purchase"


def solve_walk(inner: Array, leaving: Array, right: Array) -> Array:
    """Solve ``x = right + inner @ x`` over the states that a walk passes before it ends.

    With ``right`` the identity this is the fundamental matrix, the expected visits from each state
    to each other (Kemeny & Snell 1960, 3.2); with the probabilities of stepping into an outcome it
    is the probability of that outcome.

    Parameters
    ----------
    inner : array, shape (..., n, n)
        Transition probabilities among these states; the diagonal is implied by the rest.
    leaving : array, shape (..., n)
        Probability of a step to where the walk ends.
    right : array, shape (..., n, m)

    Returns
    -------
    array, shape (..., n, m)
        A state from which the walk cannot end keeps its own right-hand side.
    """
    inner, leaving, right = (np.asarray(each, float) for each in (inner, leaving, right))
    itself = np.eye(inner.shape[-1], dtype=bool)
    moves = np.where(itself, 0.0, inner)
    ends, reached = leaving > 0, -1
    while ends.sum() > reached:
        reached = ends.sum()
        ends = ends | ((moves > 0) & ends[..., None, :]).any(-1)
    system = np.where(itself, (moves.sum(-1) + leaving)[..., None], -moves)
    return np.linalg.solve(np.where(ends[..., None], system, itself), right)


def _split(matrix: Array, targets: Sequence[int]) -> tuple[Array, Array, Array]:
    """Return the matrix among the other states, their steps to the targets, and which they are."""
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ParameterError(f"a transition matrix is square; this one has shape {matrix.shape}")
    if not len(targets):
        raise ParameterError("name at least one state to be reached")
    free = np.setdiff1d(np.arange(matrix.shape[-1]), targets)
    return matrix[..., free[:, None], free], matrix[..., free[:, None], targets].sum(-1), free


def absorption_probabilities(matrix: Array, outcomes: Sequence[Sequence[int]]) -> Array:
    """Return, from every state, the probability that each outcome comes first.

    Parameters
    ----------
    matrix : array, shape (..., S, S)
    outcomes : sequence of sequences of int
        Disjoint sets of states; the walk ends in the first of them that it enters.

    Returns
    -------
    array, shape (..., S, len(outcomes))
        Rows sum to 1 unless the walk can be trapped elsewhere. In the outcomes' own states the walk
        has ended: there ``matrix @ result`` says what comes first after leaving them, as from a
        purchase to the next one; elsewhere it is the same.

    Raises
    ------
    ParameterError
        When a state belongs to two outcomes or no outcome is given.
    """
    matrix = np.asarray(matrix, float)
    targets = [state for outcome in outcomes for state in outcome]
    if len(set(targets)) != len(targets):
        raise ParameterError("a state can belong to one outcome only")
    inner, leaving, free = _split(matrix, targets)
    into = np.stack([matrix[..., free[:, None], group].sum(-1) for group in outcomes], -1)
    result = np.zeros((*matrix.shape[:-1], len(outcomes)))
    result[..., free, :] = solve_walk(inner, leaving, into)
    for column, group in enumerate(outcomes):
        result[..., group, column] = 1.0
    return result


def expected_cost(matrix: Array, cost: Array, outcomes: Sequence[Sequence[int]]) -> Array:
    """Return what a walk costs from now until it ends, given the outcome in which it ends.

    With ``cost`` the mean days of each transition this is the expected days to each outcome
    *among the walks that end in it*: customers who buy are not charged with the silence of those
    who are lost. Solved as ``x = b + Q x`` with ``b_i = sum_j p_ij h_j c_ij``, ``h`` the
    probability of the outcome, and divided by ``h_i`` (the chain conditioned on its end).

    Parameters
    ----------
    matrix : array, shape (..., S, S)
    cost : array, shape (S, S) or (..., S, S)
        Cost of each transition.
    outcomes
        As in `absorption_probabilities`.

    Returns
    -------
    array, shape (..., S, len(outcomes))
        NaN where the outcome cannot be reached; from an outcome's own states, what it costs to come
        to an outcome again.
    """
    matrix = np.asarray(matrix, float)
    reach = absorption_probabilities(matrix, outcomes)
    targets = [state for outcome in outcomes for state in outcome]
    inner, leaving, free = _split(matrix, targets)
    paid = (matrix * cost) @ reach
    # total = probability of the outcome times its cost: additive along the walk, never divided by 0
    total = np.zeros_like(reach)
    total[..., free, :] = solve_walk(inner, leaving, paid[..., free, :])
    total, reach = paid + matrix @ total, matrix @ reach
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(reach == 0, np.nan, total / reach)


def purchase_or_end(chains: Mapping, stages: StageModel) -> pd.DataFrame:
    """Ask every chain whether the purchase, and after it the next one, comes before the end.

    Parameters
    ----------
    chains : mapping of str to MarkovChain
        Segment to its `cjlib.markov.MarkovChain`, of ``transitions(log, purchases=True)``.
    stages : StageModel

    Returns
    -------
    DataFrame
        The published table ``absorption``, and expected_steps. From stages before the purchase
        ``purchase`` is reached or the journey ends: ``lost``, ``bought`` (silence after an earlier
        purchase in it) or as declared; from the purchase and later stages it is the next purchase.
        ``open`` where a stage that nobody was seen to leave can be reached.
    """
    starts = [*stages.before, *stages.purchase, *stages.after]
    tables = (
        chain.absorption(
            {PURCHASE: stages.purchase} | {end: [end] for end in chain.absorbing},
            starts=starts,
            segment=name,
        )
        for name, chain in chains.items()
    )
    before_first = {"key": lambda starts: ~starts.isin(stages.before), "kind": "stable"}
    return pd.concat(tables).sort_values("from_stage", ignore_index=True, **before_first)
