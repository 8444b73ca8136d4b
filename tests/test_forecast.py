"""Snapshots, forecast and next stage: known answers, recovery, honesty about time."""

from types import SimpleNamespace

import ibis
import numpy as np
import pandas as pd
import pytest

from cjlib import journeys
from cjlib.errors import Unanswerable
from cjlib.markov import likeliest_next, next_stage, next_stages
from cjlib.markov.forecast import (
    GONE,
    NEW,
    arrivals_ahead,
    backtest_score,
    counted,
    customers_seen,
    forecast_from,
    forecast_stages,
    weekly_moves,
)

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
    frame["ending"] = pd.Series(None, frame.index, "string")
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
    found = counted(weekly_moves(table(rows), AS_OF, SILENCE), "week")
    got = found.groupby(["week", "from_stage", "to_stage"])["n"].sum().to_dict()
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
    found = counted(weekly_moves(table([("a", 15, "look")]), AS_OF, SILENCE), "week")
    # silent 1, 8 and 15 days; a band is a twelfth of 21 days
    assert found.set_index("week")["to_band"].to_dict() == {-2: 0, -1: 4, 0: 8}


def test_todays_snapshot_is_the_open_journeys():
    log = as_log(table(walkers(1, customers=200)))
    now = customers_seen(weekly_moves(log.events, AS_OF, SILENCE), AS_OF, 1)
    open_now = log.journeys.filter(log.journeys.end == "open").to_pandas()
    assert now.set_index("stage")["customers"].to_dict() == (
        open_now["last_stage"].value_counts().to_dict()
    )


def test_an_earlier_snapshot_needs_nothing_that_came_after():
    events = table(walkers(2, customers=200))
    earlier = AS_OF - pd.Timedelta(weeks=8)
    whole = counted(weekly_moves(events, AS_OF, SILENCE), "week")
    known = events.filter(events.timestamp <= earlier)
    cut = counted(weekly_moves(known, earlier, SILENCE), "week")
    keys = ["week", "from_stage", "from_band", "to_stage", "to_band"]
    known = whole[whole["week"] <= -8].assign(week=lambda t: t["week"] + 8)
    cut = cut[cut["week"] > cut["week"].min()]
    known = known[known["week"] >= cut["week"].min()]
    pd.testing.assert_frame_equal(
        known.sort_values(keys, ignore_index=True), cut.sort_values(keys, ignore_index=True)
    )


# --- forecast --------------------------------------------------------------------------------


def test_forecast_is_the_matrix_applied_to_today():
    moves = weekly_moves(table(walkers(3, customers=400)), AS_OF, pd.Timedelta(days=7))
    made, arrivals = forecast_from(moves, AS_OF, STAGES, weeks=1)
    weekly = counted(moves, "week")
    recent = weekly[weekly["week"] > -26]
    matrix = recent[recent["from_stage"] != NEW].pivot_table(
        "n", "from_stage", "to_stage", aggfunc="sum", fill_value=0
    )
    matrix = matrix.div(matrix.sum(axis=1), axis=0)
    now = customers_seen(moves, AS_OF, 1).set_index("stage")["customers"]
    new = weekly[(weekly["from_stage"] == NEW) & (weekly["week"] > -8)]
    new = new.groupby("to_stage")["n"].sum()
    assert (arrivals / arrivals.sum()).to_dict() == pytest.approx((new / new.sum()).to_dict())
    expected = [now @ matrix[stage].reindex(now.index) + arrivals[stage] for stage in STAGES]
    assert made["expected"].to_numpy() == pytest.approx(expected, rel=0.01)
    assert made["naive"].tolist() == now[STAGES].tolist()


def test_arrivals_follow_their_trend_as_it_fades():
    grown = 100 * np.exp(0.02 * np.arange(60))
    expected, missed = arrivals_ahead(grown, 4)
    weeks = np.array([0.97, 1.9109, 2.823573, 3.708866])  # 0.97 + 0.97² + ...
    assert expected == pytest.approx(grown[-1] * np.exp(0.02 * weeks), rel=0.001)
    assert missed.max() < 1.05
    assert missed.min() > 1 / 1.05


def test_a_trend_that_noise_explains_is_flattened():
    noise = np.random.default_rng(1).normal(0, 0.1, 60)
    steep, flat = (
        arrivals_ahead(100 * np.exp(slope * np.arange(60) + noise), 4)[0] for slope in (0.05, 0)
    )
    assert steep[-1] / steep[0] > 1.1
    assert abs(flat[-1] / flat[0] - 1) < 0.01


def test_arrivals_keep_to_their_average_where_trends_misled():
    weeks = np.arange(60)
    turning = 100 + 50 * (weeks // 6 % 2)  # six weeks high, six weeks low: no trend goes on
    expected, missed = arrivals_ahead(turning, 6)
    assert set(expected) == {turning[-8:].mean()}
    assert missed.max() > 1.2
    assert arrivals_ahead(turning[:10], 6)[1].tolist() == [1]


def test_arrivals_follow_the_year_before_where_it_comes_back():
    weeks = np.arange(104)
    season = 100 + 40 * np.sin(2 * np.pi * weeks / 52)
    expected, missed = arrivals_ahead(season[:96], 8)
    recent, then = season[88:96].mean(), season[96:].mean()
    assert abs(expected.mean() / then - 1) < 0.75 * abs(recent / then - 1)
    assert missed.max() < 1.5  # the year before that was a trend


def test_backtest_uses_nothing_after_its_moment_but_to_score():
    events = table(walkers(4, customers=400))
    earlier = AS_OF - pd.Timedelta(weeks=4)
    made, *_ = forecast_stages(as_log(events), STAGES, weeks=4, seed=1)
    back = made[made["kind"] == "back-test"].reset_index(drop=True)
    cut = events.filter(events.timestamp <= earlier)
    then, _ = forecast_from(weekly_moves(cut, earlier, SILENCE), earlier, STAGES, weeks=4, seed=1)
    columns = ["period", "stage", "expected", "lower", "upper", "naive"]
    pd.testing.assert_frame_equal(back[columns], then[columns])
    assert back["observed"].notna().all()
    assert then["observed"].isna().all()


def test_a_log_of_few_weeks_has_no_forecast():
    with pytest.raises(Unanswerable, match="4 weeks"):
        forecast_stages(as_log(table([("a", 9, "look"), ("b", 2, "look")])), STAGES)
    young = [row for row in walkers(4, customers=400) if row[1] < 40]
    made, *_ = forecast_stages(as_log(table(young)), STAGES)
    assert set(made["kind"]) == {"forecast"}
    assert backtest_score(made).empty


def test_bands_are_wider_the_further_ahead():
    made, _ = forecast_from(weekly_moves(table(walkers(5)), AS_OF, SILENCE), AS_OF, STAGES, seed=2)
    width = (made["upper"] - made["lower"]).groupby(made["period"]).mean()
    assert width.iloc[-1] > width.iloc[0] > 0
    assert made["expected"].between(made["lower"], made["upper"]).all()


def weeks_of(stage="look", **changes):
    row = {"stage": stage, "kind": "back-test", "expected": 9.0, "lower": 8.0, "upper": 10.0}
    return row | {"observed": 9.0, "naive": 30.0} | changes


def test_score_by_hand():
    past = [
        weeks_of(expected=10.0, upper=12.0, observed=11.0, naive=11.0),
        weeks_of(expected=20.0, lower=18.0, upper=21.0, observed=25.0, naive=15.0),
    ]
    ahead = weeks_of(kind="forecast", expected=10.0, lower=6.0, upper=11.0, observed=np.nan)
    score = backtest_score(pd.DataFrame([*past, ahead])).set_index("stage")
    assert list(score.index) == ["all", "look"]
    assert score.loc["look"].to_dict() == {
        "cells": 2,
        "coverage": 0.5,
        "error_rate": pytest.approx(6 / 36),
        "naive_rate": pytest.approx(10 / 36),
        "band_rate": pytest.approx(0.5),
        "verdict": "better",
    }


def verdicts(*rows):
    return backtest_score(pd.DataFrame(rows)).set_index("stage")["verdict"].to_dict()


def test_a_forecast_has_failed_when_it_loses_and_its_bands_hold_little():
    lost = weeks_of("buy", observed=20.0, naive=10.0)
    assert verdicts(lost)["buy"] == "failed"
    assert verdicts(lost | {"naive": 8.0})["buy"] == "better"  # than today's numbers
    assert verdicts(lost | {"upper": 30.0})["buy"] == "no better"  # its bands said so
    # half of the figures inside is no band of 95 %; more than half may be
    good, bad = weeks_of(), weeks_of("buy", observed=14.0, naive=13.0)
    held = bad | {"observed": 10.0, "naive": 9.0}
    assert verdicts(good, bad, held)["buy"] == "failed"
    assert verdicts(good, bad, held, held)["buy"] == "no better"
    # as a whole it failed: no stage is left
    assert verdicts(lost, weeks_of(observed=9.5, naive=9.5, upper=9.2)) == dict.fromkeys(
        ["all", "buy", "look"], "failed"
    )


def test_the_stages_in_which_a_forecast_failed_have_none(monkeypatch):
    log = as_log(table(walkers(8, 600)))
    made, *_ = forecast_stages(log, STAGES, weeks=6, seed=1)
    assert set(made.loc[made["kind"] == "forecast", "stage"]) == set(STAGES)
    score = pd.DataFrame({"stage": STAGES, "verdict": ["better", "failed"]})
    monkeypatch.setattr("cjlib.markov.forecast.backtest_score", lambda _: score)
    made, *_ = forecast_stages(log, STAGES, weeks=6, seed=1)
    assert set(made.loc[made["kind"] == "back-test", "stage"]) == set(STAGES)
    assert set(made.loc[made["kind"] == "forecast", "stage"]) == {"look"}


@pytest.mark.slow
def test_bands_hold_what_comes_when_the_future_is_like_the_past():
    inside = []
    for seed in range(14):
        moves = weekly_moves(table(walkers(500 + seed, 1_000)), AS_OF, SILENCE)
        back, _ = forecast_from(moves, AS_OF, STAGES, weeks=6, at=-6, seed=seed)
        inside.append(backtest_score(back)["coverage"].iloc[0])
    # cells of one simulation move together; over 60 seeds the mean was 0.953, standard error 0.012
    assert np.mean(inside) >= 0.88


# --- what comes next -------------------------------------------------------------------------


def test_the_next_stage_depends_on_the_silence():
    # of ten who look, six buy the next day, and of the four still silent then all are lost
    rows = [(f"p{i}", 200 + d, s) for i in range(6) for d, s in ((0, "look"), (-1, "buy"))]
    rows += [(f"q{i}", 200, "look") for i in range(4)]
    log = as_log(table([*rows, ("fresh", 0.1, "look"), ("silent", 15, "look")]))
    nexts = next_stages(log).set_index("customer_id")
    assert nexts.loc["fresh", "next_stage"] == "buy"
    assert nexts.loc["fresh", "probability"] == pytest.approx(0.6)
    assert nexts.loc["fresh", "expected_days"] == pytest.approx(1)
    assert nexts.loc["silent", "next_stage"] == "lost"
    assert nexts.loc["silent", "probability"] > 0.8
    assert nexts.loc["silent", "lost_probability"] == nexts.loc["silent", "probability"]
    assert nexts.loc["silent", "expected_days"] == pytest.approx(21 - 14, abs=0.1)


def test_probabilities_of_what_comes_next_add_up():
    log = as_log(table(walkers(6, customers=300)))
    chances = next_stage.after_silence(next_stage.silence_counts(log), SILENCE)
    total = chances.groupby(["stage", "band"])["probability"].sum()
    assert total.to_numpy() == pytest.approx(1)
    assert (chances["expected_days"] >= 0).all()


def test_every_open_journey_gets_its_next_stage_and_no_other():
    log = as_log(table(walkers(7, customers=300)))
    nexts = next_stages(log)
    open_now = log.journeys.filter(log.journeys.end == "open").customer_id.to_pandas()
    assert sorted(nexts["customer_id"]) == sorted(open_now)
    assert nexts["probability"].between(0, 1).all()


def test_with_one_stage_the_next_purchase_is_what_may_come():
    rows = [(f"p{i}", 100 - d, "buy") for i in range(6) for d in (0, 5)]
    log = as_log(table([*rows, ("now", 0.5, "buy")]))
    nexts = next_stages(log)
    assert nexts["next_stage"].tolist() == ["buy"]
    assert nexts["probability"].iloc[0] == pytest.approx(0.5)


def test_silence_after_a_purchase_is_not_called_a_loss():
    nexts = pd.DataFrame(
        {
            "stage": ["buy"] * 10 + ["look"] * 5,
            "next_stage": ["lost"] * 6 + ["buy"] * 4 + ["lost"] * 5,
            "probability": 0.6,
            "expected_days": 2.0,
        }
    )
    found = likeliest_next(nexts, SimpleNamespace(before=["look"]))
    assert found[["stage", "next_stage", "customers"]].to_numpy().tolist() == [
        ["buy", "end", 6],
        ["look", "lost", 5],
        ["buy", "again", 4],
    ]


def test_buying_again_in_the_same_stage_is_no_loss():
    rows = [
        (f"p{i}", 100 - d, s) for i in range(8) for d, s in ((0, "look"), (1, "buy"), (9, "buy"))
    ]
    log = as_log(table([*rows, ("now", 1, "look"), ("now", 0.5, "buy")]))
    nexts = next_stages(log).set_index("customer_id")
    # of the sixteen purchases eight are followed by another, and eight by nothing
    assert nexts.loc["now", "next_stage"] == "buy"
    assert nexts.loc["now", "probability"] == pytest.approx(0.5)
    assert nexts.loc["now", "expected_days"] == pytest.approx(8)
