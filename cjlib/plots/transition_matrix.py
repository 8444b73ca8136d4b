"""Pictures of chains: the matrix of everybody and of segments, what moved in it, and when."""

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
    summary: pd.DataFrame,
    states: Sequence[str],
    *,
    label: Label = str,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw a chain: in each cell the probability, its interval and the number of transitions.

    Parameters
    ----------
    summary : DataFrame
        Of one fitted chain: from_stage, to_stage, n, probability, lower, upper.
    states : sequence of str
        In the order wanted; those never left make no row, those never entered no column.
    label : callable
        From a state's name to what is shown.
    title : str
    ax : Axes, optional
    """
    seen = summary[summary["n"] > 0]
    text = [
        f"{one.probability:.0%}\n{one.lower:.0%} to {one.upper:.0%}\nn {one.n:,.0f}"
        for one in seen.itertuples()
    ]
    grid = _grid(seen, "probability", states)
    ax = new_axes(ax, 1.5 + 0.72 * len(grid))
    written = _grid(seen.assign(text=text), "text", states)
    return _from_to(heatmap(grid, text=written, title=title, label=label, ax=ax))


def segment_heatmaps(
    summaries: pd.DataFrame, states: Sequence[str], *, label: Label = str
) -> np.ndarray:
    """Draw the matrices of the segments with most transitions, a panel each.

    Parameters
    ----------
    summaries : DataFrame
        Of several fitted chains, stacked: segment and the columns of `transition_heatmap`; the
        segment ``all`` is not drawn.
    states, label
        As in `transition_heatmap`.

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
    frame = _grid(seen.drop_duplicates(["from_stage", "to_stage"]), "probability", states)
    rows, height = -(-len(sizes) // 2), 0.7 + 0.35 * len(frame)
    options = {"figsize": (9, 0.8 + rows * height), "sharex": True, "sharey": True}
    _, axes = plt.subplots(rows, 2, squeeze=False, **options)
    for ax, (segment, n) in zip(axes.ravel(), sizes.items(), strict=False):
        grid = _grid(seen[seen["segment"] == segment], "probability", states)
        grid = grid.reindex_like(frame)
        heatmap(grid, title=f"{shortened(segment, 22)} (n {n:,.0f})", label=label, ax=ax)
        plt.setp(ax.get_xticklabels(), rotation=30, ha="right", fontsize=9)
    for ax in axes.ravel()[len(sizes) :]:
        ax.axis("off")
    return axes


def difference_heatmap(
    cells: pd.DataFrame,
    states: Sequence[str],
    *,
    label: Label = str,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw differences of probabilities in points; what could be chance is pale and a dot.

    Parameters
    ----------
    cells : DataFrame
        Of one group: from_stage, to_stage, difference, verdict (``none`` where it could be chance).
    states, label, title, ax
        As in `transition_heatmap`.
    """
    sure = cells["verdict"] != "none"
    shown = cells["difference"].where(sure, 0.0)
    text = cells["difference"].map(lambda difference: f"{100 * difference:+.1f}").where(sure, "·")
    grid = _grid(cells.assign(shown=shown), "shown", states)
    written = _grid(cells.assign(text=text), "text", states)
    reach = max(0.02, float(shown.abs().max()))
    colors = sns.diverging_palette(220, 30, l=60, as_cmap=True)  # more is neither good nor bad
    options = {"cmap": colors, "limits": (-reach, reach), "title": title, "label": label}
    return _from_to(heatmap(grid, text=written, ax=ax, **options))


def change_curve(
    points: pd.DataFrame, change: pd.DataFrame, *, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw, at every boundary of periods, how surely some move changed there.

    Parameters
    ----------
    points : DataFrame
        Of `cjlib.markov.change_points`.
    change : DataFrame
        Of `cjlib.markov.dated_change`: where a date is found it is a line, the other plausible
        ones a band.
    title : str
    ax : Axes, optional
    """
    ax = new_axes(ax, 2.6)
    for found in change[change["verdict"].isin(["change", "hint"])].itertuples():
        ax.axvspan(found.first, found.last, color=BAD, alpha=0.12, linewidth=0)
        ax.axvline(found.period, color=BAD, linewidth=1.4)
    ax.plot(points["period"], points["z"].abs(), color=ACCENT, marker="o", linewidth=2)
    ax.set(ylim=(0, None), xlabel="first month after the cut", title=title)
    ax.set(ylabel="largest change,\nin standard errors")
    ax.tick_params(labelsize=8.5)
    return ax


def _grid(table: pd.DataFrame, value: str, states: Sequence[str]) -> pd.DataFrame:
    grid = table.pivot_table(value, "from_stage", "to_stage", aggfunc="first")
    rows, columns = ([s for s in states if s in names] for names in (grid.index, grid.columns))
    return grid.reindex(index=rows, columns=columns)


def _from_to(ax: Axes) -> Axes:
    ax.set(xlabel="to", ylabel="from")
    return ax
