"""Curves over time: printed answers, censoring, competing exits, what starts and ends a clock."""

from types import SimpleNamespace

import ibis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from cjlib import journeys
from cjlib.errors import Unanswerable
from cjlib.survival import (
    ends,
    incidence,
    next_purchase_counts,
    stay_counts,
    until_purchase_counts,
    within,
)

AS_OF = pd.Timestamp("2025-12-31")
SILENCE = pd.Timedelta(days=10)
FEELINGS = {"good or neutral": 0, "bad": -1}


def log_of(rows, begin=0):
    """Rows of customer, day of 2025, stage, whether a purchase, feeling; when customers begin."""
    frame = pd.DataFrame(rows, columns=["customer_id", "day", "stage", "purchase", "sentiment"])
    frame["first"] = frame.groupby("customer_id")["day"].transform("min")
    frame["timestamp"] = pd.Timestamp("2025-01-01") + pd.to_timedelta(frame.pop("day"), unit="D")
    frame["timestamp"] = frame["timestamp"].astype("datetime64[us]")
    frame["sentiment"] = frame["sentiment"].astype(float)
    frame["role"] = frame["stage"].map({"look": "before", "buy": "purchase", "use": "after"})
    frame["position"] = frame["stage"].map(["look", "buy", "use"].index)
    frame["line"], frame["value"] = range(len(frame)), 1.0
    frame["bucket"] = pd.factorize(frame["customer_id"])[0] % 256
    events = journeys.with_journeys(ibis.memtable(frame), SILENCE).cache()
    return SimpleNamespace(
        events=events,
        visits=journeys.stage_visits(events, AS_OF, SILENCE).cache(),
        beginners=events.filter(events.first >= begin).select("customer_id").distinct(),
        as_of=AS_OF,
        stages=SimpleNamespace(names=["look", "buy", "use"]),
        dataset=SimpleNamespace(journey=SimpleNamespace(inactivity=SILENCE)),
    )


def bought(customer, day):
    return customer, day, "buy", True, None


def spells(times, exits, buckets=None) -> pd.DataFrame:
    frame = pd.DataFrame({"group": "s", "exit": exits, "days": np.asarray(times, float), "n": 1})
    return frame.assign(bucket=np.arange(len(frame)) if buckets is None else buckets)


def curves(counts, **options):
    return incidence(counts, **({"fewest": 1, "fewest_ends": 0} | options))


def found(counts):
    return {(one.group, one.exit, one.days): one.n for one in counts.itertuples()}


# ---- curves

# Remission times of leukaemia under 6-MP (Freireich et al. 1963), weeks; open: still in remission.
REMISSION = [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
ENDED = ["relapse"] * 9 + ["open"] * 12


def test_one_exit_gives_the_textbook_kaplan_meier_curve_of_the_6_mp_trial():
    curve = curves(spells(REMISSION, ENDED)).set_index("days")
    printed = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    assert (1 - curve["share"]).loc[list(printed)].round(3).to_dict() == printed
    assert curve.loc[6, "n"] == 21
    # Greenwood's standard error at 10 weeks is printed as .0963; customers resampled come near it
    width = curve.loc[10, "upper"] - curve.loc[10, "lower"]
    assert width / (2 * 1.96) == pytest.approx(0.0963, rel=0.15)


def test_competing_exits_by_hand():
    share = curves(spells([1, 2, 2, 3, 4], ["buy", "lost", "open", "buy", "lost"]))
    share = share.set_index(["exit", "days"])["share"]
    assert share["buy", 1] == pytest.approx(1 / 5)
    assert share["lost", 2] == pytest.approx(4 / 5 * 1 / 4)
    assert share["buy", 4] == pytest.approx(1 / 5 + 3 / 5 * 1 / 2)
    assert share["lost", 4] == pytest.approx(1 / 5 + 3 / 10)


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["a", "b", "open"])), min_size=2, max_size=40
    ).filter(lambda rows: any(exit != "open" for _, exit in rows))
)
@settings(max_examples=40, deadline=None)
def test_shares_grow_and_with_those_still_there_add_up_to_one(rows):
    counts = spells(*zip(*rows, strict=True))
    table = curves(counts)
    merged = curves(counts.replace({"exit": {"b": "a"}}))
    together = table.groupby("days")["share"].sum()
    np.testing.assert_allclose(together, merged.set_index("days")["share"], atol=1e-12)
    assert (table.groupby("exit")["share"].diff().dropna() >= -1e-12).all()
    assert table["share"].between(0, 1 + 1e-12).all()


def clustered(generator, customers=250):
    """Exponential times with a rate of each customer's own, censored, in buckets of customers."""
    own = 0.1 * generator.gamma(4, 1 / 4, customers)
    number = 1 + generator.poisson(4 * generator.gamma(1, 1, customers))
    owner = np.repeat(np.arange(customers), number)
    time = generator.exponential(1 / own[owner])
    limit = generator.uniform(0, 30, len(owner))
    exits = np.where(generator.random(len(owner)) < 0.7, "buy", "lost")
    return spells(np.minimum(time, limit).round(), np.where(time < limit, exits, "open"), owner)


@pytest.mark.slow
def test_planted_curves_lie_inside_the_intervals_at_the_nominal_rate():
    # customers weigh by their visits, which here do not depend on their rate
    day = np.arange(1, 16)
    truth = 0.7 * (1 - (1 + 0.1 * (day + 0.5) / 4) ** -4.0)
    hits = []
    for seed in range(60):
        curve = curves(clustered(np.random.default_rng(seed)), seed=seed)
        buy = curve[curve["exit"] == "buy"].set_index("days").loc[day]
        hits.append((buy["lower"] <= truth) & (truth <= buy["upper"]))
    assert 0.90 <= np.mean(hits) <= 0.98


def test_dropping_open_spells_would_shorten_the_time_as_the_curve_does_not():
    generator = np.random.default_rng(4)
    time, limit = generator.exponential(20, 4000), generator.uniform(0, 25, 4000)
    exits = np.where(time < limit, "out", "open")
    counts = spells(np.minimum(time, limit).round(1), exits, np.arange(4000) % 256)
    curve = curves(counts)
    median = curve.loc[curve["share"] >= 0.5, "days"].iloc[0]
    assert median == pytest.approx(20 * np.log(2), rel=0.08)
    assert counts.loc[counts["exit"] == "out", "days"].median() < 0.65 * median


def test_groups_too_small_are_left_out_and_none_is_no_answer():
    large = spells([50.0] * 200, ["end"] * 20 + ["open"] * 180)
    small = large[19:].assign(group="t")  # one end too few
    assert set(incidence(pd.concat([small, large]))["group"]) == {"s"}
    with pytest.raises(Unanswerable, match="20 of them seen to the end"):
        incidence(small)


def test_shares_within_days_admit_a_young_log():
    curve = curves(spells([5] * 4 + [100] * 6, ["end"] * 4 + ["open"] * 6))
    assert [within(curve, days)["share"].iloc[0] for days in (4, 30)] == [0, pytest.approx(0.4)]
    assert within(curve, 365)[["share", "lower", "upper"]].isna().all(axis=None)
    assert within(curve, 30)["n"].tolist() == [10]


def test_the_median_is_of_those_who_take_the_exit():
    # of ten visits six move on, on days 1 to 6, and four end when a silence of 21 days is over
    table = ends(curves(spells([1, 2, 3, 4, 5, 6, 21, 21, 22, 23], ["on"] * 6 + ["lost"] * 4)))
    moved = table.set_index("exit").loc["on"]
    assert moved["share"] == pytest.approx(0.6)
    assert moved["median_days"] == 3  # not 5, when half of all visits have ended


# ---- from purchase to purchase, and from an experience to it


def test_gaps_between_days_with_purchases_are_counted_by_their_number():
    log = log_of([*(bought("a", day) for day in (0, 0.4, 10, 40)), bought("b", 5.9)])
    assert found(next_purchase_counts(log, {"first": 1, "second": 2, "later": 3})) == {
        ("first", "purchase", 10): 1,
        ("second", "purchase", 30): 1,
        ("later", "open", 324): 1,
        ("first", "open", 359): 1,
    }
    groups = next_purchase_counts(log, {"later": 2, "first": 1})["group"]
    assert list(dict.fromkeys(groups)) == ["later", "first"]


def test_of_customers_not_seen_to_begin_every_purchase_is_a_later_one():
    log = log_of([bought("a", 0), bought("a", 40), bought("b", 20), bought("b", 30)], begin=10)
    assert found(next_purchase_counts(log, {"first": 1, "later": 2})) == {
        ("later", "purchase", 40): 1,
        ("later", "open", 324): 1,
        ("first", "purchase", 10): 1,
        ("later", "open", 334): 1,
    }


def test_the_clock_of_an_experience_starts_when_it_happens():
    felt = [("a", 3, "use", False, -0.5), ("a", 8, "use", False, 0.5), ("a", 30, "use", False, -1)]
    log = log_of([bought("a", 0), *felt, bought("a", 20)])
    assert found(next_purchase_counts(log, FEELINGS, since="experience")) == {
        ("bad", "purchase", 17): 1,
        ("good or neutral", "purchase", 12): 1,
        ("bad", "open", 334): 1,
    }
    with pytest.raises(Unanswerable, match="no experience"):
        next_purchase_counts(log_of([bought("a", 0)]), FEELINGS, since="experience")


def test_a_planted_delay_is_recovered():
    rng = np.random.default_rng(1)
    rows = []
    for i in range(800):
        felt, wait = (-0.5, rng.exponential(200)) if i % 2 else (0.5, rng.exponential(50))
        rows += [bought(f"c{i:03d}", 0), (f"c{i:03d}", 1, "use", False, felt)]
        rows += [bought(f"c{i:03d}", 1 + wait)] if wait < 363 else []
    counts = next_purchase_counts(log_of(rows), FEELINGS, since="experience")
    back = within(incidence(counts), 60).set_index("group")
    good, bad = 1 - np.exp(-60 / 50), 1 - np.exp(-60 / 200)
    assert back.loc["good or neutral", "lower"] < good + 0.01
    assert back.loc["good or neutral", "upper"] > good - 0.01
    assert back.loc["bad", "share"] == pytest.approx(bad, abs=0.06)
    assert back.loc["bad", "n"] == 400


# ---- stays


def test_stays_are_counted_by_where_they_led_and_open_ones_reach_to_as_of():
    looked = ("a", 0, "look", False, None)
    log = log_of([looked, bought("a", 2), ("b", 360, "look", False, None)])
    stays = {(one.stage, one.exit): one.days for one in stay_counts(log).itertuples()}
    assert stays == pytest.approx(
        {("look", "buy"): 2, ("look", "open"): 4, ("buy", "bought"): 10}, abs=0.01
    )
    assert stay_counts(log)["stage"].iloc[-1] == "buy"
    with pytest.raises(Unanswerable, match="moves on"):
        stay_counts(log_of([bought("a", 0), bought("a", 100)]))


def test_purchases_are_counted_where_the_way_there_matters():
    # who looks after the bill buys, who looks after the purchase does not: one step cannot know
    rows = []
    for i in range(20):
        way = [(0, "buy", False), (1, "look", False), (2, "buy", True), (3, "look", False)]
        rows += [(f"a{i}", day, stage, purchase, None) for day, stage, purchase in way]
        rows.append((f"b{i}", 0, "look", False, None))
    rows += [("open", 353, "look", False, None), ("open", 362, "buy", False, None)]
    until = until_purchase_counts(log_of(rows))
    sums = until.groupby(["stage", "exit"])["n"].sum().to_dict()
    # before the purchase 20 looks, after it 20, without one 20, one may yet buy
    assert sums["look", "purchase"] == sums["look", "bought"] == sums["look", "lost"] == 20
    assert sums["look", "open"] == 1
    assert sums["buy", "purchase"] == 20  # the bill, not the purchase itself
    assert set(until["days"][until["exit"] == "purchase"].round(1)) == {1.0, 2.0}
