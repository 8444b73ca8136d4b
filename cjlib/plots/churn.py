"""Pictures of churn: cut-offs in time, calibration, gains, profit, time to the next purchase."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, NullFormatter

from cjlib.forms import shortened
from cjlib.plots.style import ACCENT, BAD, GOOD, MUTED, percent_axis


def cut_off_bars(
    table: pd.DataFrame, horizon: pd.Timedelta, first: pd.Timestamp, *, ax: Axes | None = None
) -> Axes:
    """Draw one bar per cut-off: the history before it, then the horizon after it.

    Parameters
    ----------
    table : DataFrame
        use ("training 1", …, "test", "scores") and cut_off, oldest first.
    horizon : Timedelta
    first : Timestamp
        Where the history begins.
    """
    ax = plt.gca() if ax is None else ax
    colors = {"test": BAD, "scores": GOOD}
    for row, (use, at) in enumerate(zip(table["use"], table["cut_off"], strict=True)):
        color = colors.get(use, ACCENT)
        ax.barh(row, at - first, left=first, color="#dfe5ea", height=0.55)
        filled = "none" if use == "scores" else color  # the horizon that is still to come
        ax.barh(row, horizon, left=at, height=0.55, color=filled, edgecolor=color)
    ax.set_yticks(range(len(table)), table["use"])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(ax.xaxis.get_major_locator()))
    ax.set_title("History (grey) and the horizon after each cut-off (coloured)")
    return ax


def calibration_plot(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw observed churn against promised churn, from ``cjlib.churn.evaluation.calibration``."""
    ax = plt.gca() if ax is None else ax
    low = float(min(table["predicted"].min(), table["lower"].min()))
    high = float(max(table["predicted"].max(), table["upper"].max()))
    ax.plot([low, high], [low, high], color=MUTED, linestyle="--", linewidth=1)
    ax.vlines(table["predicted"], table["lower"], table["upper"], color=ACCENT, alpha=0.55, lw=2.4)
    ax.scatter(table["predicted"], table["observed"], color=ACCENT, s=34, zorder=3)
    percent_axis(ax.xaxis)
    percent_axis(ax.yaxis)
    ax.set_xlabel("churn promised")
    ax.set_ylabel("churn observed")
    ax.set_title("Promised and observed, ten equal groups")
    return ax


def gains_plot(curves: dict[str, pd.DataFrame], *, ax: Axes | None = None) -> Axes:
    """Draw the share of churners found against the share contacted, one line per score."""
    ax = plt.gca() if ax is None else ax
    colors = [ACCENT, *(MUTED,) * len(curves)]
    for (name, curve), color, style in zip(curves.items(), colors, ["-", "--", ":"], strict=False):
        ax.plot(curve["contacted"], curve["found"], color=color, linestyle=style, label=name)
    ax.plot([0, 1], [0, 1], color="#c9d1d8", linewidth=1, label="at random")
    percent_axis(ax.xaxis)
    percent_axis(ax.yaxis)
    ax.set_xlabel("customers, riskiest first")
    ax.set_ylabel("churners among them")
    ax.set_title("How soon the churners are found")
    ax.legend(frameon=False, loc="lower right")
    return ax


def profit_plot(curves: dict[float, pd.DataFrame], unit: str, *, ax: Axes | None = None) -> Axes:
    """Draw the profit of contacting the share with most value at risk, one curve per acceptance.

    Parameters
    ----------
    curves : dict of float to DataFrame
        ``cjlib.churn.evaluation.profit_curve`` by acceptance; the middle one stands out.
    unit : str
        The currency.
    """
    ax = plt.gca() if ax is None else ax
    ax.axhline(0, color=MUTED, linewidth=1)
    middle = sorted(curves)[len(curves) // 2]
    for accepts, curve in curves.items():
        best = curve.loc[curve["profit"].idxmax()]
        color, width = (ACCENT, 2.2) if accepts == middle else (MUTED, 1.4)
        ax.plot(curve["contacted"], curve["profit"], color=color, linewidth=width)
        ax.scatter([best["contacted"]], [best["profit"]], color=color, s=40, zorder=3)
        last = curve.iloc[-1]
        ax.annotate(
            f"{accepts:.0%} accept",
            (last["contacted"], last["profit"]),
            (4, 0),
            color=color,
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    percent_axis(ax.xaxis)
    ax.set_xlabel("customers contacted, most value at risk first")
    ax.set_ylabel(f"profit per customer, {unit}")
    ax.set_title("What contacting would earn, by how many accept (dots: best cut)")
    return ax


def drivers_plot(table: pd.DataFrame, *, most: int = 12, ax: Axes | None = None) -> Axes:
    """Draw what the scores lose without each driver, from ``cjlib.churn.reasons.drivers``."""
    ax = plt.gca() if ax is None else ax
    table = table[table["driver"]].head(most)
    # More or less of a touchpoint or a channel has a meaning; of a topic of several features, none.
    one = table["topic"].str.startswith(("touchpoint ", "channel "))
    colors = np.select([~one, table["direction"] > 0], [ACCENT, BAD], GOOD)
    rows, least = range(len(table)), 1e-4
    lower, upper = (table[name] * table["share"] / table["loss"] for name in ("lower", "upper"))
    ax.hlines(rows, lower.clip(least), upper, color=colors, lw=2.4, alpha=0.55)
    ax.scatter(table["share"], rows, color=colors, s=34, zorder=3)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_yticks(list(rows), [shortened(text.replace("_", " "), 34) for text in table["topic"]])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("growth of the log-loss when the topic is shuffled (log scale)")
    ax.set_title("What the scores lean on (red: more of it with churn; green: with staying)")
    return ax


def return_curves(table: pd.DataFrame, colors: list[str], *, ax: Axes | None = None) -> Axes:
    """Draw the share of customers back by day, from ``cjlib.churn.survival.curves``."""
    ax = plt.gca() if ax is None else ax
    for (name, curve), color in zip(table.groupby("stage", sort=False), colors, strict=False):
        curve = curve[curve["at_risk"] >= 10]
        ax.fill_between(
            curve["days"],
            1 - curve["upper"],
            1 - curve["lower"],
            step="post",
            color=color,
            alpha=0.18,
        )
        ax.step(curve["days"], 1 - curve["survival"], where="post", color=color, label=name)
    percent_axis(ax.yaxis)
    ax.set_ylim(0, None)
    ax.set_xlim(0, None)
    ax.set_xlabel("days")
    ax.set_ylabel("customers back")
    ax.legend(frameon=False, fontsize=9)
    return ax
