"""The pictures that several pages draw: figures with intervals, matrices, curves over time.

Every function takes an ``ax`` (a new one of fitting height by default) and returns it.
"""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import seaborn.objects as so
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cjlib.errors import Unanswerable
from cjlib.forms import kind_of, shortened
from cjlib.groups import enough_cells
from cjlib.plots.style import ACCENT, SEQUENTIAL, percent_axis, points_axis, thousands_axis

Label = Callable[[str], str]


def new_axes(ax: Axes | None, height: float, width: float = 9.0) -> Axes:
    """Return `ax`, or the axes of a new figure of so many inches."""
    return plt.subplots(figsize=(width, height))[1] if ax is None else ax


def legend_below(ax: Axes, columns: int = 2) -> None:
    """Put the legend under the axis, where it covers no line."""
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
    ax.legend(frameon=False, ncols=columns, fontsize=9, **place)


def format_axis(axis, name: str) -> None:
    """Show an axis's figures in the form of the column `name`: shares in percent, money grouped."""
    kind = kind_of(name)
    if kind == "share":
        percent_axis(axis)
    elif kind == "points":
        points_axis(axis)
    elif kind in ("money", "number"):
        thousands_axis(axis)


def interval_bars(
    table: pd.DataFrame,
    *,
    label: str,
    value: str,
    lower: str = "",
    upper: str = "",
    color: str | Sequence[str] = ACCENT,
    title: str = "",
    longest: int = 30,
    ax: Axes | None = None,
) -> Axes:
    """Draw one point per row with its interval, rows from top to bottom.

    Parameters
    ----------
    table : DataFrame
        One row per item.
    label, value, lower, upper : str
        Columns; the limits by default ``{value}_lower`` and ``{value}_upper`` where the table has
        them, else ``lower`` and ``upper``. The axis takes the form of the value's name.
    color : str or sequence of str
        One colour, or one per row.
    title : str
    longest : int
        Characters of a label.
    ax : Axes, optional

    Raises
    ------
    Unanswerable
        If the table has no rows.
    """
    if table.empty:
        raise Unanswerable("there is nothing to draw")
    ax = new_axes(ax, 1.2 + 0.3 * len(table))
    own = f"{value}_lower" in table
    lower, upper = lower or (f"{value}_" * own + "lower"), upper or (f"{value}_" * own + "upper")
    colors = [color] * len(table) if isinstance(color, str) else list(color)
    rows = table.assign(row=np.arange(len(table)))
    plot = so.Plot(rows, x=value, y="row", xmin=lower, xmax=upper, color=rows["row"].astype(str))
    plot = plot.add(so.Range(linewidth=2.4, alpha=0.55), orient="y", legend=False)
    plot = plot.add(so.Dot(pointsize=6), orient="y", legend=False)
    plot.scale(color=dict(zip(rows["row"].astype(str), colors, strict=True))).on(ax).plot()
    ax.set_yticks(rows["row"], [shortened(text, longest) for text in table[label]])
    ax.set(ylim=(len(table) - 0.5, -0.5), ylabel="", title=title)
    ax.grid(axis="y", visible=False)
    ax.xaxis.set_major_locator(MaxNLocator(7))
    format_axis(ax.xaxis, value)
    return ax


def heatmap(
    grid: pd.DataFrame,
    *,
    text: str | pd.DataFrame = ".0%",
    customers: pd.DataFrame | None = None,
    title: str = "",
    label: Label = str,
    cmap=SEQUENTIAL,
    limits: tuple[float | None, float | None] = (0, 1),
    ax: Axes | None = None,
) -> Axes:
    """Draw a table of numbers as a matrix of colours with their figures.

    Parameters
    ----------
    grid : DataFrame
        Rows from top to bottom; missing cells stay blank.
    text : str or DataFrame
        Format of the figures, or what to write in each cell.
    customers : DataFrame, optional
        How many customers each cell is of; cells of too few stay blank (see `cjlib.groups`).
    title : str
    label : callable
        From a row's or column's name to what is shown.
    cmap : Colormap
    limits : tuple of float
        Where the colours begin and end; None: at the least or greatest number.
    ax : Axes, optional

    Raises
    ------
    Unanswerable
        Where no cell is left to be drawn.
    """
    grid = grid if customers is None else enough_cells(grid, customers)
    if not grid.notna().any(axis=None):
        raise Unanswerable("no group is large enough to be shown")
    ax = new_axes(ax, 1.4 + 0.45 * len(grid))
    written = {"annot": True, "fmt": text}
    if not isinstance(text, str):
        written = {"annot": text.to_numpy(), "fmt": ""}
    low, high = limits
    options = {"linewidths": 1.5, "linecolor": "white", "cbar": False, "annot_kws": {"size": 8.5}}
    options["yticklabels"] = (
        False  # seaborn draws them upright first: long ones would leave no room
    )
    sns.heatmap(grid.astype(float), ax=ax, cmap=cmap, vmin=low, vmax=high, **options, **written)
    columns, rows = ([str(label(name)) for name in names] for names in (grid.columns, grid.index))
    aslant = len(columns) > 7 or max(map(len, columns)) * len(columns) > 100
    ax.set_xticks(
        np.arange(len(columns)) + 0.5,
        [shortened(name, 22) for name in columns],
        rotation=30 if aslant else 0,
        ha="right" if aslant else "center",
    )
    ax.set_yticks(np.arange(len(rows)) + 0.5, [shortened(name, 30) for name in rows], rotation=0)
    ax.set(xlabel="", ylabel="", title=title)
    ax.grid(visible=False)  # it would show through blank cells
    return ax


def step_curves(
    curves: pd.DataFrame,
    value: str,
    *,
    by: str,
    colors: Mapping[str, str] | None = None,
    label: Label = str,
    title: str = "",
    xlabel: str = "days",
    ylabel: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw a share over days, a step curve with its band per group.

    Parameters
    ----------
    curves : DataFrame
        ``days``, `value`, ``lower``, ``upper`` (NaN: no band) and the column `by`, stacked.
    value : str
        Column of shares, 0 at day 0.
    by : str
        Column that tells the curves apart; they are drawn in the order of appearance.
    colors : mapping, optional
        Group to its colour.
    label : callable
        From a group to what is shown.
    title, xlabel, ylabel : str
    ax : Axes, optional
    """
    ax = new_axes(ax, 4.0)
    groups = list(dict.fromkeys(curves[by]))
    ramp = dict(zip(groups, sns.color_palette("crest", len(groups)).as_hex(), strict=True))
    longest = float(curves["days"].max())
    for group in groups:
        part = curves[curves[by] == group]
        color = (colors or {}).get(group, ramp[group])
        days = np.r_[0, part["days"], longest]
        share, low, high = (
            np.r_[0, part[name], part[name].iloc[-1]] for name in (value, "lower", "upper")
        )
        ax.step(days, share, where="post", color=color, linewidth=2, label=label(group))
        ax.fill_between(days, low, high, step="post", color=color, alpha=0.15, linewidth=0)
    ax.set(xlim=(0, max(longest, 1)), ylim=(0, None))
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    percent_axis(ax.yaxis)
    legend_below(ax)
    return ax
