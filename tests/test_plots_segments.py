"""Pictures of segments draw into the axes they are given, also where there is little to draw."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cjlib.plots import segments as plots_segments
from cjlib.segments.segments import cross_table
from tests.segment_logs import demo_profile, demo_segments


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_score_grid_leaves_small_cells_blank(ax):
    scored = pd.DataFrame({"recency_score": [5] * 9 + [1], "frequency_score": [5] * 9 + [1]})
    assert plots_segments.score_grid(scored, ax, smallest=5) is ax
    assert [text for text in texts(ax) if text] == ["90%"]


def test_counts_below_the_smallest_group_are_not_drawn(ax):
    table = pd.DataFrame({"x": [4, 50], "y": [6, 0]}, index=["a", "b"])
    plots_segments.count_map(table, ax, smallest=5)
    assert sorted(text for text in texts(ax) if text) == ["5", "50"]


def test_counts_beside_a_known_total_do_not_give_small_cells_away(ax):
    for small in (1, 2, 3, 4):  # of 778 customers, as a profile says
        ax.clear()
        table = pd.DataFrame({"x": [778 - small], "y": [small]}, index=["a"])
        plots_segments.count_map(table, ax, smallest=5)
        assert [text for text in texts(ax) if text] == ["775"]


def test_stability_and_likelihood_mark_what_was_chosen(ax):
    found = demo_segments()
    trials = found.clusters.model.trials_
    assert plots_segments.stability_by_number(trials, 0.6, ax) is ax
    assert plots_segments.likelihood_by_number(found.types.choice, ax) is ax


def test_transition_pictures_leave_out_states_nobody_meets():
    matrix = np.full((1, 3, 3), np.nan)
    matrix[0, 0] = [0, 0, 1]
    figure, axes = plt.subplots(1, 2)
    plots_segments.transition_pictures(matrix, ["A", "B", "Lost"], ["one"], [1.0], axes)
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["A"]
    assert not axes[1].get_visible()
    plt.close(figure)


def test_cross_table_and_deviations_are_drawn(ax):
    found = demo_segments()
    plots_segments.count_map(cross_table(found.customers, "rfm_segment", "journey_type"), ax)
    centers = pd.DataFrame({"pace": [1.0, 2.0], "same": [1.0, 1.0]}, index=["slow", "quick"])
    spread = pd.Series({"pace": 1.0, "same": 0.0})
    labels = {"pace": "pace_of_visits (log)", "same": "same"}
    plots_segments.feature_deviations(centers, spread, labels, ax)
    assert {"-0.5", "+0.5"} <= set(texts(ax))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["pace of visits (log)"]


def test_long_names_of_clusters_and_features_are_wrapped_not_cut(ax):
    names = ["mostly delivered to the door, fewer steps back", "seldom brought at all, closer by"]
    feature = "touchpoint: delivered to the door"
    centers = pd.DataFrame({feature: [1.0, 2.0]}, index=names)
    plots_segments.feature_deviations(centers, pd.Series({feature: 1.0}), {feature: feature}, ax)
    shown = [label.get_text().replace("\n", " ") for label in ax.get_xticklabels()]
    assert shown == names
    assert ax.get_yticklabels()[0].get_text() == feature
    ax.clear()
    plots_segments.count_map(pd.DataFrame([[9, 9]], index=names[:1], columns=names), ax)
    for label in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        assert label.get_text().replace("\n", " ") in names


@pytest.mark.filterwarnings("error:constrained_layout")
def test_long_names_of_few_rows_leave_room_for_the_picture():
    names = ["mostly delivered to the door, fewer steps back", "seldom brought at all, closer by"]
    figure, ax = plt.subplots(figsize=(9, 1.9), layout="constrained")
    plots_segments.count_map(pd.DataFrame([[9, 9], [9, 9]], index=names, columns=names), ax)
    figure.canvas.draw()
    assert all(label.get_rotation() == 0 for label in ax.get_yticklabels())
    plt.close(figure)


def test_outcome_panels_leave_out_what_does_not_vary():
    profile = demo_profile()
    rows = profile[profile["segmentation"] == "journey_type"].assign(feeling=0.1)
    axes = plots_segments.outcome_panels(rows, ["value", "feeling", "churn"], "EUR")
    assert [ax.get_title(loc="left") or ax.get_title() for ax in axes] == [
        "Value (EUR) each",
        "Churn",
    ]
    plt.close("all")
    assert not len(plots_segments.outcome_panels(rows, []))


def test_the_legend_of_shares_covers_neither_title_nor_tick_labels(ax):
    table = pd.DataFrame({"name": ["a", "b"], "x": [0.2, 0.3], "y": [0.1, 0.4]})
    pair = {"label": "name", "first": "x", "second": "y", "names": ("of customers", "of value")}
    for height in (2.5, 6):
        ax.clear()
        ax.figure.set_size_inches(6, height)
        plots_segments.share_pairs(table, ax=ax, **pair)
        ax.set_title("Shares by segment, in a title that runs over all of the picture")
        ax.figure.canvas.draw()
        legend = ax.get_legend().get_window_extent()
        texts = [ax.title, *ax.get_xticklabels()]
        assert not any(legend.overlaps(text.get_window_extent()) for text in texts)
