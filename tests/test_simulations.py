"""The simulations in short: a few seeds each, against the same limits."""

import numpy as np
import pytest

from tests.simulations import holds
from tests.simulations.__main__ import run, simulations

SEEDS = 2
LEVEL = 0.001  # some hundred figures are looked at in every run of the tests


@pytest.mark.slow
@pytest.mark.parametrize("name", simulations())
def test_findings_survive_hard_nulls_and_find_what_is_planted(name):
    table = run(simulations()[name], SEEDS, jobs=1, level=LEVEL)
    table = table[table["counted"] > 0]  # of so few seeds none may give a figure
    assert table["holds"].all(), table.to_string()


def test_a_rate_is_held_against_the_binomial_law():
    false = np.zeros(100)
    assert holds(false, 0, 0.05)
    false[:9] = 1
    assert holds(false, 0, 0.05)
    false[:11] = 1
    assert not holds(false, 0, 0.05)
    assert not holds(false, 0.93, 0.97)


def test_a_mean_may_miss_its_limits_by_two_standard_errors():
    values = np.linspace(0.9, 1.1, 50)
    assert holds(values, 1.0, 1.0)
    assert holds(values, 1.01, 1.2)
    assert not holds(values, 1.05, 1.2)


def test_a_figure_that_no_seed_gave_does_not_hold():
    assert not holds(np.full(5, np.nan), 0, 1)
