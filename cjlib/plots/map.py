"""The customer journey map as a picture."""

import textwrap
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgb
from matplotlib.ft2font import FT2Font
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle
from scipy.interpolate import PchipInterpolator

from cjlib.forms import shortened
from cjlib.plots.style import ACCENT, BAD, DIVERGING, GOOD, GRID, INK, MUTED, role_colors

MOST = 8  # touchpoints shown per stage
WIDTH = 10.0  # of the map, in inches; its coordinates are inches too
MARGIN = 1.3  # left of the stages, for the names of the rows
LINE = 0.38  # height of one touchpoint
MEANS = 0.36  # height of the stages' mean feelings in figures, above their curve
BOLD = {"color": ACCENT, "fontweight": "bold"}
LOST = plt.matplotlib.colors.LinearSegmentedColormap.from_list("lost", ["#f3ece4", BAD])


def draw_journey_map(
    stages: pd.DataFrame, touchpoints: pd.DataFrame, labels: dict[str, str], ax: Axes | None = None
) -> Axes:
    """Draw the customer journey map: stages from left to right, what happens in them, how it feels.

    Parameters
    ----------
    stages : DataFrame
        Of :func:`cjlib.journey_map.touchpoints.stage_table`; stages without events are left out.
    touchpoints : DataFrame
        Of :func:`cjlib.journey_map.touchpoints.journey_map`; the 8 of largest reach are shown
        in each stage.
    labels : dict
        What to call each stage.
    ax : Axes, optional
        Where to draw; its figure should be as wide as 10 inches. By default a new figure of the
        height that the touchpoints need.

    Returns
    -------
    Axes
        Without axes: bars are coloured by feeling where the log has any, else by drop-off.
    """
    stages = stages[stages["events"] > 0].reset_index(drop=True)
    felt = stages["sentiment"].notna().any()
    groups = [touchpoints[touchpoints["stage"] == stage] for stage in stages["stage"]]
    rows = max((min(len(group), MOST) + (len(group) > MOST) for group in groups), default=1)
    body = max(rows, 2) * LINE
    feeling = 1.85 + MEANS if felt else 0.0
    height = 0.86 + 0.15 + body + 0.2 + feeling + 0.85 + 0.4
    if ax is None:
        _, ax = plt.subplots(figsize=(WIDTH, height), layout="none")
        ax.set_position((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(height, 0))
    ax.set_axis_off()
    column = (WIDTH - MARGIN - 0.1) / max(len(stages), 1)
    left = MARGIN + column * np.arange(len(stages))

    top = 0.05
    _stage_arrows(ax, stages, labels, left, column, top)
    top += 0.96
    color = _bar_colors(touchpoints, felt)
    for x, group in zip(left, groups, strict=True):
        _touchpoint_bars(ax, group, color, x + 0.06, column - 0.2, top)
    _row_name(ax, top + 0.02, "Touchpoints", "bar: share of all\ncustomers reached")
    top += body + 0.2
    if felt:
        _feeling_curve(
            ax, stages, groups, color, left + (column - 0.08) / 2, column, top, feeling - 0.2
        )
        _row_name(ax, top, "Feeling", "mean and interval")
        top += feeling
    _flows(ax, stages, left + 0.06, column - 0.2, top)
    _row_name(ax, top, "What follows", "of the visits whose\nend was seen")
    _legend(ax, touchpoints, felt, height - 0.2)
    return ax


def duration(days: float) -> str:
    """Return a length of time in a unit that a reader would choose.

    Parameters
    ----------
    days : float

    Returns
    -------
    str
        Such as ``"4 min"``, ``"3.2 h"``, ``"2.1 days"``; a dash where it is not known.
    """
    if not np.isfinite(days):
        return "–"
    if days < 1 / 24:
        return f"{days * 1440:.0f} min" if days * 1440 >= 1 else f"{days * 86_400:.0f} s"
    if days < 1:
        return f"{days * 24:.1f} h"
    return f"{days:.1f} days" if days < 100 else f"{days:,.0f} days"


def printable(label: str) -> str:
    """Return a label with what the font cannot draw replaced, so that no warning is needed."""
    glyphs = _glyphs(tuple(plt.rcParams["font.family"]))
    return "".join(char if ord(char) in glyphs or char.isspace() else "□" for char in str(label))


@cache
def _font(family: tuple[str, ...]) -> FT2Font:
    path = font_manager.findfont(font_manager.FontProperties(family=list(family)))
    return font_manager.get_font(path)


@cache
def _glyphs(family: tuple[str, ...]) -> frozenset[int]:
    return frozenset(_font(family).get_charmap())


def wrapped(label: str, width: int) -> str:
    """Return a label in at most three lines of `width` letters, words kept whole."""
    lines = textwrap.wrap(printable(label), max(width, 6), break_long_words=False) or [""]
    if len(lines) > 3:
        lines = [*lines[:2], shortened(" ".join(lines[2:]), max(width, 6))]
    return "\n".join(lines)


def _inches(text: str, size: float) -> float:
    """Return how wide a printable text is drawn."""
    font = _font(tuple(plt.rcParams["font.family"]))
    font.set_size(size, 72)
    font.set_text(text)
    return font.get_width_height()[0] / 64 / 72


def _fitted(label: str, width: float, size: float) -> str:
    """Return a label cut with an ellipsis to what fits into `width` inches."""
    label = shortened(printable(label), 60)
    while len(label) > 2 and _inches(label, size) > width:
        label = label[:-2].rstrip("…") + "…"
    return label


def _row_name(ax: Axes, y: float, name: str, note: str) -> None:
    ax.text(0.1, y, name, va="top", fontsize=9.5, fontweight="bold")
    ax.text(0.1, y + 0.2, note, va="top", fontsize=7, color=MUTED, linespacing=1.25)


def _stage_arrows(
    ax: Axes, stages: pd.DataFrame, labels: dict, left: np.ndarray, column: float, top: float
) -> None:
    tip, tall = 0.13, 0.56
    for x, color, row in zip(left, role_colors(stages["role"]), stages.itertuples(), strict=True):
        right = x + column - 0.08
        notch = x + tip if row.Index else x
        corners = [(x, top), (right, top), (right + tip, top + tall / 2), (right, top + tall)]
        corners += [(x, top + tall), (notch, top + tall / 2)]
        ax.add_patch(Polygon(corners, facecolor=color, edgecolor="none"))
        dark = np.dot(to_rgb(color), (0.299, 0.587, 0.114)) < 0.6
        label = wrapped(labels[row.stage], int(column / 0.1))
        widest = max(_inches(line, 10) * 1.15 for line in label.split("\n"))  # bold
        room = (column - 0.5) / max(widest, 0.1)
        ax.text(
            (x + right + tip) / 2,
            top + tall / 2,
            label,
            ha="center",
            va="center",
            color="white" if dark else INK,
            fontsize=max(6.0, min(10.0, 10 * room, 24 / (1 + label.count("\n")))),
            fontweight="bold",
            linespacing=1.1,
        )
        reach = f"{row.reach:.0%} of customers" if column > 1.3 else f"{row.reach:.0%}"
        ax.text(x + 0.06, top + tall + 0.1, reach, va="top", fontsize=8.5, color=INK)
    _row_name(ax, top + 0.1, "Stages", "share of all\ncustomers seen there")


def _bar_colors(touchpoints: pd.DataFrame, felt: bool):
    """Return the function from a touchpoint's row to the colour of its bar."""
    if felt:
        limit = _feeling_limit(touchpoints)
        scale, name, cmap = Normalize(-limit, limit), "sentiment", DIVERGING
    else:
        most = touchpoints["drop_off_rate"].max()
        scale = Normalize(0, most if most > 0 else 1)
        name, cmap = "drop_off_rate", LOST

    def color(row) -> tuple | str:
        value = getattr(row, name)
        return cmap(scale(value)) if np.isfinite(value) else "#cfd6dc"

    return color


def _darker(color) -> np.ndarray:
    return 0.72 * np.array(to_rgb(color))


def _feeling_limit(table: pd.DataFrame) -> float:
    """Return how far from neutral the colours reach: the strongest feeling, at least 0.3."""
    return float(max(0.3, table["sentiment"].abs().max()))


def _touchpoint_bars(
    ax: Axes, group: pd.DataFrame, color, x: float, width: float, top: float
) -> None:
    shown = group.sort_values("reach", ascending=False, kind="stable").head(MOST)
    for place, row in enumerate(shown.itertuples()):
        y = top + place * LINE
        decides = GOOD if row.later_purchase > 0 else BAD
        marks = [("v", BAD)] * bool(row.pain_point) + [("D", decides)] * bool(row.moment_of_truth)
        for back, (mark, ink) in enumerate(marks):
            ax.plot(x + width - 0.07 - 0.16 * back, y + 0.09, mark, color=ink, markersize=5.5)
        name = _fitted(row.touchpoint, width - 0.17 * len(marks), 8.5)
        ax.text(x, y + 0.09, name, va="center", fontsize=8.5)
        reach = "<1%" if 0 < row.reach < 0.005 else f"{row.reach:.0%}"
        ax.text(x + width, y + 0.24, reach, ha="right", va="center", fontsize=7.5, color=MUTED)
        full = width - 0.38
        ax.hlines(y + 0.24, x, x + full, color=GRID, linewidth=2.5, capstyle="round", zorder=1)
        fill = color(row)
        bar = FancyBboxPatch(
            (x, y + 0.19),
            max(row.reach, 0.02) * full,
            0.1,
            boxstyle="round,pad=0,rounding_size=0.03",
            facecolor=fill,
            edgecolor=_darker(fill),
            linewidth=0.5,
            zorder=2,
        )
        ax.add_patch(bar)
    more = len(group) - len(shown)
    if more:
        text = f"+ {more} more"
        y = top + len(shown) * LINE + 0.09
        ax.text(x, y, text, va="center", fontsize=8.5, color=MUTED, style="italic")


def _feeling_curve(
    ax: Axes,
    stages: pd.DataFrame,
    groups: list[pd.DataFrame],
    color,
    centre: np.ndarray,
    column: float,
    top: float,
    tall: float,
) -> None:
    """Draw the mean feeling through the stages, and behind it each touchpoint's as a dot.

    The means stand above in figures with their intervals, which are often too narrow to be seen.
    """
    columns = ["sentiment", "sentiment_lower", "sentiment_upper"]
    felt = pd.concat([group["sentiment"] for group in groups])
    limit = 1.12 * max(0.15, stages[columns].abs().max().max(), felt.abs().max())
    known = stages["sentiment"].notna().to_numpy()
    x, feeling = centre[known], stages.loc[known, columns].to_numpy()
    for place, (mean, *limits) in zip(x, feeling, strict=True):
        ax.text(place, top + 0.08, _signed(mean), ha="center", va="center", fontsize=9.5, **BOLD)
        between = " to ".join(map(_signed, limits)) if np.isfinite(limits).all() else ""
        ax.text(place, top + 0.24, between, ha="center", va="center", fontsize=7, color=MUTED)
    top, tall = top + MEANS, tall - MEANS
    middle = top + tall / 2

    def height(feeling: np.ndarray) -> np.ndarray:
        return middle - np.asarray(feeling) / limit * tall / 2

    right = WIDTH - 0.1
    for y, ink in ((top, GOOD), (middle, BAD)):
        size = (right - MARGIN, tall / 2)
        ax.add_patch(Rectangle((MARGIN, y), *size, facecolor=ink, alpha=0.06, linewidth=0))
    ax.hlines(middle, MARGIN, right, color=MUTED, linewidth=0.8, linestyles=(0, (4, 3)))
    ax.text(0.1, middle, "dots: touchpoints", va="center", fontsize=7, color=MUTED)
    for y, text in (
        (top + 0.09, f"+{min(limit, 1):.1f}"),
        (top + tall - 0.09, f"−{min(limit, 1):.1f}"),
    ):
        ax.text(MARGIN - 0.06, y, text, ha="right", va="center", fontsize=7.5, color=MUTED)
    for centred, group in zip(centre, groups, strict=True):
        told = group[group["sentiment"].notna()].head(MOST)
        across = centred + np.linspace(-0.33, 0.33, len(told) + 2)[1:-1] * column
        for place, row in zip(across, told.itertuples(), strict=True):
            size = 12 + 90 * row.reach
            fill = color(row)
            ax.scatter(place, height(row.sentiment), s=size, color=fill, ec=_darker(fill), lw=0.5)
    feeling = np.where(np.isnan(feeling), feeling[:, :1], feeling)
    if len(x) > 1:
        along = np.linspace(x[0], x[-1], 200)
        mean, lower, upper = (PchipInterpolator(x, line)(along) for line in feeling.T)
        ax.fill_between(along, height(lower), height(upper), color=ACCENT, alpha=0.22, linewidth=0)
        ax.plot(along, height(mean), color=ACCENT, linewidth=2)
    ax.vlines(x, height(feeling[:, 1]), height(feeling[:, 2]), color=ACCENT, linewidth=2.5)
    ax.plot(x, height(feeling[:, 0]), "o", color=ACCENT, markersize=6.5, markeredgecolor="white")


def _signed(feeling: float) -> str:
    return f"{feeling:+.2f}".replace("-", "−")


def _flows(ax: Axes, stages: pd.DataFrame, left: np.ndarray, width: float, top: float) -> None:
    for x, row in zip(left, stages.itertuples(), strict=True):
        if not row.closed:
            ax.text(x, top + 0.1, "no end seen yet", va="center", fontsize=8.5, color=MUTED)
            continue
        parts = (
            (row.advance_rate, GOOD, "on"),
            (max(1 - row.advance_rate - row.drop_off_rate, 0.0), "#cfd6dc", "back"),
            (row.drop_off_rate, BAD, "lost"),
        )
        start = x
        for share, color, _ in parts:
            size = (share * width, 0.14)
            ax.add_patch(Rectangle((start, top + 0.03), *size, facecolor=color, linewidth=0))
            start += size[0]
        for line, (share, color, text) in enumerate(parts):
            ink = MUTED if text == "back" else color
            y = top + 0.3 + 0.17 * line
            ax.text(x + 0.36, y, f"{share:.0%}", ha="right", va="center", fontsize=8.5, color=ink)
            ax.text(x + 0.42, y, text, va="center", fontsize=8.5, color=ink)


def _legend(ax: Axes, touchpoints: pd.DataFrame, felt: bool, y: float) -> None:
    x = MARGIN + 0.06
    if felt:
        limit = _feeling_limit(touchpoints)
        cmap, ends = DIVERGING, (f"−{limit:.1f} bad", f"good +{limit:.1f}")
        title = "Bar colour: mean feeling"
    elif touchpoints["drop_off_rate"].max() > 0:
        most = touchpoints["drop_off_rate"].max()
        cmap, ends, title = (
            LOST,
            ("0%", f"{most:.0%}"),
            "Bar colour: visits lost (no feeling known)",
        )
    else:
        cmap, title = None, "No feeling in this log"
    ax.text(x, y, title, va="center", fontsize=8, color=INK)
    x += _inches(title, 8) + 0.15
    if cmap is not None:
        ax.text(x, y, ends[0], va="center", fontsize=8, color=MUTED)
        x += _inches(ends[0], 8) + 0.07
        ax.imshow(
            np.linspace(0, 1, 64)[None],
            cmap=cmap,
            extent=(x, x + 0.9, y - 0.05, y + 0.05),
            aspect="auto",
        )
        ax.text(x + 0.96, y, ends[1], va="center", fontsize=8, color=MUTED)
        x += 1.0 + _inches(ends[1], 8) + 0.3
    for mark, ink, text in (
        ("v", BAD, "pain point"),
        ("D", GOOD, "moment of truth: purchase likelier"),
        ("D", BAD, "less likely"),
    ):
        ax.plot(x, y, mark, color=ink, markersize=5.5)
        ax.text(x + 0.12, y, text, va="center", fontsize=8)
        x += _inches(text, 8) + 0.35
    low, high = ax.get_ylim()
    ax.set(xlim=(0, WIDTH), ylim=(low, high))
