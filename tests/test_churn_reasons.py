"""Reasons in words with numbers, and drivers that are found or not."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from cjlib.churn.models import BoostedScores, LogisticScores, PurchaseModelScores
from cjlib.churn.reasons import drivers, pushes, reasons, topic_of, topics

HORIZON = pd.Timedelta(60, "D")


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(1)
    n = 3000
    frame = pd.DataFrame(
        {
            "recency_days": rng.integers(0, 200, n).astype(float),
            "usual_gap": 31.0,
            "x": 2,
            "recent:delivery_late": rng.poisson(0.3, n),
            "last:delivery_late": 0,
            "recent:newsletter_open": rng.poisson(0.5, n),
            "last:newsletter_open": 0,
            "channel:web": rng.random(n),
            "bucket": np.arange(n) % 256,
        }
    )
    odds = 1.2 * np.log1p(frame["recency_days"]) - 5 + 1.5 * (frame["recent:delivery_late"] > 0)
    frame["churned"] = rng.random(n) < expit(odds)
    return frame


COLUMNS = ("recency_days", "recent:delivery_late", "recent:newsletter_open", "channel:web")


def test_topics_gather_what_says_the_same():
    assert topic_of("recency_days") == topic_of("overdue") == "time since the last order"
    assert topic_of("recent:delivery_late") == topic_of("last:delivery_late")
    assert topic_of("stage:decision") == "stage"
    parts = pd.DataFrame({"recency_days": [0.5], "overdue": [0.25], "channel:web": [-0.1]})
    summed = topics(parts)
    assert summed.loc[0, "time since the last order"] == pytest.approx(0.75)
    assert summed.to_numpy().sum() == pytest.approx(parts.to_numpy().sum())


def test_reasons_are_words_with_the_customers_own_numbers():
    frame = pd.DataFrame(
        {
            "recency_days": [94.0, 12.0, 40.0],
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
            "recency_days": [1.0, 0.5, -1.0],
            "recent:delivery_late": [0.8, 0.9, 0.4],
            "bad_recent": [0.3, -0.2, -0.1],
        }
    )
    found = reasons(frame, topics(given), horizon=HORIZON)
    assert found.iloc[0].tolist() == [
        "last order 94 days ago; usual gap 31",
        "delivery late 2 times in the last 60 days, also the latest time",
        "2 bad experiences in the last 60 days, 2 with no good one since",
    ]
    assert found.iloc[1].tolist() == [
        "delivery late the last time, more than 60 days ago",
        "one order, 12 days ago",
        "",
    ]
    assert found.iloc[2].tolist() == [
        "delivery late 1 time in the last 60 days, not the latest time",
        "",
        "",
    ]


def test_pushes_are_the_same_in_chunks(frame):
    model = LogisticScores(COLUMNS).fit(frame, frame["churned"])
    whole, parts = pushes(model, frame), pushes(model, frame, chunk=700)
    pd.testing.assert_frame_equal(whole, parts)
    assert pushes(PurchaseModelScores("bg_nbd"), frame) is None


def test_a_rule_has_one_reason(frame):
    found = reasons(frame.head(2), None, horizon=HORIZON)
    assert found["reason_1"].str.startswith("last order").all()
    assert (found[["reason_2", "reason_3"]] == "").all().all()


@pytest.mark.parametrize("kind", [LogisticScores, BoostedScores])
def test_planted_drivers_are_found_and_idle_ones_are_not(frame, kind):
    model = kind(COLUMNS).fit(frame[:1500], frame["churned"][:1500])
    table = drivers(model, frame[1500:], list(COLUMNS), seed=2).set_index("topic")
    assert table.loc["touchpoint delivery_late", "driver"]
    assert table.loc["time since the last order", "driver"]
    assert not table.loc["touchpoint newsletter_open", "driver"]
    assert not table.loc["channel web", "driver"]
    assert table.loc["touchpoint delivery_late", "direction"] > 0


def test_without_any_effect_nothing_drives(frame):
    blind = frame.assign(churned=np.random.default_rng(3).random(len(frame)) < 0.5)
    model = LogisticScores(COLUMNS).fit(blind[:1500], blind["churned"][:1500])
    assert not drivers(model, blind[1500:], list(COLUMNS))["driver"].any()
