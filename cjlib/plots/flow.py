"""Pictures of customers under way: the flow between stages, and what comes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.dates import AutoDateLocator, DateFormatter
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from cjlib.forms import shortened
from cjlib.journeys import LOST
from cjlib.plots.charts import Label, new_axes
from cjlib.plots.style import ACCENT, BAD, INK, MUTED, role_colors

WIDEST = 22.0  # points, of the move that most customers made
FAINT = 0.02  # of that move: what is not drawn
ON_WHITE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}  # over lines


def journey_flow(
    moves: pd.DataFrame,
    stages: Sequence[str],
    roles: Mapping[str, str],
    *,
    label: Label = str,
    title: str = "Above: to later stages; below: to earlier or to the next purchase; red: lost",
) -> Axes:
    """Draw the stages in order and the customers who move between them.

    Parameters
    ----------
    moves : DataFrame
        ``from_stage, to_stage, customers``; what is no stage among the latter ends a journey.
    stages : sequence of str
        In order.
    roles : mapping of str to str
        Role of each stage: silence is a loss in those before the purchase, elsewhere an end.
    label : callable
        From a stage's name to what is shown.
    title : str

    Returns
    -------
    Axes
        A line is as wide as the customers who made its move at least once are many; moves of
        fewer than one in fifty of the widest are left out.
    """
    ax = new_axes(None, 2.4 + 0.5 * len(stages))
    place = {stage: i for i, stage in enumerate(stages)}
    colors = dict(zip(roles, role_colors(roles.values()), strict=True))
    most = max(float(moves["customers"].max()), 1.0)
    drawn = moves[moves["customers"] >= FAINT * most].sort_values("customers")
    over = ~drawn["to_stage"].isin(stages)
    for move in drawn[~over & (drawn["from_stage"] != drawn["to_stage"])].itertuples():
        start, width = place[move.from_stage], max(WIDEST * move.customers / most, 0.8)
        text = f"{move.customers:,.0f}" if width >= 0.06 * WIDEST else ""
        _arc(ax, start, place[move.to_stage], width, colors[move.from_stage], text)
    for stage, ends in drawn[over].groupby("from_stage"):
        for i, end in enumerate(ends.sort_values("to_stage").itertuples()):
            where = place[stage] + 0.8 * ((i + 0.5) / len(ends) - 0.5)
            color = BAD if end.to_stage == LOST and roles[stage] == "before" else MUTED
            drop = {"color": color, "alpha": 0.85, "solid_capstyle": "butt"}
            ax.plot([where] * 2, [-0.2, -0.5], linewidth=WIDEST * end.customers / most, **drop)
            text = f"{shortened(label(end.to_stage), 12)}\n{end.customers:,.0f}"
            look = {"ha": "center", "va": "top", "color": color, "fontsize": 9, "zorder": 4}
            ax.text(where, -0.53, text, **look, bbox=ON_WHITE)
    box = {"boxstyle": "round,pad=0,rounding_size=0.08", "edgecolor": "white", "linewidth": 1.5}
    words = {"ha": "center", "va": "center", "fontsize": 10 if len(stages) < 7 else 8, "zorder": 5}
    for i, stage in enumerate(stages):
        color = colors[stage]
        ax.add_patch(FancyBboxPatch((i - 0.36, -0.2), 0.72, 0.4, facecolor=color, zorder=4, **box))
        name = shortened(label(stage), 15).replace(" ", "\n", 1)
        ax.text(i, 0, name, color="white" if _dark(color) else INK, **words)
    ways = (drawn["to_stage"].map(place) - drawn["from_stage"].map(place)).dropna()
    above, below = (_height(max([1, *side])) for side in (ways, -ways))
    ax.set(xlim=(-0.6, len(stages) - 0.4), ylim=(-max(below, 0.7) - 0.25, above + 0.25))
    ax.set_title(title)
    ax.axis("off")
    return ax


def _height(steps: int) -> float:
    """Return how far from the line of stages an arc over so many steps culminates."""
    return 0.34 + 0.36 * steps


def _arc(ax: Axes, start: int, end: int, width: float, color: str, text: str) -> None:
    """Draw one move from stage to stage, above (onward) or below (back)."""
    side = np.sign(end - start)
    # longer arcs leave nearer to the middle of a stage, so that they do not lie on the shorter
    shift = max(0.27 - 0.05 * abs(end - start), 0.1) * side
    left, right, base = start + shift, end - shift, 0.2 * side
    top = _height(abs(end - start)) * side
    control = base + (top - base) / 0.75  # a cubic curve reaches three quarters of its controls
    path = Path(
        [(left, base), (left, control), (right, control), (right, base)],
        [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
    )
    ax.add_patch(PathPatch(path, facecolor="none", edgecolor=color, linewidth=width, alpha=0.55))
    where = {"ha": "center", "va": "center", "fontsize": 8.5, "color": INK, "zorder": 3}
    if text:
        ax.text((left + right) / 2, top, text, **where, bbox=ON_WHITE)


def _dark(color: str) -> bool:
    red, green, blue = to_rgb(color)
    return 0.3 * red + 0.59 * green + 0.11 * blue < 0.58


def forecast_panels(seen: pd.DataFrame, table: pd.DataFrame, *, label: Label = str) -> np.ndarray:
    """Draw, a stage per panel, the customers seen and those foreseen with their bands.

    Parameters
    ----------
    seen : DataFrame
        ``period, stage, customers``; a stage whose customers are all missing (see
        `cjlib.groups`) has no panel.
    table : DataFrame
        ``period, stage, expected, lower, upper, kind``; a stage may lack a kind.
    label : callable
        From a stage's name to what is shown.

    Returns
    -------
    ndarray of Axes
    """
    few = set(seen["stage"]) - set(seen.loc[seen["customers"].notna(), "stage"])
    stages = [stage for stage in dict.fromkeys(table["stage"]) if stage not in few]
    rows = -(-len(stages) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(9, 1.2 + 2.3 * rows), squeeze=False)
    shades = {"back-test": MUTED, "forecast": ACCENT}
    for ax, stage in zip(axes.ravel(), stages, strict=False):
        past = seen[seen["stage"] == stage]
        ax.plot(past["period"], past["customers"], color=INK, linewidth=1.6, label="seen")
        for kind, part in table[table["stage"] == stage].groupby("kind"):
            look = {"color": shades[kind], "alpha": 0.3, "linewidth": 0}
            span = part["lower"], part["upper"]
            ax.fill_between(part["period"], *span, label=f"{kind}, 95 % band", **look)
            dashes = {"linestyle": "--", "linewidth": 1.8}
            ax.plot(part["period"], part["expected"], color=shades[kind], **dashes)
        ax.set_title(shortened(label(stage), 24), fontsize=10.5)
        ax.set_ylim(0, None)
        ax.xaxis.set_major_locator(AutoDateLocator(maxticks=4))
        ax.xaxis.set_major_formatter(DateFormatter("%b %y"))
        ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    for ax in axes.ravel()[len(stages) :]:
        ax.axis("off")
    for ax in axes[:, 0]:
        ax.set_ylabel("active customers")
    # a stage without a forecast lacks its band, so the names come from all panels
    named = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in axes.ravel()]
    handles = {name: handle for panel in named for handle, name in panel}
    where = {"frameon": False, "loc": "outside lower center", "ncols": 3}
    figure.legend(handles.values(), handles.keys(), **where)
    return axes
