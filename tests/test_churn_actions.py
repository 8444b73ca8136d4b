"""The action list, the hold-out group, and what an earlier list promised."""

import ibis
import numpy as np
import pandas as pd
import pytest

from cjlib.churn.actions import (
    CONTACT,
    GONE,
    HOLD_OUT,
    action_list,
    brought,
    came_true,
    expected_values,
    held_out,
    rank_list,
)
from cjlib.errors import ParameterError

AS_OF, HORIZON = pd.Timestamp("2025-06-01"), pd.Timedelta(60, "D")


@pytest.fixture
def frame():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "customer_id": [f"c{i}" for i in range(2000)],
            "bucket": np.arange(2000) % 256,
            "recency_days": rng.integers(0, 300, 2000).astype(float),
            "purchases": rng.integers(1, 6, 2000),
            "purchase_value": rng.lognormal(3, 0.5, 2000),
            "expected_orders": rng.uniform(1, 3, 2000),
        }
    )


@pytest.fixture
def words(frame):
    names = ["reason_1", "reason_2", "reason_3"]
    return pd.DataFrame("", index=frame.index, columns=names)


def test_value_at_risk_is_probability_times_value(frame, words):
    p = np.linspace(0, 1, len(frame))
    value = expected_values(frame, value=True)
    table = action_list(
        *(frame, p, value, words), contact_share=0.2, hold_out=0.1, as_of=AS_OF, horizon=HORIZON
    )
    assert table["value_at_risk"].is_monotonic_decreasing
    back = table.set_index("customer_id").loc[frame["customer_id"]]
    np.testing.assert_allclose(back["value_at_risk"], p * value)
    assert back["decile"].iloc[-1] == 10
    assert table["group"].isin([CONTACT, HOLD_OUT]).sum() == 400
    assert (table["group"] == HOLD_OUT).sum() == pytest.approx(40, abs=20)


def test_long_gone_customers_are_never_on_the_list(frame, words):
    p, value = np.linspace(0, 1, len(frame)), expected_values(frame, value=True)
    when = {"as_of": AS_OF, "horizon": HORIZON}
    table = action_list(
        *(frame, p, value, words), contact_share=0.2, hold_out=0.1, longest_silence=120, **when
    )
    gone = frame.set_index("customer_id")["recency_days"] > 120
    assert (table.set_index("customer_id")["group"] == GONE).sort_index().equals(gone.sort_index())
    listed = table["group"].isin([CONTACT, HOLD_OUT]).sum()
    assert listed == round(0.2 * (~gone).sum())


def test_what_the_last_horizon_brought_counts_refunds_and_nothing_else():
    rows = [
        ("2025-05-20", True, 30.0),
        ("2025-05-25", False, -10.0),
        ("2025-05-26", False, 99.0),  # a value that is no purchase: a quote, say
        ("2025-03-01", True, 500.0),  # before the horizon
        ("2025-06-02", True, 500.0),  # after the report
    ]
    frame = pd.DataFrame(rows, columns=["timestamp", "purchase", "value"])
    frame["timestamp"] = pd.to_datetime(frame["timestamp"])
    assert brought(ibis.memtable(frame), AS_OF, HORIZON) == 20.0


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
        held_out(pd.Series(["a"]), share)


def test_expected_values_shrink_and_stand_negative_means(frame):
    value = expected_values(frame.assign(purchase_value=-5.0), value=True)
    assert (value == 0).all()
    orders = expected_values(frame.assign(expected_orders=np.nan), value=False)
    assert (orders == 1).all()


def test_ranks_make_no_claim(frame, words):
    table = rank_list(frame, words, as_of=AS_OF, horizon=HORIZON)
    assert table["churn_probability"].isna().all()
    assert (table["group"] == "").all()
    recency = frame.set_index("customer_id")["recency_days"]
    riskiest = recency[table.loc[table["decile"] == 10, "customer_id"]]
    assert riskiest.min() >= recency[table.loc[table["decile"] == 1, "customer_id"]].max()


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


def test_an_earlier_list_is_scored_when_its_horizon_has_closed(events, earlier):
    when = pd.Timestamp("2025-09-01")
    table = came_true(earlier, events, when, contact="phone_call").set_index("customer_id")
    assert table["churned"].to_dict() == {"a": False, "b": True, "c": True}
    assert table["contacted"].to_dict() == {"a": False, "b": True, "c": False}
    hidden = came_true(
        earlier.assign(customer_id=["x-a", "x-b", "x-c", "x-d"]),
        *(events, when),
        hide=lambda ids: "x-" + ids,
    )
    assert len(hidden) == 3


def test_an_open_horizon_or_a_strange_table_is_refused(events, earlier):
    with pytest.raises(ParameterError, match="2025-07-31"):
        came_true(earlier, events, pd.Timestamp("2025-07-01"))
    with pytest.raises(ParameterError, match="has no as_of"):
        came_true(earlier.drop(columns="as_of"), events, pd.Timestamp("2025-09-01"))
    with pytest.raises(ParameterError, match="none of its customers"):
        came_true(earlier.assign(customer_id="?"), events, pd.Timestamp("2025-09-01"))
