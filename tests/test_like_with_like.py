"""Like with like: what either comparison holds fixed, and that both are least squares."""

import numpy as np
import pandas as pd
import pytest

from cjlib.journey_map import touchpoint_table
from cjlib.journey_map.counts import VISIT, touch_facts, visit_facts
from cjlib.journey_map.like_with_like import PLACEBO, comparable, placebos
from tests.test_journey_map import POINTS, decisions, make_log

HORIZON = 30 * 86_400


def dummies(*columns) -> np.ndarray:
    return np.hstack([pd.get_dummies(pd.Series(column)).to_numpy(float) for column in columns])


@pytest.fixture(scope="module")
def log():
    return decisions(np.random.default_rng(3), 120, error_effect=0.2)


@pytest.fixture(scope="module")
def visits(log):
    """The decision visits whose end was seen, with or without an error."""
    visits = comparable(visit_facts(log), HORIZON).to_pandas()
    met = touch_facts(log).to_pandas().query("touchpoint == 'error'")
    table = visits.query("stage == 'decision' and closed == 1")
    return table.merge(met[VISIT].assign(error=1.0), "left", VISIT).fillna({"error": 0.0})


def test_among_the_same_customers_it_is_least_squares_with_an_effect_for_each(log, visits):
    length, tenure = np.divmod(visits["level"], 3)
    held = dummies(visits["customer_id"], length, tenure)
    design = np.column_stack([visits["error"], held])
    expected = np.linalg.lstsq(design, visits["lost"].to_numpy(float))[0][0]
    row = touchpoint_table(log).set_index("touchpoint").loc["error"]
    assert row["pain_same_customers"]
    assert row["pain"] == pytest.approx(expected)


def test_among_like_visits_it_is_least_squares_with_an_effect_for_each_kind(log, visits):
    design = np.column_stack([visits["error"], dummies(visits["kind"])])
    expected = np.linalg.lstsq(design, visits["lost"].to_numpy(float))[0][0]
    row = touchpoint_table(log).set_index("touchpoint").loc["error"]
    assert row["pain_like"] == pytest.approx(expected)


def test_earlier_activity_is_that_of_the_look_back_alone():
    days = [0, 20, 25, 70]
    rows = [("a", day, "view") for day in days for _ in range(2)]
    log = make_log(rows, touchpoints=POINTS)
    kinds = comparable(visit_facts(log), HORIZON).to_pandas().sort_values("journey")["kind"]
    length, rest = np.divmod(kinds.to_numpy(), 3 * 4)
    assert length.tolist() == [1, 3, 1]  # two events; four, in one visit; two
    assert (rest // 4).tolist() == [0, 1, 2]  # the first journey; known for less; for longer
    assert (rest % 4).tolist() == [0, 1, 0]  # nothing yet; two events; nothing for 45 days


@pytest.mark.slow
def test_what_busy_customers_prefer_is_not_found_among_their_own_visits():
    rng = np.random.default_rng(5)
    rows = []
    for customer in range(900):
        busy = customer % 2
        for day in 50 * np.arange(3):
            choice = "banner" if rng.random() < 0.2 + 0.6 * busy else "error"
            rows += [(customer, day, "cart"), (customer, day + 0.1, choice)]
            rows += [(customer, day + 1, "order")] * (rng.random() < 0.3 + 0.4 * busy)
    banner = touchpoint_table(make_log(rows, touchpoints=POINTS)).set_index("touchpoint")
    banner = banner.loc["banner"]
    assert banner["later_purchase_like"] > 0.05
    assert banner["later_purchase_lower"] < 0 < banner["later_purchase_upper"]
    assert banner["moment_verdict"] == "unconfirmed"


def test_a_touchpoint_that_always_adds_an_event_has_no_counterpart():
    rows = []
    for customer in range(80):
        for day in (0, 50):
            extra = (customer + day // 50) % 2
            rows += [(customer, day, "cart")] + [(customer, day + 0.1, "error")] * extra
    row = touchpoint_table(make_log(rows, touchpoints=POINTS)).set_index("touchpoint").loc["error"]
    assert (row["compared"], row["matched_share"]) == (0, 0)
    assert row["pain_verdict"] == "untested"


def test_the_placebo_is_a_quarter_of_the_visits_and_always_the_same(log):
    visits = comparable(visit_facts(log), HORIZON)
    drawn = [placebos(visits).select(*VISIT, "touchpoint").to_pandas() for _ in range(2)]
    once, again = (part.sort_values(VISIT, ignore_index=True) for part in drawn)
    pd.testing.assert_frame_equal(once, again)
    assert len(once) / visits.count().execute() == pytest.approx(0.25, abs=0.06)
    assert once["touchpoint"].str.startswith(PLACEBO).all()
