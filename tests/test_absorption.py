"""Where walks end and what they cost: printed answers, properties, conditioning."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cjlib.errors import ParameterError
from cjlib.markov.absorption import absorption_probabilities, expected_cost, solve_walk

OZ = np.array([[0.5, 0.25, 0.25], [0.5, 0, 0.5], [0.25, 0.25, 0.5]])


def drunkard(bars: int = 3) -> np.ndarray:
    walk = np.zeros((bars + 2, bars + 2))
    walk[0, 0] = walk[-1, -1] = 1
    for i in range(1, bars + 1):
        walk[i, i - 1] = walk[i, i + 1] = 0.5
    return walk


def steps(matrix, targets):
    """Expected steps until a target is entered, from it until it is again."""
    return expected_cost(matrix, np.ones_like(matrix), [targets])[..., 0]


@st.composite
def matrices(draw, absorbing: int):
    size = draw(st.integers(2, 7)) + absorbing
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    matrix = generator.dirichlet(np.full(size, draw(st.sampled_from([0.1, 1.0, 10.0]))), size)
    matrix = 0.98 * matrix + 0.02 / size
    matrix[-absorbing:] = np.eye(size)[-absorbing:]
    return matrix


def test_land_of_oz_as_printed_by_kemeny_snell_and_thompson():
    once = np.ones_like(OZ)
    mean = np.stack([expected_cost(OZ, once, [[j]])[:, 0] for j in range(3)], axis=1)
    printed = [[2.5, 4, 10 / 3], [8 / 3, 5, 8 / 3], [10 / 3, 4, 2.5]]
    np.testing.assert_allclose(mean, printed, rtol=1e-13)
    in_the_long_run = 1 / np.diagonal(mean)
    np.testing.assert_allclose(in_the_long_run, [0.4, 0.2, 0.4], rtol=1e-13)
    # the variance as the sum of squared surprises along the way
    variance = np.empty_like(OZ)
    for j in range(3):
        first = np.where(np.arange(3) == j, 0.0, mean[:, j])
        surprise = (OZ * (1 + first - mean[:, [j]]) ** 2).sum(1)
        free = [i for i in range(3) if i != j]
        inner = OZ[np.ix_(free, free)]
        spread = np.zeros(3)
        spread[free] = solve_walk(inner, OZ[free, j], surprise[free, None])[:, 0]
        variance[:, j] = np.where(np.arange(3) == j, surprise + OZ[j] @ spread, spread)
    printed = [[5.58333, 12, 6.88889], [6.22222, 12, 6.22222], [6.88889, 12, 5.58333]]
    np.testing.assert_array_equal(variance.round(5), printed)


def test_drunkards_walk_as_printed_by_grinstead_and_snell():
    walk = drunkard()
    visits = solve_walk(walk[1:4, 1:4], walk[1:4, [0, 4]].sum(1), np.eye(3))
    np.testing.assert_allclose(visits, [[1.5, 1, 0.5], [1, 2, 1], [0.5, 1, 1.5]], rtol=1e-14)
    np.testing.assert_allclose(steps(walk, [0, 4])[1:4], [3, 4, 3])
    reach = absorption_probabilities(walk, [[0], [4]])
    np.testing.assert_allclose(reach[1:4], [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]], rtol=1e-14)


def test_expected_cost_counts_only_the_walks_that_end_in_the_outcome():
    # from 1, the walks that end in 0: conditioned on it a drunkard steps 1->0 with 2/3
    cost = expected_cost(drunkard(), np.ones((5, 5)), [[0], [4]])
    np.testing.assert_allclose(cost[1], [7 / 3, 5.0], rtol=1e-12)
    reach = absorption_probabilities(drunkard(), [[0], [4]])
    np.testing.assert_allclose(np.nansum(cost * reach, 1)[1:4], [3, 4, 3], rtol=1e-12)


def test_once_more_starts_with_the_step_out_of_the_outcome():
    chain = np.array([[0.2, 0.5, 0.3], [0.6, 0.0, 0.4], [0.0, 0.0, 1.0]])
    reach = chain @ absorption_probabilities(chain, [[0], [2]])
    np.testing.assert_allclose(reach[0], [0.2 + 0.5 * 0.6, 0.3 + 0.5 * 0.4])
    np.testing.assert_array_equal(reach[2], [0, 1])
    cost = expected_cost(chain, np.ones((3, 3)), [[0], [2]])
    np.testing.assert_allclose(cost[0, 0], (0.2 * 1 + 0.3 * 2) / 0.5)


@given(matrices(absorbing=2))
@settings(max_examples=60, deadline=None)
def test_absorption_probabilities_sum_to_one_and_solve_their_equation(matrix):
    last = len(matrix) - 1
    reach = absorption_probabilities(matrix, [[last - 1], [last]])
    np.testing.assert_allclose(reach.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(matrix @ reach, reach, atol=1e-12)


@given(matrices(absorbing=1), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_relabelling_states_relabels_results(matrix, random):
    order = list(range(len(matrix)))
    random.shuffle(order)
    moved, target = matrix[np.ix_(order, order)], len(matrix) - 1
    found = steps(moved, [order.index(target)])
    np.testing.assert_allclose(found, steps(matrix, [target])[order], rtol=1e-10)


def test_replicates_are_solved_as_one_by_one():
    stack = np.random.default_rng(0).dirichlet(np.ones(5), (7, 5))
    stack[:, 4] = np.eye(5)[4]
    alone = np.stack([steps(one, [4]) for one in stack])
    np.testing.assert_allclose(steps(stack, [4]), alone, rtol=1e-13)


def test_a_naive_solve_would_lose_the_digits_kept_here():
    # the probability of leaving a state is summed from where it goes, never 1 - stay
    escape = 1e-15
    chain = np.array([[1 - 2 * escape, escape, escape], [0, 1, 0], [0, 0, 1]])
    kept = absorption_probabilities(chain, [[1], [2]])[0]
    np.testing.assert_allclose(kept, [0.5, 0.5], rtol=1e-14)
    naive = np.linalg.solve([[1 - chain[0, 0]]], [[escape, escape]])[0]
    assert abs(naive[0] - 0.5) > 1e-4


def test_walks_that_may_be_trapped_reach_less_than_surely():
    chain = np.array([[0, 0.5, 0.5, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0.3, 0, 0.2, 0.5]])
    reach = absorption_probabilities(chain, [[2]])[:, 0]
    np.testing.assert_allclose(reach, [0.5, 0, 1, 0.7])
    # two states that only lead to each other are trapped, too
    pair = np.array([[0, 0.5, 0, 0.5], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(absorption_probabilities(pair, [[3]])[:, 0], [0.5, 0, 0, 1])


def test_bad_questions_are_refused():
    with pytest.raises(ParameterError, match="square"):
        absorption_probabilities(np.ones((2, 3)), [[0]])
    with pytest.raises(ParameterError, match="square"):
        absorption_probabilities(np.ones((4, 2, 3)), [[0]])  # replicates
    with pytest.raises(ParameterError, match="one outcome only"):
        absorption_probabilities(OZ, [[0, 1], [1]])
    with pytest.raises(ParameterError, match="at least one"):
        absorption_probabilities(OZ, [])


def test_gamblers_ruin_of_a_biased_coin():
    """Won with .6: the chance of ruin is ((q/p)^i - (q/p)^n) / (1 - (q/p)^n) (Feller, XIV.2)."""
    p, n = 0.6, 10
    walk = np.diag(np.full(n, p), 1) + np.diag(np.full(n, 1 - p), -1)
    walk[0], walk[-1] = np.eye(n + 1)[0], np.eye(n + 1)[-1]
    odds, start = (1 - p) / p, np.arange(n + 1)
    ruin = (odds**start - odds**n) / (1 - odds**n)
    reach = absorption_probabilities(walk, [[0], [n]])
    np.testing.assert_allclose(reach, np.stack([ruin, 1 - ruin], 1), atol=1e-12)
    length = (n * (1 - ruin) - start) / (2 * p - 1)
    np.testing.assert_allclose(steps(walk, [0, n])[1:n], length[1:n])


def test_days_of_each_move_add_up_along_the_walk():
    # two ways to the purchase: straight in 3 days, or after a detour of 10 and 4; lost after 30
    chain = np.array([[0, 0.5, 0.25, 0.25], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    days = np.array([[0, 10, 3, 30], [0, 0, 4, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    cost = expected_cost(chain, days, [[2], [3]])
    np.testing.assert_allclose(cost[0], [(0.5 * 14 + 0.25 * 3) / 0.75, 30])
    np.testing.assert_array_equal(cost[1:, 0], [4, 0, np.nan])
    np.testing.assert_array_equal(np.isnan(cost[:, 1]), [False, True, True, False])
