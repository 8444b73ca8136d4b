"""Topics that a score leans on, what they add to each customer's score, and reasons in words."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from cjlib.churn import reasons
from cjlib.churn.reasons import (
    contributions,
    direction,
    in_words,
    permutation_importance,
    reasons_in_words,
    topic_of,
)
from cjlib.churn.selection import PurchaseModel, log_scale, on
from cjlib.errors import Unanswerable
from tests.churn_logs import log_of

N = 3000
COLUMNS = ["recency_days", "recent:delivery_late", "recent:newsletter_open", "channel:web"]
LOGISTIC = make_pipeline(FunctionTransformer(log_scale), StandardScaler(), LogisticRegression())
BOOSTED = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, min_samples_leaf=40)
FOREST = RandomForestClassifier(30, min_samples_leaf=20, random_state=0)


@pytest.fixture(scope="module")
def known():
    """Features, truth and buckets of customers whose churn two topics tell."""
    rng = np.random.default_rng(1)
    X = pd.DataFrame(
        {
            "recency_days": rng.integers(0, 200, N).astype(float),
            "recent:delivery_late": rng.poisson(0.3, N),
            "recent:newsletter_open": rng.poisson(0.5, N),
            "channel:web": rng.random(N),
        }
    )
    odds = 1.2 * np.log1p(X["recency_days"]) - 5 + 1.5 * (X["recent:delivery_late"] > 0)
    return X, rng.random(N) < expit(odds), np.arange(N) % 256


def test_topics_gather_what_says_the_same():
    assert topic_of("recency_days") == topic_of("overdue") == "time since the last order"
    assert topic_of("recent:delivery_late") == topic_of("last:delivery_late")
    assert topic_of("stage:decision") == topic_of("stage:post_sale") == "stage"
    assert topic_of("channel:web") == "channel web"
    assert topic_of("of my own") == "of my own"


@pytest.mark.parametrize("model", [LOGISTIC, BOOSTED, FOREST], ids=["linear", "trees", "any"])
def test_planted_topics_are_found_and_idle_ones_are_not(known, model):
    X, churned, bucket = known
    model.fit(X[:1500], churned[:1500])
    table = permutation_importance(model, X[1500:], churned[1500:], bucket[1500:], seed=2)
    verdict = table.set_index("topic")["verdict"]
    assert verdict["touchpoint delivery_late"] == verdict["time since the last order"]
    assert verdict["time since the last order"] == "important"
    assert verdict["touchpoint newsletter_open"] == verdict["channel web"] == "none"
    row = table.set_index("topic").loc["touchpoint delivery_late"]
    assert row["goes_with"] == "churn"
    assert 0 < row["direction_lower"] < row["direction"] < row["direction_upper"]


def test_the_sign_of_a_driver_is_not_that_of_who_meets_it():
    """Heavy users stay and meet support more; each contact makes leaving likelier all the same."""
    rng = np.random.default_rng(4)
    heavy = rng.gamma(1, 1, N)
    X = pd.DataFrame({"rhythm": heavy, "recent:support": rng.poisson(heavy)})
    X["channel:web"] = rng.random(N)
    churned = rng.random(N) < expit(1 - 1.5 * heavy + 0.5 * X["recent:support"])
    assert np.corrcoef(X["recent:support"], churned)[0, 1] < 0
    half, bucket = N // 2, np.arange(N) % 256
    model = LogisticRegression(max_iter=1000).fit(X[:half], churned[:half])
    table = permutation_importance(model, X[half:], churned[half:], bucket[half:])
    way = table.set_index("topic")["goes_with"]
    assert way["touchpoint support"] == "churn"
    assert way["channel web"] == "unclear"
    assert way["time since the last order"] == "staying"  # one feature of it alone


def test_more_of_a_topic_of_several_kinds_of_features_has_no_sign(known):
    X, churned, bucket = known
    pair = X[["recency_days"]].assign(silent_share=X["channel:web"])
    found = direction(pair, pair["recency_days"], np.zeros(N), churned, bucket)
    assert found["goes_with"] == "unclear"
    assert np.isnan(found["direction"])
    still = direction(X[["channel:web"]] * 0, X["channel:web"] * 0, np.zeros(N), churned, bucket)
    assert still["goes_with"] == "unclear"


def test_contributions_to_an_average_are_the_mean_of_its_members(known):
    X, churned, _ = known
    average = VotingClassifier(
        [("all", LOGISTIC), ("some", on(COLUMNS[:2], BOOSTED))], voting="soft"
    )
    average.fit(X, churned)
    found = contributions(average, X.head(50), X)
    whole, part = (contributions(one, X.head(50), X) for one in average.estimators_)
    np.testing.assert_allclose(found["channel web"], whole["channel web"] / 2, rtol=1e-5)
    both = (whole["touchpoint delivery_late"] + part["touchpoint delivery_late"]) / 2
    np.testing.assert_allclose(found["touchpoint delivery_late"], both, rtol=1e-5)


def test_without_any_effect_nothing_is_important(known):
    X, _, bucket = known
    blind = np.random.default_rng(3).random(N) < 0.5
    LOGISTIC.fit(X[:1500], blind[:1500])
    table = permutation_importance(LOGISTIC, X[1500:], blind[1500:], bucket[1500:])
    assert set(table["verdict"]) == {"none"}


def test_a_score_of_a_single_figure_has_no_topics_to_tell_apart(known):
    X, churned, bucket = known
    model = on(["recency_days"], LOGISTIC).fit(X, churned)
    with pytest.raises(Unanswerable, match="single figure"):
        permutation_importance(model, X, churned, bucket)


@pytest.mark.parametrize(
    "model",
    [
        LOGISTIC,
        LogisticRegression(max_iter=1000),
        on(COLUMNS[::-1], make_pipeline(StandardScaler(), LogisticRegression())),
        BOOSTED,
        on(COLUMNS[:2], BOOSTED),
        GradientBoostingClassifier(n_estimators=20),
    ],
    ids=["scaled", "plain", "some", "trees", "some trees", "other trees"],
)
def test_exact_contributions_add_up_to_the_log_odds(known, model):
    X, churned, _ = known
    model.fit(X, churned)
    parts = contributions(model, X.head(200), X)
    rest = logit(model.predict_proba(X.head(200))[:, 1]) - parts.sum(axis=1).to_numpy()
    np.testing.assert_allclose(rest, rest[0], atol=1e-4)
    assert parts["touchpoint delivery_late"].corr(X["recent:delivery_late"].head(200)) > 0.8


def test_sampled_contributions_are_near_the_exact_ones(known):
    X, churned, _ = known
    exact = contributions(LOGISTIC.fit(X, churned), X.head(300), X)
    shut = Shut().fit(X, churned)
    sampled = contributions(shut, X.head(300), X)
    assert set(sampled) == set(exact)
    for topic in ("time since the last order", "touchpoint delivery_late"):
        assert sampled[topic].corr(exact[topic]) > 0.95
    one = contributions(PurchaseModel("bg_nbd").fit(only := _bg(X), churned), only.head(50), only)
    assert list(one) == ["purchase model"]
    assert one["purchase model"].corr(only["bg_nbd"].head(50)) > 0.95


class Shut(LogisticRegression):
    """A model that does not show its coefficients."""

    def fit(self, X, y):
        self.inner_ = LOGISTIC.fit(X, y)
        return self

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)


def _bg(X):
    return X.assign(bg_nbd=X["recency_days"] / 250)


def test_contributions_are_the_same_in_chunks(known, monkeypatch):
    X, churned, _ = known
    whole = contributions(LOGISTIC.fit(X, churned), X, X)
    monkeypatch.setattr(reasons, "CHUNK", 700)
    pd.testing.assert_frame_equal(whole, contributions(LOGISTIC, X, X))


def test_reasons_are_words_with_the_customers_own_numbers():
    frame = pd.DataFrame(
        {
            "recency_days": [94.0, 1.0, 40.0],
            "usual_gap": [31.2, 0.0, 12.0],
            "x": [3, 0, 1],
            "recent:delivery_late": [2, 0, 1],
            "last:delivery_late": [1, 1, 0],
            "bad_recent": [2, 0, 0],
            "bad_open": [2, 0, 0],
        }
    )
    given = pd.DataFrame(
        {
            "time since the last order": [1.0, 0.5, -1.0],
            "touchpoint delivery_late": [0.8, 0.9, 0.4],
            "bad experiences": [0.3, -0.2, -0.1],
        }
    )
    found = reasons_in_words(frame, given, log_of())
    assert found.iloc[0].tolist() == [
        "last order 94 days ago; usual gap 31",
        "2 × delivery late in the last 60 days, also the latest time",
        "bad experiences in the last 60 days: 2, with no good one since: 2",
    ]
    assert found.iloc[1].tolist() == [
        "delivery late the last time, more than 60 days ago",
        "one order, 1 day ago",
        "",
    ]
    assert found.iloc[2].tolist() == [
        "1 × delivery late in the last 60 days, not the latest time",
        "",
        "",
    ]


def test_every_topic_has_its_words():
    columns = {
        **dict.fromkeys(["recency_days", "age_days", "purchase_days", "silence_days"], 3.0),
        **dict.fromkeys(["x", "usual_gap", "purchase_value", "recent_events", "bad_recent"], 2.0),
        **dict.fromkeys(["own_initiative", "feeling_mean", "feeling_last", "bad_open"], 0.5),
        **dict.fromkeys(["recent:call", "last:call", "channel:web", "stage:look"], 0.0),
    }
    rows = pd.DataFrame([columns])
    usual = rows.median().add_prefix("usual_")
    for topic in reasons.topics():
        name = {"touchpoint": "touchpoint call", "channel": "channel web"}.get(topic, topic)
        (text,) = in_words(name, rows, usual, log_of())
        assert len(text) > 10
        assert "{" not in text
