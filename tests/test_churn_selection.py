"""The candidates and the choice between them."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from cjlib.churn.cut_offs import check_classes
from cjlib.churn.features import RFM, Vocabulary
from cjlib.churn.selection import (
    PurchaseModel,
    clustered_mean,
    foretold_by_all,
    level_shift,
    log_losses,
    log_odds,
    log_scale,
    on,
    select_model,
)
from cjlib.errors import Unanswerable
from tests.churn_logs import candidates_of, samples_of

WORDS = Vocabulary(touchpoints=("late",))


def customers(n, *, seed, cut_off="2025-01-01", effect=1.0, shift=0.0):
    """Return customers whose churn follows a logistic law of log recency and one touchpoint."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: rng.lognormal(2, 1, n) for name in RFM})
    frame["silent_share"] = rng.random(n)
    for name in WORDS.journey:
        frame[name] = rng.random(n)
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


@pytest.fixture(scope="module")
def frames():
    return [customers(1500, seed=i, cut_off=f"2025-0{i}-01") for i in (1, 2, 3)]


@pytest.fixture(scope="module")
def samples(frames):
    return samples_of(frames, words=WORDS)


def plain(*columns):
    return on(columns, make_pipeline(StandardScaler(), LogisticRegression()))


def logistic(*columns):
    return on(columns, make_pipeline(FunctionTransformer(log_scale), LogisticRegression()))


@pytest.mark.parametrize("model", [PurchaseModel("bg_nbd"), plain("recency_days")])
def test_own_candidates_keep_the_classifier_contract(samples, model):
    before = repr(model)
    X, y = samples.X(samples.training[0]), samples.training[0]["churned"]
    chances = clone(model).fit(X, y).predict_proba(samples.X(samples.test))
    assert chances.shape == (len(samples.test), 2)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert list(clone(model).fit(X, y).classes_) == [False, True]
    assert repr(model) == before


def test_features_are_numbers_and_nothing_else(samples):
    X = samples.X(samples.test)
    assert not {"churned", "cut_off", "customer_id", "bucket", "orders_after"} & set(X)
    assert X.notna().all().all()
    assert list(X)[: len(RFM)] == RFM


def test_purchase_models_are_no_features_where_nobody_buys_twice(frames):
    none = dict.fromkeys(("bg_nbd", "mbg_nbd", "pareto_nbd"), np.nan)
    without = samples_of([frame.assign(**none) for frame in frames], words=WORDS)
    assert "bg_nbd" not in without.columns
    kept = select_model(candidates_of(without), without).candidates
    assert not {"BG/NBD", "MBG/NBD", "Pareto/NBD", "RFM + BG/NBD"} & set(kept)
    assert {"everyone alike", "logistic RFM", "RFM + journey", "boosted trees"} <= set(kept)


def test_a_log_of_orders_has_no_second_candidate_that_foretells_the_same(frames):
    kept = select_model(candidates_of(s := samples_of(frames)), s).candidates
    assert "RFM + BG/NBD" in kept
    assert "RFM + journey" not in kept


def test_log_scale_takes_negative_values_and_zeros():
    frame = pd.DataFrame({"purchase_value": [-50.0, 0.0, 50.0], "rhythm": [0.0, 1.0, 2.0]})
    found = log_scale(frame).to_numpy()
    assert np.isfinite(found).all()
    assert found[0, 0] == -found[2, 0]


def test_the_simplest_within_one_error_is_chosen(samples):
    models = {
        "poor": plain("age_days"),
        "right": logistic("recency_days", "recent:late"),
        "overdone": logistic("recency_days", "recent:late", "rhythm", "overdue"),
    }
    choice = select_model(models, samples)
    assert choice.chosen == "right"
    assert choice.table["chosen"].sum() == 1
    assert choice.out_of_time


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(n_estimators=20, min_samples_leaf=20, random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression()),
        CalibratedClassifierCV(LogisticRegression(max_iter=3000)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_any_classifier_can_be_a_candidate(samples, model):
    choice = select_model({"poor": plain("age_days"), "mine": model}, samples)
    assert choice.chosen == "mine"


def test_one_cut_off_falls_back_to_folds_of_customers(frames):
    choice = select_model({"plain": plain("recency_days")}, samples_of(frames[:1]))
    assert not choice.out_of_time


def drifting(*shifts):
    """Return samples whose churn stands higher by so much at each cut-off."""
    frames = [
        customers(1500, seed=i, cut_off=f"2025-0{i + 1}-01", shift=shift)
        for i, shift in enumerate(shifts)
    ]
    return samples_of(frames, words=WORDS)


class Shifted(LogisticRegression):
    """A score that promises more churn than came."""

    def predict_proba(self, X):
        return expit(log_odds(super().predict_proba(X)) + np.array([-1.0, 1.0]))


def test_a_drift_of_the_level_chooses_nobody():
    """One fold whose churn stands higher made a score that happened to promise more the winner."""
    samples = drifting(0, 1)
    right = logistic("recency_days", "recent:late")
    lucky = on(["recency_days"], log_scale, Shifted())
    choice = select_model({"lucky": lucky, "right": right}, samples)
    rows = choice.foretold[choice.foretold["turn"] == 1]
    losses = [log_losses(rows["churned"], rows[name]).mean() for name in ("lucky", "right")]
    assert losses[0] < losses[1]
    assert choice.chosen == "right"


def test_every_later_cut_off_is_foretold_and_folds_join_in_where_these_are_few(frames):
    models = {"plain": plain("recency_days")}
    few, many = (select_model(models, samples_of(given)) for given in (frames, frames * 2))
    assert few.foretold["turn"].value_counts().to_dict() == {0: 4500, 1: 1500, 2: 1500}
    assert many.foretold["turn"].value_counts().to_dict() == dict.fromkeys(range(1, 6), 1500)


def test_an_average_of_candidates_is_their_mean_and_costs_no_fit(samples):
    members = {"one": logistic("recency_days"), "other": plain("recent:late")}
    average = VotingClassifier(list(members.items()), voting="soft")
    before, after = samples.training[:2]
    found = foretold_by_all(members | {"average": average}, samples, before, after)
    np.testing.assert_allclose(found["average"], (found["one"] + found["other"]) / 2)
    alone = foretold_by_all({"average": average}, samples, before, after)
    np.testing.assert_allclose(found["average"], alone["average"])


def test_purchase_models_are_calibrated_on_the_labels(samples):
    rows = pd.concat(samples.training)
    off = samples.X(rows).assign(bg_nbd=expit(2 * logit(rows["bg_nbd"]) + 1))
    model = PurchaseModel("bg_nbd").fit(off, rows["churned"])
    assert model.predict_proba(off)[:, 1].mean() == pytest.approx(rows["churned"].mean(), abs=1e-3)
    straight = PurchaseModel("bg_nbd").fit(samples.X(rows), rows["churned"])
    assert straight.stretch_ == pytest.approx(2 * model.stretch_, rel=0.02)


@pytest.mark.parametrize("shift", [-2.0, 0.0, 0.7])
def test_the_shift_of_a_level_is_found(shift):
    p = np.random.default_rng(3).beta(2, 3, 500)
    came = expit(logit(p) + shift)
    assert level_shift(came, p) == pytest.approx(shift, abs=1e-6)


def test_where_nothing_tells_customers_apart_everyone_alike_is_chosen(frames):
    rng = np.random.default_rng(11)
    blind = [frame.assign(churned=rng.random(len(frame)) < 0.4) for frame in frames]
    samples = samples_of(blind, words=WORDS)
    choice = select_model(candidates_of(samples), samples)
    assert choice.chosen == "everyone alike"


@pytest.mark.parametrize(("churned", "word"), [(np.ones(50), "longer"), (np.zeros(50), "shorter")])
def test_everyone_or_nobody_churning_is_said(churned, word):
    with pytest.raises(Unanswerable, match=word):
        check_classes(churned, fewest=10)


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
