"""The customer journey map as a picture."""

import textwrap
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.ft2font import FT2Font
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle
from scipy.interpolate import PchipInterpolator

from cjlib.errors import Unanswerable
from cjlib.forms import shortened
from cjlib.plots.charts import Label
from cjlib.plots.stage_bars import BACK, visit_shares
from cjlib.plots.style import ACCENT, BAD, DIVERGING, GOOD, GRID, INK, MUTED, role_colors

MOST = 8  # touchpoints shown per stage
WIDTH = 10.0  # of the map, in inches; its coordinates are inches too
MARGIN = 1.3  # left of the stages, for the names of the rows
LINE = 0.38  # height of one touchpoint
MEANS = 0.36  # height of the stages' mean feelings in figures, above their curve
CONTACTS = (
    ("online", "direct", "online, direct"),
    ("online", "indirect", "online, indirect (through others)"),
    ("physical", "direct", "physical, direct"),
    ("physical", "indirect", "physical, indirect"),
)
"""Medium and contact of the marks before touchpoints, and their names."""
LOST = LinearSegmentedColormap.from_list("lost", ["#f3ece4", BAD])


def journey_map(
    stages: pd.DataFrame,
    touchpoints: pd.DataFrame,
    *,
    label: Label = str,
    ax: Axes | None = None,
) -> Axes:
    """Draw the customer journey map: stages from left to right, what happens in them, how it feels.

    Parameters
    ----------
    stages : DataFrame
        Of `cjlib.journey_map.stage_table`; stages without events are left out.
    touchpoints : DataFrame
        Of `cjlib.journey_map.touchpoint_table`; the 8 of largest reach are shown in each stage.
    label : callable
        From a stage or touchpoint to what is shown.
    ax : Axes, optional
        Where to draw; its figure should be as wide as 10 inches. By default a new figure of the
        height that the touchpoints need.

    Returns
    -------
    Axes
        Without axes: bars are coloured by feeling where the log has any, else by drop-off.

    Raises
    ------
    Unanswerable
        If there are fewer than two stages.
    """
    stages = stages[stages["events"] > 0].reset_index(drop=True)
    if len(stages) < 2:
        raise Unanswerable("all events stand on a single stage, and a map needs at least two")
    groups = [touchpoints[touchpoints["stage"] == stage] for stage in stages["stage"]]
    rows = max(min(len(group), MOST) + (len(group) > MOST) for group in groups)
    felt = stages["sentiment"].notna().any()
    body, feeling = max(rows, 2) * LINE, (1.85 + MEANS) * felt
    marked = bool((touchpoints["medium"].fillna("") + touchpoints["contact"]).ne("direct").any())
    height = 2.46 + body + feeling + 0.2 * marked
    if ax is None:
        _, ax = plt.subplots(figsize=(WIDTH, height), layout="none")
        ax.set_position((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(height, 0))
    ax.set_axis_off()
    column = (WIDTH - MARGIN - 0.1) / len(stages)
    left = MARGIN + column * np.arange(len(stages))
    color = _bar_colors(touchpoints, felt)

    top = 0.05
    _stage_arrows(ax, stages, label, left, column, top)
    _row_name(ax, top + 0.1, "Stages", "share of all\ncustomers seen there")
    top += 0.96
    for x, group in zip(left, groups, strict=True):
        _touchpoint_bars(ax, group, label, color, x + 0.06, column - 0.2, top, marked)
    _row_name(ax, top + 0.02, "Touchpoints", "bar: share of all\ncustomers reached")
    top += body + 0.2
    if felt:
        centre = left + (column - 0.08) / 2
        _feeling_curve(ax, stages, centre, top, feeling - 0.2, groups, color, column)
        _row_name(ax, top, "Feeling", "mean and interval")
        top += feeling
    _flows(ax, stages, left + 0.06, column - 0.2, top)
    _row_name(ax, top, "What follows", "of the visits whose\nend was seen")
    _legend(ax, touchpoints, felt, height - 0.2 - 0.2 * marked)
    if marked:
        _contact_legend(ax, height - 0.2)
    return ax


# -- words that fit --------------------------------------------------------------------------------


def _printable(text: str) -> str:
    """Return a text with what the font cannot draw replaced, so that no warning is needed."""
    glyphs = _glyphs(tuple(plt.rcParams["font.family"]))
    return "".join(char if ord(char) in glyphs or char.isspace() else "□" for char in str(text))


@cache
def _font(family: tuple[str, ...]) -> FT2Font:
    path = font_manager.findfont(font_manager.FontProperties(family=list(family)))
    return font_manager.get_font(path)


@cache
def _glyphs(family: tuple[str, ...]) -> frozenset[int]:
    return frozenset(_font(family).get_charmap())


def _wrapped(text: str, width: int) -> str:
    """Return a text in at most three lines of `width` letters, words kept whole."""
    width = max(width, 6)
    lines = textwrap.wrap(_printable(text), width, break_long_words=False) or [""]
    if len(lines) > 3:
        lines = [*lines[:2], shortened(" ".join(lines[2:]), width)]
    return "\n".join(lines)


def _inches(text: str, size: float) -> float:
    """Return how wide a printable text is drawn."""
    font = _font(tuple(plt.rcParams["font.family"]))
    font.set_size(size, 72)
    font.set_text(text)
    return font.get_width_height()[0] / 64 / 72


def _fitted(text: str, width: float, size: float) -> str:
    """Return a text cut with an ellipsis to what fits into `width` inches."""
    text = shortened(_printable(text), 60)
    while len(text) > 2 and _inches(text, size) > width:
        text = text[:-2].rstrip("…") + "…"
    return text


def _write(ax: Axes, x: float, y: float, text: str, size: float, **look) -> None:
    ax.text(x, y, text, fontsize=size, **{"va": "center"} | look)


def _row_name(ax: Axes, y: float, name: str, note: str) -> None:
    _write(ax, 0.1, y, name, 9.5, va="top", fontweight="bold")
    _write(ax, 0.1, y + 0.2, note, 7, va="top", color=MUTED, linespacing=1.25)


# -- the rows of the map ---------------------------------------------------------------------------


def _stage_arrows(
    ax: Axes, stages: pd.DataFrame, label: Label, left: np.ndarray, column: float, top: float
) -> None:
    tip, tall = 0.13, 0.56
    for x, color, row in zip(left, role_colors(stages["role"]), stages.itertuples(), strict=True):
        right = x + column - 0.08
        notch = x + tip if row.Index else x
        corners = [(x, top), (right, top), (right + tip, top + tall / 2), (right, top + tall)]
        corners += [(x, top + tall), (notch, top + tall / 2)]
        ax.add_patch(Polygon(corners, facecolor=color, edgecolor="none"))
        dark = np.dot(to_rgb(color), (0.299, 0.587, 0.114)) < 0.6
        name = _wrapped(label(row.stage), int(column / 0.1))
        widest = max(_inches(line, 10) * 1.15 for line in name.split("\n"))  # bold
        room = 10 * (column - 0.5) / max(widest, 0.1)
        size = max(6.0, min(10.0, room, 24 / (1 + name.count("\n"))))
        look = {"color": "white" if dark else INK, "fontweight": "bold", "linespacing": 1.1}
        _write(ax, (x + right + tip) / 2, top + tall / 2, name, size, ha="center", **look)
        reach = f"{row.reach:.0%} of customers" if column > 1.3 else f"{row.reach:.0%}"
        _write(ax, x + 0.06, top + tall + 0.1, reach, 8.5, va="top")


def _bar_colors(touchpoints: pd.DataFrame, felt: bool):
    """Return the function from a touchpoint's row to the colour of its bar."""
    if felt:
        limit = _feeling_limit(touchpoints)
        scale, name, cmap = Normalize(-limit, limit), "sentiment", DIVERGING
    else:
        most = touchpoints["drop_off_rate"].max()
        scale, name, cmap = Normalize(0, most if most > 0 else 1), "drop_off_rate", LOST

    def color(row) -> tuple | str:
        value = getattr(row, name)
        return cmap(scale(value)) if np.isfinite(value) else BACK

    return color


def _darker(color) -> np.ndarray:
    return 0.72 * np.array(to_rgb(color))


def _feeling_limit(table: pd.DataFrame) -> float:
    """Return how far from neutral the colours reach: the strongest feeling, at least 0.3."""
    return float(max(0.3, table["sentiment"].abs().max()))


def _touchpoint_bars(
    ax: Axes,
    group: pd.DataFrame,
    label: Label,
    color,
    x: float,
    width: float,
    top: float,
    marked: bool,
) -> None:
    shown = group.sort_values("reach", ascending=False, kind="stable").head(MOST)
    full = width - 0.38  # of a bar that reaches everybody
    for place, row in enumerate(shown.itertuples()):
        y = top + place * LINE
        decides = GOOD if row.later_purchase > 0 else BAD
        marks = [("v", BAD)] * bool(row.pain_point) + [("D", decides)] * bool(row.moment_of_truth)
        for back, (mark, ink) in enumerate(marks):
            ax.plot(x + width - 0.07 - 0.16 * back, y + 0.09, mark, color=ink, markersize=5.5)
        if marked:
            _contact_mark(ax, x + 0.05, y + 0.09, row.medium, row.contact)
        name = _fitted(label(row.touchpoint), width - 0.17 * len(marks) - 0.15 * marked, 8.5)
        _write(ax, x + 0.15 * marked, y + 0.09, name, 8.5)
        reach = "<1%" if 0 < row.reach < 0.005 else f"{row.reach:.0%}"
        _write(ax, x + width, y + 0.24, reach, 7.5, ha="right", color=MUTED)
        ax.hlines(y + 0.24, x, x + full, color=GRID, linewidth=2.5, capstyle="round", zorder=1)
        fill = color(row)
        size, style = (max(row.reach, 0.02) * full, 0.1), "round,pad=0,rounding_size=0.03"
        look = {"facecolor": fill, "edgecolor": _darker(fill), "linewidth": 0.5, "zorder": 2}
        ax.add_patch(FancyBboxPatch((x, y + 0.19), *size, boxstyle=style, **look))
    if len(group) > MOST:
        y = top + MOST * LINE + 0.09
        _write(ax, x, y, f"+ {len(group) - MOST} more", 8.5, color=MUTED, style="italic")


def _contact_mark(ax: Axes, x: float, y: float, medium: str, contact: str) -> None:
    """Draw where and how a touchpoint is met: told by shape and filling, not by colour."""
    shape = {"physical": "s", "online": "o"}.get(medium, "d")
    filling = INK if contact == "direct" else "white"
    ax.plot(x, y, shape, color=INK, markerfacecolor=filling, markersize=5, markeredgewidth=1)


def _contact_legend(ax: Axes, y: float) -> None:
    x = MARGIN + 0.06
    for medium, contact, text in CONTACTS:
        _contact_mark(ax, x + 0.05, y, medium, contact)
        _write(ax, x + 0.17, y, text, 8)
        x += _inches(text, 8) + 0.42


def _feeling_curve(
    ax: Axes,
    stages: pd.DataFrame,
    centre: np.ndarray,
    top: float,
    tall: float,
    groups: list[pd.DataFrame],
    color,
    column: float,
) -> None:
    """Draw the mean feeling through the stages, and behind it each touchpoint's as a dot.

    The means stand above in figures with their intervals, which are often too narrow to be seen.
    """
    columns = ["sentiment", "sentiment_lower", "sentiment_upper"]
    strongest = pd.concat([group["sentiment"] for group in groups]).abs().max()
    limit = 1.12 * max(0.15, stages[columns].abs().max(axis=None), strongest)
    known = stages["sentiment"].notna().to_numpy()
    x, feeling = centre[known], stages.loc[known, columns].to_numpy()
    for place, (mean, *limits) in zip(x, feeling, strict=True):
        look = {"ha": "center", "color": ACCENT, "fontweight": "bold"}
        _write(ax, place, top + 0.08, _signed(mean), 9.5, **look)
        between = " to ".join(map(_signed, limits)) if np.isfinite(limits).all() else ""
        _write(ax, place, top + 0.24, between, 7, ha="center", color=MUTED)
    top, tall = top + MEANS, tall - MEANS
    middle = top + tall / 2

    def height(feeling: np.ndarray) -> np.ndarray:
        return middle - np.asarray(feeling) / limit * tall / 2

    right = WIDTH - 0.1
    for y, sign, ink in ((top, "+", GOOD), (middle, "−", BAD)):
        size = (right - MARGIN, tall / 2)
        ax.add_patch(Rectangle((MARGIN, y), *size, facecolor=ink, alpha=0.06, linewidth=0))
        end = top + 0.09 if sign == "+" else top + tall - 0.09
        text = f"{sign}{min(limit, 1):.1f}"
        _write(ax, MARGIN - 0.06, end, text, 7.5, ha="right", color=MUTED)
    ax.hlines(middle, MARGIN, right, color=MUTED, linewidth=0.8, linestyles=(0, (4, 3)))
    _write(ax, 0.1, middle, "dots: touchpoints", 7, color=MUTED)
    for centred, group in zip(centre, groups, strict=True):
        told = group[group["sentiment"].notna()].head(MOST)
        across = centred + np.linspace(-0.33, 0.33, len(told) + 2)[1:-1] * column
        fills = [color(row) for row in told.itertuples()]
        look = {"color": fills, "ec": [_darker(fill) for fill in fills], "lw": 0.5}
        ax.scatter(across, height(told["sentiment"]), s=12 + 90 * told["reach"], **look)
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
    """Draw where the visits of each stage lead."""
    start = left.copy()
    for line, (text, shares, color) in enumerate(visit_shares(stages)):
        ink, y = MUTED if text == "back" else color, top + 0.3 + 0.17 * line
        for place, (x, share) in enumerate(zip(left, shares, strict=True)):
            if np.isfinite(share):
                corner, size = (start[place], top + 0.03), (share * width, 0.14)
                ax.add_patch(Rectangle(corner, *size, facecolor=color, linewidth=0))
                start[place] += share * width
                _write(ax, x + 0.36, y, f"{share:.0%}", 8.5, ha="right", color=ink)
                _write(ax, x + 0.42, y, text, 8.5, color=ink)
    for x in left[stages["closed"] == 0]:
        _write(ax, x, top + 0.1, "no end seen yet", 8.5, color=MUTED)


def _legend(ax: Axes, touchpoints: pd.DataFrame, felt: bool, y: float) -> None:
    x = MARGIN + 0.06
    most = touchpoints["drop_off_rate"].max()
    cmap, title, low, high = None, "No feeling in this log", "", ""
    if felt:
        limit = _feeling_limit(touchpoints)
        cmap, title = DIVERGING, "Bar colour: mean feeling"
        low, high = f"−{limit:.1f} bad", f"good +{limit:.1f}"
    elif most > 0:
        cmap, title = LOST, "Bar colour: visits lost (no feeling known)"
        low, high = "0%", f"{most:.0%}"
    _write(ax, x, y, title, 8)
    x += _inches(title, 8) + 0.15
    if cmap is not None:
        _write(ax, x, y, low, 8, color=MUTED)
        x += _inches(low, 8) + 0.07
        ramp, extent = np.linspace(0, 1, 64)[None], (x, x + 0.9, y - 0.05, y + 0.05)
        limits = {"xlim": ax.get_xlim(), "ylim": ax.get_ylim()}
        ax.imshow(ramp, cmap=cmap, extent=extent, aspect="auto")
        ax.set(**limits)
        _write(ax, x + 0.96, y, high, 8, color=MUTED)
        x += 1.0 + _inches(high, 8) + 0.3
    for mark, ink, text in (
        ("v", BAD, "pain point"),
        ("D", GOOD, "moment of truth: purchase likelier"),
        ("D", BAD, "less likely"),
    ):
        ax.plot(x, y, mark, color=ink, markersize=5.5)
        _write(ax, x + 0.12, y, text, 8)
        x += _inches(text, 8) + 0.35
