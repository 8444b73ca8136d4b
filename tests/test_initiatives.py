"""Initiatives: what is confirmed becomes one, and a changed chain says what it brings."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cjlib import initiatives
from cjlib.answers import Missing
from cjlib.errors import ParameterError, Unanswerable
from cjlib.initiatives.changed_chain import Flow, ahead, extra, resampled, shifted
from cjlib.journey_map import touchpoint_table
from tests.simulations import initiatives as simulated

STATES = ["look", "buy", "lost", "bought", "gone"]


def small_flow(back: float = 0.5, value: float = 20.0, customers: int = 100) -> Flow:
    """A flow of 100 visits a month, of which 60 % buy; of those lost `back` come back."""
    moves = np.zeros((customers, 5, 5))
    moves[:, 0, 1], moves[:, 0, 2], moves[:, 1, 3], moves[:, 3, 4] = 6, 4, 6, 6
    moves[:, 2, 0], moves[:, 2, 4] = 4 * back, 4 * (1 - back)
    visits = np.zeros((customers, 5))
    visits[:, :2] = 2, 1.2
    each = np.ones((customers, 2))
    return Flow(
        STATES,
        np.array([name == "buy" for name in STATES]),
        np.array([name not in ("look", "buy") for name in STATES]),
        np.arange(customers),
        moves,
        np.ones((5, 5)),
        visits,
        each * [1, value],
        each * [1, 2],
        pd.Timestamp("2026-01-01"),
        2.0,
    )


@pytest.fixture(scope="module")
def touchpoints(demo):
    return touchpoint_table(demo)


# -- the flow through a changed chain -------------------------------------------------------------


def test_the_gain_of_a_chain_of_three_stages_is_the_one_in_closed_form():
    # h = p / (1 - (1 - p) r) purchases lie ahead; ten more of a hundred visits buy, and each of
    # them does so instead of coming back with r = .5
    change = [{"from": "look", "to": "lost", "change": -0.1}]
    (row,) = initiatives.what_if(small_flow(), change).to_dict("records")
    expected = 10 * (1 - 0.5 * 0.7 / (1 - 0.3 * 0.5))
    assert row["extra_purchases"] == pytest.approx(expected)
    assert row["extra_value"] == pytest.approx(20 * expected)
    assert row["visits"] == pytest.approx(100)
    (row,) = initiatives.what_if(small_flow(back=0.0), change).to_dict("records")
    assert row["extra_purchases"] == pytest.approx(10)


def test_the_gain_is_the_difference_of_two_stationary_flows():
    rng = np.random.default_rng(1)
    inner = rng.dirichlet(np.ones(5), 4)[:, :4]  # a fifth of each row ends
    matrix = np.zeros((1, 5, 5))
    matrix[0, :4, :4], matrix[0, :4, 4] = inner, 1 - inner.sum(axis=1)
    changed = shifted(matrix, 0, 4, np.array([-0.1]))
    arrivals = rng.random(4)
    flows = [arrivals @ np.linalg.inv(np.eye(4) - one[0, :4, :4]) for one in (matrix, changed)]
    flow, draws = small_flow(), resampled(small_flow())
    visits = np.r_[flows[0], 0][None]
    draws = type(draws)(matrix, visits, draws.value, draws.bought, draws.others)
    assert extra(flow, draws, changed)[0] == pytest.approx(flows[1][1] - flows[0][1])


def test_a_changed_row_still_adds_up_and_stays_between_none_and_all():
    matrix = np.array([[[0.0, 0.6, 0.4], [0.2, 0.0, 0.8], [0.0, 0.0, 0.0]]])
    less = shifted(matrix, 0, 2, np.array([-0.1]))
    assert less[0, 0] == pytest.approx([0, 0.7, 0.3])
    assert shifted(matrix, 0, 2, np.array([-0.9]))[0, 0] == pytest.approx([0, 1, 0])
    assert shifted(matrix, 0, 2, np.array([0.9]))[0, 0] == pytest.approx([0, 0, 1])
    assert np.array_equal(less[0, 1:], matrix[0, 1:])


def test_what_comes_after_the_horizon_does_not_count():
    flow = small_flow()
    matrix = resampled(flow).matrix[:1]
    soon = ahead(matrix, np.ones((5, 5)), flow.buying)[0, 0]
    late = ahead(matrix, np.full((5, 5), 0.5), flow.buying)[0, 0]
    assert late < soon == pytest.approx(0.6 / (1 - 0.4 * 0.5))


def test_changes_of_several_rows_are_made_together_and_unknown_states_are_named():
    both = [
        {"from": "look", "to": "lost", "change": -0.1},
        {"from": "lost", "to": "gone", "change": -0.1},
    ]
    flow = small_flow()
    together = initiatives.what_if(flow, both)["extra_purchases"].item()
    apart = [initiatives.what_if(flow, [one])["extra_purchases"].item() for one in both]
    assert together > max(apart)
    with pytest.raises(ParameterError, match="shop"):
        initiatives.what_if(flow, [{"from": "shop", "to": "lost", "change": 0.1}])
    with pytest.raises(Unanswerable, match="gone"):
        initiatives.what_if(flow, [{"from": "gone", "to": "lost", "change": 0.1}])


def test_the_flow_of_the_demo_has_its_visits_returns_and_value(demo):
    flow = initiatives.customer_flow(demo, recent_days=90)
    draws, place = resampled(flow), {name: i for i, name in enumerate(flow.states)}
    assert draws.matrix[0, place["lost"], place["gone"]] < 0.2  # most come back
    assert draws.matrix[0].sum(axis=1) == pytest.approx(np.r_[np.ones(len(place) - 1), 0])
    recent = demo.visits.filter(demo.visits.started > flow.since)
    assert flow.visits.sum() == recent.count().execute()
    assert draws.value[0] == pytest.approx(
        demo.events.value.sum().execute() / flow.sales[:, 0].sum()
    )


# -- what becomes a candidate ---------------------------------------------------------------------


def test_what_is_confirmed_becomes_a_candidate_and_nothing_else(demo, touchpoints):
    found = initiatives.hurting(demo, touchpoints).set_index("touchpoint")
    assert set(found.index) == {"payment_error", "delivery_late"}
    assert found["measure"].to_dict() == {"payment_error": "lost", "delivery_late": "bought"}
    assert (found["effect_lower"] > 0).all()
    assert (found["effect_lower"] < found["effect"]).all()
    nothing = touchpoints.assign(pain_point=False, moment_of_truth=False)
    assert initiatives.hurting(demo, nothing).empty
    assert initiatives.deciding(nothing).empty


def test_what_follows_something_that_hurts_is_a_sign_of_it(demo, touchpoints):
    alone = touchpoints[touchpoints["touchpoint"] != "delivery_late"]
    assert "support_request" in set(initiatives.hurting(demo, alone)["touchpoint"])


def test_what_feels_bad_and_few_purchases_follow_is_named_without_an_effect(demo, touchpoints):
    numbers = [name for name in touchpoints if name.startswith("later_purchase")]
    felt = touchpoints.assign(moment_of_truth=False, **dict.fromkeys(numbers, np.nan))
    found = initiatives.hurting(demo, felt).set_index("touchpoint")["effect"]
    assert found.isna().to_dict() == {"payment_error": False, "delivery_late": True}


def test_the_other_side_of_what_hurts_is_not_a_second_initiative(touchpoints):
    assert touchpoints.query("touchpoint == 'delivery_on_time'")["moment_of_truth"].item()
    assert initiatives.deciding(touchpoints).empty
    alone = touchpoints[touchpoints["touchpoint"] == "delivery_on_time"]
    assert initiatives.deciding(alone)["touchpoint"].tolist() == ["delivery_on_time"]


def losses(rates: dict[str, float], visits: int = 40) -> pd.DataFrame:
    """Moves of segments, each bucket with so many visits to look."""
    rng = np.random.default_rng(3)
    rows = []
    for segment, rate in rates.items():
        for bucket, lost in enumerate(rng.binomial(visits, rate, 256)):
            rows.append((segment, bucket, "look", "lost", lost))
            rows.append((segment, bucket, "look", "buy", visits - lost))
    table = pd.DataFrame(rows, columns=["segment", "bucket", "from_stage", "to_stage", "n"])
    return pd.concat([table.assign(segment="all"), table])


def test_a_segment_that_loses_more_is_levelled_up_by_how_far_the_best_is_ahead():
    rates = {"a": 0.2, "b": 0.2, "c": 0.2, "d": 0.3}
    (row,) = initiatives.below_best(losses(rates), ["look"]).to_dict("records")
    assert (row["stage"], row["segment"]) == ("look", "d")
    assert row["effect_lower"] <= 0.1 <= row["effect_upper"]


def test_of_segments_alike_none_is_levelled_up():
    assert initiatives.below_best(losses(dict.fromkeys("abcd", 0.2)), ["look"]).empty


def test_kinds_that_a_log_cannot_tell_of_are_left_out(demo, touchpoints):
    missing = Missing("no value")
    found = initiatives.gathered(missing, initiatives.hurting(demo, touchpoints))
    assert "relieve payment_error" in set(found["initiative"])
    with pytest.raises(Unanswerable):
        initiatives.gathered(missing, found.head(0))


# -- gains ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gains(demo, touchpoints):
    flow = initiatives.customer_flow(demo)
    candidates = initiatives.gathered(initiatives.hurting(demo, touchpoints))

    def of(**shares) -> pd.DataFrame:
        causal = {"same customers": shares.pop("causal", 1.0)}
        return initiatives.gains(demo, flow, candidates, causal, **shares)

    return of


def test_the_planted_pains_are_ranked_by_the_lower_end(gains):
    table = gains()
    assert table["touchpoint"].tolist() == ["payment_error", "delivery_late"]
    assert table["rank"].tolist() == [1, 2]
    assert table["lower"].is_monotonic_decreasing
    assert (table["lower"] < table["extra_purchases"]).all()
    assert (table["extra_purchases"] < table["upper"]).all()


def test_gains_go_with_the_share_that_is_causal_and_the_share_reached(gains):
    whole, half, reached = gains(), gains(causal=0.5), gains(reached=0.5)
    for figure in ("extra_purchases", "lower", "upper", "break_even_cost"):
        assert half[figure].to_numpy() == pytest.approx(whole[figure].to_numpy() / 2, rel=0.02)
    assert reached["lower"].to_numpy() == pytest.approx(half["lower"].to_numpy())


def test_what_is_strengthened_reaches_as_many_visits_again_at_most(demo, touchpoints):
    rare = touchpoints[touchpoints["touchpoint"] == "product_guide"]
    limits = {"later_purchase": 0.1, "later_purchase_lower": 0.05, "later_purchase_upper": 0.15}
    found = initiatives.deciding(rare.assign(moment_of_truth=True, **limits))
    flow = initiatives.customer_flow(demo)
    (row,) = initiatives.gains(demo, flow, initiatives.gathered(found), {}).to_dict("records")
    met = demo.events.filter(demo.events.touchpoint == "product_guide")
    met = met.filter(met.timestamp > flow.since).count().execute() / flow.months
    assert row["visits"] == pytest.approx(met, rel=0.2)


def test_the_same_input_gives_the_same_gains_and_another_seed_about_the_same(gains):
    pd.testing.assert_frame_equal(gains(seed=1), gains(seed=1))
    other = gains(seed=2)["lower"].to_numpy()
    assert gains(seed=1)["lower"].to_numpy()[:2] == pytest.approx(other[:2], rel=0.1)


def test_a_log_without_values_gains_purchases_and_no_money(demo, touchpoints, monkeypatch):
    monkeypatch.setattr(type(demo), "has", lambda self, column: column != "value")
    flow = initiatives.customer_flow(demo)
    candidates = initiatives.gathered(initiatives.hurting(demo, touchpoints))
    table = initiatives.gains(demo, flow, candidates, {})
    assert table["extra_purchases"].notna().all()
    assert table["extra_value"].isna().all()


@pytest.mark.parametrize("relieved", ["payment_error", "delivery_late"])
def test_the_machine_yields_what_the_simulations_take_for_true(relieved):
    yielded = simulated.yielded(relieved, seed=21, customers=4_000)
    assert yielded == pytest.approx(simulated.TRUE[relieved], abs=0.03)


def test_those_about_to_leave_bring_what_is_assumed_and_nothing_for_sure():
    now = pd.DataFrame({"customer_id": ["a", "b", "c"], "expected_orders": [2.0, np.nan, 1.0]})
    samples = SimpleNamespace(days=60.875, now=now, words=SimpleNamespace(value=True))
    scores = pd.DataFrame(
        {
            "customer_id": ["c", "a", "b"],
            "churn_probability": [0.2, 0.5, 1.0],
            "expected_value": [1.0, 10.0, 20.0],
            "group": ["leave alone", "contact", "hold out"],
        }
    )
    (row,) = initiatives.leaving(samples, scores, 0.4).to_dict("records")
    assert row["customers"] == pytest.approx(1)  # two in two months
    assert row["extra_purchases"] == pytest.approx(0.4 * (0.5 * 2 + 1.0) / 2)
    assert row["extra_value"] == pytest.approx(0.4 * (0.5 * 10 + 20) / 2)
    assert row["lower"] == row["extra_value_lower"] == 0
    with pytest.raises(Unanswerable):
        initiatives.leaving(samples, scores.assign(group="leave alone"), 0.4)
