"""How many will leave, and how far such promises were off before."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from cjlib.churn.drift import Level, churn_level, expected_churners
from cjlib.churn.selection import Choice

P = np.full(1000, 0.4)


def test_half_of_the_last_error_is_carried_on():
    """Three cut-offs were foretold; the last error is three quarters of that against all four."""
    row = expected_churners(P, Level(np.array([0.0, 0.0, 0.8]), 0.1)).iloc[0]
    assert row["churners"] == pytest.approx(1000 * expit(logit(0.4) + 0.8 * 0.75 / 2))


def test_the_interval_is_what_such_forecasts_were_off_by():
    errors = np.array([0.2, -0.1, 0.3, 0.1])
    carried = errors * [1 / 2, 2 / 3, 3 / 4, 4 / 5] / 2
    off = errors[1:] - carried[:-1]
    half = stats.t.ppf(0.975, 3) * np.sqrt(np.mean(off**2))
    row = expected_churners(P, Level(errors, 0.1)).iloc[0]
    limits = 1000 * expit(logit(0.4) + carried[-1] + np.array([-half, half]))
    assert (row["churners_lower"], row["churners_upper"]) == pytest.approx(tuple(limits))
    assert row["past"] == 3


def test_with_too_few_past_cut_offs_the_limits_hold_chance_alone():
    row = expected_churners(P, Level(np.array([1.0, -1.0, 1.0]), by_chance=0.0)).iloc[0]
    assert row["past"] == 2
    assert row["churners_upper"] - row["churners_lower"] == pytest.approx(
        2 * 1.96 * np.sqrt(1000 * 0.4 * 0.6), rel=0.05
    )


def test_the_errors_are_those_of_every_later_cut_off_and_of_the_test():
    rng = np.random.default_rng(2)
    parts = [pd.DataFrame({"turn": 0, "churned": [True], "ours": 0.1})]  # a fold of customers
    for turn, moved in enumerate((0.1, 0.2, 0.3), start=1):
        churned = rng.random(20_000) < expit(logit(0.4) + moved)
        parts.append(pd.DataFrame({"turn": turn, "churned": churned, "ours": 0.4}))
    table = pd.DataFrame({"model": ["ours"], "chosen": True})
    choice = Choice({"ours": LogisticRegression()}, table, pd.concat(parts))
    came = rng.random(20_000) < expit(logit(0.4) + 0.4)
    level = churn_level(choice, came, np.full(20_000, 0.4))
    np.testing.assert_allclose(level.errors, [0.1, 0.2, 0.3, 0.4], atol=0.05)
    assert level.by_chance == pytest.approx(1 / np.sqrt(20_000 * 0.4 * 0.6))
