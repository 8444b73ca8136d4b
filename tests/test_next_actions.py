"""The next action: one row a customer, from what is known of that one, and none in control arms."""

import pandas as pd
import pytest

from cjlib import initiatives, markov
from cjlib.answers import Missing

NONE = Missing("not in this log")


@pytest.fixture(scope="module")
def nexts(demo):
    return markov.next_stages(demo)


@pytest.fixture(scope="module")
def relieved():
    named = pd.DataFrame({"touchpoint": ["payment_error", "delivery_late"], "change": "relieve"})
    return named.assign(initiative="relieve " + named["touchpoint"])


@pytest.fixture(scope="module")
def scores(demo):
    ids = demo.journeys.filter(demo.journeys.purchases > 0).select("customer_id").distinct()
    table = ids.order_by("customer_id").to_pandas().assign(churn_probability=0.5)
    groups = ["contact", "hold out", "leave alone"]
    return table.assign(group=[groups[place % 3] for place in range(len(table))])


def test_each_customer_under_way_or_about_to_leave_is_there_once(demo, nexts, relieved, scores):
    arms = initiatives.assignments(demo, relieved, scores)
    table = initiatives.next_actions(demo, nexts, scores, NONE, relieved, arms)
    assert table["customer_id"].is_unique
    listed = scores.loc[scores["group"] != "leave alone", "customer_id"]
    assert set(table["customer_id"]) == {*nexts["customer_id"], *listed}
    assert set(table["action"]) == {"make good", "help along", "win back", "leave alone"}
    assert (table["until"] >= demo.as_of.floor("D")).all()


def test_nobody_in_a_control_arm_is_acted_on_for_what_it_tests(demo, nexts, relieved, scores):
    arms = initiatives.assignments(demo, relieved, scores)
    table = initiatives.next_actions(demo, nexts, scores, NONE, relieved, arms)
    free = initiatives.next_actions(demo, nexts, scores, NONE, relieved, NONE)
    control = arms.query("arm == 'control'").groupby("customer_id")["initiative"].agg(set)
    acted = table[table["action"] == "make good"].set_index("customer_id")["reason"]
    for customer, reason in acted.items():
        assert reason.replace("met", "relieve") not in control.get(customer, set())
    assert (free["action"] == "make good").sum() > 1.5 * len(acted)
    apart = set(scores.loc[scores["group"] == "hold out", "customer_id"])
    assert not apart & set(table.loc[table["action"] == "win back", "customer_id"])


def test_what_is_done_follows_from_what_is_known_of_the_customer(demo, nexts, relieved, scores):
    table = initiatives.next_actions(demo, nexts, scores, NONE, relieved, NONE)
    lost = table.query("action == 'help along'")
    assert (lost["next_stage"] == "lost").all()
    assert lost["stage"].isin(demo.stages.before).all()
    back = table.query("action == 'win back'")
    assert not back["stage"].isin(demo.stages.before).any()
    met = demo.events.filter(demo.events.touchpoint == "delivery_late").customer_id.execute()
    late = table.loc[table["reason"] == "met delivery_late", "customer_id"]
    assert len(late)
    assert set(late) <= set(met)
    quiet = table.query("reason == 'on the way'")
    assert (quiet["action"] == "leave alone").all()
    assert (quiet["next_stage"] != "lost").all()


def test_a_log_that_tells_nothing_of_leaving_still_helps_those_under_way(demo, nexts):
    table = initiatives.next_actions(demo, nexts, NONE, NONE, NONE, NONE)
    assert set(table["action"]) == {"help along", "leave alone"}
    assert table["churn_probability"].isna().all()
    empty = initiatives.next_actions(demo, NONE, NONE, NONE, NONE, NONE)
    assert empty.empty
    assert "until" in empty
