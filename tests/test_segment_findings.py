"""Sentences and tables for reading: they follow from the figures, also where those say little."""

import numpy as np
import pandas as pd
import pytest

from cjlib.report import Report
from cjlib.segments.findings import (
    overview,
    profile_columns,
    repeat_sentence,
    report_agreement,
    report_churn,
    report_clusters,
    report_migration,
    report_types,
    with_value_share,
)
from cjlib.segments.segments import migration
from tests.segment_logs import demo_log, demo_profile, demo_segments


@pytest.fixture
def report():
    return Report("03_segments", demo_log())


def sentences(report, capsys):
    return " ".join(found["sentence"] for found in report.findings) + capsys.readouterr().out


def test_overview_reads_the_stability():
    view = overview(demo_segments()).set_index("view")
    assert view.loc["journey types", "reading"] == "highly stable"
    assert view.loc["RFM segments", "groups"] == 11


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
    assert "in the segment they were in on 2025-12-03" in said
    assert "adjusted Rand index" in said


def test_nobody_to_move_is_told(report, capsys):
    then = pd.Timestamp("2000-01-01")
    report_migration(report, *migration(demo_log(), demo_segments(), then), then)
    assert "nobody can have moved" in sentences(report, capsys)
