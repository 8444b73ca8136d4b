"""Cut-offs, features and labels: what is known when, and nothing else."""

import ibis
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from cjlib.churn import cut_off_samples, purchase_models
from cjlib.churn.cut_offs import (
    changed_by_the_future,
    customers_at,
    cut_offs,
    labels,
    leakage_checks,
)
from cjlib.churn.features import Vocabulary, features, vocabulary
from cjlib.churn.purchase_models import purchase_model_features
from cjlib.churn.selection import random_split, select_model
from cjlib.errors import Unanswerable
from tests.churn_logs import DAY, orders_log, samples_of

CUT = pd.Timestamp("2025-04-01")


def log_of(rows):
    """Return an events table from (customer, day, touchpoint, stage, value, sentiment) rows."""
    frame = pd.DataFrame(
        rows, columns=["customer_id", "at", "touchpoint", "stage", "value", "felt"]
    )
    frame["timestamp"] = pd.to_datetime(frame.pop("at"), format="ISO8601")
    frame["sentiment"] = frame.pop("felt").astype(float)
    frame["value"] = frame["value"].astype(float)
    frame["purchase"] = frame["touchpoint"] == "order"
    frame["role"] = frame["stage"].map({"look": "before", "buy": "purchase", "use": "after"})
    frame["initiator"] = np.where(frame["touchpoint"] == "advert", "company", "customer")
    frame["channel"] = np.where(frame["touchpoint"] == "advert", "mail", "shop")
    frame["line"] = np.arange(len(frame))
    frame["bucket"] = frame["customer_id"].str[1:].astype(int) % 256
    frame = frame.sort_values(["customer_id", "timestamp", "line"])
    frame["journey"] = 0
    frame["visit"] = (
        (frame["stage"] != frame.groupby("customer_id")["stage"].shift())
        .groupby(frame["customer_id"])
        .cumsum()
    )
    return ibis.memtable(frame)


ROWS = [
    ("c1", "2025-01-01 09:00", "order", "buy", 10, 0.5),
    ("c1", "2025-01-01 18:00", "order", "buy", 30, None),
    ("c1", "2025-02-20", "late", "use", None, -1),
    ("c1", "2025-02-22", "late", "use", None, -0.5),
    ("c1", "2025-03-02", "order", "buy", 20, None),
    ("c1", "2025-03-22", "advert", "look", None, None),
    ("c1", "2025-04-11", "order", "buy", 50, 1),
    ("c2", "2025-03-31", "order", "buy", 5, None),
    ("c2", "2025-04-01", "order", "buy", 7, None),
    ("c3", "2025-03-01", "advert", "look", None, None),
    ("c3", "2025-04-02", "order", "buy", 9, None),
]
WORDS = Vocabulary(("advert", "late"), ("mail", "shop"), ("buy", "look", "use"), True, True)


@pytest.fixture(scope="module")
def at_cut():
    frame = customers_at(log_of(ROWS), CUT, 60 * DAY, WORDS)
    return frame.set_index("customer_id")


def test_only_buyers_until_the_cut_off_are_there(at_cut):
    assert list(at_cut.index) == ["c1", "c2"]


def test_purchases_of_a_day_count_once(at_cut):
    one = at_cut.loc["c1"]
    assert (one["x"], one["t_x"], one["T"]) == (1, 60, 90)
    assert (one["purchase_days"], one["usual_gap"]) == (2, 60)
    assert one["recency_days"] == 30
    assert one["previous_days"] == 90
    assert one["overdue"] == pytest.approx(31 / 61)
    assert one["rhythm"] == pytest.approx(0.5 + 0.125)
    assert one["purchase_value"] == pytest.approx(30)  # 60 on two days


def test_the_value_of_purchases_is_less_refunds_known_by_the_cut_off():
    more = [
        ("c1", "2025-03-05", "late", "use", -24, None),
        ("c1", "2025-03-06", "late", "use", 99, None),  # neither a purchase nor a refund
        ("c1", "2025-04-02", "late", "use", -50, None),  # after the cut-off
    ]
    frame = customers_at(log_of(ROWS + more), CUT, 60 * DAY, WORDS).set_index("customer_id")
    assert frame.loc["c1", "purchase_value"] == pytest.approx((10 + 30 + 20 - 24) / 2)


def test_the_moment_of_the_cut_off_belongs_to_the_past(at_cut):
    two = at_cut.loc["c2"]
    assert two["recency_days"] == 0
    assert two["purchase_days"] == 2
    assert two["churned"]


def test_labels_hold_the_horizon_after_the_cut_off(at_cut):
    one = at_cut.loc["c1"]
    assert not one["churned"]
    assert (one["orders_after"], one["value_after"]) == (1, 50)
    assert labels(log_of(ROWS), CUT, 9 * DAY).execute()["customer_id"].tolist() == ["c3"]


def test_journey_features_say_where_and_what(at_cut):
    one = at_cut.loc["c1"]
    assert one["recent:late"] == 2
    assert one["last:late"] == 1
    assert one["stage:look"] == 1
    assert one["silence_days"] == 10
    assert one["dwell_days"] == 10
    assert one["channel:mail"] == pytest.approx(1 / 6)
    assert one["own_initiative"] == pytest.approx(5 / 6)
    assert one["feeling_last"] == pytest.approx(-0.5)
    assert (one["bad_recent"], one["bad_open"]) == (2, 2)


def test_who_never_felt_stands_at_neutral(at_cut):
    assert at_cut.loc["c2", ["feeling_mean", "bad_open"]].tolist() == [0, 0]


def test_a_later_good_feeling_closes_the_bad_ones():
    rows = [*ROWS, ("c1", "2025-03-25", "late", "use", None, 0.4)]
    assert customers_at(log_of(rows), CUT, 60 * DAY, WORDS)["bad_open"].iloc[0] == 0


def test_vocabulary_reads_the_past_alone():
    rows = [(f"c{i}", "2025-01-05", "order", "buy", 1, None) for i in range(40)]
    rows += [(f"c{i}", "2025-01-06", "advert", "look", None, None) for i in range(35)]
    rows += [(f"c{i}", "2025-06-01", "late", "use", None, -1) for i in range(40)]
    words = vocabulary(log_of(rows), CUT)
    assert words == Vocabulary(("advert",), ("mail", "shop"), ("buy", "look"), True, False)
    assert "feeling_mean" not in words.journey
    assert vocabulary(log_of(rows), pd.Timestamp("2025-01-05")).journey == []


def test_features_do_not_change_with_the_future():
    def make(events):
        return features(events, CUT, 60 * DAY, WORDS).drop("bucket").execute()

    assert changed_by_the_future(make, log_of(ROWS), CUT) == []


def test_a_planted_leak_is_caught():
    def make(events):
        table = features(events, CUT, 60 * DAY, WORDS).drop("bucket").execute()
        ever = events.group_by("customer_id").aggregate(orders_ever=events.purchase.sum())
        return table.merge(ever.execute(), on="customer_id")

    assert changed_by_the_future(make, log_of(ROWS), CUT) == ["orders_ever"]


def test_rows_that_depend_on_the_future_are_caught():
    def make(events):
        return features(events, CUT + 5 * DAY, 60 * DAY, WORDS).drop("bucket").execute()

    assert changed_by_the_future(make, log_of(ROWS), CUT) == ["customers"]


@pytest.mark.slow
def test_a_feature_that_tells_everything_is_suspected_and_no_other():
    samples = cut_off_samples(orders_log(300))
    assert set(leakage_checks(samples)["verdict"]) == {"none"}
    for frame in (*samples.training, samples.test):
        noise = np.random.default_rng(1).normal(0, 0.1, len(frame))
        frame["age_days"] = (~frame["churned"] + noise).astype("float32")
    checks = leakage_checks(samples).set_index("feature")
    assert checks.index[checks["verdict"] == "suspect"].tolist() == ["age_days"]
    assert not checks["changes"].any()


def test_a_random_split_hides_a_change_in_time():
    rng = np.random.default_rng(2)
    frames = []
    for month, effect in enumerate((1.5, -1.5), start=1):
        signal = rng.normal(size=1000)
        churned = rng.random(1000) < 1 / (1 + np.exp(-effect * signal))
        frame = pd.DataFrame(dict.fromkeys(Vocabulary().rfm, signal)).assign(churned=churned)
        frame["cut_off"] = pd.Timestamp(2025, month, 1)
        models = dict.fromkeys(("bg_nbd", "mbg_nbd", "pareto_nbd"), np.nan)
        frames.append(frame.assign(bucket=np.arange(1000) % 256, **models))
    samples = samples_of(frames)
    choice = select_model({"plain": LogisticRegression()}, samples)
    row = random_split(choice, samples).iloc[0]
    assert row["random_log_loss"] < row["log_loss"] - 0.2
    single = samples_of(frames[:1])
    assert random_split(select_model({"plain": LogisticRegression()}, single), single).empty


def test_cut_offs_roll_back_by_the_horizon():
    *training, test = cut_offs(pd.Timestamp("2025-01-01"), pd.Timestamp("2025-12-31"), 60 * DAY)
    assert test == pd.Timestamp("2025-11-01")
    assert training[-1] == pd.Timestamp("2025-09-02")
    assert training[0] - pd.Timestamp("2025-01-01") >= 60 * DAY
    assert len(training) == 4


def test_published_split_of_cdnow():
    found = cut_offs(pd.Timestamp("1997-01-01"), pd.Timestamp("1998-06-30"), 181 * DAY)
    assert found == [pd.Timestamp("1997-07-03"), pd.Timestamp("1997-12-31")]


@pytest.mark.parametrize("days", [5, 100, 179])
def test_a_short_history_says_what_is_missing(days):
    first = pd.Timestamp("2025-01-01")
    with pytest.raises(Unanswerable, match="180 days"):
        cut_offs(first, first + days * DAY, 60 * DAY)


def test_refunds_alone_are_no_customers():
    rows = [(f"c{i}", "2025-01-05", "refund", "use", -5, None) for i in range(5)]
    with pytest.raises(Unanswerable, match=r"journey\.purchase"):
        customers_at(log_of(rows), CUT, 60 * DAY, Vocabulary())


def test_no_repeat_buyers_leave_the_purchase_models_empty():
    rows = [(f"c{i}", "2025-01-05", "order", "buy", 5, None) for i in range(50)]
    frame = customers_at(log_of(rows), CUT, 60 * DAY, Vocabulary(value=True))
    assert frame["pareto_nbd"].isna().all()
    assert frame["churned"].all()


def test_purchase_models_of_a_sample_score_everybody(monkeypatch):
    rng = np.random.default_rng(3)
    x = rng.integers(0, 4, 200)
    T = rng.uniform(100, 200, 200).round()
    t_x = np.where(x > 0, (T * rng.random(200)).round(), 0)
    frame = pd.DataFrame({"x": x, "t_x": t_x, "T": T})
    all_ = purchase_model_features(frame, 60)
    monkeypatch.setattr(purchase_models, "FITTED", 100)
    some = purchase_model_features(frame, 60)
    assert some["bg_nbd"].notna().all()
    assert (all_["bg_nbd"] - some["bg_nbd"]).abs().mean() < 0.15
    assert (all_["expected_orders"] >= 1).all()
