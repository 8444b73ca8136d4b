"""Figures of merit, their intervals, and what acting is worth."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from cjlib.churn.evaluation import (
    auc,
    by_group,
    calibration,
    equal_groups,
    evaluate,
    expected_maximum_profit,
    gains,
    kept_promise,
    paired_gain,
    profit_curve,
    uplift,
)


@pytest.fixture(scope="module")
def scored():
    rng = np.random.default_rng(1)
    odds = rng.normal(0, 1.2, 5000)
    return rng.random(5000) < expit(odds), expit(odds), np.arange(5000) % 256


def test_figures_agree_with_the_textbook(scored):
    churned, p, bucket = scored
    found = evaluate(churned, p, bucket)
    assert found["auc"] == pytest.approx(roc_auc_score(churned, p))
    assert found["log_loss"] == pytest.approx(log_loss(churned, p))
    assert found["brier"] == pytest.approx(brier_score_loss(churned, p))
    assert found["accuracy"] == pytest.approx(np.mean((p > 0.5) == churned))
    top = churned[np.argsort(p)[-500:]].mean() / churned.mean()
    assert found["top_decile_lift"] == pytest.approx(top)
    assert found["ece"] < 0.03
    assert found["auc_lower"] < found["auc"] < found["auc_upper"]


def test_a_score_that_knows_nothing_is_seen_as_such(scored):
    churned, _, bucket = scored
    p = np.random.default_rng(2).random(len(churned))
    found = auc(churned, p, bucket)
    assert found.lower < 0.5 < found.upper


def test_ties_count_half():
    churned = np.array([True, False, True, False])
    assert auc(churned, np.full(4, 0.3), np.arange(4)).estimate == 0.5


def test_one_class_alone_has_no_auc():
    assert np.isnan(auc(np.ones(5, dtype=bool), np.arange(5) / 5, np.arange(5)).estimate)


@pytest.mark.slow
def test_auc_intervals_cover_with_repeating_customers():
    rng = np.random.default_rng(3)
    truth = 0.7602  # of normal scores one standard deviation apart: Phi(1 / sqrt 2)
    inside = 0
    for _ in range(120):
        customer = np.repeat(np.arange(300), 3)
        churned = np.repeat(rng.random(300) < 0.4, 3)
        score = churned + np.repeat(rng.normal(0, 0.8, 300), 3) + rng.normal(0, 0.6, 900)
        found = auc(churned, score, customer % 256)
        inside += found.lower <= truth <= found.upper
    assert 0.90 <= inside / 120 <= 0.99


def test_calibration_groups_hold_everybody_once(scored):
    table = calibration(*scored)
    assert table["customers"].sum() == 5000
    assert table["predicted"].is_monotonic_increasing
    assert table["predicted"].between(table["lower"], table["upper"]).sum() >= 8


def test_gains_of_a_perfect_score():
    churned = np.arange(100) < 20
    table = gains(churned, churned.astype(float))
    assert table.loc[20, "found"] == pytest.approx(1)
    assert table.loc[10, "lift"] == pytest.approx(5)


def test_groups_are_scored_apart(scored):
    churned, p, bucket = scored
    group = np.where(p > 0.5, "high", "low")
    table = by_group(churned, p, bucket, group).set_index("group")
    assert table.loc["high", "observed"] == pytest.approx(churned[p > 0.5].mean())
    assert table["customers"].sum() == 5000


def test_paired_gain_sees_information_and_no_noise(scored):
    churned, p, bucket = scored
    rng = np.random.default_rng(4)
    assert paired_gain(churned, np.full(5000, churned.mean()), p, bucket)["lower"] > 0
    noisy = expit(np.log(p / (1 - p)) + rng.normal(0, 0.02, 5000))
    same = paired_gain(churned, p, noisy, bucket)
    assert same["lower"] < 0 < same["upper"] + 1e-4


def test_profit_of_contacting_everybody_is_the_plain_sum():
    churned = np.array([True, True, False, False])
    curve = profit_curve(
        churned, [0.9, 0.8, 0.2, 0.1], 100.0, contact_cost=1, offer_cost=10, acceptance=0.5
    )
    kept = 2 * 0.5 * 90 - 2 * 10 - 4
    assert curve["profit"].iloc[-1] == pytest.approx(kept / 4)
    assert curve["profit"].iloc[0] == 0
    assert curve.loc[curve["profit"].idxmax(), "contacted"] == pytest.approx(0.5)


def test_values_below_zero_are_not_chased():
    churned, p = np.array([True, True]), np.array([0.9, 0.8])
    costs = {"contact_cost": 1, "offer_cost": 1, "acceptance": 0.5}
    curve = profit_curve(churned, p, np.array([-500.0, 100.0]), **costs)
    assert curve.loc[curve["profit"].idxmax(), "contacted"] == pytest.approx(0.5)


def test_expected_maximum_profit_of_a_perfect_score():
    # all churners and no one else: 20 % x (E[acceptance] (V - d) - f), E = 6 / 20
    churned = np.arange(1000) < 200
    found = expected_maximum_profit(
        churned, churned.astype(float), value=200, contact_cost=1, offer_cost=10
    )
    assert found["contacted"] == pytest.approx(0.2)
    assert found["profit"] == pytest.approx(0.2 * (0.3 * 190 - 1), rel=1e-3)


def test_expected_maximum_profit_of_nothing_to_win():
    churned = np.arange(1000) < 5
    found = expected_maximum_profit(
        churned, np.full(1000, 0.5), value=10, contact_cost=5, offer_cost=9
    )
    assert found == {"profit": 0.0, "contacted": 0.0}


def test_what_came_true_of_value_at_risk_is_one_for_true_probabilities():
    rng = np.random.default_rng(4)
    p, value = rng.random(20_000), rng.lognormal(3, 1, 20_000)
    churned = rng.random(20_000) < p
    buckets = np.arange(20_000) % 256
    kept = kept_promise(churned, p, value, value, buckets)
    assert kept.lower < 1 < kept.upper
    assert kept.upper - kept.lower < 0.06
    half = kept_promise(churned, 2 * p, value, value, buckets)
    assert half.estimate == pytest.approx(kept.estimate / 2)
    dear = kept_promise(churned, p, value, 0.9 * value, buckets)  # values were a tenth too high
    assert dear.estimate == pytest.approx(0.9 * kept.estimate)


def test_a_score_that_is_the_same_for_everyone_has_no_riskiest_tenth():
    churned = np.arange(500) % 3 == 0
    found = evaluate(churned, np.full(500, 1 / 3), np.arange(500) % 256)
    assert np.isnan([found["top_decile_lift"], found["return_lift"]]).all()
    assert found["auc"] == 0.5


def groups(effect, seed):
    rng = np.random.default_rng(seed)
    group = np.where(rng.random(6000) < 0.5, "contact", "hold out")
    churned = rng.random(6000) < np.where(group == "contact", 0.5 - effect, 0.5)
    return pd.DataFrame({"group": group, "churned": churned, "bucket": np.arange(6000) % 256})


@pytest.mark.parametrize("effect", [0.0, 0.1])
def test_the_interval_of_an_uplift_holds_it_at_the_stated_rate(effect):
    found = [uplift(groups(effect, seed)) for seed in range(400)]
    inside = np.mean([one["lower"] < effect < one["upper"] for one in found])
    assert 0.925 <= inside <= 0.975  # .95 give or take 2.3 standard errors
    sure = np.mean([one["p_value"] < 0.05 for one in found])
    assert sure > 0.99 if effect else sure <= 0.075


def test_without_a_group_held_out_there_is_no_uplift():
    assert uplift(groups(0.1, 5).query("group == 'contact'")) == {}


def test_equal_groups_are_equal_even_with_ties():
    sizes = np.bincount(equal_groups(np.full(103, 0.5), 10))
    assert set(sizes) == {10, 11}
