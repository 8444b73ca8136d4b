"""Journey types: planted kinds are found, no kinds are not, counts are what the log holds."""

import warnings
from types import SimpleNamespace

import ibis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from scipy import sparse
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from cjlib.errors import ParameterError
from cjlib.markov.continuum import choose_components
from cjlib.markov.mixture import MarkovMixture
from cjlib.markov.transitions import TransitionData, customer_transitions


def data_of(moves, starts, states=None) -> TransitionData:
    """Return the data of dense arrays: moves (N, S, S) and starts (N, S)."""
    flat = np.hstack([starts, moves.reshape(len(moves), -1)]).astype(float)
    names = tuple(range(np.shape(starts)[1])) if states is None else tuple(states)
    return TransitionData(names, sparse.csr_array(flat), np.arange(len(moves)))


def simulate(generator, customers=2000, kinds=3, size=5, visits=12.0):
    """Return moves (N, S, S), starts (N, S), kind (N,), matrices and starts of the kinds."""
    matrices = generator.dirichlet(np.full(size, 0.6), (kinds, size))
    first = generator.dirichlet(np.full(size, 0.6), kinds)
    kind = generator.choice(kinds, customers, p=np.arange(1, kinds + 1) / sum(range(kinds + 1)))
    left = 1 + generator.poisson(visits * generator.gamma(1.5, 1 / 1.5, customers))
    starts = generator.multinomial(1, first[kind])
    state, moves = starts.argmax(1), np.zeros((customers, size, size))
    for step in range(left.max()):
        on = np.flatnonzero(left > step)
        chance = matrices[kind[on], state[on]].cumsum(1)
        new = np.minimum((generator.random(len(on))[:, None] > chance).sum(1), size - 1)
        np.add.at(moves, (on, state[on], new), 1)
        state[on] = new
    return moves, starts, kind, matrices, first


def test_one_chain_is_the_pooled_chain():
    moves, starts, *_ = simulate(np.random.default_rng(0), 500, kinds=1)
    model = MarkovMixture(1, smoothing=1e-9).fit(data_of(moves, starts))
    pooled = moves.sum(0) / moves.sum(0).sum(1, keepdims=True)
    np.testing.assert_allclose(model.transition_matrices_[0], pooled, atol=1e-9)
    likelihood = (moves.sum(0) * np.log(np.where(pooled > 0, pooled, 1))).sum()
    likelihood += (starts.sum(0) * np.log(np.where(starts.mean(0) > 0, starts.mean(0), 1))).sum()
    assert model.log_likelihood_ == pytest.approx(likelihood)
    mean = model.score_samples(data_of(moves, starts)).mean()
    assert mean == pytest.approx(likelihood / 500)


def test_two_kinds_that_go_round_in_opposite_ways_are_told_apart_exactly():
    sequences = ["abcabc", "bcab", "cabcabc"] * 20 + ["acbacb", "cbac", "bacbacb"] * 10
    model = MarkovMixture(2, smoothing=1e-6).fit(sequences)
    np.testing.assert_allclose(model.weights_, [2 / 3, 1 / 3], atol=1e-4)
    assert adjusted_rand_score([0] * 60 + [1] * 30, model.labels_) == 1
    assert model.predict(["abca", "bac"]).tolist() == [0, 1]
    assert np.isnan(model.transition_matrices_[:, :, 0]).sum() == 0


def test_planted_kinds_are_found_with_their_matrices():
    found = simulate(np.random.default_rng(1), 4000, kinds=3, visits=20)
    moves, starts, kind, matrices, first = found
    model = MarkovMixture(3).fit(data_of(moves, starts))
    # nobody can tell short journeys apart better than who knows the kinds
    told = np.tensordot(moves, np.log(matrices), ((1, 2), (1, 2))) + starts @ np.log(first).T
    best = adjusted_rand_score(kind, (told + np.log([1, 2, 3])).argmax(1))
    assert best > 0.85
    assert adjusted_rand_score(kind, model.labels_) > best - 0.02
    np.testing.assert_allclose(model.weights_, [3 / 6, 2 / 6, 1 / 6], atol=0.02)
    error = np.abs(model.transition_matrices_ - matrices[::-1])
    left = np.stack([moves[kind == k].sum((0, 2)) for k in (2, 1, 0)])
    assert np.average(error.max(-1), weights=left) < 0.02


@pytest.mark.slow
def test_the_number_of_kinds_is_found_and_one_where_there_are_none():
    for kinds in (1, 3):
        chosen = []
        for seed in range(2):
            moves, starts, *_ = simulate(np.random.default_rng(seed), 1500, kinds=kinds)
            table = choose_components(data_of(moves, starts), (1, 2, 3, 4), seed=seed, n_init=4)
            chosen.append(table.loc[table["chosen"], "components"].item())
        assert chosen == [kinds] * 2


@pytest.mark.slow
def test_one_is_chosen_where_customers_differ_in_activity_alone():
    moves, starts, *_ = simulate(np.random.default_rng(7), 3000, kinds=1, visits=30)
    table = choose_components(data_of(moves, starts), (1, 2, 3), seed=1, n_init=4)
    assert table.loc[table["chosen"], "components"].item() == 1
    assert table["behind"].min() == 0


def test_every_step_gains_likelihood():
    moves, starts, *_ = simulate(np.random.default_rng(2), 800)
    values = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for steps in (1, 2, 5, 20, 100):
            model = MarkovMixture(3, n_init=1, max_iter=steps, smoothing=1e-9)
            values.append(model.fit(data_of(moves, starts)).log_likelihood_)
    assert (np.diff(values) >= -1e-6).all()


def test_same_seed_same_result_and_the_order_of_customers_is_kept():
    moves, starts, *_ = simulate(np.random.default_rng(3), 600)
    one, two = (MarkovMixture(2, seed=5).fit(data_of(moves, starts)) for _ in range(2))
    np.testing.assert_array_equal(one.responsibilities_, two.responsibilities_)
    np.testing.assert_allclose(one.predict_proba(data_of(moves, starts)), one.responsibilities_)
    np.testing.assert_array_equal(one.labels_, one.predict(data_of(moves, starts)))
    assert (np.diff(one.weights_) <= 0).all()


@given(st.integers(0, 10_000), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_rows_starts_weights_and_responsibilities_sum_to_one(seed, kinds):
    moves, starts, *_ = simulate(np.random.default_rng(seed), 60, kinds=2, visits=5)
    model = MarkovMixture(kinds, n_init=2, seed=seed).fit(data_of(moves, starts))
    rows = model.transition_matrices_.sum(-1)
    np.testing.assert_allclose(rows[~np.isnan(rows)], 1)
    np.testing.assert_allclose(model.weights_.sum(), 1)
    np.testing.assert_allclose(model.responsibilities_.sum(1), 1)
    # held-out customers may do what no learned one did
    unseen, first, *_ = simulate(np.random.default_rng(seed + 1), 20, visits=5)
    assert np.isfinite(model.score_samples(data_of(unseen, first))).all()


def test_relabelling_states_relabels_the_chains():
    moves, starts, *_ = simulate(np.random.default_rng(4), 800, kinds=2)
    order = [3, 0, 4, 1, 2]
    one = MarkovMixture(2, tol=1e-10).fit(data_of(moves, starts))
    other = MarkovMixture(2, tol=1e-10).fit(data_of(moves[:, order][:, :, order], starts[:, order]))
    np.testing.assert_allclose(
        other.transition_matrices_, one.transition_matrices_[:, order][:, :, order], atol=1e-3
    )


def test_sequences_are_counted_by_start_and_move():
    data = TransitionData.from_sequences(["aab", "ba"])
    assert data.states == ("a", "b")
    np.testing.assert_array_equal(data.counts.toarray(), [[1, 0, 1, 1, 0, 0], [0, 1, 0, 0, 1, 0]])
    assert len(data.take(np.array([1]))) == 1


def test_a_log_is_counted_by_customer_with_open_ends_left_out():
    visits = pd.DataFrame(
        [
            ("c2", 0, 0, "aware", "buy"),
            ("c2", 0, 1, "buy", "bought"),
            ("c2", 1, 0, "aware", None),
            ("c1", 0, 0, "buy", None),
        ],
        columns=["customer_id", "journey", "visit", "stage", "next_stage"],
    )
    visits["settled"] = visits["next_stage"].notna()
    log = SimpleNamespace(
        visits=ibis.memtable(visits),
        stages=SimpleNamespace(names=["aware", "buy"]),
        ends=["lost", "bought"],
    )
    data = customer_transitions(log)
    assert data.states == ("aware", "buy", "lost")
    assert data.customers.tolist() == ["c1", "c2"]
    dense = data.counts.toarray()
    np.testing.assert_array_equal(dense[:, :3], [[0, 1, 0], [2, 0, 0]])
    np.testing.assert_array_equal(dense[1, 3:].reshape(3, 3), [[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    assert dense[0, 3:].sum() == 0


def test_wrong_input_is_refused():
    with pytest.raises(ParameterError, match="smaller number"):
        MarkovMixture(3).fit(["ab", "ba"])
    with pytest.raises(ParameterError, match="not learned"):
        MarkovMixture(1).fit(["ab", "ba"]).predict(["ac"])


EXPECTED = {
    "check_array_api_input": "needs SCIPY_ARRAY_API, which nothing here uses",
    "check_clustering": "takes numbers with distances; to a chain every number is a state",
}


@parametrize_with_checks([MarkovMixture(2)], expected_failed_checks=lambda _: EXPECTED)
@pytest.mark.filterwarnings("ignore")
def test_it_keeps_scikit_learns_contract(estimator, check):
    check(estimator)
