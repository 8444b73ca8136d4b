import datetime as dt

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cjlib import log_profile
from cjlib.log import open_log
from cjlib.plots import log as plots_log

TEXT = """
name: small
source: small.csv
columns:
  customer_id: who
  timestamp: {column: at, timezone: UTC}
  touchpoint: what
  value: amount
touchpoints:
  look: {stage: awareness}
  never: {stage: decision}
  buy: {stage: purchase}
journey: {inactivity: 10 days, purchase: buy}
"""

ROWS = [
    ("a", "2024-01-01", "look", ""),
    ("a", "2024-01-02", "buy", "5"),
    ("a", "2024-01-25", "look", ""),
    ("b", "2024-01-03", "look", ""),
    ("b", "2024-01-15", "look", ""),
    ("c", "2024-02-05", "buy", "7"),
    ("d", "2024-02-14", "look", ""),
]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yml").write_text(TEXT)
    frame = pd.DataFrame(ROWS, columns=["who", "at", "what", "amount"])
    frame.to_csv(folder / "small.csv", index=False)
    return open_log(folder / "small.yml")


def test_weeks_covered_in_part_are_left_out_and_empty_ones_count_zero(log):
    table = log_profile.activity(log)
    assert table["period"].dt.day_of_week.eq(0).all()
    assert table["period"].min() == pd.Timestamp("2024-01-01")
    assert table["period"].max() == pd.Timestamp("2024-02-05")
    assert table["events"].tolist() == [3, 0, 1, 1, 0, 1]
    assert table["purchases"].tolist() == [1, 0, 0, 0, 0, 1]


def weeks(*events):
    periods = pd.date_range("2024-01-01", periods=len(events), freq="W-MON")
    return pd.DataFrame({"period": periods, "events": events})


def test_an_end_at_which_recording_stops_is_found_with_its_date_and_size():
    table = weeks(*[400, 380, 420, 410] * 5, 250, 20, 2, 4, 0)
    found = log_profile.thin_end(table)
    assert (found.begins, found.periods) == (table["period"].iloc[21], 4)
    assert (found.usual, found.then) == (400, 3)


@pytest.mark.parametrize(
    "events",
    [
        [400] * 20,
        [400] * 20 + [0] + [400],  # an empty week that is not the last
        [400] * 20 + [150] * 5,  # fewer, but recorded
        [80, 85, 90, 82, 81, 5, 4] * 3,  # days: what ends with a weekend
        [3, 2, 4, 3, 0],  # too few to tell
        [7],
        [],
    ],
)
def test_an_end_like_what_came_before_is_not_thin(events):
    assert log_profile.thin_end(weeks(*events)) is None


def test_a_level_that_drops_or_rises_for_good_is_found_where_it_does():
    high, low = [2900, 3000, 3100, 2800] * 4, [700, 600, 650, 620] * 4
    table = weeks(*high, *low)
    found = log_profile.lasting_jump(table)
    assert found.begins == table["period"].iloc[16]
    assert (found.usual, found.then) == (2950, 635)
    assert log_profile.lasting_jump(weeks(*low, *high)).then == 2950


def test_chance_seasons_and_single_weeks_are_no_lasting_jump():
    rng = np.random.default_rng(2)
    found = [
        log_profile.lasting_jump(weeks(*rng.negative_binomial(5, 0.05, 60))) for _ in range(60)
    ]
    assert sum(jump is not None for jump in found) <= 3
    assert log_profile.lasting_jump(weeks(*[100, 110] * 10, 900, *[105, 95] * 10)) is None
    assert log_profile.lasting_jump(weeks(*[100, 101] * 8, *[130, 131] * 8)) is None  # too small
    assert log_profile.lasting_jump(weeks(*[100] * 7, *[300] * 7)) is None  # too short


def test_the_end_of_a_log_on_disk_is_found_from_its_weeks(shared_data):
    log = open_log("olist", source=str(shared_data("olist")), as_of="2018-10-22")
    activity = log_profile.activity(log)
    assert log_profile.thin_end(activity).begins == pd.Timestamp("2018-09-03")


def test_touchpoints_come_in_order_of_their_stages_with_those_never_met(log):
    table = log_profile.touchpoint_profile(log)
    assert table["touchpoint"].tolist() == ["look", "never", "buy"]
    assert table["customers"].tolist() == [3, 0, 2]
    assert table["reach"].tolist() == [0.75, 0, 0.5]


def test_columns_are_filled_as_counted_by_hand(log):
    table = log_profile.filled_columns(log).set_index("column")
    assert table.loc["value", "filled"] == pytest.approx(2 / 7)
    assert table.loc["value", "touchpoints"] == 1
    assert not table.loc["channel", "declared"]


def test_customers_and_buyers_are_counted_once_each(log):
    customers, bought, share = log_profile.buyers(log)
    assert (customers, bought) == (4, 2)
    assert share.lower < share.estimate == 0.5 < share.upper
    table = log_profile.events_per_customer(log)
    assert dict(zip(table["events"], table["customers"], strict=True)) == {1: 2, 2: 1, 3: 1}


def test_silences_add_up_and_lie_in_their_bands(log):
    table = log_profile.silences(log)
    assert table["n"].sum() == 3
    assert table["share_longer"].iloc[-1] == pytest.approx(0)
    for gap in (1, 23, 12):
        assert ((table["days"] >= gap) & (table["days"] / np.sqrt(2) < gap)).any()


def test_journeys_under_the_declared_inactivity_are_those_of_the_log(log):
    table = log_profile.journeys_by_inactivity(log).set_index("inactivity_days")
    assert table.loc[10.0, "journeys"] == log.journeys.count().execute() == 6
    assert table.loc[20.0, "journeys"] == 5
    assert table.loc[10.0, "with_purchase"] == pytest.approx(2 / 6)
    assert log.dataset.journey.inactivity == dt.timedelta(days=10)


@pytest.mark.parametrize(("journeys", "matters"), [([102, 100, 49], True), ([110, 100, 91], False)])
def test_an_inactivity_matters_where_another_changes_the_journeys(journeys, matters):
    assert log_profile.choice_matters(pd.DataFrame({"journeys": journeys})) == matters


def test_pictures_return_their_axes_and_name_their_units(log):
    _, axes = plt.subplots(1, 4)
    labels = {stage: log.label(stage) for stage in log.stages.names}
    plots_log.plot_rows(
        pd.DataFrame({"rule": ["read", "kept", "bad_quoting"], "rows": [3, 2, 1]}), ax=axes[0]
    )
    plots_log.plot_activity(log_profile.activity(log), "customers", ax=axes[1])
    plots_log.plot_touchpoints(log_profile.touchpoint_profile(log), labels, ax=axes[2])
    drawn = plots_log.plot_silences(log_profile.silences(log), 10.0, ax=axes[3])
    assert drawn is axes[3]
    many = pd.DataFrame({"touchpoint": [f"t{i}" for i in range(30)], "customers": range(30)})
    many = many.assign(stage="awareness", role="before", reach=many["customers"] / 30)
    _, ax = plt.subplots()
    names = [
        text.get_text()
        for text in plots_log.plot_touchpoints(many, labels, ax=ax).get_yticklabels()
    ]
    assert names == [f"t{i}" for i in range(6, 30)]
    assert axes[0].get_xlabel() == "rows left out"
    assert "week" in axes[1].get_title()
    assert "share of all" in axes[2].get_xlabel()
    assert "10 days" in axes[3].get_title()
    plt.close("all")
