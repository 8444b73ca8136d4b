"""Pictures of chains: the matrix of everybody and of segments, when it changed, and what moved."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from cjlib.errors import Unanswerable
from cjlib.forms import shortened
from cjlib.plots.charts import Label, heatmap, new_axes
from cjlib.plots.style import ACCENT, BAD

ALL = "all"
PANELS = 4  # segments drawn


def transition_heatmap(
    summary: pd.DataFrame, *, label: Label = str, title: str = "Where customers go next"
) -> Axes:
    """Draw a chain: in each cell the probability, its interval and the number of transitions.

    Parameters
    ----------
    summary : DataFrame
        Of one fitted chain, in the order of its stages: from_stage, to_stage, n, probability,
        lower, upper. Stages never left make no row, those never entered no column.
    label : callable
        From a state's name to what is shown.
    title : str
    """
    seen = summary[summary["n"] > 0]
    text = [
        f"{one.probability:.0%}\n{one.lower:.0%} to {one.upper:.0%}\nn {one.n:,.0f}"
        for one in seen.itertuples()
    ]
    states = _states(summary)
    grid = _grid(seen, "probability", states)
    written = _grid(seen.assign(text=text), "text", states)
    ax = new_axes(None, 1.5 + 0.72 * len(grid))
    return _from_to(heatmap(grid, text=written, title=title, label=label, ax=ax))


def segment_heatmaps(summaries: pd.DataFrame, *, label: Label = str) -> np.ndarray:
    """Draw the matrices of the segments with most transitions, a panel each.

    Parameters
    ----------
    summaries : DataFrame
        Of several fitted chains, stacked: segment and the columns of `transition_heatmap`; the
        segment ``all`` comes first and is not drawn.
    label : callable
        From a state's name to what is shown.

    Returns
    -------
    ndarray of Axes

    Raises
    ------
    Unanswerable
        Where there are no segments.
    """
    seen = summaries[(summaries["n"] > 0) & (summaries["segment"] != ALL)]
    sizes = seen.groupby("segment")["n"].sum().sort_values(ascending=False).head(PANELS)
    if sizes.empty:
        raise Unanswerable("this log does not tell these groups of customers apart")
    states = _states(summaries)
    frame = _grid(seen.drop_duplicates(["from_stage", "to_stage"]), "probability", states)
    rows, height = -(-len(sizes) // 2), 0.7 + 0.35 * len(frame)
    options = {"figsize": (9, 0.8 + rows * height), "sharex": True, "sharey": True}
    _, axes = plt.subplots(rows, 2, squeeze=False, **options)
    for ax, (segment, n) in zip(axes.ravel(), sizes.items(), strict=False):
        grid = _grid(seen[seen["segment"] == segment], "probability", states)
        title = f"{shortened(segment, 22)} (n {n:,.0f})"
        heatmap(grid.reindex_like(frame), title=title, label=label, ax=ax)
        plt.setp(ax.get_xticklabels(), rotation=30, ha="right", fontsize=9)
    for ax in axes.ravel()[len(sizes) :]:
        ax.axis("off")
    return axes


def change_pictures(
    points: pd.DataFrame,
    change: pd.DataFrame,
    cells: pd.DataFrame,
    states: Sequence[str],
    *,
    label: Label = str,
) -> np.ndarray:
    """Draw how surely some move changed at every month, and where one is dated what moved.

    Parameters
    ----------
    points : DataFrame
        Of `cjlib.markov.change_points`.
    change : DataFrame
        Of `cjlib.markov.dated_change`: its date is a line, the other plausible ones a band.
    cells : DataFrame
        Of `cjlib.markov.moved_since`: differences in points; what could be chance is pale and a
        dot. Without rows there is one picture.
    states : sequence of str
        In the order wanted.
    label : callable
        From a state's name to what is shown.

    Returns
    -------
    ndarray of Axes, shape (1,) or (2,)
    """
    heights = [2.6, 1.6 + 0.45 * cells["from_stage"].nunique()][: 1 + len(change)]
    _, axes = plt.subplots(
        len(heights), figsize=(9, sum(heights)), height_ratios=heights, squeeze=False
    )
    axes = axes.ravel()
    for found in change.itertuples():
        axes[0].axvspan(found.first, found.last, color=BAD, alpha=0.12, linewidth=0)
        axes[0].axvline(found.period, color=BAD, linewidth=1.4)
        _differences(cells, states, label, axes[1])
    axes[0].plot(points["period"], points["z"].abs(), color=ACCENT, marker="o", linewidth=2)
    axes[0].set(ylim=(0, None), xlabel="first month after the cut", title="When moves changed")
    axes[0].set(ylabel="largest change,\nin standard errors")
    axes[0].tick_params(labelsize=8.5)
    return axes


def _differences(cells: pd.DataFrame, states: Sequence[str], label: Label, ax: Axes) -> None:
    sure = cells["verdict"] != "none"
    shown = cells["difference"].where(sure, 0.0)
    text = cells["difference"].map(lambda difference: f"{100 * difference:+.1f}").where(sure, "·")
    grid = _grid(cells.assign(shown=shown), "shown", states)
    written = _grid(cells.assign(text=text), "text", states)
    reach = max(0.02, float(shown.abs().max()))
    colors = sns.diverging_palette(220, 30, l=60, as_cmap=True)  # more is neither good nor bad
    options = {"title": "What moved, in percentage points", "label": label, "ax": ax}
    _from_to(heatmap(grid, text=written, cmap=colors, limits=(-reach, reach), **options))


def _states(summary: pd.DataFrame) -> list[str]:
    """Return the states of a chain's summary in order, those never left last."""
    return list(dict.fromkeys([*summary["from_stage"], *summary["to_stage"]]))


def _grid(table: pd.DataFrame, value: str, states: Sequence[str]) -> pd.DataFrame:
    grid = table.pivot_table(value, "from_stage", "to_stage", aggfunc="first")
    rows, columns = ([s for s in states if s in names] for names in (grid.index, grid.columns))
    return grid.reindex(index=rows, columns=columns)


def _from_to(ax: Axes) -> Axes:
    ax.set(xlabel="to", ylabel="from")
    return ax
