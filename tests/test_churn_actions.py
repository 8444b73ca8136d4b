"""The action list, the hold-out group, and what an earlier list promised."""

import ibis
import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from cjlib.churn.actions import (
    CONTACT,
    GONE,
    HOLD_OUT,
    LEAVE,
    action_list,
    at_risk,
    earlier_list,
    first_reasons,
    held_out,
    rank_list,
)
from cjlib.churn.drift import Level
from cjlib.churn.features import Vocabulary
from cjlib.churn.profit import expected_values
from cjlib.errors import ParameterError, Unanswerable
from cjlib.tables import hash_ids
from tests.churn_logs import log_of, orders_log, samples_of

AS_OF = pd.Timestamp("2025-06-01")
VALUED = Vocabulary(value=True)
LIST = {"share": 0.2, "hold_out": 0.1, "longest_silence": np.inf}


@pytest.fixture
def frame():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "customer_id": [f"c{i}" for i in range(2000)],
            "bucket": np.arange(2000) % 256,
            "recency_days": rng.integers(0, 300, 2000).astype(float),
            "purchase_days": rng.integers(1, 6, 2000),
            "purchase_value": rng.lognormal(3, 0.5, 2000),
            "expected_orders": rng.uniform(1, 3, 2000),
            "churned": rng.random(2000) < 0.5,
            "value_after": rng.lognormal(3, 0.5, 2000),
            "orders_after": 1,
        }
    )


@pytest.fixture
def samples(frame):
    return samples_of([frame], words=VALUED)


@pytest.fixture
def because(frame):
    return pd.DataFrame({"number of orders": 0.0, "value of orders": 1.0}, index=frame.index)


def test_value_at_risk_is_probability_times_value(samples, frame, because):
    p = np.linspace(0, 1, len(frame))
    value = expected_values(samples, frame)
    table = action_list(samples, p, because, **LIST)
    assert table["value_at_risk"].is_monotonic_decreasing
    back = table.set_index("customer_id").loc[frame["customer_id"]]
    np.testing.assert_allclose(back["value_at_risk"], p * value)
    assert back["decile"].iloc[-1] == 10
    assert back["reason_1"].str.contains("per order; usual").all()
    assert (back["reason_2"] == "").all()
    assert table["group"].isin([CONTACT, HOLD_OUT]).sum() == 400
    assert (table["group"] == HOLD_OUT).sum() == pytest.approx(40, abs=20)


def test_long_gone_customers_are_never_on_the_list(samples, frame, because):
    p = np.linspace(0, 1, len(frame))
    table = action_list(samples, p, because, **LIST | {"longest_silence": 2})
    gone = frame.set_index("customer_id")["recency_days"] > 120
    assert (table.set_index("customer_id")["group"] == GONE).sort_index().equals(gone.sort_index())
    listed = table["group"].isin([CONTACT, HOLD_OUT]).sum()
    assert listed == round(0.2 * (~gone).sum())


def orders_of(rows):
    """Return events of (customer, time, purchase, value)."""
    table = pd.DataFrame(rows, columns=["customer_id", "timestamp", "purchase", "value"])
    table["timestamp"] = pd.to_datetime(table["timestamp"])
    return ibis.memtable(table.assign(bucket=1).astype({"value": float}))


def test_what_is_at_risk_is_scaled_by_the_test_and_leaves_out_who_is_long_gone(frame):
    rows = [
        ("a", "2025-05-20", True, 30.0),
        ("a", "2025-05-25", False, -10.0),
        ("a", "2025-05-26", False, 99.0),  # a value that is no purchase: a quote, say
        ("a", "2025-03-01", True, 500.0),  # before the horizon
    ]
    frame["value_after"] = expected_values(samples_of([frame], words=VALUED), frame)
    samples = samples_of([frame], words=VALUED, log=log_of(orders_of(rows)))
    promised = np.full(len(frame), 2 * frame["churned"].mean())  # twice what came
    actions = pd.DataFrame(
        {
            "group": [CONTACT] * 10 + [LEAVE] * 10 + [GONE] * 7,
            "churn_probability": 0.5,
            "value_at_risk": 10.0,
        }
    )
    level = Level(np.array([4 * logit(0.25)]), by_chance=0.1)  # a quarter of it is carried on
    groups, total = at_risk(actions, samples, promised, level)
    row = total.iloc[0]
    assert row["value_at_risk"] == pytest.approx(200 / 2, rel=0.06)
    assert row["lower"] < row["value_at_risk"] < row["upper"]
    assert (row["customers"], row["churners"], row["gone"]) == (20, 5, 7)
    assert row["churners_lower"] < 5 < row["churners_upper"]
    assert row["brought_value"] == 20.0
    half = groups.set_index("group").loc[CONTACT, "value_at_risk"]
    assert half == pytest.approx(row["value_at_risk"] / 2, rel=0.01)


def test_without_values_orders_are_at_risk(frame):
    samples = samples_of([frame], log=log_of(orders_of([("a", "2025-05-20", True, None)])))
    assert (expected_values(samples, frame) == frame["expected_orders"]).all()
    actions = pd.DataFrame({"group": [CONTACT], "churn_probability": 0.5, "value_at_risk": 1.0})
    groups, total = at_risk(actions, samples, np.full(len(frame), 0.5), Level(np.zeros(1), 0.1))
    assert total["unit"].item() == "orders"
    assert {"orders_at_risk"} <= set(groups) & set(total)


def test_hold_out_is_the_same_from_run_to_run_and_random():
    customers = pd.Series([f"c{i}" for i in range(20_000)])
    drawn = held_out(customers, 0.1, seed=3)
    assert drawn.mean() == pytest.approx(0.1, abs=0.01)
    later = customers[::-2].reset_index(drop=True)
    again = held_out(later, 0.1, seed=3)
    assert (pd.Series(again, index=later) == pd.Series(drawn, index=customers)[later]).all()
    wider = held_out(customers, 0.2, seed=3)
    assert wider[drawn].all()
    other = held_out(customers, 0.1, seed=4)
    assert (drawn & other).mean() == pytest.approx(0.01, abs=0.004)


@pytest.mark.parametrize("share", [-0.1, 1.0, 3])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(ParameterError, match="hold_out"):
        held_out(pd.Series(["a"]), share, seed=0)


def test_expected_values_shrink_and_stand_negative_means(samples, frame):
    assert (expected_values(samples, frame.assign(purchase_value=-5.0)) == 0).all()
    alone = samples_of([frame])
    assert (expected_values(alone, frame.assign(expected_orders=np.nan)) == 1).all()


def test_ranks_make_no_claim():
    log = orders_log(200)
    table = rank_list(log)
    assert len(table) == 200
    assert table["churn_probability"].isna().all()
    assert (table["group"] == "").all()
    assert table["reason_1"].str.contains("ago").all()
    events = log.events.execute()
    last = events.groupby("customer_id")["timestamp"].max()
    longest = last[table.loc[table["decile"] == 10, "customer_id"]]
    assert longest.max() <= last[table.loc[table["decile"] == 1, "customer_id"]].min()


def test_first_reasons_are_those_published_and_small_groups_are_left_out():
    now = pd.DataFrame({"customer_id": [f"c{i}" for i in range(33)]})
    actions = now.assign(group=CONTACT, reason_1=["last order"] * 20 + [""] * 10 + ["no call"] * 3)
    actions = actions.iloc[::-1]
    by_topic = pd.DataFrame({"time": [1.0] * 30 + [0.0] * 3, "touchpoint call": 0.5})
    table = first_reasons(actions, by_topic, samples_of([now], now=now)).set_index("topic")
    assert table["customers"].to_dict() == {"time": 20, "none in words": 10}
    assert table.loc["time", "share"] == pytest.approx(20 / 33)


@pytest.fixture
def events():
    rows = [
        ("a", "2025-05-01", True, "order"),
        ("a", "2025-06-20", True, "order"),
        ("b", "2025-05-02", True, "order"),
        ("b", "2025-06-10", False, "phone_call"),
        ("c", "2025-05-02", True, "order"),
        ("c", "2025-08-20", True, "order"),
    ]
    table = pd.DataFrame(rows, columns=["customer_id", "timestamp", "purchase", "touchpoint"])
    table["timestamp"] = pd.to_datetime(table["timestamp"])
    return ibis.memtable(table.assign(value=10.0, bucket=1))


@pytest.fixture
def earlier():
    return pd.DataFrame(
        {
            "customer_id": ["a", "b", "c", "gone"],
            "churn_probability": [0.2, 0.7, 0.6, 0.5],
            "group": [CONTACT, CONTACT, HOLD_OUT, HOLD_OUT],
            "as_of": AS_OF,
            "horizon_days": 60.0,
        }
    )


def test_an_earlier_list_is_scored_when_its_horizon_has_closed(events, earlier, monkeypatch):
    log = log_of(events, as_of="2025-09-01")
    table, total = earlier_list(earlier, log, contact="phone_call")
    assert total["observed_churn"].item() == pytest.approx(2 / 3)
    assert total["reached_share"].item() == 0.5
    table = table.set_index("customer_id")
    assert table["churned"].to_dict() == {"a": False, "b": True, "c": True}
    assert table["contacted"].to_dict() == {"a": False, "b": True, "c": False}
    monkeypatch.setenv("CJ_ID_KEY", "a secret that is long enough")
    hidden = earlier.assign(customer_id=hash_ids(earlier["customer_id"]))
    log = log_of(events, as_of="2025-09-01", hashed=True)
    assert len(earlier_list(hidden, log)[0]) == 3


def test_a_list_whose_horizon_is_open_or_of_other_customers_is_not_scored(events, earlier):
    with pytest.raises(Unanswerable, match="2025-07-31"):
        earlier_list(earlier, log_of(events, as_of="2025-07-01"))
    with pytest.raises(Unanswerable, match="none of the customers"):
        earlier_list(earlier.assign(customer_id="?"), log_of(events, as_of="2025-09-01"))
