"""Logs that begin in the middle of lives are found, and who is seen to begin in them."""

import datetime as dt
from dataclasses import replace

import ibis
import numpy as np
import pandas as pd
import pytest

from cjlib import log_profile
from cjlib.beginnings import FEWEST_WEEKS, run_in, weekly
from tests.simulations.worlds import World, log_of

PATIENCE = dt.timedelta(days=30)
WEEK = np.arange(52)


def log(*rows):
    """Rows of customer and day, from a Wednesday on."""
    frame = pd.DataFrame(rows, columns=["customer_id", "day"])
    frame["timestamp"] = pd.Timestamp("2025-01-01 18:00") + pd.to_timedelta(frame["day"], unit="D")
    return ibis.memtable(frame)


def weeks(new, back, customers):
    begins = pd.date_range("2025-01-01", periods=len(new), freq="7D")
    return pd.DataFrame({"begins": begins, "new": new, "back": back, "customers": customers})


def late(old=1.0, noise=None):
    """Return the weeks of a log whose old customers come back at a rate of their own."""
    back = 200 * (1 + WEEK / 4) ** -1.5
    new = 30 + old * back
    there = np.full(52, 230.0)
    busy = np.ones(52) if noise is None else noise.lognormal(0, 0.1, 52)
    return weeks((busy * new).round(), back, (busy * there).round())


def test_weeks_are_counted_by_hand():
    rows = [("a", 0), ("a", 8), ("a", 29), ("b", 1), ("b", 30), ("c", 15), ("c", 16), ("d", 36)]
    table = weekly(log(*rows))
    assert table["begins"].iloc[0] == pd.Timestamp("2025-01-01")
    assert table["customers"].tolist() == [2, 1, 1, 0, 2]  # the sixth week is not over
    assert table["new"].tolist() == [2, 0, 1, 0, 0]
    # in the last three weeks one comes back after three weeks, one after four
    assert (3 * table["back"]).round(9).tolist() == [2, 2, 2, 1, 0]


def test_a_fall_like_that_of_those_who_come_back_is_a_log_that_begins_late():
    (found,) = run_in(late(noise=np.random.default_rng(1)), PATIENCE).to_dict("records")
    assert found["begins"] == pd.Timestamp("2025-02-05")
    assert found["weeks"] == 5
    back = late()["back"]
    share = back[5:].sum() / (30 + back[5:]).sum()
    assert found["returning_share"] == pytest.approx(share, abs=0.06)
    assert found["p_value"] < 0.001


@pytest.mark.parametrize(
    "table",
    [
        late(old=0),
        weeks(np.r_[np.full(12, 2000), np.zeros(40)], late()["back"], [2300] * 12 + [800] * 40),
        weeks(np.r_[np.full(4, 200), np.full(48, 50)], late()["back"], [200] * 4 + [230] * 48),
        weeks(60 * (1 + 0.6 * np.cos(WEEK / 8.3)), late()["back"], [96] * 52),
        late().assign(customers=np.minimum(230, 60 + 30 * WEEK)),  # a company that fills up
        late()[: FEWEST_WEEKS - 1],
    ],
    ids=["steady", "cohort", "launch", "season", "filling up", "short"],
)
def test_other_falls_are_not_taken_for_one(table):
    assert run_in(table, PATIENCE).empty


@pytest.mark.slow
def test_in_a_log_that_begins_late_customers_begin_after_the_run_in(tmp_path):
    world = World(3, customers=1_200, journeys=10, born_before=400)
    log = log_of(world, tmp_path)
    begins = log.run_in["begins"].item()
    events = log.events.execute()
    first = events.groupby("customer_id")["timestamp"].min()
    assert set(log.beginners.execute()["customer_id"]) == set(first.index[first >= begins])
    (found,) = log_profile.beginners(log).to_dict("records")
    assert (found["customers"], found["began"]) == (len(first), (first >= begins).sum())
    whole = log_of(replace(world, born_before=0), tmp_path)
    assert whole.run_in.empty
    assert log_profile.beginners(whole)["share"].item() == 1
