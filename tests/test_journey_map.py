import datetime as dt
import itertools
import warnings
from types import SimpleNamespace

import ibis
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cjlib import journeys, plots
from cjlib.errors import Unanswerable
from cjlib.forms import figure
from cjlib.journey_map import channel_reach, ranked, sales_cycle, stage_table, touchpoint_table
from cjlib.log import open_log
from cjlib.stages import load_stage_model

START = pd.Timestamp("2025-01-01")


def make_log(rows, *, touchpoints, model="five_phases", purchase="order", days=200, **columns):
    """Return a log from (customer, day, touchpoint) rows; touchpoints say stage and initiator."""
    stages = load_stage_model(model)
    frame = pd.DataFrame(rows, columns=["customer_id", "day", "touchpoint"])
    frame["customer_id"] = frame["customer_id"].astype(str)
    frame["timestamp"] = START + pd.to_timedelta(frame.pop("day"), unit="D")
    frame["line"] = range(len(frame))
    frame["stage"] = [touchpoints[name][0] for name in frame["touchpoint"]]
    started = [touchpoints[name][1] for name in frame["touchpoint"]]
    frame["initiator"] = pd.array(started, dtype="str")
    frame["medium"] = "online"
    frame["position"] = frame["stage"].map(stages.positions)
    frame["role"] = frame["stage"].map(stages.roles)
    frame["purchase"] = frame["touchpoint"] == purchase
    for name, kind in {"channel": "str", "value": "float", "sentiment": "float"}.items():
        frame[name] = pd.array(columns.get(name, [None] * len(frame)), dtype=kind)
    inactivity = dt.timedelta(days=10)
    con = ibis.duckdb.connect()
    as_of = START + pd.Timedelta(days=days)
    events = journeys.with_buckets(con.create_table("rows", frame))
    events = con.create_table("events", journeys.with_journeys(events, inactivity).to_pyarrow())
    visits = journeys.stage_visits(events, as_of, inactivity)
    visits = con.create_table("visits", visits.to_pyarrow())
    dataset = SimpleNamespace(
        journey=SimpleNamespace(inactivity=inactivity, purchase=[purchase]),
        churn=SimpleNamespace(horizon=dt.timedelta(days=30)),
        privacy=SimpleNamespace(smallest_group=5),
        touchpoints={},
    )
    ways = con.create_table("journeys", journeys.journey_table(visits).to_pyarrow())
    return SimpleNamespace(
        dataset=dataset, stages=stages, as_of=as_of, events=events, visits=visits, journeys=ways
    )


POINTS = {
    "ad": ("awareness", "company"),
    "view": ("consideration", "customer"),
    "cart": ("decision", "customer"),
    "error": ("decision", "company"),
    "banner": ("decision", "company"),
    "order": ("purchase", "customer"),
    "delivery": ("post_sale", "company"),
}


@pytest.fixture(scope="module")
def small():
    rows = [
        *[("a", 0, "ad"), ("a", 2, "view"), ("a", 3, "view"), ("a", 6, "order")],
        *[("a", 8, "delivery"), ("a", 12, "order")],  # buys again: the way back to it is onward
        *[("b", 0, "ad"), ("b", 1, "view"), ("b", 5, "ad")],  # goes back, then is lost
        *[("c", 0, "view")],
        *[("d", 195, "ad"), ("d", 199, "view")],  # the moment of the report comes too soon
    ]
    feelings = [0.5, None, -0.5, 1.0, None, 1.0, None, 0.0, -1.0, None, 0.5, 0.5]
    return make_log(rows, touchpoints=POINTS, sentiment=feelings)


def test_stages_are_counted_in_the_order_of_the_model(small):
    table = stage_table(small).set_index("stage")
    assert list(table.index) == small.stages.names
    assert table["events"].tolist() == [4, 5, 0, 2, 1]
    assert table["customers"].tolist() == [3, 4, 0, 1, 1]
    assert table["journeys"].tolist() == [3, 4, 0, 1, 1]
    assert table["visits"].tolist() == [4, 4, 0, 2, 1]
    assert table["reach"].tolist() == [0.75, 1, 0, 0.25, 0.25]
    assert table.loc["awareness", "sentiment"] == pytest.approx((0.5 - 1.0 + 0.5) / 3)
    assert table.loc["awareness", "negative_share"] == pytest.approx(1 / 3)


def test_only_visits_whose_end_was_seen_say_where_visits_lead(small):
    table = stage_table(small).set_index("stage")
    assert table["closed"].tolist() == [3, 3, 0, 2, 1]  # d's are too young
    assert table.loc["awareness", "advance_rate"] == pytest.approx(2 / 3)
    assert table.loc["awareness", "drop_off_rate"] == pytest.approx(1 / 3)
    assert table.loc["consideration", "advance_rate"] == pytest.approx(1 / 3)  # b goes back
    assert table.loc["consideration", "drop_off_rate"] == pytest.approx(1 / 3)
    assert table.loc["post_sale", "advance_rate"] == 1  # to a purchase again
    assert np.isnan(table.loc["decision", "drop_off_rate"])


def test_the_stay_is_measured_to_the_next_stage_or_to_the_end_of_the_silence(small):
    table = stage_table(small).set_index("stage")
    assert table.loc["awareness", "median_days"] == 2  # 2 and 1 onward, 10 in silence
    assert table.loc["awareness", "median_days_onward"] == 1.5
    assert np.isnan(table.loc["decision", "median_days"])


def test_touchpoints_are_counted_by_stage_and_reach(small):
    table = touchpoint_table(small).query("not placebo").reset_index()
    assert table["touchpoint"].tolist() == ["ad", "view", "order", "delivery"]
    assert table["n"].tolist() == [4, 5, 2, 1]
    assert table["customers"].tolist() == [3, 4, 1, 1]
    assert table.loc[1, "drop_off_rate"] == pytest.approx(1 / 3)
    assert table["pain"].isna().all()
    assert not table["pain_point"].any()
    assert not table["moment_of_truth"].any()


def decisions(rng, customers, error_effect, length_effect=0.0):
    """Return a log of customers who decide up to three times, with and without an error."""
    rows = []
    for customer in range(customers):
        taste = rng.uniform(-0.15, 0.15)
        for visit in range(rng.integers(1, 4)):
            day, extra = 60 * visit, int(rng.integers(0, 3))
            names = ["cart"] * (1 + extra)
            error, banner = rng.random(2) < 0.3
            names += ["error"] * int(error) + ["banner"] * int(banner)
            rows += [(customer, day + 0.1 * i, name) for i, name in enumerate(names)]
            chance = 0.6 + taste - error_effect * error - length_effect * len(names)
            if rng.random() < chance:
                rows.append((customer, day + 1, "order"))
    return make_log(rows, touchpoints=POINTS)


@pytest.mark.slow
def test_a_planted_pain_point_is_found_with_its_size_and_what_has_no_effect_is_not():
    log = decisions(np.random.default_rng(1), 1500, error_effect=0.25)
    table = touchpoint_table(log).set_index("touchpoint")
    error, banner = table.loc["error"], table.loc["banner"]
    assert error["pain_point"]
    assert error["pain_lower"] < 0.25 < error["pain_upper"]
    assert error["moment_of_truth"]
    assert error["later_purchase_lower"] < -0.25 < error["later_purchase_upper"]
    assert not banner["pain_point"]
    assert not banner["moment_of_truth"]
    assert banner["pain_lower"] < 0 < banner["pain_upper"]
    assert np.isnan(table.loc["cart", "pain"])  # in every visit: nothing to compare with


@pytest.mark.slow
def test_touchpoints_of_long_visits_are_not_blamed_for_their_length():
    log = decisions(np.random.default_rng(4), 1500, error_effect=0, length_effect=0.1)
    table = touchpoint_table(log).set_index("touchpoint")
    assert table.loc["error", "pain_lower"] < 0 < table.loc["error", "pain_upper"]
    assert not table.loc["error", "pain_point"]


def test_a_silence_does_not_cut_off_the_purchase_that_follows():
    rows = []
    for customer in range(120):
        rows += [(customer, 0, "view"), (customer, 0.2, "cart")]
        rows += [(customer, 0.1, ["view", "ad"][customer % 2])]
        # Half of those with the ad buy in their next journey, after more than the inactivity.
        rows += [(customer, 25, "order")] * (customer % 4 in (1, 2))
        rows += [(customer, 40, "order")] * (customer % 4 == 0)  # beyond the horizon
    points = POINTS | {"ad": ("consideration", "company"), "cart": ("consideration", "customer")}
    table = touchpoint_table(make_log(rows, touchpoints=points)).set_index("touchpoint")
    assert table.loc["ad", ["followed_share", "otherwise_share"]].tolist() == [0.5, 0.5]
    assert table.loc["ad", "later_purchase"] == 0


def test_each_segment_is_compared_within_itself_and_everybody_is_one():
    rng = np.random.default_rng(2)
    log = decisions(rng, 400, error_effect=0.25)
    everybody = touchpoint_table(log)
    customers = pd.DataFrame({"customer_id": [str(who) for who in range(400)]})
    alone = touchpoint_table(log, customers.assign(segment="all"))
    pd.testing.assert_frame_equal(alone, everybody)
    halves = customers.assign(segment=np.where(customers.index < 200, "x", "y"))
    table = touchpoint_table(log, halves.iloc[:-50])
    assert table["segment"].unique().tolist() == ["x", "y"]
    both = table.groupby("touchpoint")["customers"].sum()
    assert both["cart"] == 350  # everybody who has a segment
    alone = touchpoint_table(log, halves[:200]).set_index("touchpoint")
    part = table[table["segment"] == "x"].set_index("touchpoint")
    same = ["pain", "later_purchase", "followed_share", "otherwise_share"]
    pd.testing.assert_frame_equal(part[same], alone[same])


def after_purchase(rng, customers, feelings):
    """Return a log of orders with deliveries: the late ones last and feel as told, others end."""
    points = POINTS | {"late": ("post_sale", "company"), "review": ("post_sale", "customer")}
    rows, felt = [], []
    for customer in range(customers):
        name = ["delivery", "late"][rng.random() < 0.3]
        steps = [(0, "order", np.nan), (2, name, rng.normal(feelings[name], 0.3))]
        steps += [(3, "review", 0.2)] * (rng.random() < 0.5)
        lost = rng.random() < (0.9 if name == "delivery" else 0.3)
        steps += [] if lost else [(5, "order", np.nan)]
        rows += [(customer, day, touchpoint) for day, touchpoint, _ in steps]
        felt += [feeling for *_, feeling in steps]
    return make_log(rows, touchpoints=points, sentiment=np.clip(felt, -1, 1))


@pytest.mark.slow
def test_after_the_purchase_a_bad_feeling_hurts_and_the_end_of_a_journey_does_not():
    rng = np.random.default_rng(3)
    table = touchpoint_table(after_purchase(rng, 400, {"delivery": 0.4, "late": -0.3}))
    table = table.set_index("touchpoint")
    # Journeys end after a delivery in time, as they should: no loss, no pain; a late one is pain.
    assert (table.loc[["delivery", "late"], "drop_off_rate"] == 0).all()
    assert table.index[table["pain_point"]].tolist() == ["late"]
    assert table.loc[["delivery", "late", "review"], ["pain", "q_value"]].isna().all(axis=None)


@pytest.mark.slow
def test_feelings_that_are_neutral_hurt_nowhere_though_many_are_tested():
    rng = np.random.default_rng(5)
    names = [f"point_{i}" for i in range(40)]
    rows = [(who, day, name) for who in range(60) for day, name in enumerate(names)]
    points = dict.fromkeys(names, ("post_sale", None))
    found = 0
    for _ in range(20):
        log = make_log(rows, touchpoints=points, sentiment=rng.uniform(-1, 1, len(rows)))
        found += touchpoint_table(log)["pain_point"].any()
    assert found <= 3  # at most one in twenty families is expected


@pytest.mark.slow
@pytest.mark.parametrize(("onward", "hurts"), [(0.6, False), (0.15, True)])
def test_a_step_after_which_visits_go_on_more_often_is_no_pain_point(onward, hurts):
    rng = np.random.default_rng(6)
    rows = []
    for customer, day in itertools.product(range(400), (0, 40, 80)):
        step = rng.random() < 0.5
        on, lost = (onward, 0.25) if step else (0.15, 0.1)
        rows += [(customer, day, "view"), (customer, day + 1, "cart")]
        rows += [(customer, day + 1.1, "error" if step else "banner")]
        led = rng.choice(["order", "lost", "view"], p=[on, lost, 1 - on - lost])
        rows += [(customer, day + 2, led)] * (led != "lost")
    error = (
        touchpoint_table(make_log(rows, touchpoints=POINTS)).set_index("touchpoint").loc["error"]
    )
    assert error["pain_lower"] < 0.15 < error["pain_upper"]
    assert error["onward_lower"] < onward - 0.15 < error["onward_upper"]
    assert error["pain_point"] == hurts
    assert error["pain_verdict"] == ("pain point" if hurts else "settles")


def test_what_follows_is_not_tested_where_hardly_anybody_buys_again():
    points = POINTS | {"late": ("post_sale", "company")}
    for buyers, tested in ((9, False), (60, True)):
        rows = []
        for customer in range(200):
            rows += [(customer, 0, "order"), (customer, 2, "delivery")]
            rows += [(customer, 2.5, ["delivery", "late"][customer % 2])]
            rows += [(customer, 5, "order")] * (customer < buyers)
        log = make_log(rows, touchpoints=points)
        table = touchpoint_table(log).set_index("touchpoint")
        assert np.isfinite(table.loc["late", "later_purchase"]) == tested


def test_what_could_not_be_tested_for_pain_says_so_and_by_what():
    rng = np.random.default_rng(7)
    rows = [(who, day, name) for who in range(40) for day, name in enumerate(["cart", "order"])]
    rows += [(who, 0.1, "error") for who in range(0, 40, 2)]  # 20 visits are too few
    rows += [(who, 0.2, "banner") for who in range(30)] + [
        (40 + who, 0, "banner") for who in range(30)
    ]
    rows += [(who, 0.3, "cart") for who in range(40, 70)] + [(who, 3, "late") for who in range(29)]
    points = POINTS | {"late": ("post_sale", "company")}
    log = make_log(rows, touchpoints=points, sentiment=rng.uniform(0, 1, len(rows)))
    table = touchpoint_table(log).set_index("touchpoint")
    assert table["pain_test"].to_dict()["late"] == "feeling"
    before = table[table["role"] != "after"]
    assert (before["pain_test"] == "drop-off").all()
    untested = table.index[table["pain_verdict"] == "untested"]
    assert set(untested) >= {"order", "late", "error"}
    assert (table.loc[untested, "compared"] < 30).all()
    with pytest.raises(Unanswerable, match="30 feelings"):
        ranked(table.loc[["late"]], "sentiment")
    assert ranked(table, "sentiment")["sentiment"].is_monotonic_decreasing


def test_what_comes_after_the_purchase_within_its_visit_decides_nothing():
    points = {"cart": ("decision", None), "order": ("decision", None)}
    points["confirmation"] = ("decision", None)
    rows = []
    for customer in range(80):
        names = ["cart"] + ["order", "confirmation"] * (customer % 2)
        rows += [(customer, 0.1 * i, name) for i, name in enumerate(names)]
    table = touchpoint_table(make_log(rows, touchpoints=points, model="four_phases"))
    assert table["later_purchase"].isna().all()


@pytest.mark.parametrize("customers", [1, 40])
def test_a_log_of_orders_alone_is_a_normal_case(customers):
    rows = [(customer, day, "order") for customer in range(customers) for day in (0, 5, 90)]
    log = make_log(rows, touchpoints={"order": ("purchase", None)})
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        stages, touchpoints = stage_table(log), touchpoint_table(log)
    assert stages["reach"].tolist() == [0, 0, 0, 1, 0]
    assert touchpoints.query("not placebo")["touchpoint"].tolist() == ["order"]
    assert touchpoints[["pain", "later_purchase", "sentiment"]].isna().all(axis=None)
    for missing in (
        lambda: sales_cycle(log),
        lambda: channel_reach(log),
        lambda: plots.journey_map(stages, touchpoints),
        lambda: plots.visit_outcomes(stages),
        *(lambda by=by: ranked(touchpoints, by) for by in ("sentiment", "pain", "later_purchase")),
    ):
        with pytest.raises(Unanswerable):
            missing()


def test_the_sales_cycle_is_told_from_the_customer_journey(small):
    table = sales_cycle(small).set_index("stage")
    assert table["company"].tolist() == [4, 0, 0, 1]  # nothing starts in the decision
    assert table["customer"].tolist() == [0, 5, 2, 0]
    assert table.loc["awareness", "company_share"] == pytest.approx(0.8)
    assert table.loc["purchase", "customer_share"] == pytest.approx(2 / 7)
    assert table.loc["awareness", "gap"] == pytest.approx(0.8)


def test_channels_beyond_the_largest_become_other():
    names = ["web", "web", "web", "app", "app", "phone"]
    rows = [(customer, 0, "ad") for customer in range(6)]
    log = make_log(rows, touchpoints=POINTS, channel=names)
    table = channel_reach(log, most=2)
    here = table[table["stage"] == "awareness"].set_index("channel")
    assert here["reach"].to_dict() == {"web": pytest.approx(0.5), "other": pytest.approx(0.5)}
    assert table[table["stage"] == "purchase"]["reach"].isna().all()


@pytest.mark.slow
def test_what_was_planted_in_the_demo_is_on_its_map():
    table = touchpoint_table(open_log("demo")).set_index("touchpoint")
    assert set(table.index[table["pain_point"]]) >= {"payment_error", "delivery_late"}
    assert table["pain"].idxmax() == "payment_error"
    assert table["sentiment"].idxmin() == "delivery_late"
    assert not table.loc["delivery_on_time", "pain_point"]
    newsletter = table.loc["newsletter_open"]
    assert newsletter["pain_lower"] < 0 < newsletter["pain_upper"]
    assert not newsletter["moment_of_truth"]
    assert table.loc["delivery_late", "moment_of_truth"]
    assert table.loc["delivery_late", "later_purchase"] < 0
    assert not table.query("placebo")[["pain_point", "moment_of_truth"]].any(axis=None)
    assert table.loc["delivery_late", "upper"] < 0


@pytest.mark.slow
def test_orders_of_the_marketplace_are_no_second_purchase_when_clocks_differ(shared_data):
    log = open_log("olist", source=str(shared_data("olist")))
    by = ["customer_id", "journey"]
    ordered = log.visits.filter(log.visits.role == "purchase")
    placed = log.events.filter(log.events.purchase)
    visits = ordered.group_by(by).agg(visits=ordered.count())
    orders = placed.group_by(by).agg(orders=placed.count())
    both = visits.join(orders, by).execute()
    assert len(both) > 4000
    assert (both["visits"] <= both["orders"]).all()


@pytest.mark.parametrize(
    ("days", "text"), [(10 / 86_400, "10 seconds"), (4 / 1440, "4 minutes"), (0.5, "12 hours")]
)
def test_short_stays_have_the_unit_a_reader_would_choose(days, text):
    assert figure("days", days) == text


HOSTILE = [
    "=HYPERLINK(1)",
    "<script>alert(1)</script> and a very long name",
    "日本語",
    "$x^2$",
    "a",
]


@pytest.mark.parametrize("felt", [True, False])
@pytest.mark.parametrize("count", [2, 8])
def test_the_map_stays_inside_its_figure_whatever_the_names(count, felt):
    rng = np.random.default_rng(count)
    names = [f"s{i}" for i in range(count)]
    stages = pd.DataFrame({"stage": names, "role": ["purchase"] + ["after"] * (count - 1)})
    stages = stages.assign(events=9, closed=[0] + [4] * (count - 1), reach=0.5)
    stages = stages.assign(advance_rate=0.6, ended_rate=0.1, drop_off_rate=0.3)
    stages = stages.assign(sentiment=-0.2 if felt else np.nan)
    stages["sentiment_lower"] = stages["sentiment_upper"] = stages["sentiment"]
    points = [(stage, name, rng.random()) for stage in names for name in HOSTILE * 2]
    table = pd.DataFrame(points, columns=["stage", "touchpoint", "reach"])
    table = table.assign(sentiment=0.4 if felt else np.nan, drop_off_rate=0.3)
    table = table.assign(pain_point=True, moment_of_truth=True, later_purchase=-0.1)
    table = table.assign(
        medium="physical" if felt else "", contact="indirect" if felt else "direct"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        labels = dict.fromkeys(names, "Reconocimiento de la necesidad")
        ax = plots.journey_map(stages, table, label=lambda name: labels.get(name, name))
        ax.figure.canvas.draw()
    inside = ax.figure.bbox.padded(2)
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)
    assert all(inside.y0 <= box.y0 and box.y1 <= inside.y1 for box in boxes)
    assert sum(text.get_text() == "+ 2 more" for text in ax.texts) == count
    plt.close(ax.figure)


def test_the_map_tells_how_and_where_a_touchpoint_is_met_without_colours(small):
    stages, table = stage_table(small), touchpoint_table(small).query("not placebo")
    table.loc[table["touchpoint"] == "ad", "contact"] = "indirect"
    ax = plots.journey_map(stages, table)
    marks = {(line.get_marker(), line.get_markerfacecolor()) for line in ax.lines}
    assert {("o", plots.INK), ("o", "white")} <= marks
    assert "physical, indirect" in {text.get_text() for text in ax.texts}
    plt.close(ax.figure)
    ax = plots.journey_map(stages, table.assign(medium="", contact="direct"))
    assert not {text.get_text() for text in ax.texts} & {"physical, indirect", "online, direct"}
    plt.close(ax.figure)


def test_the_pictures_beside_the_map_draw_what_they_are_given(small):
    _, axes = plt.subplots(1, 2)
    plots.visit_outcomes(stage_table(small), label=small.stages.label, ax=axes[0])
    assert len(axes[0].get_yticks()) == 4  # the decision has no closed visit
    plots.sales_cycle(sales_cycle(small), label=small.stages.label, ax=axes[1])
    assert axes[1].get_yticklabels()[0].get_text() == "Awareness"
    plt.close("all")
