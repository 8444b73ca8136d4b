"""Pictures beside the journey map: who starts what, which channel, where visits are lost."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cjlib.forms import shortened
from cjlib.plots.map import printable, wrapped
from cjlib.plots.style import ACCENT, BAD, GOOD, INK, MUTED, SEQUENTIAL, percent_axis

COMPANY = "#b9832f"  # what the company starts; what customers start has the accent's colour


def draw_sales_cycle(cycle: pd.DataFrame, labels: dict[str, str], ax: Axes | None = None) -> Axes:
    """Draw what the company starts (left) against what customers start (right), by stage.

    Parameters
    ----------
    cycle : DataFrame
        Of :func:`cjlib.journey_map.sales_cycle.sales_cycle`.
    labels : dict
        What to call each stage.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    place = np.arange(len(cycle))
    sides = (("of_company", -1, COMPANY, "right"), ("of_customer", 1, ACCENT, "left"))
    widest = np.nanmax(cycle[["of_company", "of_customer"]].to_numpy(), initial=0.05)
    for name, sign, color, side in sides:
        share = cycle[name].fillna(0).to_numpy()
        ax.barh(place, sign * share, color=color, height=0.62)
        for y, value in zip(place, share, strict=True):
            x = sign * (value + 0.012 * widest)
            ax.text(x, y, f"{value:.0%}", ha=side, va="center", fontsize=9.5)
    ax.axvline(0, color=INK, linewidth=1)
    names = [shortened(printable(labels[stage])) for stage in cycle["stage"]]
    ax.set_yticks(place, names)
    ax.set_xlim(-1.18 * widest, 1.18 * widest)
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.xaxis.set_major_formatter(lambda value, _: f"{abs(value):.0%}")
    ax.set_xlabel("Share of all events started by the company (left) or by customers (right)")
    for x, text, color, side in (
        (-0.03, "The company starts (sales cycle)", COMPANY, "right"),
        (0.03, "Customers start (customer journey)", ACCENT, "left"),
    ):
        ax.annotate(
            text,
            (x * widest, 1.02),
            xycoords=("data", "axes fraction"),
            ha=side,
            color=color,
            fontweight="bold",
        )
    return ax


def draw_channel_reach(
    reach: pd.DataFrame, labels: dict[str, str], *, column: str = "channel", ax: Axes | None = None
) -> Axes:
    """Draw which share of a stage's customers each channel reaches there.

    Parameters
    ----------
    reach : DataFrame
        Of :func:`cjlib.journey_map.sales_cycle.channel_reach`.
    labels : dict
        What to call each stage; stages nobody reached are left out.
    column : str
        The column that names the channel.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    seen = reach.groupby("stage")["customers"].sum()
    stages = [stage for stage in labels if seen.get(stage, 0) > 0]
    grid = reach.pivot_table(index=column, columns="stage", values="reach", sort=False)[stages]
    ax.imshow(grid, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
    for (row, place), value in np.ndenumerate(grid.to_numpy()):
        if np.isfinite(value):
            shade = "white" if value > 0.6 else INK if value else MUTED
            text = "<1%" if 0 < value < 0.005 else f"{value:.0%}"
            ax.text(place, row, text, ha="center", va="center", color=shade)
    ax.set_xticks(range(len(stages)), [wrapped(labels[stage], 16) for stage in stages])
    ax.set_yticks(range(len(grid)), [shortened(printable(name), 24) for name in grid.index])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def draw_differences(
    table: pd.DataFrame, *, value: str, found: str, worse: int = 1, ax: Axes | None = None
) -> Axes:
    """Draw a difference per touchpoint with its interval, those found coloured.

    Parameters
    ----------
    table : DataFrame
        Of :func:`cjlib.journey_map.touchpoints.journey_map`, the rows to draw from top to bottom.
    value : str
        ``"pain"`` or ``"later_purchase"``; its ``_lower`` and ``_upper`` stand beside it.
    found : str
        Boolean column: which to colour, the others are muted.
    worse : {1, -1}
        The sign that hurts.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    hurts = np.sign(table[value]) == worse
    colors = np.where(table[found], np.where(hurts, BAD, GOOD), MUTED)
    place = np.arange(len(table))
    ax.axvline(0, color=INK, linewidth=1)
    lower, upper = table[f"{value}_lower"], table[f"{value}_upper"]
    ax.hlines(place, lower, upper, color=colors, linewidth=2.4, alpha=0.6)
    ax.scatter(table[value], place, color=colors, s=34, zorder=3)
    names = [shortened(printable(name)) for name in table["touchpoint"]]
    ax.set_yticks(place, names)
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(_points)
    ax.grid(axis="y", visible=False)
    return ax


def _points(share: float, _=None) -> str:
    """Return a difference of shares in points as it is, so that even steps look even."""
    points = round(100 * share, 6)
    return f"{points:+g}" if points else "0"


def draw_drop_off(stages: pd.DataFrame, labels: dict[str, str], ax: Axes | None = None) -> Axes:
    """Draw where visits lead from each stage: onward, elsewhere, or lost.

    Parameters
    ----------
    stages : DataFrame
        Of :func:`cjlib.journey_map.touchpoints.stage_table`; stages without closed visits are left
        out.
    labels : dict
        What to call each stage.
    ax : Axes, optional

    Returns
    -------
    Axes
        Stacked bars that add up to 100 %, the interval of the lost share above its beginning.
    """
    ax = plt.gca() if ax is None else ax
    stages = stages[stages["closed"] > 0]
    place = np.arange(len(stages))
    back = 1 - stages["advance_rate"] - stages["drop_off_rate"]
    start = np.zeros(len(stages))
    parts = ((stages["advance_rate"], GOOD, "on"), (back, "#cfd6dc", "back"))
    parts += ((stages["drop_off_rate"], BAD, "lost"),)
    for share, color, text in parts:
        ax.barh(place, share, left=start, color=color, height=0.6)
        for y, x, part in zip(place, start + share / 2, share, strict=True):
            if part > 0.03:
                ink = INK if text == "back" else "white"
                name = f"{text} {part:.0%}" if part > 0.085 else f"{part:.0%}"
                ax.text(x, y, name, ha="center", va="center", color=ink)
        start = start + share.to_numpy()
    lower, upper = 1 - stages["drop_off_rate_upper"], 1 - stages["drop_off_rate_lower"]
    ax.hlines(place - 0.36, lower, upper, color=INK, linewidth=2)
    ax.set_yticks(place, [shortened(printable(labels[stage])) for stage in stages["stage"]])
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.grid(visible=False)
    percent_axis(ax.xaxis)
    ax.set_xlabel("Share of the visits whose end was seen (black: 95 % interval of the share lost)")
    return ax
