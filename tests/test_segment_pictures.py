"""Pictures of segments draw what they are given, also where there is little to draw."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from cjlib.plots import (
    cluster_deviations,
    count_maps,
    likelihood_by_number,
    outcome_panels,
    stability_by_number,
    transition_pictures,
)

pytestmark = pytest.mark.usefixtures("canvas")
LONG = ["mostly delivered to the door, fewer steps back", "seldom brought at all, closer by"]


def texts(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


def labels(ticks):
    return [label.get_text().replace("\n", " ") for label in ticks]


def test_counts_below_the_smallest_group_are_not_drawn():
    (ax,) = count_maps([pd.DataFrame({"x": [4, 50], "y": [6, 0]}, index=["a", "b"])], smallest=5)
    assert sorted(texts(ax)) == ["5", "50"]


@pytest.mark.parametrize("small", [1, 2, 3, 4])  # of 778 customers, as a profile says
def test_counts_beside_a_known_total_do_not_give_small_cells_away(small):
    table = pd.DataFrame({"x": [778 - small], "y": [small]}, index=["a"])
    (ax,) = count_maps([table], smallest=5)
    assert texts(ax) == ["775"]


def test_long_names_of_clusters_are_wrapped_not_cut():
    table = pd.DataFrame([[9, 9], [9, 9]], index=LONG, columns=LONG)
    (ax,) = count_maps([table], smallest=1)
    assert labels(ax.get_xticklabels()) == labels(ax.get_yticklabels()) == LONG
    deviations = pd.DataFrame([[0.5, -0.5]], index=["touchpoint: to_the_door (log)"], columns=LONG)
    ax = cluster_deviations(deviations)
    assert labels(ax.get_xticklabels()) == LONG
    assert labels(ax.get_yticklabels()) == ["touchpoint: to the door (log)"]
    assert texts(ax) == ["+0.5", "-0.5"]


def test_stability_and_likelihood_mark_what_was_chosen(found):
    trials = pd.DataFrame({"method": ["a", "a", "b"], "k": [2, 3, 2], "weakest": [0.9, 0.2, 0.5]})
    trials = trials.assign(lower=trials["weakest"] - 0.1, upper=trials["weakest"] + 0.1)
    ax = stability_by_number(trials.assign(chosen=[True, False, False]), 0.6)
    rings = [ring.get_offsets().tolist() for ring in ax.findobj(PathCollection)]
    rings = [ring for ring in rings if ring]
    assert rings == [[[1.95, 0.9]]]
    choice = found.views.types.choice
    rings = likelihood_by_number(choice).collections[-1].get_offsets()
    assert rings[:, 0].tolist() == [4]


def test_transition_pictures_leave_out_states_nobody_meets():
    chain = pd.DataFrame(np.nan, index=["A", "B", "lost"], columns=["A", "B", "lost"])
    chain.loc["A"] = [0, 0, 1]
    axes = transition_pictures({"one": chain})
    assert labels(axes[0, 0].get_yticklabels()) == ["A"]
    assert not axes[0, 1].get_visible()


def test_outcome_panels_leave_out_what_is_not_known():
    figures = {"value": [1.0, 2.0, 3.0], "conversion": np.nan, "churn": [0.1, np.nan, np.nan]}
    rows = pd.DataFrame({"view": ["x", "x", "y"], "segment": ["a", "b", "c"], **figures})
    limits = {f"{name}_{end}": rows[name] for name in figures for end in ("lower", "upper")}
    axes = outcome_panels(rows.assign(**limits), {"value": "EUR", "conversion": "", "churn": ""})
    assert axes.shape == (2, 2)
    assert [ax.get_title(loc="left") for ax in axes[0]] == ["Value", "Churn"]
    assert axes[0, 0].get_xlabel() == "EUR"
    assert not axes[1, 1].get_visible()
