import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cjlib import log_profile, plots
from cjlib.errors import Unanswerable
from cjlib.log import open_log

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
    assert table["new"].tolist() == [2, 0, 0, 0, 0, 1]


def weeks(*events):
    periods = pd.date_range("2024-01-01", periods=len(events), freq="W-MON")
    return pd.DataFrame({"period": periods, "events": events})


def test_an_end_at_which_recording_stops_is_found_with_its_date_and_size():
    table = weeks(*[400, 380, 420, 410] * 5, 250, 20, 2, 4, 0)
    (found,) = log_profile.thin_end(table).to_dict("records")
    assert found == {
        "begins": table["period"].iloc[20],
        "periods": 5,
        "events_before": 410,
        "events_since": 4,
        "verdict": "lower",
    }


@pytest.mark.parametrize(
    "events",
    [
        [400] * 20,
        [400] * 20 + [0] + [400],  # an empty week that is not the last
        [400, 150] * 12 + [140] * 2,  # no lower than its own steps
        [400, 380] * 7 + [150, 160] * 10,  # too long for an end
        [80, 85, 90, 82, 81, 5, 4] * 3,  # days: what ends with a weekend
        [3, 2, 4, 3, 0],  # too few to tell
        [7],
        [],
    ],
)
def test_an_end_like_what_came_before_is_not_thin(events):
    assert log_profile.thin_end(weeks(*events)).empty


def test_a_last_week_far_below_the_log_s_own_steps_is_thin_whatever_its_trend():
    rng = np.random.default_rng(3)
    level = 300 * np.exp(0.02 * np.arange(40)) * rng.lognormal(0, 0.1, 40)
    table = weeks(*level.astype(int))
    assert log_profile.thin_end(table).empty
    table.loc[39, "events"] = int(0.38 * table["events"].iloc[38])
    assert log_profile.thin_end(table)["periods"].tolist() == [1]


def test_customers_who_stay_away_are_found_however_long_ago_it_began():
    table = weeks(*[500] * 78).assign(new=[2000, 1900, 2100] * 4 + [0] * 66)
    assert log_profile.thin_end(table).empty
    found = log_profile.thin_end(table, "new", longest=len(table))
    assert (found["periods"].item(), found["events_since"].item()) == (66, 0)


def test_a_level_that_drops_or_rises_for_good_is_found_where_it_does():
    high, low = [2900, 3000, 3100, 2800] * 4, [700, 600, 650, 620] * 4
    table = weeks(*high, *low)
    found = log_profile.lasting_change(table).iloc[0]
    assert (found["begins"], found["verdict"]) == (table["period"].iloc[16], "lower")
    assert (found["events_before"], found["events_since"]) == (2950, 635)
    assert log_profile.lasting_change(weeks(*low, *high))["verdict"].tolist() == ["higher"]


def test_an_end_that_is_thin_is_no_lasting_change():
    table = weeks(*[400, 380, 420, 410] * 5, *[20, 2, 4, 0] * 2)
    assert len(log_profile.thin_end(table)) == 1
    assert log_profile.lasting_change(table).empty


def test_chance_seasons_and_single_weeks_are_no_lasting_change():
    rng = np.random.default_rng(2)
    chance = [weeks(*rng.negative_binomial(5, 0.05, 60)) for _ in range(60)]
    assert sum(len(log_profile.lasting_change(table)) for table in chance) <= 3
    assert log_profile.lasting_change(weeks(*[100, 110] * 10, 900, *[105, 95] * 10)).empty
    assert log_profile.lasting_change(weeks(*[100, 101] * 8, *[130, 131] * 8)).empty  # too small
    assert log_profile.lasting_change(weeks(*[100] * 7, *[300] * 7)).empty  # too short


def test_the_end_of_a_log_on_disk_is_found_from_its_weeks(shared_data):
    log = open_log("olist", source=str(shared_data("olist")), as_of="2018-10-22")
    found = log_profile.thin_end(log_profile.activity(log))
    assert found["begins"].tolist() == [pd.Timestamp("2018-09-03")]


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
    (found,) = log_profile.buyers(log).to_dict("records")
    assert (found["customers"], found["buyers"]) == (4, 2)
    assert found["share_lower"] < found["share"] == 0.5 < found["share_upper"]


def test_customers_are_told_by_their_number_of_events(log):
    table = log_profile.events_per_customer(log)
    assert dict(zip(table["events"], table["customers"], strict=True)) == {1: 2, 2: 1, 3: 1}
    assert table["share_up_to"].tolist() == [0.5, 0.75, 1]


def test_silences_add_up_and_lie_in_their_bands(log):
    table = log_profile.silences(log)
    assert table["n"].sum() == 3
    for gap in (1, 23, 12):
        assert ((table["days"] >= gap) & (table["days"] / np.sqrt(2) < gap)).any()


def test_journeys_under_the_declared_inactivity_are_those_of_the_log(log):
    table = log_profile.journeys_by_inactivity(log).set_index("factor")
    assert table["inactivity_days"].tolist() == [5, 10, 20]
    assert table.loc[1, "journeys"] == log.journeys.count().execute() == 6
    assert table.loc[2, "journeys"] == 5
    assert table.loc[1, "share_with_purchase"] == pytest.approx(2 / 6)
    assert table["verdict"].tolist() == ["same", "declared", "fewer"]


def test_a_log_too_short_to_draw_or_without_silences_says_so(tmp_path):
    (tmp_path / "small.yml").write_text(TEXT)
    (tmp_path / "small.csv").write_text("who,at,what,amount\na,2024-01-01,buy,5\n")
    log = open_log(tmp_path / "small.yml")
    with pytest.raises(Unanswerable, match="too short a time"):
        log_profile.activity(log)
    with pytest.raises(Unanswerable, match="no customer has two events"):
        log_profile.silences(log)


def test_pictures_return_their_axes_and_name_their_units(log, canvas):
    curves = plots.activity_curves(log_profile.activity(log))
    assert [ax.get_title(loc="left").split(" per ")[1] for ax in curves] == ["week"] * 3
    profile = log_profile.touchpoint_profile(log)
    reach = plots.touchpoint_reach(profile, label=log.label)
    assert [text.get_text() for text in reach.get_yticklabels()] == ["look", "never", "buy"]
    assert [patch.get_width() for patch in reach.patches[:3]] == [0.75, 0, 0.5]
    assert "share of all customers" in reach.get_xlabel()
    _, ax = plt.subplots()
    inactivity = log.dataset.journey.inactivity
    assert plots.silence_lengths(log_profile.silences(log), inactivity, ax=ax) is ax
    assert ax.get_lines()[0].get_xdata()[0] == 10
    plt.close("all")
