"""Every picture of churn draws on the axes it is given and returns them."""

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cjlib import plots
from cjlib.churn.evaluation import calibration, gains
from cjlib.churn.profit import profit_curve

RNG = np.random.default_rng(1)
P = RNG.random(500)
CHURNED = RNG.random(500) < P
BUCKET = np.arange(500) % 256
TOPICS = pd.DataFrame(
    {
        "topic": ["activity", "touchpoint delivery_late", "channel web"],
        "share": [0.4, 0.02, 0.006],
        "lower": [0.3, -0.001, 0.001],
        "upper": [0.5, 0.03, 0.01],
        "goes_with": ["unclear", "staying", "churn"],
    }
)
CUTS = pd.DataFrame(
    {
        "use": ["training 1", "test", "scores"],
        "begins": pd.Timestamp("2025-01-01"),
        "cut_off": pd.to_datetime(["2025-03-01", "2025-05-01", "2025-07-01"]),
        "ends": pd.to_datetime(["2025-05-01", "2025-07-01", "2025-09-01"]),
    }
)
PROFIT = pd.concat(
    profit_curve(CHURNED, P, np.full(500, 90.0), 1, 5, accepts).assign(acceptance=accepts)
    for accepts in (0.1, 0.2, 0.3)
)
DRAWN = {
    "cut_offs": lambda ax: plots.cut_off_bars(CUTS, title="Time", ax=ax),
    "profit": lambda ax: plots.profit_lines(PROFIT, unit="EUR", title="Profit", ax=ax),
    "importance": lambda ax: plots.importance_bars(TOPICS, title="Topics", ax=ax),
}


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_draw_on_the_axes_given(name):
    _, ax = plt.subplots()
    assert DRAWN[name](ax) is ax
    assert ax.has_data()
    plt.close("all")


def test_topics_are_named_and_coloured_by_their_direction():
    ax = plots.importance_bars(TOPICS)
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == ["activity", "touchpoint delivery late", "channel web"]
    plt.close("all")


def test_calibration_and_gains_stand_side_by_side():
    found = gains(CHURNED, {"score": P, "at random": RNG.random(500)})
    axes = plots.calibration_and_gains(calibration(CHURNED, P, BUCKET), found)
    assert [ax.has_data() for ax in axes] == [True, True]
    assert "score" in [text.get_text() for text in axes[1].get_legend().get_texts()]
    plt.close("all")
