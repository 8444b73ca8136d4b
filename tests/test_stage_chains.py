"""Chains by segment, and the sentences of notebook 04: chosen from figures, true to them."""

from types import SimpleNamespace

import ibis
import numpy as np
import pandas as pd
import pytest

from cjlib import journeys
from cjlib.attribution.attribution import attribute
from cjlib.chains import findings as words, stage_chains
from cjlib.chains.markov import MarkovChain
from cjlib.errors import ParameterError

AS_OF = pd.Timestamp("2026-06-28")
SILENCE = pd.Timedelta(days=10)
ROLES = {"look": "before", "buy": "purchase"}


def small_log(rows, customers=None):
    """Build a log; rows as (customer, days before AS_OF, stage, channel)."""
    frame = pd.DataFrame(rows, columns=["customer_id", "ago", "stage", "channel"])
    frame["timestamp"] = AS_OF - pd.to_timedelta(frame.pop("ago"), unit="D")
    frame = frame.sort_values("timestamp", kind="stable", ignore_index=True)
    frame["channel"] = frame["channel"].astype("string")
    frame["line"] = range(len(frame))
    frame["bucket"] = pd.factorize(frame["customer_id"])[0]
    frame["touchpoint"] = frame["stage"]
    frame["purchase"] = frame["stage"] == "buy"
    frame["value"], frame["sentiment"], frame["position"] = 1.0, 0.0, 0
    frame["role"] = frame["stage"].map(ROLES)
    con = ibis.duckdb.connect()
    events = journeys.with_journeys(con.create_table("events", frame), SILENCE).cache()
    stages = SimpleNamespace(before=["look"], purchase=["buy"], after=[])
    return SimpleNamespace(
        events=events,
        visits=journeys.stage_visits(events, AS_OF, SILENCE).cache(),
        customers=None if customers is None else con.create_table("customers", customers),
        as_of=AS_OF,
        stages=stages,
        label=str.title,
        dataset=SimpleNamespace(
            journey=SimpleNamespace(inactivity=SILENCE), privacy=SimpleNamespace(smallest_group=5)
        ),
    )


LOG = [
    ("a", 90, "look", "web"),
    ("a", 89, "buy", "shop"),
    ("b", 80, "look", None),
    ("b", 79, "look", "web"),
    ("c", 70, "look", "mail"),
    ("c", 69, "buy", "mail"),
    ("c", 68, "buy", "mail"),
]


def test_segments_use_the_very_first_event_alone():
    found = stage_chains.customer_segments(small_log(LOG), "first_channel").to_pandas()
    # b's first event has no channel: what came later is not put in its place
    assert found.set_index("customer_id")["segment"].to_dict() == {"a": "web", "c": "mail"}


def test_segments_by_an_attribute_and_by_nothing_known():
    customers = pd.DataFrame({"customer_id": ["a", "b", "c"], "country": ["ES", "FR", None]})
    log = small_log(LOG, customers)
    found = stage_chains.customer_segments(log, "country").to_pandas()
    assert set(found["segment"]) == {"ES", "FR"}
    with pytest.raises(ParameterError, match=r"first_channel.*country"):
        stage_chains.customer_segments(log, "age")
    same = small_log([(c, d, s, "web") for c, d, s, _ in LOG])
    assert stage_chains.customer_segments(same, "first_channel") is None


def test_small_segments_are_put_together():
    frame = pd.DataFrame({"customer_id": list("abcdefg"), "segment": list("xxxxyyz")})
    table = ibis.duckdb.connect().create_table("segments", frame)
    kept = stage_chains.largest_segments(table, smallest=2, most=1).to_pandas()
    assert kept["segment"].value_counts().to_dict() == {"x": 4, "(other)": 3}


def test_repeated_purchases_are_moves_where_asked():
    log = small_log(LOG)
    moves = stage_chains.stage_moves(log)
    assert not (moves["from_stage"] == moves["to_stage"]).any()
    again = stage_chains.stage_moves(log, repeats=True)
    assert again.query("from_stage == to_stage")["n"].sum() == 1


def test_a_log_of_orders_alone_knows_the_next_order_and_the_loss():
    log = small_log([("a", 60, "buy", None), ("a", 55, "buy", None), ("b", 50, "buy", None)])
    moves = stage_chains.stage_moves(log).groupby(["from_stage", "to_stage"])["n"].sum()
    assert moves.to_dict() == {("buy", "buy"): 1, ("buy", "lost"): 2}
    chain = MarkovChain(prior=None, states=["buy", "lost"]).fit(stage_chains.stage_moves(log))
    assert chain.transition_matrix_[0] == pytest.approx([1 / 3, 2 / 3])
    assert "no other within 10 days" in words.loses_most(chain, log)["sentence"].format_map(
        {"value": 0.5, "lower": 0.4, "upper": 0.6, "n": 3, "days": 10}
    )


def test_the_stage_before_the_purchase_that_loses_most_is_named():
    log = small_log(LOG)
    chain = MarkovChain(states=["look", "buy", "lost"]).fit(stage_chains.stage_moves(log))
    found = words.loses_most(chain, log)
    assert found["stage"] == "Look"
    assert found["n"] == 3
    assert found["lower"] <= found["value"] <= found["upper"]


def test_directions_add_up():
    flow = pd.DataFrame(
        {
            "from_stage": ["look", "buy", "look"],
            "to_stage": ["buy", "look", "lost"],
            "n": [5, 3, 2],
        }
    )
    said = words.directions(flow, ["look", "buy"])
    assert [said[name] for name in ("onward", "back", "lost")] == [0.5, 0.3, 0.2]


def test_a_difference_that_could_be_chance_is_not_called_one():
    test = pd.DataFrame({"p_value": [0.3], "effect": [0.01], "effect_by_chance": [0.01]})
    assert (
        words.groups_differ(test, "first_channel")["verdict"] == "are not shown to move differently"
    )
    sure = test.assign(p_value=0.001)
    assert words.groups_differ(sure, "first_channel")["verdict"] == "move differently"


def test_the_sentence_on_memory_follows_the_customers_held_out():
    row = {
        "test": "order 2 against 1",
        "df": 4,
        "held_out_gain": 0.01,
        "held_out_lower": -0.01,
        "held_out_upper": 0.03,
        "n": 100,
        "p_value": 0.0001,
    }
    assert words.memory(pd.DataFrame([row]))["verdict"] == "does not help"
    assert words.memory(pd.DataFrame([row | {"held_out_lower": 0.001}]))["verdict"] == "helps"
    assert "cannot be said" in words.memory(pd.DataFrame([row | {"df": 0}]))["text"]


def test_no_change_is_said_to_be_none():
    log = small_log(LOG)
    assert "Too little" in words.change(pd.DataFrame(), log)["text"]
    points = pd.DataFrame({"chosen": [False, False], "p_value": [0.4, 0.2]})
    assert words.change(points, log)["p"] == "0.200"


def test_a_change_is_dated_and_named():
    points = pd.DataFrame(
        {
            "period": pd.to_datetime(["2026-02-01", "2026-03-01"]),
            "from_stage": "look",
            "to_stage": ["buy", "lost"],
            "before": [0.5, 0.2],
            "after": [0.5, 0.3],
            "p_value": [0.5, 0.0002],
            "chosen": [False, True],
        }
    )
    found = words.change(points, small_log(LOG))
    assert found["value"] == pytest.approx(0.1)
    assert (found["origin"], found["target"], found["p"]) == ("Look", "Lost", "below 0.001")


def test_the_credit_sentence_names_untouched_purchases_and_agreement():
    frame = pd.DataFrame(
        {"path": [["a"], [], ["b"]], "conversions": [5, 3, 1], "nulls": 0, "bucket": [0, 1, 2]}
    )
    found = words.leading_credit(attribute(frame))
    assert found["level"] == "a"
    assert found["none"] == pytest.approx(3 / 9)
    assert "all models agree" in found["sentence"]
    assert found["n"] == 9


def test_the_simple_rule_is_preferred_where_it_wins():
    table = pd.DataFrame(
        {"expected": [10.0], "lower": 9, "upper": 11, "observed": [12.0], "naive": [12.0]}
    )
    made = SimpleNamespace(table=table, arrivals=pd.Series([3.0]), arrival_weeks=8)
    said = words.forecasts([made, made], 8)
    assert "simple rule does as well" in said[0]["verdict"]
    better = SimpleNamespace(**vars(made) | {"table": table.assign(naive=20.0)})
    assert "beats" in words.forecasts([better, better], 8)[0]["verdict"]
    assert "too short" in words.forecasts([], 8)[0]["text"]


def test_the_longest_stay_admits_what_is_not_known_yet():
    log = small_log(LOG)
    curve = pd.DataFrame({"days": [1.0, 2.0], "survival": [0.8, 0.4]})
    young = curve.assign(survival=[0.9, 0.8])
    at_once = pd.DataFrame({"days": [0.0], "survival": [0.1]})
    assert words.longest_stay({"look": curve, "buy": at_once}, log, 4)["days"] == 2
    assert "fewer than half" in words.longest_stay({"look": young}, log, 4)["text"]
    assert "within" in words.longest_stay({"look": at_once}, log, 4)["text"]
    assert not np.isnan(words.longest_stay({"look": at_once}, log, 4)["days"])
