"""A continuum of chains: degrees are called degrees, kinds kinds, and the alike alike."""

import numpy as np
import pytest
from scipy.special import softmax

from cjlib.markov.continuum import MarkovContinuum, choose_components
from cjlib.markov.mixture import MarkovMixture
from tests.test_mixture import data_of, simulate

QUICK = {"n_init": 3, "own_chains": True}


def moves_of(chains, rng, visits=20):
    """Return starts and moves of customers (N, S, S) who each follow a chain of their own."""
    number, size = chains.shape[:2]
    state = rng.integers(size, size=number)
    starts, moves = np.eye(size)[state], np.zeros((number, size, size))
    for _ in range(visits):
        chance = chains[np.arange(number), state].cumsum(1)
        new = np.minimum((rng.random(number)[:, None] > chance).sum(1), size - 1)
        np.add.at(moves, (np.arange(number), state, new), 1)
        state = new
    return data_of(moves, starts)


def chosen(data) -> str:
    table = choose_components(data, (2, 3), **QUICK)
    return table.loc[table["chosen"], "model"].item()


def test_customers_alike_are_called_alike():
    moves, starts, *_ = simulate(np.random.default_rng(0), 1500, kinds=1)
    assert chosen(data_of(moves, starts)) == "alike"


@pytest.mark.parametrize("own", [5.0, 20.0])
def test_chains_around_one_are_degrees_though_two_alike_kinds_fit_better_than_one(own):
    rng = np.random.default_rng(1)
    mean = rng.dirichlet(np.full(4, 2.0), 4)
    chains = np.stack([rng.dirichlet(own * row + 1e-6, 2000) for row in mean], axis=1)
    data = moves_of(chains, rng)
    assert chosen(data) == "different by degrees"
    one, two = (MarkovMixture(k, n_init=3).fit(data).log_likelihood_ for k in (1, 2))
    assert two > one + 100
    dispersion = MarkovMixture(1, own_chains=True).fit(data).dispersion_
    assert dispersion[1:5].mean() == pytest.approx(1 / own, rel=0.25)


def test_a_trait_that_moves_every_chance_is_degrees():
    rng = np.random.default_rng(2)
    base, slope = rng.normal(size=(4, 4)), rng.normal(size=(4, 4)) * 0.7
    chains = softmax(base + slope * rng.normal(size=(2000, 1, 1)), axis=2)
    data = moves_of(chains, rng)
    assert chosen(data) == "different by degrees"
    told = MarkovContinuum(n_init=3).fit(data).log_likelihood_
    assert told > MarkovMixture(1, own_chains=True).fit(data).log_likelihood_ + 100


def test_kinds_whose_customers_differ_by_degrees_are_counted_without_the_degrees():
    rng = np.random.default_rng(3)
    mean = rng.dirichlet(np.full(4, 0.6), (3, 4))[rng.integers(3, size=2000)]
    chains = rng.gamma(20 * mean + 1e-6)
    data = moves_of(chains / chains.sum(axis=2, keepdims=True), rng)
    table = choose_components(data, (2, 3, 4, 5), **QUICK)
    row = table[table["chosen"]].squeeze()
    assert (row["model"], row["components"]) == ("types", 3)
    assert row["lower"] > 0
