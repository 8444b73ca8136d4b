"""Time to the next purchase, with those still away counted as long as they were watched."""

import ibis
import numpy as np
import pandas as pd
import pytest

from cjlib.churn.survival import FELT, ORDERS, back_within, by_feeling, by_order, curves

AS_OF = pd.Timestamp("2025-12-31")


def log_of(rows):
    table = pd.DataFrame(rows, columns=["customer_id", "day", "purchase", "sentiment"])
    table["timestamp"] = pd.Timestamp("2025-01-01") + pd.to_timedelta(table.pop("day"), unit="D")
    table["timestamp"] = table["timestamp"].astype("datetime64[us]")
    table["sentiment"] = table["sentiment"].astype(float)
    table["role"] = np.where(table["purchase"], "purchase", "after")
    table["line"] = range(len(table))
    table["bucket"] = table["customer_id"].astype("category").cat.codes.astype(int) % 256
    return ibis.memtable(table)


def test_gaps_between_days_with_purchases_are_counted_by_order():
    rows = [("a", d, True, None) for d in (0, 0, 10, 40)] + [("b", 5, True, None)]
    counts = by_order(log_of(rows), AS_OF).execute()
    found = {(r.stage, r.exit, r.days): r.n for r in counts.itertuples()}
    assert found == {
        (ORDERS[0], "bought again", 10): 1,
        (ORDERS[1], "bought again", 30): 1,
        (ORDERS[2], "open", 324): 1,
        (ORDERS[0], "open", 359): 1,
    }


def test_the_clock_of_an_experience_starts_when_it_happens():
    rows = [
        ("a", 0, True, None),
        ("a", 3, False, -0.5),
        ("a", 8, False, 0.5),
        ("a", 20, True, None),
        ("a", 30, False, -1),
    ]
    counts = by_feeling(log_of(rows), AS_OF).execute()
    found = {(r.stage, r.exit, r.days): r.n for r in counts.itertuples()}
    assert found == {
        (FELT[1], "bought again", 17): 1,
        (FELT[0], "bought again", 12): 1,
        (FELT[1], "open", 334): 1,
    }


def test_a_planted_delay_is_recovered():
    rng = np.random.default_rng(1)
    rows = []
    for i in range(800):
        bad = i % 2 == 0
        rows.append((f"c{i:03d}", 0, True, None))
        rows.append((f"c{i:03d}", 1, False, -0.5 if bad else 0.5))
        wait = rng.exponential(200 if bad else 50)
        if wait < 363:
            rows.append((f"c{i:03d}", 1 + wait, True, None))
    table = curves(by_feeling(log_of(rows), AS_OF).execute(), FELT)
    back = back_within(table, 60).set_index("group")
    good, bad = 1 - np.exp(-60 / 50), 1 - np.exp(-60 / 200)
    assert back.loc[FELT[0], "lower"] < good + 0.01
    assert back.loc[FELT[0], "upper"] > good - 0.01
    assert back.loc[FELT[1], "back"] == pytest.approx(bad, abs=0.06)
    assert back.loc[FELT[1], "n"] == 400


def test_small_groups_are_left_out():
    assert curves(by_feeling(log_of([("a", 0, True, None)]), AS_OF).execute(), FELT).empty


def test_a_group_that_hardly_anyone_leaves_by_returning_has_no_curve():
    cells = {"bucket": range(200), "stage": FELT[0], "exit": "open", "days": 50.0, "n": 1}
    counts = pd.DataFrame(cells)
    counts.loc[:18, "exit"] = "bought again"
    assert curves(counts, FELT).empty
    counts.loc[19, "exit"] = "bought again"
    assert list(curves(counts, FELT)["stage"].unique()) == [FELT[0]]
