"""Steps: which lead back, what time they cost, and that it is counted once."""

import numpy as np
import pytest

from cjlib.errors import Unanswerable
from cjlib.journey_map import fluidity, places
from cjlib.journey_map.fluidity import steps
from tests.test_journey_map import POINTS, make_log


def table_of(rows, **options):
    return fluidity(make_log(rows, touchpoints=POINTS, **options)).set_index(
        ["from_touchpoint", "to_touchpoint"]
    )


def test_a_detour_costs_the_days_until_the_customer_is_as_far_again():
    rows = [("a", day, name) for day, name in ((0, "cart"), (2, "ad"), (5, "view"), (9, "cart"))]
    table = table_of([*rows, ("a", 10, "order")])
    assert table.loc[("cart", "ad"), "lost_days"] == 9  # 2 + 3 + 4, all of the one detour
    assert table["customer_days"].sum() == 9
    assert table.loc[("cart", "ad"), ["n", "customers", "back_share"]].tolist() == [1, 1, 1.0]


def test_a_repeat_costs_its_wait_and_a_step_on_nothing():
    table = table_of([("a", 0, "view"), ("a", 3, "view"), ("a", 4, "cart"), ("a", 6, "order")])
    assert table.loc[("view", "view"), "lost_days"] == 3
    assert table.loc[("view", "view"), "repeat_share"] == 1
    assert table["customer_days"].sum() == 3


def test_looking_again_after_a_purchase_begins_a_new_way():
    rows = [("a", 0, "view"), ("a", 1, "order"), ("a", 2, "delivery"), ("a", 4, "view")]
    table = table_of([*rows, ("a", 5, "ad"), ("a", 8, "order")])
    assert table.loc[("delivery", "view"), "customer_days"] == 0
    assert table.loc[("view", "ad"), "customer_days"] == 4  # 1 back, 3 until as far again


def test_after_the_purchase_to_come_again_loses_no_time():
    rows = [("a", 0, "order"), ("a", 1, "delivery"), ("a", 6, "delivery")]
    assert table_of(rows)["customer_days"].sum() == 0


def test_a_log_of_one_touchpoint_has_no_steps():
    log = make_log([("a", 0, "order"), ("a", 5, "order")], touchpoints=POINTS)
    with pytest.raises(Unanswerable):
        fluidity(log)


def test_steps_stay_within_a_journey():
    log = make_log([("a", 0, "cart"), ("a", 50, "view")], touchpoints=POINTS)
    with pytest.raises(Unanswerable):
        fluidity(log)


def test_days_lost_add_up_to_the_waits_behind_and_before_the_regain():
    rng = np.random.default_rng(4)
    names = list(POINTS)
    rows = [
        (customer, 3 * number + rng.integers(1, 8) / 8, str(rng.choice(names)))
        for customer in range(60)
        for number in range(12)
    ]
    log = make_log(rows, touchpoints=POINTS)
    each = steps(log).to_pandas()
    late = (each["back"] == 1) | (each["around"] == 1)
    alone = ~late & (each["repeats"] == 1) & (each["to_stage"] != "post_sale")
    expected = each.loc[late | alone, "days"].sum()
    assert fluidity(log)["customer_days"].sum() == pytest.approx(expected)
    assert each.loc[each["lost_days"] > 0, ["back", "repeats"]].max(axis=1).eq(1).all()


def test_the_planted_loop_leads_whoever_else_meets_more():
    """Busy customers have many smooth journeys; a few go in circles between cart and view."""
    rng = np.random.default_rng(5)
    rows = []
    for customer in range(300):
        for day in 40 * np.arange(4 if customer % 2 else 1):
            way = ["ad", "view", "cart", "order"]
            if rng.random() < 0.3:
                way = ["ad", "view", "cart", "view", "cart", "order"]
            if rng.random() < 0.1:
                way = ["ad", "view", "ad", "view", "cart", "order"]
            rows += [(customer, day + place, name) for place, name in enumerate(way)]
    log = make_log(rows, touchpoints=POINTS)
    first = fluidity(log).iloc[0]
    assert (first["from_touchpoint"], first["to_touchpoint"]) == ("cart", "view")
    rough = places(log)
    assert rough["touchpoint"].iloc[0] == "cart"
    assert rough["smooth_share"].is_monotonic_increasing


def test_changes_of_channel_are_told():
    rows = [("a", 0, "view"), ("a", 1, "cart"), ("b", 0, "view"), ("b", 1, "cart")]
    table = table_of(rows, channel=["web", "store", "web", "web"])
    assert table.loc[("view", "cart"), "channel_change_share"] == 0.5


@pytest.mark.slow
def test_the_demos_loops_lead():
    from cjlib.log import open_log

    log = open_log("demo")
    stages = fluidity(log, by="stage").head(2)
    pairs = set(zip(stages["from_stage"], stages["to_stage"], strict=True))
    assert pairs == {("consideration", "awareness"), ("decision", "consideration")}
    first = fluidity(log).iloc[0]
    assert (first["from_touchpoint"], first["to_touchpoint"]) == ("checkout", "product_view")
