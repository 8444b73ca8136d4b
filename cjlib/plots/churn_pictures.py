"""Pictures of churn: cut-offs in time, calibration and gains, importance of topics, profit."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter
from matplotlib.ticker import NullFormatter

from cjlib.plots.charts import interval_bars, new_axes
from cjlib.plots.style import ACCENT, BAD, GOOD, MUTED, percent_axis


def cut_off_bars(table: pd.DataFrame, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw one bar per cut-off: the history before it, then the horizon after it.

    Parameters
    ----------
    table : DataFrame
        use ("training 1", …, "test", "scores"), begins, cut_off and ends, oldest first.
    title : str
    ax : Axes, optional
    """
    ax = new_axes(ax, 1.2 + 0.4 * len(table))
    rows, at = np.arange(len(table)), table["cut_off"]
    colors = [{"test": BAD, "scores": GOOD}.get(use, ACCENT) for use in table["use"]]
    filled = np.where(table["use"] == "scores", "none", colors)  # what is still to come is empty
    ax.barh(rows, at - table["begins"], left=table["begins"], color="#dfe5ea", height=0.55)
    ax.barh(rows, table["ends"] - at, left=at, height=0.55, color=filled, edgecolor=colors)
    ax.set_yticks(rows, table["use"])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(ax.xaxis.get_major_locator()))
    ax.set_title(title)
    return ax


def calibration_and_gains(calibration: pd.DataFrame, gains: pd.DataFrame) -> np.ndarray:
    """Draw promised against observed churn, and how soon the churners are found, side by side.

    Parameters
    ----------
    calibration, gains : DataFrame
        Of `cjlib.churn.calibration` and `cjlib.churn.gains`; the first score of the latter stands
        out.

    Returns
    -------
    ndarray of two Axes
    """
    _, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
    shares = calibration[["predicted", "lower", "upper"]].to_numpy()
    left.plot(*[[shares.min(), shares.max()]] * 2, color=MUTED, linestyle="--", linewidth=1)
    places = calibration["predicted"]
    left.vlines(places, calibration["lower"], calibration["upper"], ACCENT, alpha=0.55, lw=2.4)
    left.scatter(places, calibration["observed"], color=ACCENT, s=34, zorder=3)
    left.set(xlabel="churn promised", ylabel="churn observed", title="Calibration, equal groups")
    for place, (name, curve) in enumerate(gains.groupby("score", sort=False)):
        color, style = (MUTED, "--") if place else (ACCENT, "-")
        right.plot(curve["contacted"], curve["found"], style, color=color, label=name)
    right.plot([0, 1], [0, 1], color="#c9d1d8", linewidth=1, label="at random")
    right.set(xlabel="customers, riskiest first", ylabel="churners among them", title="Gains")
    right.legend(frameon=False, loc="lower right")
    for ax in (left, right):
        percent_axis(ax.xaxis)
        percent_axis(ax.yaxis)
    return np.array([left, right])


def importance_bars(table: pd.DataFrame, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw what the scores lose without each topic, from `cjlib.churn.permutation_importance`.

    Red where more of the topic goes with churn, green where with staying, and neither where that is
    unclear or more of it has no meaning. The scale is logarithmic: the first topic may matter a
    hundred times more than the last.
    """
    colors = table["goes_with"].map({"churn": BAD, "staying": GOOD}).fillna(ACCENT)
    names, lower = table["topic"].str.replace("_", " "), table["lower"].clip(lower=1e-3)
    table = table.assign(topic=names, lower=lower)
    ax = interval_bars(table, label="topic", value="share", color=colors, title=title, ax=ax)
    ax.set_xscale("log")
    percent_axis(ax.xaxis)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("growth of the log-loss without the topic (log scale)")
    return ax


def profit_lines(
    curves: pd.DataFrame, *, unit: str, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw the profit of contacting the share with most value at risk, one curve per acceptance.

    Parameters
    ----------
    curves : DataFrame
        Of `cjlib.churn.profit_curves`; the middle acceptance stands out.
    unit : str
        The currency.
    title : str
    ax : Axes, optional
    """
    ax = new_axes(ax, 4.2)
    ax.axhline(0, color=MUTED, linewidth=1)
    middle = np.median(curves["acceptance"].unique())
    for accepts, curve in curves.groupby("acceptance"):
        best, last = curve.loc[curve["profit"].idxmax()], curve.iloc[-1]
        color, width = (ACCENT, 2.2) if accepts == middle else (MUTED, 1.4)
        ax.plot(curve["contacted"], curve["profit"], color=color, linewidth=width)
        ax.scatter([best["contacted"]], [best["profit"]], color=color, s=40, zorder=3)
        place = {"textcoords": "offset points", "va": "center", "fontsize": 9, "color": color}
        ax.annotate(f"{accepts:.0%} accept", last[["contacted", "profit"]], (4, 0), **place)
    percent_axis(ax.xaxis)
    ylabel = f"profit per customer, {unit}"
    ax.set(xlabel="customers contacted, most value at risk first", ylabel=ylabel, title=title)
    return ax
