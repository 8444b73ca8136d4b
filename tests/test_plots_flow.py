"""Pictures of customers under way say what the tables say, and their legends cover no line."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cjlib.attribution.attribution import attribute
from cjlib.markov.chain import MarkovChain
from cjlib.plots import flow as plots_flow

pytestmark = pytest.mark.usefixtures("canvas")
STAGES = ["look", "buy", "use"]


def moves(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["from_stage", "to_stage", "n"]).assign(bucket=0)


def test_an_end_is_a_loss_before_the_purchase_alone():
    flow = moves(("look", "buy", 9), ("look", "lost", 5), ("use", "lost", 7))
    _, ax = plt.subplots()
    flow = flow.rename(columns={"n": "customers"})
    plots_flow.journey_flow(flow, STAGES, ["#111111"] * 3, before=["look"], ax=ax)
    ends = [text for text in ax.texts if text.get_text() in ("lost\n5", "ended here\n7")]
    assert len(ends) == 2
    # readable where a line runs through them
    assert all(text.get_bbox_patch().get_facecolor()[:3] == (1, 1, 1) for text in ends)
    assert all(text.zorder > ax.patches[0].zorder for text in ends)
    assert "to the next purchase" in ax.get_title(loc="left")


def test_the_panels_of_groups_have_the_same_rows_and_columns():
    whole = moves(("look", "buy", 5), ("look", "lost", 5), ("buy", "use", 3), ("use", "lost", 2))
    part = moves(("look", "buy", 4), ("buy", "use", 1))
    everybody = MarkovChain(states=[*STAGES, "lost"]).fit(whole)
    chains = [("all", everybody), ("few", MarkovChain().fit(part, base=everybody))]
    _, axes = plt.subplots(2, 2)
    plots_flow.segment_heatmaps(chains, axes)
    labels = [[text.get_text() for text in ax.get_xticklabels()] for ax in axes[0]]
    assert labels[0] == labels[1] == ["buy", "use", "lost"]
    assert axes[0, 1].get_title(loc="left") == "few (5 moves)"


def test_a_kind_of_purchase_that_nobody_made_again_has_no_curve():
    first = pd.DataFrame({"stage": "the first", "days": [1.0, 5.0], "exits": [1, 1]})
    first = first.assign(survival=[0.9, 0.8], lower=[0.8, 0.7], upper=[0.95, 0.9])
    never = first.assign(stage="a later", exits=0, survival=1.0, lower=1.0, upper=1.0)
    _, ax = plt.subplots()
    plots_flow.return_curves(pd.concat([first, never]), ax=ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["after the first"]
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().y1 < ax.get_window_extent().y0


def test_credit_is_a_range_with_three_models_named_and_one_dot_where_they_agree():
    frame = pd.DataFrame({"path": [["a", "b"], ["b"]], "conversions": [6, 3], "nulls": 1})
    table = attribute(frame)
    _, ax = plt.subplots()
    plots_flow.attribution_ranges(table, ax=ax)
    named = [text.get_text() for text in ax.get_legend().get_texts()]
    assert named == ["all models", "first touch", "last touch", "removal effect"]
    spans = {tuple(np.round(one[:, 0], 9)) for one in ax.collections[0].get_segments()}
    shares = table.groupby("level")["share"].agg(["min", "max"]).round(9)
    assert spans == set(shares.itertuples(index=False, name=None))
    alike = attribute(pd.DataFrame({"path": [["a"], ["b"]], "conversions": [6, 3], "nulls": 0}))
    _, ax = plt.subplots()
    plots_flow.attribution_ranges(alike, ax=ax)
    assert ax.get_legend() is None


def test_forecasts_name_their_axis_and_what_failed_is_not_drawn_as_coming():
    weeks = pd.to_datetime(["2026-01-05", "2026-01-12"])
    seen = pd.DataFrame({"period": weeks, "stage": "look", "customers": [5, 6]})
    past = pd.DataFrame({"period": weeks, "stage": "look", "expected": 5.0, "lower": 4, "upper": 6})
    past["observed"] = [5.0, 6.0]
    figure, axes = plt.subplots(1, 3)
    plots_flow.forecast_panels(seen, [past], axes)
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["seen", "back-test, 95 % band"]
    assert axes[0].get_ylabel() == "active customers"
    # of two stages only the second is forecast: its band is named all the same
    both = pd.concat([past, past.assign(stage="buy")])
    ahead = past.assign(stage="buy", observed=np.nan)
    figure, axes = plt.subplots(1, 3)
    plots_flow.forecast_panels(seen, [both, ahead], axes)
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["seen", "back-test, 95 % band", "forecast, 95 % band"]
    assert [len(ax.collections) for ax in axes[:2]] == [1, 2]
