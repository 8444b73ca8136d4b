"""No group too small is shown, in whatever form, and none can be worked out from what is."""

import re
import xml.etree.ElementTree as ET
from io import StringIO

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cjlib import groups, plots
from cjlib.errors import PrivacyError, Unanswerable
from cjlib.plots.style import texts_of
from cjlib.report import Report
from tests.test_report import fake_log, said, shown  # noqa: F401 - a fixture

SMALLEST = 5


@pytest.fixture(autouse=True)
def limit():
    groups.protect(SMALLEST, lambda: 100)
    yield
    groups.protect(1, lambda: 0)


@pytest.fixture
def report():
    made = Report("01", fake_log())
    groups.protect(SMALLEST, lambda: 100)
    return made


def table(**columns):
    names = [f"{letter}bc" for letter in "abcdefgh"[: len(next(iter(columns.values())))]]
    return pd.DataFrame({"name": names} | columns)


def kept(frame):
    return groups.enough_of(frame)["name"].str[0].str.cat()


# -- the rule


@pytest.mark.parametrize(
    "name", ["customers", "n", "Active customers", "churn_buyers", "n visits", "customers_for_test"]
)
def test_columns_that_count_customers_are_known_by_their_words(name):
    assert groups.counts_customers(name)


@pytest.mark.parametrize(
    "name",
    ["share of all customers", "journeys per customer", "events", "rows", "recent_buyers_churned"],
)
def test_shares_means_and_other_counts_are_not(name):
    assert not groups.counts_customers(name)


def test_none_at_all_is_no_group_and_shares_are_no_counts():
    assert kept(table(customers=[0, 50, 60])) == "abc"
    assert kept(table(customers=[0.5, 0.25, 1.0])) == "abc"


# -- what it could be worked out from


@pytest.mark.parametrize(
    ("counts", "left"),
    [
        ([10, 2, 30, 7], "ac"),  # 2 alone is the total less the others: the next smallest goes, too
        ([10, 2, 3, 30], "ad"),  # two that add up to five hide one another
        ([10, 1, 2, 30], "d"),  # but not two that add up to three
        ([90, 2, 80, 70], "acd"),  # more than there are customers: they overlap, nothing adds up
        ([96, 4], ""),
    ],
)
def test_what_is_hidden_cannot_be_the_rest_of_a_total(counts, left):
    assert kept(table(customers=counts)) == left


def test_the_row_of_everybody_stays_and_is_no_part():
    frame = table(customers=[42, 2, 30, 10]).assign(name=["all", "bbc", "cbc", "dbc"])
    assert kept(frame) == "ac"


def test_in_a_matrix_no_cell_is_alone_in_its_row_or_column():
    counts = pd.DataFrame([[100, 2, 90], [97, 50, 60], [10, 20, 30]])
    hidden = groups.enough_cells(counts, counts).isna().to_numpy()
    assert hidden[0, 1]
    for lines in (hidden, hidden.T):
        assert all(line.sum() != 1 for line in lines)


def test_no_hidden_count_of_random_groups_can_be_worked_out():
    rng = np.random.default_rng(0)
    for _ in range(300):
        counts = rng.geometric(0.08, size=rng.integers(2, 9)) - 1
        groups.protect(SMALLEST, lambda total=counts.sum(): total)
        hidden = groups.hidden(table(customers=counts)) & (counts > 0)
        assert not any(groups.too_small(counts[~hidden], SMALLEST))
        if hidden.any() and counts.sum() >= SMALLEST and (counts > 0).sum() > 1:
            assert counts[hidden].sum() >= SMALLEST
            assert hidden.sum() > 1


# -- tables, sentences and findings


def test_tables_lose_small_rows_and_say_so(shown, report):  # noqa: F811
    report.show(table(n=[2, 3, 40], share=[0.1, 0.2, 0.7]), "Few")
    (text,) = said(shown)
    assert "abc" not in text
    assert "40" in text
    assert "fewer than 5 customers" in text


def test_a_matrix_of_counts_loses_small_cells(shown, report):  # noqa: F811
    counts = pd.DataFrame([[100, 2, 90], [97, 50, 60], [10, 20, 30]]).rename_axis(columns="to")
    report.show(counts)
    assert "100" in said(shown)[0]
    assert not re.search(r"\b2\b", said(shown)[0].partition("\n")[2])


@pytest.mark.parametrize("rows", [table(customers=[3]), {"customers": 3, "name": "abc"}])
def test_sentences_and_findings_of_few_are_not_said(shown, report, rows):  # noqa: F811
    report.finding("few", rows, "In {name} there are {customers}.", otherwise="There are none.")
    report.say({"all": 3, "name": "abc"}, "In {name} there are {all} customers.")
    assert report.findings == []
    assert [text[:10] for text in said(shown)] == ["Not shown:"] * 2


def test_of_several_rows_the_others_are_said(shown, report):  # noqa: F811
    report.finding("some", table(customers=[3, 4, 50]), "{name} {customers}")
    assert said(shown) == ["cbc 50"]
    assert [found["name"] for found in report.findings] == ["some"]


# -- pictures


def drawn_texts(axes):
    """Return what a reader of a picture reads: the texts of its drawing as SVG."""
    figure, written = np.ravel(axes)[0].figure, StringIO()
    with plt.rc_context({"svg.fonttype": "none"}):
        figure.savefig(written, format="svg")
    texts = ET.fromstring(written.getvalue()).iter("{http://www.w3.org/2000/svg}text")
    return {"".join(text.itertext()).strip() for text in texts}


FEW = table(customers=[40, 3, 2, 50], share=[0.4, 0.03, 0.02, 0.5]).assign(
    stage=list("pqrs"), touchpoint=["abc", "bbc", "cbc", "dbc"], role="before", reach=0.4
)


def matrix(value):
    return FEW.pivot_table(value, "name", "role")


MOVES = pd.DataFrame(
    {
        "from_stage": np.repeat(list("pqr"), 4),
        "to_stage": [*"qr", "lost", "p", *"pr", "lost", "q", *"pq", "lost", "r"],
        "n": [40, 3, 50, 60, 70, 80, 90, 100, 71, 81, 91, 101],
        "customers": [40, 3, 40, 50, 60, 60, 60, 60, 60, 60, 60, 60],
        "probability": 0.25,
        "lower": 0.15,
        "upper": 0.35,
    }
)
PICTURES = {
    "interval_bars": lambda: plots.interval_bars(
        FEW, label="name", value="share", lower="share", upper="share", color=list("rgbk")
    ),
    "touchpoint_reach": lambda: plots.touchpoint_reach(FEW),
    "heatmap": lambda: plots.heatmap(
        matrix("share"),
        customers=matrix("customers"),
    ),
    "transition_heatmap": lambda: plots.transition_heatmap(MOVES),
    "journey_flow": lambda: plots.journey_flow(MOVES, list("pqr"), dict.fromkeys("pqr", "before")),
}


@pytest.mark.parametrize("picture", PICTURES)
def test_no_picture_draws_few_and_its_texts_are_all_read(picture, canvas):
    axes = PICTURES[picture]()
    texts = drawn_texts(axes)
    read = {" ".join(text.split()) for text in texts_of(axes.figure)}
    assert not {"3%", "2%", "3", "2"} & texts
    assert not any("n 3" in text for text in texts)
    words = {" ".join(text.split()) for text in texts if re.search(r"[a-z]{2}", text)}
    assert {line for line in words if not any(line in text for text in read)} == set()
    assert axes.figure.cj_lacking or picture == "heatmap"


def test_over_time_a_line_has_a_gap_where_there_were_few(canvas):
    weeks = pd.date_range("2024-01-01", periods=4, freq="W")
    active = pd.DataFrame(
        {"period": weeks, "events": [90, 80, 3, 70], "customers": [60, 70, 2, 50]}
    )
    axes = plots.activity_curves(active.assign(purchases=9, unit="week"))
    for ax in axes:
        assert np.isnan(ax.lines[0].get_ydata()[2])


def test_a_picture_of_few_alone_is_not_drawn(canvas):
    with pytest.raises(Unanswerable, match="fewer than 5 customers"):
        plots.interval_bars(table(customers=[1, 2], share=0.1), label="name", value="share")


def test_pictures_of_ones_own_say_of_what_they_are(shown, report, canvas):  # noqa: F811
    with pytest.raises(PrivacyError, match=r"groups\.enough_of"):
        report.show(plt.figure().gca())
    with pytest.raises(PrivacyError, match="groups too small"):
        report.show(plt.figure().gca(), of=FEW)
    report.show(plt.figure().gca(), of=groups.enough_of(FEW))
    assert len(shown) == 1


def test_every_public_picture_passes_the_rule():
    for name in set(plots.__all__) - {"role_colors"}:
        if callable(draw := getattr(plots, name)) and hasattr(draw, "__code__"):
            assert hasattr(draw, "__wrapped__"), name
