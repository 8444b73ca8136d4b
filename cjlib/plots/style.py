"""The look of every picture, and the pictures that more than one notebook draws.

Every function takes an ``ax`` and returns it; none of them opens or saves a figure.
"""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

INK = "#22303c"  # text and axes
MUTED = "#8a97a3"  # what is only context
ACCENT = "#1f6f8b"  # the thing a picture is about
GOOD = "#3a8f5c"  # helps: advances, pleases, returns
BAD = "#c0504d"  # hurts: drops off, displeases, churns
GRID = "#e6eaee"

SEQUENTIAL = sns.light_palette(ACCENT, as_cmap=True)
DIVERGING = sns.blend_palette([BAD, "#f7f4ef", GOOD], as_cmap=True)
"""For feelings and other quantities with a meaningful zero: bad, neutral, good."""


def set_theme() -> None:
    """Set the look of all pictures that follow; call it once in a notebook's set-up."""
    sns.set_theme(
        style="whitegrid",
        rc={
            "figure.dpi": 110,
            "figure.figsize": (9.0, 4.2),
            "figure.constrained_layout.use": True,
            "font.size": 10.5,
            "axes.titlesize": 12,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.edgecolor": MUTED,
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.color": GRID,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "text.parse_math": False,  # a dollar sign in the data is a dollar sign
        },
    )


def role_colors(roles: Iterable[str]) -> list[str]:
    """Return one colour per stage of a model, by the stages' roles in their order.

    Parameters
    ----------
    roles : iterable of {"before", "purchase", "after"}

    Returns
    -------
    list of str
        Hex colours: blues deepening towards the purchase, amber for it, greens after it.
    """
    roles = list(roles)
    shades = {"before": "Blues", "after": "Greens"}
    counts = {role: roles.count(role) for role in shades}
    used = dict.fromkeys(shades, 0)
    colors = []
    for role in roles:
        if role == "purchase":
            colors.append("#e0a458")
            continue
        ramp = sns.color_palette(shades[role], counts[role] + 2)
        used[role] += 1
        colors.append(ramp.as_hex()[used[role]])
    return colors


def percent_axis(axis) -> None:
    """Show an axis of shares (0 to 1) in percent, with as many digits as its ticks need."""
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g}%"))


def thousands_axis(axis) -> None:
    """Show an axis of counts with thin separators (12,000)."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def shorten(label: str, width: int = 28) -> str:
    """Return a label of at most ``width`` characters, an ellipsis for what is cut."""
    label = " ".join(str(label).split())
    return label if len(label) <= width else label[: width - 1] + "…"


def interval_bars(
    table: pd.DataFrame,
    *,
    label: str,
    value: str,
    lower: str = "lower",
    upper: str = "upper",
    color: str | list[str] = ACCENT,
    ax: Axes | None = None,
) -> Axes:
    """Draw one point per row with its interval, rows from top to bottom.

    Parameters
    ----------
    table : DataFrame
        One row per item; columns named by ``label``, ``value``, ``lower`` and ``upper``.
    label, value, lower, upper : str
        Column names.
    color : str or list of str
        One colour, or one per row.
    ax : Axes, optional
        Where to draw; a new one by default.

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    rows = range(len(table))
    ax.hlines(rows, table[lower], table[upper], color=color, linewidth=2.4, alpha=0.55)
    ax.scatter(table[value], rows, color=color, s=34, zorder=3)
    ax.set_yticks(list(rows), [shorten(text) for text in table[label]])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    return ax
