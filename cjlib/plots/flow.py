"""Pictures of customers under way: the flow between stages, who gets the credit, what comes."""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from cjlib.forms import shortened
from cjlib.plots.charts import interval_bars
from cjlib.plots.markov import below, transition_heatmap
from cjlib.plots.style import ACCENT, BAD, GOOD, INK, MUTED, percent_axis

Label = Callable[[str], str]
LOST = "lost"
WIDEST = 22.0  # points, of the move that most customers made
FAINT = 0.02  # of that move: what is not drawn
ON_WHITE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}  # over lines
AGREE = 0.005  # share by which models may differ and still agree


def journey_flow(
    moves: pd.DataFrame,
    stages: Sequence[str],
    colors: Sequence[str],
    *,
    before: Sequence[str] = (),
    label: Label = str,
    title: str = "Above: to later stages; below: to earlier or to the next purchase; red: ends",
    ax: Axes | None = None,
) -> Axes:
    """Draw the stages in order and the customers who move between them.

    Parameters
    ----------
    moves : DataFrame
        ``from_stage, to_stage, customers``, with ``lost`` among the latter.
    stages : sequence of str
        In order, as many as ``colors``.
    colors : sequence of str
        One per stage.
    before : sequence of str
        Stages before the purchase: an end is a loss there, and elsewhere an end.
    label : callable
        From a stage's name to what is shown.
    title : str
    ax : Axes, optional

    Returns
    -------
    Axes
        A line is as wide as the customers who made its move at least once are many; moves of
        fewer than one in fifty of the widest are left out.
    """
    ax = plt.gca() if ax is None else ax
    stages = list(stages)
    place = {stage: i for i, stage in enumerate(stages)}
    between = moves[moves["from_stage"].isin(stages) & moves["to_stage"].isin([*stages, LOST])]
    most = max(float(between["customers"].max()), 1.0)
    drawn = between[between["customers"] >= FAINT * most].sort_values("customers")
    for move in drawn.itertuples():
        start = place[move.from_stage]
        width = max(WIDEST * move.customers / most, 0.8)
        if move.to_stage == LOST:
            drop = {"color": BAD, "linewidth": width, "alpha": 0.85, "solid_capstyle": "butt"}
            ax.plot([start, start], [-0.2, -0.5], **drop)
            word = "lost" if move.from_stage in before else "ended here"
            text = f"{word}\n{move.customers:,.0f}"
            where = {"ha": "center", "va": "top", "color": BAD, "fontsize": 9, "zorder": 4}
            ax.text(start, -0.53, text, **where, bbox=ON_WHITE)
            continue
        end = place[move.to_stage]
        if end == start:
            continue
        side = 1 if end > start else -1
        _arc(ax, start, end, side, width, colors[start], f"{move.customers:,.0f}")
    for i, stage in enumerate(stages):
        box = FancyBboxPatch(
            (i - 0.36, -0.2),
            0.72,
            0.4,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=colors[i],
            edgecolor="white",
            linewidth=1.5,
            zorder=4,
        )
        ax.add_patch(box)
        name = shortened(label(stage), 15).replace(" ", "\n", 1)
        ink = "white" if _dark(colors[i]) else INK
        size = 10 if len(stages) < 7 else 8
        ax.text(i, 0, name, ha="center", va="center", color=ink, fontsize=size, zorder=5)
    ways = drawn["to_stage"].map(place) - drawn["from_stage"].map(place)
    above, below = (_height(max(side.max(), 1)) for side in (ways, -ways))
    ax.set(xlim=(-0.6, len(stages) - 0.4), ylim=(-max(below, 0.7) - 0.25, above + 0.25))
    ax.set_title(title)
    ax.axis("off")
    return ax


def _height(steps: int) -> float:
    """Return how far from the line of stages an arc over so many steps culminates."""
    return 0.34 + 0.36 * steps


def _arc(ax: Axes, start: int, end: int, side: int, width: float, color: str, text: str) -> None:
    """Draw one move from stage to stage, above (onward) or below (back)."""
    # longer arcs leave nearer to the middle of a stage, so that they do not lie on the shorter
    shift = max(0.27 - 0.05 * abs(end - start), 0.1) * np.sign(end - start)
    left, right, base = start + shift, end - shift, 0.2 * side
    top = _height(abs(end - start)) * side
    control = base + (top - base) / 0.75  # a cubic curve reaches three quarters of its controls
    path = Path(
        [(left, base), (left, control), (right, control), (right, base)],
        [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
    )
    ax.add_patch(PathPatch(path, facecolor="none", edgecolor=color, linewidth=width, alpha=0.55))
    if width >= 0.06 * WIDEST:
        ax.text(
            (left + right) / 2,
            top,
            text,
            ha="center",
            va="center",
            fontsize=8.5,
            color=INK,
            bbox=ON_WHITE,
            zorder=3,
        )


def _dark(color: str) -> bool:
    red, green, blue = plt.matplotlib.colors.to_rgb(color)
    return 0.3 * red + 0.59 * green + 0.11 * blue < 0.58


def segment_heatmaps(
    chains: Sequence[tuple[str, object]], axes: np.ndarray, *, label: Label = str
) -> np.ndarray:
    """Draw the matrices of several segments, a panel each.

    Parameters
    ----------
    chains : sequence of (name, MarkovChain)
        As many are drawn as there are axes.
    axes : ndarray of Axes, shape (rows, columns)
    label : callable

    Returns
    -------
    ndarray of Axes
    """
    drawn = chains[: axes.size]
    everywhere = pd.concat(chain.summary(name) for name, chain in drawn).query("n > 0")
    frame = tuple(
        [state for state in drawn[0][1].states_ if state in set(everywhere[side])]
        for side in ("from_stage", "to_stage")
    )
    for place, ax in enumerate(axes.ravel()):
        if place >= len(chains):
            ax.axis("off")
            continue
        name, chain = chains[place]
        title = f"{shortened(name, 22)} ({chain.counts_.sum():,.0f} moves)"
        transition_heatmap(chain, label=label, title=title, detail=False, frame=frame, ax=ax)
        ax.set(xlabel="", ylabel="")
        ax.set_title(title, fontsize=10.5)
        ax.set_xticklabels(ax.get_xticklabels(), rotation=30, ha="right", fontsize=9)
        ax.tick_params(axis="y", labelsize=9)
        if place % axes.shape[1]:
            ax.set_yticklabels([])
    return axes


def chance_bars(reached: pd.DataFrame, colors: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Draw the chance of the (next) purchase by stage.

    Parameters
    ----------
    reached : DataFrame
        ``label, probability, lower, upper``.
    colors : sequence of str
        One per row.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    interval_bars(reached, label="label", value="probability", color=list(colors), ax=ax)
    ax.set(xlim=(0, 1), xlabel="probability, before the customer is lost")
    ax.set_title("The (next) purchase is reached")
    percent_axis(ax.xaxis)
    return ax


def return_curves(
    curves: pd.DataFrame, *, longest: float | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the share of customers who have bought again after so many days.

    Parameters
    ----------
    curves : DataFrame
        ``survival`` of one or more kinds of purchase (column ``stage``), stacked.
    longest : float, optional
        Days shown at most.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    longest = float(curves["days"].max()) if longest is None else longest
    for stage, color in zip(dict.fromkeys(curves["stage"]), (ACCENT, GOOD), strict=False):
        part = curves[(curves["stage"] == stage) & (curves["days"] <= longest)]
        if not part["exits"].any():
            continue
        days = np.r_[0, part["days"]]
        share, low, high = (1 - np.r_[1, part[c]] for c in ("survival", "upper", "lower"))
        ax.step(days, share, where="post", color=color, linewidth=2, label=f"after {stage}")
        ax.fill_between(days, low, high, step="post", color=color, alpha=0.18, linewidth=0)
    ax.set(xlim=(0, longest), ylim=(0, None), xlabel="days since the purchase")
    ax.set(ylabel="have bought again", title="Who buys again, and when")
    percent_axis(ax.yaxis)
    below(ax)
    return ax


def attribution_ranges(
    table: pd.DataFrame,
    *,
    highlight: str = "markov_1",
    label: Label = str,
    levels: int = 12,
    title: str = "Who gets the credit for the purchases",
    ax: Axes | None = None,
) -> Axes:
    """Draw the range of the models' shares per level, and three of them by name.

    Parameters
    ----------
    table : DataFrame
        Of ``attribute``, one dimension.
    highlight : str
        The model to draw large and to order by.
    label : callable
        From a level to what is shown.
    levels : int
        How many levels to show, the greatest by the highlighted model first.
    title : str
    ax : Axes, optional

    Returns
    -------
    Axes
        Where all models agree a level is one dot.
    """
    ax = plt.gca() if ax is None else ax
    shares = table.pivot_table(index="level", columns="model", values="share")
    shares = shares.sort_values(highlight, ascending=False, kind="stable").head(levels)
    rows, least, most = np.arange(len(shares)), shares.min(axis=1), shares.max(axis=1)
    ax.hlines(rows, least, most, color="#c3ccd4", linewidth=6, label="all models")
    apart = (most - least >= AGREE).to_numpy()
    for model, marker in (("first", "<"), ("last", ">")):
        if model in shares and apart.any():
            dots = shares[model].to_numpy()[apart]
            ax.scatter(
                dots, rows[apart], marker=marker, s=40, color=INK, label=f"{model} touch", zorder=4
            )
    order = highlight.removeprefix("markov_")
    name = "removal effect" if order != highlight else highlight.replace("_", " ")
    ax.scatter(shares[highlight], rows, s=52, color=ACCENT, label=name, zorder=5)
    ax.set_yticks(rows, [shortened(label(level), 26) for level in shares.index])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set(xlabel="share of all purchases", title=title, xlim=(0, None))
    percent_axis(ax.xaxis)
    if apart.any():
        ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
    return ax


def forecast_panels(
    history: pd.DataFrame,
    tables: Sequence[pd.DataFrame],
    axes: Sequence[Axes],
    *,
    label: Label = str,
) -> Sequence[Axes]:
    """Draw, a stage per panel, the customers seen and those foreseen with their bands.

    Parameters
    ----------
    history : DataFrame
        ``period, stage, customers`` as seen.
    tables : sequence of DataFrame
        Back-test and forecast: ``period, stage, expected, lower, upper, observed``; the forecast
        may lack stages.
    axes : sequence of Axes
        Three in a row, one per stage of the tables, in their order.
    label : callable

    Returns
    -------
    sequence of Axes
    """
    stages = list(dict.fromkeys(stage for table in tables for stage in table["stage"]))
    for place, (ax, stage) in enumerate(zip(axes, stages, strict=False)):
        seen = history[history["stage"] == stage]
        ax.plot(seen["period"], seen["customers"], color=INK, linewidth=1.6, label="seen")
        for table in tables:
            part = table[table["stage"] == stage]
            if part.empty:
                continue
            past = part["observed"].notna().any()
            band, shade = ("back-test", MUTED) if past else ("forecast", ACCENT)
            band = f"{band}, 95 % band"
            span = part["lower"], part["upper"]
            ax.fill_between(part["period"], *span, color=shade, alpha=0.3, linewidth=0, label=band)
            ax.plot(part["period"], part["expected"], color=shade, linestyle="--", linewidth=1.8)
        ax.set_title(shortened(label(stage), 24), fontsize=10.5)
        ax.set_ylim(0, None)
        ax.xaxis.set_major_locator(plt.matplotlib.dates.AutoDateLocator(maxticks=4))
        ax.xaxis.set_major_formatter(plt.matplotlib.dates.DateFormatter("%b %y"))
        ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        if place % 3 == 0:
            ax.set_ylabel("active customers")
    for ax in list(axes)[len(stages) :]:
        ax.axis("off")
    # a stage without a forecast lacks its band, so the names come from all panels
    named = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in axes]
    handles = {name: handle for panel in named for handle, name in panel}
    axes[0].figure.legend(
        handles.values(), handles.keys(), frameon=False, loc="outside lower center", ncols=3
    )
    return axes
