"""Figures of merit, their intervals, and what acting is worth."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from cjlib.churn import evaluation as churn_evaluation
from cjlib.churn.actions import uplift, value_calibration
from cjlib.churn.evaluation import (
    OpenedTest,
    auc,
    by_group,
    calibrated,
    calibration,
    calibration_error,
    equal_groups,
    evaluate,
    feature_gain,
    gains,
    open_test,
    paired_gain,
    require_ranking,
)
from cjlib.churn.features import RFM, Vocabulary
from cjlib.churn.profit import best_shares, contact_share, profit_curve, profit_curves
from cjlib.churn.selection import Choice, log_losses
from cjlib.errors import Unanswerable
from tests.churn_logs import samples_of


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
    found = auc(churned, np.full(4, 0.3), np.arange(4))
    assert (found.estimate, found.lower, found.upper) == (0.5, 0.5, 0.5)


def test_the_interval_of_an_auc_is_that_of_delong(monkeypatch):
    """The variance of DeLong, DeLong and Clarke-Pearson (1988), one customer a bucket."""
    rng = np.random.default_rng(6)
    churned = np.arange(200) < 80
    score = churned + rng.normal(0, 1, 200)
    beaten = score[churned][:, None] > score[~churned]
    error = np.sqrt(beaten.mean(1).var(ddof=1) / 80 + beaten.mean(0).var(ddof=1) / 120)
    found = auc(churned, score, np.arange(200))
    assert found.estimate == pytest.approx(beaten.mean())
    assert found.upper - found.lower == pytest.approx(2 * 1.96 * error, rel=0.1)
    monkeypatch.setattr(churn_evaluation, "RANKS", 50)
    coarse = auc(churned, score, np.arange(200))
    assert coarse.estimate == found.estimate
    assert coarse.lower == pytest.approx(found.lower, abs=0.01)
    assert coarse.upper == pytest.approx(found.upper, abs=0.01)


def test_figures_counted_by_hand():
    """Twenty customers in ten groups of two; the riskiest and the least risky both churned."""
    p = np.arange(20) / 20
    churned = np.isin(np.arange(20), [0, 18, 19])
    found = evaluate(churned, p, np.arange(20))
    assert found["top_decile_lift"] == pytest.approx(1 / 0.15)
    assert found["return_lift"] == pytest.approx(0.5 / 0.85)
    gaps = [abs(churned[i : i + 2].mean() - p[i : i + 2].mean()) for i in range(0, 20, 2)]
    assert found["ece"] == pytest.approx(np.mean(gaps))
    # right: 1 to 9, 10 (at one half he is not said to leave), 18 and 19
    assert found["accuracy"] == 12 / 20


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
    assert table["bin"].tolist() == list(range(1, 11))
    assert table["predicted"].between(table["lower"], table["upper"]).sum() >= 8


@pytest.mark.parametrize(
    ("ece", "perfect", "most", "verdict"),
    [
        (0.063, 0.060, 0.085, "none"),  # a right score of few customers
        (0.090, 0.060, 0.085, "off"),
        (0.015, 0.005, 0.008, "none"),  # beyond chance, and too little to matter
        (0.030, 0.005, 0.008, "off"),
    ],
)
def test_probabilities_are_off_beyond_what_chance_shows(ece, perfect, most, verdict):
    row = pd.DataFrame({"ece": [ece], "ece_perfect": perfect, "ece_perfect_upper": most}, index=[3])
    found = calibrated(OpenedTest(None, np.array([0.2, 0.4]), row, row), [True, False]).iloc[0]
    assert found["verdict"] == verdict
    assert (found["predicted_churn"], found["observed_churn"]) == pytest.approx((0.3, 0.5))


def test_the_error_that_chance_shows_is_that_of_answers_drawn_from_the_score():
    rng = np.random.default_rng(8)
    p = rng.beta(2, 2, 300)
    drawn = [calibration_error(rng.random(300) < p, p)[0] for _ in range(400)]
    _, perfect = calibration_error(rng.random(300) < p, p)
    assert np.mean(drawn) == pytest.approx(perfect.mean(), rel=0.05)
    assert np.quantile(drawn, 0.95) == pytest.approx(np.quantile(perfect, 0.95), rel=0.07)
    assert perfect.mean() > 0.05


def test_gains_of_a_perfect_score():
    churned = np.arange(100) < 20
    table = gains(churned, {"perfect": churned.astype(float), "none": np.zeros(100)})
    assert table["score"].unique().tolist() == ["perfect", "none"]
    assert table.loc[20, "found"] == pytest.approx(1)
    assert table.loc[10, "found"] == pytest.approx(0.5)
    perfect = table[table["score"] == "perfect"]
    ends = perfect[["contacted", "found"]].to_numpy()[[0, -1]]
    np.testing.assert_allclose(ends, [[0, 0], [1, 1]])
    assert perfect["contacted"].tolist() == pytest.approx([i / 100 for i in range(101)])


def test_gains_of_two_customers_are_drawn_between_them():
    table = gains([True, False], {"right": [0.9, 0.1]}).set_index("contacted")["found"]
    assert table[0.25] == pytest.approx(0.5)


def test_nobody_is_found_where_nobody_churned():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gains([False, False], {"any": [0.9, 0.1]})["found"].eq(0).all()


def test_customers_of_equal_score_share_what_is_found():
    """The mean over all orders, and not that of their ids."""
    rng = np.random.default_rng(9)
    p, churned = rng.integers(0, 4, 100) / 4, rng.random(100) < 0.4
    shared = gains(churned, {"ours": p})["found"]
    orders = [gains(churned, {"ours": p + rng.random(100) / 10})["found"] for _ in range(2000)]
    np.testing.assert_allclose(shared, np.mean(orders, axis=0), atol=0.01)
    mixed = rng.permutation(100)
    np.testing.assert_allclose(shared, gains(churned[mixed], {"ours": p[mixed]})["found"])
    buckets = np.arange(100)
    there, here = evaluate(churned[mixed], p[mixed], buckets), evaluate(churned, p, buckets)
    for name in ("top_decile_lift", "return_lift", "ece"):
        assert there[name] == pytest.approx(here[name])


def test_groups_are_scored_apart(scored):
    churned, p, bucket = scored
    group = pd.cut(p, [0, 0.5, 1], labels=["low", "high"])
    table = by_group(churned, p, bucket, group).set_index("group")
    assert list(table.index) == ["low", "high"]
    assert table.loc["high", "observed"] == pytest.approx(churned[p > 0.5].mean())
    assert table["customers"].sum() == 5000
    assert (table["lower"] < table["observed"]).all()
    high = p > 0.5
    assert table.loc["high", "auc"] == pytest.approx(roc_auc_score(churned[high], p[high]))
    assert table.loc["high", "predicted"] == pytest.approx(p[high].mean())
    stayed = np.where(churned, "gone", "stayed")  # groups in which nobody else is
    assert by_group(churned, p, bucket, stayed)["auc"].isna().all()


def opened(area, lower):
    row = pd.DataFrame({"model": ["ours"], "chosen": True, "auc": area, "auc_lower": lower})
    return OpenedTest("model", np.array([0.2, 0.7]), row, row)


def test_a_score_no_better_than_chance_makes_no_list():
    assert require_ranking(opened(0.7, 0.6))[0] == "model"
    with pytest.raises(Unanswerable, match="better than chance"):
        require_ranking(opened(0.52, 0.45))


def test_the_test_is_opened_with_models_that_never_saw_it():
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(rng.normal(size=(900, len(RFM))), columns=RFM)
    frame["churned"] = rng.random(900) < expit(2 * frame["recency_days"])
    none = dict.fromkeys(("bg_nbd", "mbg_nbd", "pareto_nbd"), np.nan)
    frame = frame.assign(bucket=np.arange(900) % 256, **none)
    training, test = frame[:300], frame[600:]
    samples = samples_of([training, frame[300:600]], test)
    candidates = {"plain": LogisticRegression(), "tight": LogisticRegression(C=1e-4)}
    chosen = pd.DataFrame({"model": ["plain", "tight"], "chosen": [True, False]})
    foretold = samples.training[1][["churned"]].assign(turn=1, plain=0.5, tight=0.5)
    choice = Choice(candidates, chosen, foretold)
    tested = open_test(choice, samples)
    assert tested.table.set_index("model")["chosen"].to_dict() == {"plain": True, "tight": False}
    model = LogisticRegression().fit(frame.loc[:599, RFM], frame.loc[:599, "churned"])
    np.testing.assert_allclose(tested.probability, model.predict_proba(test[RFM])[:, 1])
    assert tested.row["auc"].item() == roc_auc_score(test["churned"], tested.probability)
    assert tested.row["recency_auc"].item() == roc_auc_score(test["churned"], test["recency_days"])
    turned = [part.assign(recency_days=-part["recency_days"]) for part in samples.training]
    known = open_test(choice, samples_of(turned, test))  # in training, long silence meant return
    assert known.row["recency_auc"].item() == pytest.approx(1 - tested.row["recency_auc"].item())
    assert not hasattr(candidates["plain"], "coef_")


@pytest.mark.parametrize(("effect", "verdict"), [(1.5, "higher"), (0.0, "none")])
def test_what_journeys_add_is_seen_and_noise_is_not(effect, verdict):
    rng = np.random.default_rng(5)
    words = Vocabulary(stages=("a", "b"))
    frame = pd.DataFrame(rng.normal(size=(2000, len(RFM))), columns=RFM)
    frame = frame.assign(**{"stage:a": rng.integers(0, 2, 2000), "stage:b": 0})
    frame["churned"] = rng.random(2000) < expit(frame["recency_days"] + effect * frame["stage:a"])
    none = dict.fromkeys(("bg_nbd", "mbg_nbd", "pareto_nbd"), np.nan)
    frame = frame.assign(bucket=np.arange(2000) % 256, **none)
    samples = samples_of([frame[:1000], frame[1000:]], words=words)
    samples.training.pop()
    row = feature_gain(LogisticRegression(), samples, words.journey).iloc[0]
    assert row["verdict"] == verdict
    assert row["lower"] < row["gain_share"] < row["upper"]
    with pytest.raises(Unanswerable, match="purchases alone"):
        feature_gain(LogisticRegression(), samples, [])
    blind = samples.training[0].assign(churned=rng.random(1000) < 0.5)
    lost = samples_of([blind], frame[1000:].assign(churned=rng.random(1000) < 0.5), words=words)
    with pytest.raises(Unanswerable, match="better than chance"):
        feature_gain(LogisticRegression(), lost, words.journey)


def test_paired_gain_sees_information_and_no_noise(scored):
    churned, p, bucket = scored
    rng = np.random.default_rng(4)
    known, blind = log_losses(churned, p), log_losses(churned, np.full(5000, churned.mean()))
    assert paired_gain(blind, known, bucket)["verdict"].item() == "higher"
    noisy = log_losses(churned, expit(np.log(p / (1 - p)) + rng.normal(0, 0.02, 5000)))
    same = paired_gain(known, noisy, bucket).iloc[0]
    assert same["lower"] < 0 < same["upper"] + 1e-4


def test_a_paired_gain_is_the_share_of_the_losses_saved():
    churned = np.arange(9) < 4
    simple, rich = np.full(9, 0.4), np.where(churned, 0.5, 0.35) + np.arange(9) / 100
    saved = -np.log(np.where(churned, simple, 1 - simple) / np.where(churned, rich, 1 - rich))
    losses = [log_losses(churned, score) for score in (simple, rich)]
    found = paired_gain(*losses, np.arange(9)).iloc[0]
    loss = -np.log(np.where(churned, simple, 1 - simple)).mean()
    assert found["gain_share"] == pytest.approx(saved.mean() / loss)
    assert found["lower"] < found["gain_share"] < found["upper"]
    turned = paired_gain(*losses[::-1], np.arange(9)).iloc[0]
    assert np.sign(turned["gain_share"]) == -np.sign(found["gain_share"])


def test_a_score_that_loses_for_sure_is_called_lower(scored):
    churned, p, bucket = scored
    losses = [log_losses(churned, score) for score in (p, np.full(5000, churned.mean()))]
    assert paired_gain(*losses, bucket)["verdict"].item() == "lower"


def test_profit_of_contacting_everybody_is_the_plain_sum():
    churned = np.array([True, True, False, False])
    value = np.full(4, 100.0)
    curve = profit_curve(churned, [0.9, 0.8, 0.2, 0.1], value, 1, 10, acceptance=0.5)
    kept = 2 * 0.5 * 90 - 2 * 10 - 4
    assert curve["profit"].iloc[-1] == pytest.approx(kept / 4)
    assert curve["profit"].iloc[0] == 0
    assert curve.loc[curve["profit"].idxmax(), "contacted"] == pytest.approx(0.5)


def test_values_below_zero_are_not_chased():
    churned, p = np.array([True, True]), np.array([0.9, 0.8])
    curve = profit_curve(churned, p, np.array([-500.0, 100.0]), 1, 1, acceptance=0.5)
    assert curve.loc[curve["profit"].idxmax(), "contacted"] == pytest.approx(0.5)


def test_the_best_cut_and_what_lies_near_it():
    shares, base = np.linspace(0, 1, 5), np.array([0.0, 2.9, 3.0, 2.0, 1.0])
    parts = [(0.15, -base), (0.3, base), (0.45, base + shares * 4)]
    curves = pd.concat(
        pd.DataFrame({"contacted": shares, "profit": profit, "acceptance": accepts})
        for accepts, profit in parts
    )
    table = best_shares(curves).set_index("acceptance_rate")
    assert table["contacted_share"].to_list() == [0.0, 0.5, 0.5]
    assert table.loc[0.3].to_list()[1:] == [3.0, 0.25, 0.5]


def test_without_values_a_fifth_is_contacted_and_no_profit_is_told():
    samples = samples_of([pd.DataFrame({"churned": [True]})])
    assumed = 1.0, 1.0, 0.3, 2.0
    assert contact_share(samples, [0.5], *assumed) == 0.2
    with pytest.raises(Unanswerable, match="value of orders"):
        profit_curves(samples, [0.5], *assumed)


def test_the_calibration_of_value_at_risk_is_one_for_true_probabilities():
    rng = np.random.default_rng(4)
    p, value = rng.random(20_000), rng.lognormal(3, 1, 20_000)
    churned = rng.random(20_000) < p
    buckets = np.arange(20_000) % 256
    kept = value_calibration(churned, p, value, value, buckets)
    assert kept.lower < 1 < kept.upper
    assert kept.upper - kept.lower < 0.06
    half = value_calibration(churned, 2 * p, value, value, buckets)
    assert half.estimate == pytest.approx(kept.estimate / 2)
    dear = value_calibration(churned, p, value, 0.9 * value, buckets)  # a tenth too high
    assert dear.estimate == pytest.approx(0.9 * kept.estimate)


def test_the_riskiest_tenth_of_a_score_that_is_the_same_for_everyone_is_anybody():
    churned = np.arange(500) % 3 == 0
    found = evaluate(churned, np.full(500, 1 / 3), np.arange(500) % 256)
    assert found["top_decile_lift"] == pytest.approx(1)
    assert found["return_lift"] == pytest.approx(1)
    assert found["auc"] == 0.5


def groups(effect, seed):
    rng = np.random.default_rng(seed)
    group = np.where(rng.random(6000) < 0.5, "contact", "hold out")
    churned = rng.random(6000) < np.where(group == "contact", 0.5 - effect, 0.5)
    return pd.DataFrame({"group": group, "churned": churned, "bucket": np.arange(6000) % 256})


@pytest.mark.parametrize("effect", [0.0, 0.1])
def test_the_interval_of_an_uplift_holds_it_at_the_stated_rate(effect):
    found = pd.concat([uplift(groups(effect, seed)) for seed in range(400)])
    inside = np.mean((found["lower"] < effect) & (effect < found["upper"]))
    assert 0.925 <= inside <= 0.975  # .95 give or take 2.3 standard errors
    sure = np.mean(found["p_value"] < 0.05)
    assert sure > 0.99 if effect else sure <= 0.075
    assert ((found["verdict"] == "none") == (found["p_value"] >= 0.05)).all()


def test_without_a_group_held_out_there_is_no_uplift():
    assert uplift(groups(0.1, 5).query("group == 'contact'")).empty


def test_customers_of_equal_score_are_in_one_group():
    assert set(equal_groups(np.full(103, 0.5), 10)) == {4}
    assert equal_groups(np.array([1, 1, 1, 2, 2, 3]), 3).tolist() == [0, 0, 0, 1, 1, 2]


def test_equal_groups_rise_with_the_score_and_hold_everybody():
    assert equal_groups(np.array([0.3, 0.1, 0.2, 0.4]), 2).tolist() == [1, 0, 0, 1]
    assert equal_groups(np.arange(3), 10).tolist() == [0, 3, 6]
    assert equal_groups(np.array([]), 10).tolist() == []
