"""Moves between stages: who is counted, what a purchase is, which groups and ways there are."""

from types import SimpleNamespace

import ibis
import pandas as pd
import pytest

from cjlib import journeys
from cjlib.errors import ParameterError, Unanswerable
from cjlib.markov import (
    MarkovChain,
    directions,
    histories,
    of_segment,
    purchase_or_end,
    transitions,
)
from cjlib.markov.transitions import segments_known_at_first

AS_OF = pd.Timestamp("2026-06-28")
SILENCE = pd.Timedelta(days=10)
ROLES = {"look": "before", "buy": "purchase", "bill": "purchase"}
STAGES = SimpleNamespace(before=["look"], purchase=["buy"], after=["use"])


def small_log(rows, customers=None, smallest=1, cut=("nobody",)):
    """Build a log; rows as (customer, days before AS_OF, stage, channel).

    Customers in `cut` were not seen to begin.
    """
    frame = pd.DataFrame(rows, columns=["customer_id", "ago", "stage", "channel"])
    frame["timestamp"] = AS_OF - pd.to_timedelta(frame.pop("ago"), unit="D")
    frame = frame.sort_values("timestamp", kind="stable", ignore_index=True)
    frame["channel"] = frame["channel"].astype("string")
    frame["line"] = range(len(frame))
    frame["bucket"] = pd.factorize(frame["customer_id"])[0]
    frame["touchpoint"] = frame["stage"]
    frame["purchase"] = frame["stage"] == "buy"
    frame["stage"] = frame["stage"].replace("bill", "buy")
    frame["value"], frame["sentiment"], frame["position"] = 1.0, 0.0, 0
    frame["role"] = frame["stage"].map(ROLES)
    con = ibis.duckdb.connect()
    events = journeys.with_journeys(con.create_table("events", frame), SILENCE).cache()
    return SimpleNamespace(
        events=events,
        beginners=events.filter(~events.customer_id.isin(cut)).select("customer_id").distinct(),
        visits=journeys.stage_visits(events, AS_OF, SILENCE).cache(),
        customers=None if customers is None else con.create_table("customers", customers),
        as_of=AS_OF,
        stages=STAGES,
        ends=["lost", "bought"],
        dataset=SimpleNamespace(
            journey=SimpleNamespace(inactivity=SILENCE),
            privacy=SimpleNamespace(smallest_group=smallest),
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
    found = segments_known_at_first(small_log(LOG), "first_channel").to_pandas()
    # b's first event has no channel: what came later is not put in its place
    assert found.set_index("customer_id")["segment"].to_dict() == {"a": "web", "c": "mail"}


def test_of_customers_not_seen_to_begin_the_first_channel_is_not_known():
    log = small_log([*LOG, ("d", 50, "look", "web")], cut=("a",))
    found = segments_known_at_first(log, "first_channel").to_pandas()
    assert found.set_index("customer_id")["segment"].to_dict() == {"c": "mail", "d": "web"}


def test_segments_by_an_attribute_and_by_nothing_known():
    customers = pd.DataFrame({"customer_id": ["a", "b", "c"], "country": ["ES", "FR", None]})
    log = small_log(LOG, customers)
    found = segments_known_at_first(log, "country").to_pandas()
    assert set(found["segment"]) == {"ES", "FR"}
    with pytest.raises(ParameterError, match=r"first_channel.*country"):
        segments_known_at_first(log, "age")
    same = small_log([(c, d, s, "web") for c, d, s, _ in LOG])
    assert segments_known_at_first(same, "first_channel") is None
    assert set(transitions(same, segment_by="first_channel")["segment"]) == {"all"}


def test_small_segments_are_put_together():
    rows = [
        (f"{channel}{i}", 50, "look", channel)
        for channel in ("xxxx", "yyy", "zz", "w")
        for i in range(len(channel))
    ]
    found = segments_known_at_first(small_log(rows, smallest=3), "first_channel").to_pandas()
    assert found["segment"].value_counts().to_dict() == {"xxxx": 4, "yyy": 3, "(other)": 3}
    # one customer is too few to show under any name
    alone = segments_known_at_first(small_log(rows, smallest=2), "first_channel").to_pandas()
    assert alone["segment"].value_counts().to_dict() == {"xxxx": 4, "yyy": 3, "zz": 2}


def test_segments_are_counted_beside_everybody_the_largest_first():
    moves = transitions(small_log(LOG), segment_by="first_channel", purchases=True)
    sizes = moves.groupby("segment", sort=False)["n"].sum()
    assert sizes.to_dict() == {"all": 6, "mail": 3, "web": 2}
    assert moves.groupby("segment")["days"].sum()["mail"] == pytest.approx(1 + 1 + 11)


def test_repeated_purchases_are_moves_where_asked():
    log = small_log(LOG)
    moves = transitions(log)
    assert not (moves["from_stage"] == moves["to_stage"]).any()
    again = transitions(log, purchases=True)
    assert again.query("from_stage == to_stage")["n"].sum() == 1


def test_coming_back_to_the_purchase_stage_without_buying_is_no_purchase():
    paid = [(c, 60 - d, s, None) for c in "abcd" for d, s in enumerate(["buy", "look", "bill"])]
    chain = MarkovChain(prior=0).fit(transitions(small_log(paid), purchases=True))
    found = purchase_or_end({"all": chain}, STAGES).query("outcome == 'purchase'")
    assert (found["probability"] == 0).all()
    # the same moves between stages alone would call each a purchase
    stage = MarkovChain(prior=0).fit(transitions(small_log(paid)))
    assert stage.absorption({"purchase": ["buy"]})["probability"].eq(1).any()


def test_the_purchases_of_one_day_do_not_follow_each_other():
    basket = small_log([("a", 60.0, "buy", None), ("a", 59.9, "buy", None), ("a", 57, "buy", None)])
    moves = transitions(basket, purchases=True)
    assert moves.query("from_stage == to_stage")["n"].sum() == 1


def test_repeats_count_when_settled():
    rows = [("a", 60, "buy", None), ("a", 58, "buy", None), ("a", 57, "buy", None)]
    rows += [("b", 5, "buy", None), ("b", 4, "buy", None)]
    repeats = transitions(small_log(rows)).query("from_stage == to_stage")
    assert repeats["n"].sum() == 2
    assert repeats["days"].sum() == pytest.approx(3)


def test_a_log_of_orders_alone_knows_the_next_order_and_the_loss():
    log = small_log([("a", 60, "buy", None), ("a", 55, "buy", None), ("b", 50, "buy", None)])
    moves = transitions(log).groupby(["from_stage", "to_stage"])["n"].sum()
    assert moves.to_dict() == {("buy", "buy"): 1, ("buy", "bought"): 2}
    chain = MarkovChain(prior=0, states=["buy", "bought"]).fit(transitions(log))
    assert chain.transition_matrix_[0] == pytest.approx([1 / 3, 2 / 3])
    with pytest.raises(Unanswerable, match="older than the silence"):
        transitions(small_log([("a", 3, "buy", None)]))


def test_a_segment_of_a_log_is_a_log_of_its_customers_alone():
    log = small_log(LOG)
    assert of_segment(log, "first_channel", "") is log
    with pytest.raises(ParameterError, match="segment: no customers"):
        of_segment(log, "first_stage", "nowhere")


def test_moves_by_month_are_those_of_the_month_in_which_the_stage_was_entered():
    months = transitions(small_log(LOG), by_month=True)
    got = months.groupby(["period", "from_stage"])["n"].sum().to_dict()
    march, april = pd.Timestamp("2026-03-01"), pd.Timestamp("2026-04-01")
    assert got == {(march, "look"): 1, (march, "buy"): 1, (april, "look"): 2, (april, "buy"): 1}


def test_histories_need_a_third_stage():
    with pytest.raises(Unanswerable, match="three stages"):
        histories(small_log(LOG), 2)
    rows = [("a", 60, "look", None), ("a", 59, "buy", None), ("a", 58, "use", None)]
    found = histories(small_log(rows), 2)
    ways = found[["stage_1", "stage_2", "to_stage"]].to_numpy().tolist()
    assert sorted(ways) == [["buy", "use", "lost"], ["look", "buy", "use"]]


def test_directions_follow_the_order_of_the_stages():
    flow = pd.DataFrame(
        [("look", "buy"), ("buy", "look"), ("look", "lost"), ("use", "buy"), ("use", "look")],
        columns=["from_stage", "to_stage"],
    )
    found = directions(flow, ["look", "buy", "use"], STAGES)["direction"]
    assert found.tolist() == ["onward", "back", "end", "again", "back"]
    # another order of the analyst's is followed, too
    other = directions(flow[:2], ["buy", "look"], STAGES)["direction"]
    assert other.tolist() == ["back", "onward"]
    with pytest.raises(Unanswerable, match="one stage"):
        directions(flow, ["buy"], STAGES)
