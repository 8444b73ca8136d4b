"""What follows from a matrix: textbook answers, properties, conditioning."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from cjlib.errors import ParameterError
from cjlib.markov import absorption

OZ = np.array([[0.5, 0.25, 0.25], [0.5, 0, 0.5], [0.25, 0.25, 0.5]])


def drunkard(bars: int = 3) -> np.ndarray:
    walk = np.zeros((bars + 2, bars + 2))
    walk[0, 0] = walk[-1, -1] = 1
    for i in range(1, bars + 1):
        walk[i, i - 1] = walk[i, i + 1] = 0.5
    return walk


@st.composite
def matrices(draw, absorbing: int = 0):
    size = draw(st.integers(2, 7)) + absorbing
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    matrix = generator.dirichlet(np.full(size, draw(st.sampled_from([0.1, 1.0, 10.0]))), size)
    if absorbing:
        matrix = 0.98 * matrix + 0.02 / size
        matrix[-absorbing:] = np.eye(size)[-absorbing:]
    return matrix


def test_land_of_oz_as_printed_by_kemeny_snell_and_thompson():
    np.testing.assert_allclose(absorption.stationary_distribution(OZ), [0.4, 0.2, 0.4], rtol=1e-14)
    mean, variance = absorption.first_passage_times(OZ)
    np.testing.assert_allclose(
        mean, [[2.5, 4, 10 / 3], [8 / 3, 5, 8 / 3], [10 / 3, 4, 2.5]], rtol=1e-14
    )
    printed = [[5.58333, 12, 6.88889], [6.22222, 12, 6.22222], [6.88889, 12, 5.58333]]
    np.testing.assert_array_equal(variance.round(5), printed)


def test_drunkards_walk_as_printed_by_grinstead_and_snell():
    visits, states = absorption.fundamental_matrix(drunkard(), [0, 4])
    np.testing.assert_allclose(visits, [[1.5, 1, 0.5], [1, 2, 1], [0.5, 1, 1.5]], rtol=1e-14)
    np.testing.assert_array_equal(states, [1, 2, 3])
    np.testing.assert_allclose(absorption.expected_steps(drunkard(), [0, 4]), [0, 3, 4, 3, 0])
    reach = absorption.absorption_probabilities(drunkard(), [[0], [4]])
    np.testing.assert_allclose(reach[1:4], [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]], rtol=1e-14)
    np.testing.assert_array_equal(absorption.absorbing_states(drunkard()), [0, 4])


def test_variance_of_steps_agrees_with_the_formula_of_kemeny_and_snell():
    visits, _ = absorption.fundamental_matrix(drunkard(5), [0, 6])
    steps = visits.sum(1)
    formula = (2 * visits - np.eye(5)) @ steps - steps**2
    np.testing.assert_allclose(absorption.variance_of_steps(drunkard(5), [0, 6])[1:-1], formula)


def test_expected_cost_counts_only_the_walks_that_end_in_the_outcome():
    # from 1, the walks that end in 0: conditioned on it a drunkard steps 1->0 with 2/3
    cost = absorption.expected_cost(drunkard(), np.ones((5, 5)), [[0], [4]])
    np.testing.assert_allclose(cost[1], [7 / 3, 5.0], rtol=1e-12)
    reach = absorption.absorption_probabilities(drunkard(), [[0], [4]])
    np.testing.assert_allclose(np.nansum(cost * reach, 1)[1:4], [3, 4, 3], rtol=1e-12)


def test_once_more_starts_with_the_step_out_of_the_outcome():
    chain = np.array([[0.2, 0.5, 0.3], [0.6, 0.0, 0.4], [0.0, 0.0, 1.0]])
    reach = absorption.absorption_probabilities(chain, [[0], [2]], again=True)
    np.testing.assert_allclose(reach[0], [0.2 + 0.5 * 0.6, 0.3 + 0.5 * 0.4])
    np.testing.assert_array_equal(reach[2], [0, 1])
    cost = absorption.expected_cost(chain, np.ones((3, 3)), [[0], [2]], again=True)
    np.testing.assert_allclose(cost[0, 0], (0.2 * 1 + 0.3 * 2) / 0.5)


@given(matrices(absorbing=2))
@settings(max_examples=60, deadline=None)
def test_absorption_probabilities_sum_to_one_and_solve_their_equation(matrix):
    last = len(matrix) - 1
    reach = absorption.absorption_probabilities(matrix, [[last - 1], [last]])
    np.testing.assert_allclose(reach.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(matrix @ reach, reach, atol=1e-12)
    visits, free = absorption.fundamental_matrix(matrix, [last - 1, last])
    inner = matrix[np.ix_(free, free)]
    np.testing.assert_allclose(visits @ (np.eye(len(free)) - inner), np.eye(len(free)), atol=1e-9)


@given(matrices())
@settings(max_examples=60, deadline=None)
def test_stationary_distribution_is_left_unchanged_by_a_step(matrix):
    share = absorption.stationary_distribution(matrix)
    np.testing.assert_allclose(share.sum(), 1, atol=1e-12)
    np.testing.assert_allclose(share @ matrix, share, atol=1e-12)


@given(matrices(absorbing=1), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_relabelling_states_relabels_results(matrix, random):
    order = list(range(len(matrix)))
    random.shuffle(order)
    moved = matrix[np.ix_(order, order)]
    target = len(matrix) - 1
    steps = absorption.expected_steps(matrix, [target])
    np.testing.assert_allclose(
        absorption.expected_steps(moved, [order.index(target)]), steps[order], rtol=1e-10
    )
    spread = absorption.variance_of_steps(matrix, [target])
    np.testing.assert_allclose(
        absorption.variance_of_steps(moved, [order.index(target)]), spread[order], rtol=1e-9
    )


def test_replicates_are_solved_as_one_by_one():
    generator = np.random.default_rng(0)
    stack = generator.dirichlet(np.ones(5), (7, 5))
    stack[:, 4] = np.eye(5)[4]
    together = absorption.expected_steps(stack, [4])
    alone = np.stack([absorption.expected_steps(one, [4]) for one in stack])
    np.testing.assert_allclose(together, alone, rtol=1e-13)


@pytest.mark.parametrize("escape", [1e-6, 1e-12, 1e-15])
def test_near_absorbing_chains_lose_no_digits(escape):
    # two states that hardly ever leave each other: exact answers in closed form
    chain = np.array(
        [
            [0.5, 0.5 - 3 * escape, 2 * escape, escape],
            [0.5, 0.5 - 4 * escape, escape, 3 * escape],
            [0, 0, 1, 0],
            [0, 0, 0, 1],
        ]
    )
    # the probability of leaving a state is summed from where it goes, never from 1 - stay
    a, b = chain[0, 1], chain[1, 0]
    leave1 = b + 4 * escape
    exact = 2 * escape * leave1 + a * escape
    whole = 3 * escape * leave1 + a * 4 * escape
    reach = absorption.absorption_probabilities(chain, [[2], [3]])
    np.testing.assert_allclose(reach[0, 0], exact / whole, rtol=1e-13)
    np.testing.assert_allclose(reach[:2].sum(1), 1, rtol=1e-14)
    steps = absorption.expected_steps(chain, [2, 3])
    np.testing.assert_allclose(steps[0], (leave1 + a) / whole, rtol=1e-13)


def test_a_naive_solve_would_lose_the_digits_kept_here():
    escape = 1e-15
    chain = np.array([[1 - 2 * escape, escape, escape], [0, 1, 0], [0, 0, 1]])
    kept = absorption.absorption_probabilities(chain, [[1], [2]])[0]
    np.testing.assert_allclose(kept, [0.5, 0.5], rtol=1e-14)
    naive = np.linalg.solve([[1 - chain[0, 0]]], [[escape, escape]])[0]
    assert abs(naive[0] - 0.5) > 1e-4


def test_walks_that_may_be_trapped_take_for_ever_and_reach_less_than_surely():
    chain = np.array([[0, 0.5, 0.5, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0.3, 0, 0.2, 0.5]])
    assert np.isinf(absorption.expected_steps(chain, [2])[[0, 3]]).all()
    np.testing.assert_allclose(absorption.absorption_probabilities(chain, [[2]])[0], [0.5])
    assert np.isinf(absorption.variance_of_steps(chain, [2])[0])


def test_an_unknown_row_makes_unknown_only_what_depends_on_it():
    chain = np.array([[0, 0.5, 0.5, 0], [0, 0, 0, 1], [np.nan] * 4, [0, 0, 0, 1]])
    steps = absorption.expected_steps(chain, [3])
    assert np.isnan(steps[0])
    assert steps[1] == 1


def test_the_long_run_of_chains_with_transient_states_and_with_several_classes():
    chain = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.5, 0.5]])
    np.testing.assert_allclose(absorption.stationary_distribution(chain), [0, 0.5, 0.5])
    assert np.isnan(absorption.stationary_distribution(drunkard())).all()


def test_bad_questions_are_refused():
    with pytest.raises(ParameterError, match="square"):
        absorption.expected_steps(np.ones((2, 3)), [0])
    with pytest.raises(ParameterError, match="one outcome only"):
        absorption.absorption_probabilities(OZ, [[0, 1], [1]])
    with pytest.raises(ParameterError, match="at least one"):
        absorption.expected_steps(OZ, [])
