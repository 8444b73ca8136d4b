"""Sentences and tables for reading: they follow from the figures, also where those say little."""

import numpy as np
import pandas as pd
import pytest

from cjlib.report import Report
from cjlib.segments.differences import report_churn, report_differences
from cjlib.segments.findings import (
    about,
    labels,
    overview,
    profile_columns,
    repeat_sentence,
    report_agreement,
    report_clusters,
    report_migration,
    report_types,
    score_ranges,
    shown_rows,
    small_groups,
    stages_before,
    with_value_share,
)
from cjlib.segments.segments import association, cross_table, migration
from tests.segment_logs import demo_log, demo_profile, demo_segments, log_of_rows


@pytest.fixture
def report():
    return Report("03_segments", demo_log())


def sentences(report, capsys):
    return " ".join(found["sentence"] for found in report.findings) + capsys.readouterr().out


def test_overview_reads_the_stability():
    view = overview(demo_segments()).set_index("view")
    assert view.loc["journey types", "reading"] == "highly stable"
    assert view.loc["RFM segments", "groups"] == 11
    # Fifths are found again whether or not buyers differ: that is no word on the groups.
    assert view.loc["RFM segments", "reading"] == "cut points found again"
    assert view.loc["behaviour clusters", "groups"] == 0
    assert view.loc["behaviour clusters", "reading"] == "no groups up to 3 hold"


def test_a_log_without_returns_is_told_plainly():
    assert "say little" in repeat_sentence(pd.DataFrame({"frequency": [1] * 99 + [2]}))
    assert "say little" not in repeat_sentence(pd.DataFrame({"frequency": [1, 2]}))


def test_value_shares_add_up_and_purchases_stand_in():
    profile = demo_profile()
    assert with_value_share(profile)["value_share"].sum() == pytest.approx(1)
    without = with_value_share(profile.assign(value=np.nan))
    assert without.attrs["of"] == "purchases"


def test_conversion_of_segments_made_of_purchases_is_not_shown():
    assert "conversion" not in profile_columns(demo_log(), "rfm_segment")[0]
    assert "conversion" in profile_columns(demo_log(), "journey_type")[0]


def test_a_log_without_stages_before_the_purchase_has_no_conversion(tmp_path):
    touchpoints = {"order_placed": {"stage": "purchase"}, "review": {"stage": "post_sale"}}
    rows = pd.DataFrame({"customer_id": ["a"], "timestamp": ["2025-03-01"]})
    columns = {name: name for name in ("customer_id", "touchpoint")}
    columns["timestamp"] = {"column": "timestamp", "timezone": "UTC"}
    journey = {"inactivity": "21 days", "purchase": ["order_placed"]}
    changes = {"columns": columns, "touchpoints": touchpoints, "journey": journey}
    log = log_of_rows(tmp_path, rows.assign(touchpoint="order_placed"), **changes)
    assert not stages_before(log)
    assert "conversion" not in profile_columns(log, "journey_type")[0]


def test_every_answer_is_stated_with_its_figures(report, capsys):
    found, log = demo_segments(), demo_log()
    report_clusters(report, found)
    report_types(report, found)
    report_agreement(report, found)
    report_churn(report, demo_profile(), log)
    then = log.as_of - pd.Timedelta(days=60)
    report_migration(report, *migration(log, found, then), then)
    said = sentences(report, capsys)
    assert "4 types of journey." in said
    assert "No clusters hold." in said
    assert "have not bought since" in said
    assert "in the segment they were in on 3 December 2025" in said
    both = association(cross_table(found.customers, "rfm_segment", "journey_type"))
    assert 0.1 < both < 0.8
    assert f"are **not the same grouping**, but go together (Cramér's V {both:.2f}" in said
    assert "1 clusters" not in said
    assert {one["name"]: one["value"] for one in report.findings}["behaviour_clusters"] == 0


class TestDifferences:
    def say(self, report, profile, view, capsys):
        report_differences(report, demo_segments(), profile, view)
        return capsys.readouterr().out

    def test_each_measure_is_told_with_figures_and_intervals(self, report, capsys):
        profile = demo_profile()
        said = self.say(report, profile, "journey_type", capsys)
        row = profile[profile["segment"] == "start in decision"].iloc[0]
        told = f"{row['churn']:.0%} ({row['churn_lower']:.0%} to {row['churn_upper']:.0%})"
        assert f"lower in “start in decision”: {told}." in said
        for name in ("Value (EUR)", "Conversion", "Feeling", "Churn"):
            assert f"**{name}:** higher in" in said

    def test_a_measure_without_differences_says_so_of_itself_alone(self, report, capsys):
        said = self.say(report, demo_profile().assign(churn_q=0.4), "journey_type", capsys)
        assert "**Churn:** none of 4 groups is told from the others (q 0.40 at least)." in said
        assert "**Conversion:** higher in" in said

    def test_what_a_view_is_made_of_is_no_finding(self, report, capsys):
        said = self.say(report, demo_profile(), "rfm_segment", capsys)
        assert "**Value (EUR):** the groups are made of it; from “" in said
        assert "Conversion" not in said

    def test_what_a_view_is_made_of_may_still_not_tell_its_groups_apart(self, report, capsys):
        said = self.say(report, demo_profile().assign(value_q=0.3), "rfm_segment", capsys)
        told = said.split("**Value (EUR):** ")[1].splitlines()[0]
        assert told.startswith("the groups are made of it, yet none of 11 groups is told from")
        assert "EUR" not in told


def test_amounts_carry_their_currency():
    assert labels(demo_log())["value"] == "value each (EUR)"
    assert "found again" in labels(demo_log(), "rfm_segment")["stability"]
    meaning = pd.DataFrame(
        {"measure": ["frequency", "value"], "score": [1, 5], "low": [1, 9.6], "high": [1, 1000]}
    )
    table = score_ranges(meaning, "EUR")
    assert table.loc["value (EUR)"].tolist() == ["", "10 to 1,000"]
    assert table.loc["purchases", "score 1"] == "1"


def test_small_groups_are_not_shown_nor_the_churn_of_few_buyers(report):
    rows = demo_profile().head(3).assign(customers=[4, 50, 60], churn_buyers=[90, 29, 30])
    shown = shown_rows(report, rows)
    assert shown["customers"].tolist() == [50, 60]
    assert shown["churn"].isna().tolist() == [True, False]


def test_groups_too_small_to_show_are_counted(report, capsys):
    small_groups(report, pd.DataFrame({"customers": [4, 50, 2]}))
    assert "2 more groups have fewer than 5 customers" in sentences(report, capsys)
    small_groups(report, pd.DataFrame({"customers": [5]}))
    assert not sentences(report, capsys)


def test_a_total_gives_no_small_rest_away():
    for rest in range(5):  # beside 3,748 journeys that are shown
        assert about(3748 + rest, 5) == "about 3,750"
    assert about(3748, 1) == "3,748"


def test_nobody_to_move_is_told(report, capsys):
    then = pd.Timestamp("2000-01-01")
    report_migration(report, *migration(demo_log(), demo_segments(), then), then)
    assert "nobody can have moved" in sentences(report, capsys)
