"""What changed between reports: differences with their limits, figures report by report."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter
from matplotlib.ticker import MaxNLocator

from cjlib.forms import shortened
from cjlib.plots.charts import Label, interval_bars
from cjlib.plots.style import ACCENT, BAD, INK, MUTED, percent_axis

COLORS = {"same": MUTED, "moved": ACCENT, "broken": BAD}


def difference_bars(
    table: pd.DataFrame, *, least: float, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw differences of shares with their intervals, what moved in colour, what broke in red.

    Parameters
    ----------
    table : DataFrame
        Of `cjlib.comparison.as_shares`.
    least : float
        The difference that matters: marked on either side of none.
    title : str
    ax : Axes, optional
    """
    colors = table["verdict"].map(COLORS)
    look = {"color": colors, "title": title, "longest": 42, "ax": ax}
    ax = interval_bars(table, label="name", value="difference", **look)
    ax.axvline(0, color=INK, linewidth=1)
    ax.axvspan(-least, least, color=MUTED, alpha=0.15, linewidth=0, zorder=0)
    return ax


def figures_over_reports(figures: pd.DataFrame, *, label: Label = str, most: int = 9) -> np.ndarray:
    """Draw each headline figure over the reports, a panel a figure.

    Parameters
    ----------
    figures : DataFrame
        Of `cjlib.comparison.figures_of_reports`.
    label : callable
        From a figure's name to what is shown.
    most : int
        Panels.

    Returns
    -------
    ndarray of Axes
    """
    panels = list(figures.groupby(["notebook", "name"], sort=False))[:most]
    rows = -(-len(panels) // 3)
    _, axes = plt.subplots(rows, 3, figsize=(9, 0.6 + 2.1 * rows), squeeze=False)
    for ax, ((_, name), part) in zip(axes.ravel(), panels, strict=False):
        days = pd.to_datetime(part["day"])
        known = part["lower"].notna() & part["upper"].notna()
        limits = part.loc[known, "lower"], part.loc[known, "upper"]
        ax.vlines(days[known], *limits, color=ACCENT, alpha=0.55, linewidth=2.4)
        ax.plot(days, part["value"], color=ACCENT, marker="o", markersize=4, linewidth=1)
        ax.set_title(shortened(label(name), 30), fontsize=10)
        ax.set_xticks(days.iloc[[0, -1]])
        ax.xaxis.set_major_formatter(DateFormatter("%b %y"))
        ax.yaxis.set_major_locator(MaxNLocator(4))
        if part["unit"].iloc[0] == "share":
            percent_axis(ax.yaxis)
        ax.margins(x=0.2, y=0.15)
    for ax in axes.ravel()[len(panels) :]:
        ax.axis("off")
    return axes
