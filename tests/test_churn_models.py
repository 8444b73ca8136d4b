"""The candidates and the choice between them."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.metrics import log_loss

from cjlib.churn.choice import check_classes, choose, clustered_mean, log_losses, recalibration
from cjlib.churn.features import RFM, Vocabulary
from cjlib.churn.models import (
    BoostedScores,
    HiatusRule,
    LogisticScores,
    PurchaseModelScores,
    Recalibrated,
    candidates,
    logs,
)
from cjlib.errors import ContractError


def customers(n, *, seed, cut_off="2025-01-01", effect=1.0, shift=0.0):
    """Return customers whose churn follows a logistic law of log recency and one touchpoint."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: rng.lognormal(2, 1, n) for name in RFM})
    frame["silent_share"] = rng.random(n)
    frame["recent:late"] = rng.poisson(0.4, n)
    frame["last:late"] = rng.random(n) < 0.2
    odds = np.log1p(frame["recency_days"]) - 2 + effect * (frame["recent:late"] > 0) + shift
    frame["churned"] = rng.random(n) < expit(odds)
    for name in ("bg_nbd", "mbg_nbd", "pareto_nbd"):
        frame[name] = np.clip(expit(odds + rng.normal(0, 0.5, n)), 0.01, 0.99)
    frame["customer_id"] = [f"c{i}" for i in range(n)]
    frame["bucket"] = np.arange(n) % 256
    frame["cut_off"] = pd.Timestamp(cut_off)
    return frame


WORDS = Vocabulary(touchpoints=("late",))
JOURNEY = Vocabulary.journey.fget(WORDS)


@pytest.fixture(scope="module")
def frames():
    parts = [customers(1500, seed=i, cut_off=f"2025-0{i}-01") for i in (1, 2, 3)]
    for part in parts:
        for name in JOURNEY:
            if name not in part:
                part[name] = np.random.default_rng(9).random(len(part))
    return parts


ALL = [
    HiatusRule(),
    PurchaseModelScores("bg_nbd"),
    LogisticScores(("recency_days", "recent:late")),
    BoostedScores(("recency_days", "recent:late")),
    Recalibrated(LogisticScores(("recency_days",)), 0.2, 0.9),
]


@pytest.mark.parametrize("model", ALL, ids=lambda model: type(model).__name__)
def test_candidates_keep_the_classifier_contract(frames, model):
    before = model.get_params()
    fitted = clone(model).fit(frames[0], frames[0]["churned"])
    chances = fitted.predict_proba(frames[1])
    assert chances.shape == (len(frames[1]), 2)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert list(fitted.classes_) == [False, True]
    assert model.get_params() == before
    assert set(fitted.columns) <= set(frames[0].columns)
    again = clone(model).fit(frames[0], frames[0]["churned"]).predict_proba(frames[1])
    np.testing.assert_array_equal(chances, again)


def test_hiatus_rule_finds_the_best_threshold():
    days = np.array([1, 2, 3, 10, 11, 12, 13])
    churned = np.array([0, 0, 1, 0, 1, 1, 1], dtype=bool)
    fitted = HiatusRule().fit(pd.DataFrame({"recency_days": days}), churned)
    accuracy = [np.mean((days > t) == churned) for t in days]
    assert np.mean((days > fitted.threshold_) == churned) == max(accuracy)


@pytest.mark.parametrize("model", [ALL[2], ALL[3]], ids=["logistic", "boosted"])
def test_contributions_add_up_to_the_log_odds(frames, model):
    fitted = clone(model).fit(frames[0], frames[0]["churned"])
    parts = fitted.contributions(frames[1].head(200))
    odds = logit(fitted.predict_proba(frames[1].head(200))[:, 1])
    rest = odds - parts.sum(axis=1).to_numpy()
    np.testing.assert_allclose(rest, rest[0], atol=1e-6)


def test_a_planted_effect_is_recovered_and_noise_is_not(frames):
    fitted = LogisticScores(("recency_days", "recent:late", "rhythm")).fit(
        pd.concat(frames), pd.concat(frames)["churned"]
    )
    scaled = logs(pd.concat(frames), ("recency_days",)).std()
    assert fitted.coef_["recency_days"] / scaled == pytest.approx(1, abs=0.15)
    assert fitted.coef_["recent:late"] > 0.3
    assert abs(fitted.coef_["rhythm"]) < 0.12


def test_logs_take_negative_values_and_zeros():
    frame = pd.DataFrame({"purchase_value": [-50.0, 0.0, 50.0], "rhythm": [0.0, 1.0, 2.0]})
    found = logs(frame, ("purchase_value", "rhythm"))
    assert np.isfinite(found).all()
    assert found[0, 0] == -found[2, 0]


def test_the_simplest_within_one_error_is_chosen(frames):
    models = {
        "hiatus rule": HiatusRule(),
        "plain": LogisticScores(("recency_days",)),
        "right": LogisticScores(("recency_days", "recent:late")),
        "overdone": LogisticScores(("recency_days", "recent:late", "rhythm", "overdue")),
    }
    choice = choose(frames, models)
    assert choice.chosen == "right"
    assert choice.table["chosen"].sum() == 1
    assert choice.out_of_time
    assert set(choice.predictions["cut_off"]) == {f["cut_off"].iloc[0] for f in frames[1:]}


def test_one_cut_off_falls_back_to_folds_of_customers(frames):
    models = {"plain": LogisticScores(("recency_days",))}
    choice = choose(frames[:1], models)
    assert not choice.out_of_time
    assert len(choice.losses) == len(frames[0])
    assert recalibration(choice)[2] is False


def test_calibration_is_mended_only_when_it_is_off():
    still = [customers(3000, seed=i, cut_off=f"2025-0{i}-01") for i in (4, 5)]
    drift = [still[0], customers(3000, seed=6, cut_off="2025-06-01", shift=1.0)]
    models = {"right": LogisticScores(("recency_days", "recent:late"))}
    assert recalibration(choose(still, models))[2] is False
    shift, stretch, needed = recalibration(choose(drift, models))
    assert needed
    assert shift == pytest.approx(1, abs=0.25)
    assert stretch == pytest.approx(1, abs=0.2)


def test_candidates_follow_the_columns_of_the_log(frames):
    everything = list(candidates(WORDS, frames[0]))
    assert everything[0] == "everyone alike"
    assert "RFM + journey" in everything
    orders = list(candidates(Vocabulary(), frames[0]))
    assert "RFM + journey" not in orders
    without = frames[0].assign(bg_nbd=np.nan, mbg_nbd=np.nan, pareto_nbd=np.nan)
    names = ["everyone alike", "hiatus rule", "recency rank", "logistic RFM", "boosted trees"]
    assert list(candidates(Vocabulary(), without)) == names


def test_where_nothing_tells_customers_apart_everyone_alike_is_chosen(frames):
    rng = np.random.default_rng(11)
    blind = [frame.assign(churned=rng.random(len(frame)) < 0.4) for frame in frames]
    choice = choose(blind, candidates(WORDS, blind[0]))
    assert choice.chosen == "everyone alike"
    # ... and its probability is the share that churned before the later cut-offs
    assert choice.predictions["everyone alike"].between(0.36, 0.44).all()


@pytest.mark.parametrize(("churned", "word"), [(np.ones(50), "longer"), (np.zeros(50), "shorter")])
def test_everyone_or_nobody_churning_is_said(churned, word):
    with pytest.raises(ContractError, match=word):
        check_classes(churned)


def test_losses_and_clustered_errors_agree_with_the_textbook():
    rng = np.random.default_rng(8)
    p, churned = rng.random(4000), rng.random(4000) < 0.3
    losses = log_losses(churned, p)
    assert losses.mean() == pytest.approx(log_loss(churned, p))
    mean, error = clustered_mean(losses, np.arange(4000) % 256)
    assert mean == pytest.approx(losses.mean())
    assert error == pytest.approx(losses.std() / np.sqrt(4000), rel=0.15)
    doubled = clustered_mean(np.repeat(losses, 2), np.repeat(np.arange(4000) % 256, 2))
    assert doubled[1] == pytest.approx(error)
