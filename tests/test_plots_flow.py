"""Pictures of customers under way say what the tables say, and their legends cover no line."""

import matplotlib as mpl

mpl.use("Agg")

import pandas as pd
import pytest

from cjlib.plots import flow as plots_flow
from cjlib.plots.style import BAD, MUTED

pytestmark = pytest.mark.usefixtures("canvas")
ROLES = {"look": "before", "buy": "purchase", "use": "after"}
STAGES = list(ROLES)


def test_a_loss_before_the_purchase_alone_is_red_and_every_end_is_named():
    rows = [("look", "buy", 9), ("look", "lost", 5), ("look", "sent_off", 3), ("use", "lost", 7)]
    flow = pd.DataFrame(rows, columns=["from_stage", "to_stage", "customers"])
    ax = plots_flow.journey_flow(flow, STAGES, ROLES, title="Flow")
    colors = {text.get_text(): text.get_color() for text in ax.texts}
    assert colors["lost\n5"] == BAD
    assert colors["lost\n7"] == colors["sent_off\n3"] == MUTED
    ends = [text for text in ax.texts if "\n" in text.get_text()]
    # readable where a line runs through them
    assert all(text.get_bbox_patch().get_facecolor()[:3] == (1, 1, 1) for text in ends)
    assert all(text.zorder > ax.patches[0].zorder for text in ends)
    assert ax.get_title(loc="left") == "Flow"


def test_forecasts_name_their_axis_and_what_failed_is_not_drawn_as_coming():
    weeks = pd.to_datetime(["2026-01-05", "2026-01-12"])
    seen = pd.DataFrame({"period": weeks, "stage": "look", "customers": [5, 6]})
    past = pd.DataFrame({"period": weeks, "stage": "look", "expected": 5.0, "lower": 4, "upper": 6})
    past["kind"] = "back-test"
    axes = plots_flow.forecast_panels(seen, past)
    named = [text.get_text() for text in axes[0, 0].figure.legends[0].get_texts()]
    assert named == ["seen", "back-test, 95 % band"]
    assert axes[0, 0].get_ylabel() == "active customers"
    # of two stages only the second is forecast: its band is named all the same
    other = past.assign(stage="buy")
    axes = plots_flow.forecast_panels(seen, pd.concat([past, other, other.assign(kind="forecast")]))
    named = [text.get_text() for text in axes[0, 0].figure.legends[0].get_texts()]
    assert named == ["seen", "back-test, 95 % band", "forecast, 95 % band"]
    assert [len(ax.collections) for ax in axes[0, :2]] == [1, 2]
