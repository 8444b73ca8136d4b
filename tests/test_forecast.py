"""Snapshots, forecast, anticipation and repurchase: known answers, recovery, honesty about time."""

from types import SimpleNamespace

import ibis
import numpy as np
import pandas as pd
import pytest

from cjlib import journeys
from cjlib.markov import anticipation, repurchase
from cjlib.markov.dwell import survival
from cjlib.markov.forecast import (
    backtest_score,
    failed,
    failed_stages,
    forecast,
    forecast_and_backtest,
)
from cjlib.markov.snapshots import GONE, NEW, Snapshots, band_count

AS_OF = pd.Timestamp("2026-06-28")
SILENCE = pd.Timedelta(days=21)
STAGES = ["look", "buy"]


def table(rows, name="events"):
    """Build an event table; rows as (customer, days before AS_OF, stage)."""
    frame = pd.DataFrame(rows, columns=["customer_id", "ago", "stage"])
    frame["timestamp"] = AS_OF - pd.to_timedelta(frame.pop("ago"), unit="D")
    frame = frame.sort_values("timestamp", kind="stable", ignore_index=True)
    frame["line"] = range(len(frame))
    frame["bucket"] = pd.factorize(frame["customer_id"])[0] % 256
    frame["purchase"] = frame["stage"] == "buy"
    frame["value"], frame["sentiment"] = 1.0, 0.0
    frame["position"] = frame["stage"].map(STAGES.index)
    frame["role"] = np.where(frame["purchase"], "purchase", "before")
    con = ibis.duckdb.connect()
    return con.create_table(name, frame)


def as_log(events, as_of=AS_OF):
    placed = journeys.with_journeys(events, SILENCE).cache()
    visits = journeys.stage_visits(placed, as_of, SILENCE).cache()
    dataset = SimpleNamespace(journey=SimpleNamespace(inactivity=SILENCE))
    return SimpleNamespace(
        events=placed,
        visits=visits,
        journeys=journeys.journey_table(visits).cache(),
        as_of=as_of,
        dataset=dataset,
    )


def walkers(seed, customers=1_500, weeks=52, stay=0.6, other=0.2):
    """Simulate a chain by week (the rest leaves for good), arrivals at a steady rate."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, weeks, customers)
    rows = []
    for customer, begin in enumerate(start):
        stage = rng.integers(0, 2)
        for week in range(begin, weeks):
            rows.append((f"c{customer}", (weeks - week) * 7 - 3.5, STAGES[stage]))
            draw = rng.random()
            if draw > stay + other:
                break
            stage = stage if draw < stay else 1 - stage
    return rows


# --- snapshots -------------------------------------------------------------------------------


def test_snapshots_place_customers_by_what_was_known():
    rows = [("a", 20, "look"), ("a", 15, "look"), ("a", 12, "buy"), ("b", 50, "look")]
    found = Snapshots.of(table(rows), AS_OF, SILENCE)
    got = found.weekly.groupby(["week", "from_stage", "to_stage"])["n"].sum().to_dict()
    assert got == {
        # b: seen 50 days ago, snapshots 49, 42 and 35 days ago, silent 22 days at the next
        (-7, NEW, "look"): 1,
        (-6, "look", "look"): 1,
        (-5, "look", "look"): 1,
        (-4, "look", GONE): 1,
        # a: the last event before each snapshot counts
        (-2, NEW, "look"): 1,
        (-1, "look", "buy"): 1,
        (0, "buy", "buy"): 1,
    }


def test_bands_say_how_long_the_silence_has_lasted():
    found = Snapshots.of(table([("a", 15, "look")]), AS_OF, SILENCE)
    assert band_count(SILENCE) == 3
    assert found.weekly.set_index("week")["to_band"].to_dict() == {-2: 0, -1: 1, 0: 2}


def test_todays_snapshot_is_the_open_journeys():
    log = as_log(table(walkers(1, customers=200)))
    now = Snapshots.of(log.events, AS_OF, SILENCE).occupancy(weeks=1)
    open_now = log.journeys.filter(log.journeys.end == "open").to_pandas()
    assert now.set_index("stage")["customers"].to_dict() == (
        open_now["last_stage"].value_counts().to_dict()
    )


def test_an_earlier_snapshot_needs_nothing_that_came_after():
    events = table(walkers(2, customers=200))
    earlier = AS_OF - pd.Timedelta(weeks=8)
    whole = Snapshots.of(events, AS_OF, SILENCE).weekly
    cut = Snapshots.of(events.filter(events.timestamp <= earlier), earlier, SILENCE).weekly
    keys = ["week", "from_stage", "from_band", "to_stage", "to_band"]
    known = whole[whole["week"] <= -8].assign(week=lambda t: t["week"] + 8)
    cut = cut[cut["week"] > cut["week"].min()]
    known = known[known["week"] >= cut["week"].min()]
    pd.testing.assert_frame_equal(
        known.sort_values(keys, ignore_index=True), cut.sort_values(keys, ignore_index=True)
    )


# --- forecast --------------------------------------------------------------------------------


def test_forecast_is_the_matrix_applied_to_today():
    snapshots = Snapshots.of(table(walkers(3, customers=400)), AS_OF, pd.Timedelta(days=7))
    made = forecast(snapshots, STAGES, horizon=1, arrival_weeks=4)
    weekly = snapshots.weekly
    recent = weekly[weekly["week"] > -26]
    matrix = recent[recent["from_stage"] != NEW].pivot_table(
        "n", "from_stage", "to_stage", aggfunc="sum", fill_value=0
    )
    matrix = matrix.div(matrix.sum(axis=1), axis=0)
    now = snapshots.occupancy(weeks=1).set_index("stage")["customers"]
    new = weekly[(weekly["from_stage"] == NEW) & (weekly["week"] > -4)]
    new = new.groupby("to_stage")["n"].sum() / 4
    expected = [now @ matrix[stage].reindex(now.index) + new[stage] for stage in STAGES]
    assert made.table["expected"].to_numpy() == pytest.approx(expected, rel=0.01)
    assert made.table["naive"].tolist() == now[STAGES].tolist()


def test_backtest_uses_nothing_after_its_moment_but_to_score():
    events = table(walkers(4, customers=400))
    earlier = AS_OF - pd.Timedelta(weeks=4)
    back = forecast_and_backtest(Snapshots.of(events, AS_OF, SILENCE), STAGES, 4, seed=1)[0]
    cut = events.filter(events.timestamp <= earlier)
    then = forecast(Snapshots.of(cut, earlier, SILENCE), STAGES, horizon=4, seed=1)
    columns = ["period", "stage", "expected", "lower", "upper", "naive"]
    pd.testing.assert_frame_equal(back.table[columns], then.table[columns])
    assert back.table["observed"].notna().all()
    assert then.table["observed"].isna().all()


def test_a_log_of_few_weeks_has_no_forecast():
    snapshots = Snapshots.of(table([("a", 9, "look"), ("b", 2, "look")]), AS_OF, SILENCE)
    assert forecast_and_backtest(snapshots, STAGES, 8) == []


def test_bands_are_wider_the_further_ahead():
    made = forecast(Snapshots.of(table(walkers(5)), AS_OF, SILENCE), STAGES, seed=2)
    width = (made.table["upper"] - made.table["lower"]).groupby(made.table["period"]).mean()
    assert width.iloc[-1] > width.iloc[0] > 0
    assert made.table["expected"].between(made.table["lower"], made.table["upper"]).all()


def test_score_by_hand():
    table = pd.DataFrame(
        {
            "expected": [10.0, 20],
            "lower": [8.0, 18],
            "upper": [12.0, 21],
            "observed": [11.0, 25],
            "naive": [11.0, 15],
        }
    )
    score = backtest_score(table)
    assert score == {
        "cells": 2,
        "coverage": 0.5,
        "error": pytest.approx(6 / 36),
        "naive_error": pytest.approx(10 / 36),
    }


def test_a_forecast_that_failed_before_is_not_made_again():
    # everybody leaves for good two weeks before the end: the weeks before say nothing of it
    gone = [row for row in walkers(8, 600) if row[1] > 14]
    made = forecast_and_backtest(Snapshots.of(table(gone), AS_OF, SILENCE), STAGES, 6, seed=1)
    back = made[0].table
    if failed(back):
        assert len(made) == 1
    steady = walkers(8, 600)
    made = forecast_and_backtest(Snapshots.of(table(steady), AS_OF, SILENCE), STAGES, 6, seed=1)
    assert [one.table["kind"].iloc[0] for one in made] == ["back-test", "forecast"]
    assert not failed(made[0].table)


def test_a_forecast_has_failed_when_it_loses_and_its_bands_hold_little():
    table = pd.DataFrame(
        {"expected": [9.0, 9], "lower": 8, "upper": 10, "observed": [20.0, 20], "naive": 10.0}
    )
    assert failed(table)
    assert not failed(table.assign(naive=8.0))  # still better than today's numbers
    assert not failed(table.assign(upper=30.0))  # its bands said so


def test_a_forecast_is_withheld_where_it_lost_and_its_band_missed():
    good = {"stage": "look", "expected": 9.0, "lower": 8, "upper": 10, "observed": 9, "naive": 30}
    bad = good | {"stage": "buy", "observed": 14, "naive": 13}
    table = pd.DataFrame([good, good, bad, bad])
    assert failed_stages(table) == ["buy"]
    # half of the figures inside is no band of 95 %; more than half may be
    assert failed_stages(pd.DataFrame([good, bad, bad | {"observed": 10}])) == ["buy"]
    assert failed_stages(pd.DataFrame([good, bad, *[bad | {"observed": 10, "naive": 9}] * 2])) == []
    # as a whole it failed: no stage is left
    assert failed_stages(table.assign(naive=table["observed"], upper=8.5)) == ["look", "buy"]


def test_the_stages_in_which_a_forecast_failed_have_none(monkeypatch):
    module = "cjlib.markov.forecast.failed_stages"
    snapshots = Snapshots.of(table(walkers(8, 600)), AS_OF, SILENCE)
    monkeypatch.setattr(module, lambda _: ["buy"])
    back, ahead = forecast_and_backtest(snapshots, STAGES, 6, seed=1)
    assert (set(back.table["stage"]), set(ahead.table["stage"])) == (set(STAGES), {"look"})
    monkeypatch.setattr(module, lambda _: STAGES)
    assert len(forecast_and_backtest(snapshots, STAGES, 6, seed=1)) == 1


@pytest.mark.slow
def test_bands_hold_what_comes_when_the_future_is_like_the_past():
    inside = []
    for seed in range(14):
        snapshots = Snapshots.of(table(walkers(500 + seed, 1_000)), AS_OF, SILENCE)
        back = forecast_and_backtest(snapshots, STAGES, 6, seed=seed)[0]
        inside.append(backtest_score(back.table)["coverage"])
    # cells of one simulation move together; over 60 seeds the mean was 0.953, standard error 0.012
    assert np.mean(inside) >= 0.88


# --- what comes next -------------------------------------------------------------------------


def test_the_next_stage_depends_on_the_silence():
    # of ten who look, six buy the next day, and of the four still silent then all are lost
    rows = [(f"p{i}", 200 + d, s) for i in range(6) for d, s in ((0, "look"), (-1, "buy"))]
    rows += [(f"q{i}", 200, "look") for i in range(4)]
    log = as_log(table([*rows, ("fresh", 0.1, "look"), ("silent", 15, "look")]))
    nexts = anticipation.next_stages(log).set_index("customer_id")
    assert nexts.loc["fresh", "next_stage"] == "buy"
    assert nexts.loc["fresh", "probability"] == pytest.approx(0.6)
    assert nexts.loc["fresh", "expected_days"] == pytest.approx(1)
    assert nexts.loc["silent", "next_stage"] == "lost"
    assert nexts.loc["silent", "probability"] > 0.8
    assert nexts.loc["silent", "lost_probability"] == nexts.loc["silent", "probability"]
    assert nexts.loc["silent", "expected_days"] == pytest.approx(21 - 14, abs=0.1)


def test_probabilities_of_what_comes_next_add_up():
    log = as_log(table(walkers(6, customers=300)))
    counts = anticipation.silence_counts(log.events, log.visits, AS_OF, SILENCE).to_pandas()
    outlook = anticipation.outlook(counts, SILENCE)
    total = outlook.groupby(["stage", "band"])["probability"].sum()
    assert total.to_numpy() == pytest.approx(1)
    assert (outlook["expected_days"] >= 0).all()


def test_every_open_journey_gets_its_next_stage_and_no_other():
    log = as_log(table(walkers(7, customers=300)))
    nexts = anticipation.next_stages(log)
    open_now = log.journeys.filter(log.journeys.end == "open").customer_id.to_pandas()
    assert sorted(nexts["customer_id"]) == sorted(open_now)
    assert nexts["probability"].between(0, 1).all()


def test_with_one_stage_the_next_purchase_is_what_may_come():
    rows = [(f"p{i}", 100 - d, "buy") for i in range(6) for d in (0, 5)]
    log = as_log(table([*rows, ("now", 0.5, "buy")]))
    nexts = anticipation.next_stages(log)
    assert nexts["next_stage"].tolist() == ["buy"]
    assert nexts["probability"].iloc[0] == pytest.approx(0.5)


def test_small_groups_are_not_summed_up():
    nexts = pd.DataFrame(
        {
            "stage": ["look"] * 6 + ["buy"],
            "next_stage": ["buy"] * 6 + ["lost"],
            "probability": 0.5,
            "expected_days": 2.0,
        }
    )
    assert anticipation.summed(nexts, 5)["customers"].tolist() == [6]


def test_buying_again_in_the_same_stage_is_no_loss():
    rows = [
        (f"p{i}", 100 - d, s) for i in range(8) for d, s in ((0, "look"), (1, "buy"), (9, "buy"))
    ]
    log = as_log(table([*rows, ("now", 1, "look"), ("now", 0.5, "buy")]))
    nexts = anticipation.next_stages(log).set_index("customer_id")
    # of the sixteen purchases eight are followed by another, and eight by nothing
    assert nexts.loc["now", "next_stage"] == "buy"
    assert nexts.loc["now", "probability"] == pytest.approx(0.5)
    assert nexts.loc["now", "expected_days"] == pytest.approx(8)


# --- from purchase to purchase ---------------------------------------------------------------


def test_purchases_of_one_day_are_one_and_the_last_is_censored():
    rows = [("a", 40, "buy"), ("a", 39.9, "buy"), ("a", 30, "buy"), ("b", 10, "buy")]
    gaps = repurchase.next_purchase_counts(table(rows), AS_OF).to_pandas()
    got = {(row.stage, row.exit, row.days): row.n for row in gaps.itertuples()}
    assert got == {
        (repurchase.FIRST, "purchase", 10): 1,
        (repurchase.FIRST, "open", 10): 1,
        (repurchase.LATER, "open", 30): 1,
    }
    assert repurchase.kinds(gaps) == [repurchase.FIRST, repurchase.LATER]


def test_share_within_reads_the_curve_and_admits_a_young_log():
    rows = [(f"a{i}", 100, "buy") for i in range(10)]
    rows += [(f"a{i}", 95, "buy") for i in range(4)]
    gaps = repurchase.next_purchase_counts(table(rows), AS_OF).to_pandas()
    curve = survival(gaps, repurchase.FIRST)
    assert repurchase.share_within(curve, 4)[0] == 0
    assert repurchase.share_within(curve, 30)[0] == pytest.approx(0.4)
    assert np.isnan(repurchase.share_within(curve, 365)[0])


def test_repeats_within_a_visit_count_when_settled():
    rows = [("a", 60, "buy"), ("a", 58, "buy"), ("a", 57, "buy"), ("b", 5, "buy"), ("b", 4, "buy")]
    log = as_log(table(rows))
    found = repurchase.repeat_counts(log.events, AS_OF, SILENCE, ["bucket"]).to_pandas()
    assert found["n"].sum() == 2
    assert found["days"].sum() == pytest.approx(3)
    assert (found["from_stage"] == found["to_stage"]).all()
