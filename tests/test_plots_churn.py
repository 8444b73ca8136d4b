"""Every picture of churn draws on the axes it is given and returns them."""

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cjlib.churn.evaluation import calibration, gains, profit_curve
from cjlib.plots import churn as plots_churn

RNG = np.random.default_rng(1)
P = RNG.random(500)
CHURNED = RNG.random(500) < P
BUCKET = np.arange(500) % 256
COSTS = {"contact_cost": 1, "offer_cost": 5}
TOPICS = pd.DataFrame(
    {
        "topic": ["activity", "touchpoint delivery_late", "stage"],
        "loss": [0.2, 0.01, 0.0],
        "lower": [0.1, -0.001, -0.01],
        "upper": [0.3, 0.02, 0.01],
        "share": [0.4, 0.02, 0.0],
        "direction": [0.4, -0.2, 0.0],
        "driver": [True, True, False],
    }
)
CUTS = pd.DataFrame(
    {
        "use": ["training 1", "test", "scores"],
        "cut_off": pd.to_datetime(["2025-03-01", "2025-05-01", "2025-07-01"]),
    }
)
CURVE = pd.DataFrame(
    {"stage": "all", "days": [1, 5, 9], "at_risk": [90, 50, 20], "survival": [0.9, 0.6, 0.4]}
).assign(lower=lambda t: t["survival"] - 0.1, upper=lambda t: t["survival"] + 0.1)
DRAWN = {
    "cut_offs": lambda ax: plots_churn.cut_off_bars(
        CUTS, pd.Timedelta(60, "D"), pd.Timestamp("2025-01-01"), ax=ax
    ),
    "calibration": lambda ax: plots_churn.calibration_plot(calibration(CHURNED, P, BUCKET), ax=ax),
    "gains": lambda ax: plots_churn.gains_plot({"score": gains(CHURNED, P)}, ax=ax),
    "profit": lambda ax: plots_churn.profit_plot(
        {a: profit_curve(CHURNED, P, 90.0, acceptance=a, **COSTS) for a in (0.1, 0.3)},
        "EUR",
        ax=ax,
    ),
    "drivers": lambda ax: plots_churn.drivers_plot(TOPICS, ax=ax),
    "returns": lambda ax: plots_churn.return_curves(CURVE, ["#1f6f8b"], ax=ax),
}


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_draw_on_the_axes_given(name):
    _, ax = plt.subplots()
    assert DRAWN[name](ax) is ax
    assert ax.has_data()
    plt.close("all")


def test_only_drivers_are_drawn_as_drivers():
    _, ax = plt.subplots()
    plots_churn.drivers_plot(TOPICS, ax=ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "activity",
        "touchpoint delivery late",
    ]
    plt.close("all")
