"""The look of every picture: theme, colours, axes."""

from collections.abc import Callable, Iterable

import seaborn as sns
from matplotlib.category import StrCategoryFormatter
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter, ScalarFormatter

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


def points_axis(axis) -> None:
    """Show an axis of differences of shares (-1 to 1) in points, each with its sign."""
    axis.set_major_formatter(FuncFormatter(lambda gap, _: f"{100 * gap:+.4g}" if gap else "0"))
    axis.set_label_text("points")


def thousands_axis(axis) -> None:
    """Show an axis of counts with thin separators (12,000)."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def speak(figure, own: Callable[[str], str]) -> None:
    """Put the titles of a picture and of its axes into a company's own words, in place."""
    for ax in figure.axes:
        titles = {ax.get_title(loc=side) for side in ("left", "center", "right")}
        titles |= {ax.get_xlabel(), ax.get_ylabel()}
        for text in ax.findobj(Text):
            if text.get_text() in titles:
                text.set_text(own(text.get_text()))


def texts_of(figure) -> list[str]:
    """Return what is written in a picture, sorted: everything but the numbers along its axes."""
    axes = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]
    texts, numbers = [], set()
    for axis in axes:
        formatter = axis.get_major_formatter()
        if isinstance(formatter, ScalarFormatter):
            ticks = [*axis.majorTicks, *axis.minorTicks]
            numbers |= {id(text) for tick in ticks for text in (tick.label1, tick.label2)}
        elif isinstance(formatter, FixedFormatter):
            texts += formatter.seq
        elif isinstance(formatter, StrCategoryFormatter):  # written only when it is drawn
            texts += axis.units._mapping
    texts += [text.get_text() for text in figure.findobj(Text) if id(text) not in numbers]
    return sorted({str(text) for text in texts} - {""})
