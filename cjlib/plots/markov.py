"""Pictures of chains: matrices with their certainty, what moved, and the time in a stage."""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from cjlib.plots.style import ACCENT, BAD, GOOD, INK, SEQUENTIAL, percent_axis, shorten

Label = Callable[[str], str]


def _grid(table: pd.DataFrame, value: str, order: Sequence[str] | None) -> pd.DataFrame:
    present = set(table["from_stage"]) | set(table["to_stage"])
    names = list(dict.fromkeys([*table["from_stage"], *table["to_stage"]]))
    names = [name for name in order if name in present] if order is not None else names
    grid = table.pivot_table(value, "from_stage", "to_stage", aggfunc="first", observed=True)
    rows = [name for name in names if name in grid.index]
    columns = [name for name in names if name in grid.columns]
    return grid.reindex(index=rows, columns=columns)


def _paint(grid, text, ax, label, title, **options) -> Axes:
    sns.heatmap(
        grid,
        annot=text.to_numpy(),
        fmt="",
        linewidths=1.5,
        annot_kws={"fontsize": 8.5},
        cbar=False,
        ax=ax,
        **options,
    )
    ax.set_xticks(
        np.arange(len(grid.columns)) + 0.5,
        [shorten(label(name), 14) for name in grid.columns],
        rotation=0 if len(grid.columns) <= 7 else 30,
        ha="center" if len(grid.columns) <= 7 else "right",
    )
    ax.set_yticks(
        np.arange(len(grid.index)) + 0.5,
        [shorten(label(name), 18) for name in grid.index],
        rotation=0,
    )
    ax.set(xlabel="to", ylabel="from", title=title)
    ax.grid(visible=False)
    return ax


def transition_heatmap(
    chain,
    *,
    label: Label = str,
    order: Sequence[str] | None = None,
    title: str = "Where customers go next",
    detail: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a chain: in each cell the probability, its interval and the number of transitions.

    Parameters
    ----------
    chain : MarkovChain or DataFrame
        Fitted, or its ``summary()`` of one segment.
    label : callable
        From a state's name to what is shown (``log.label``).
    order : sequence of str, optional
        States in the order wanted; by default the chain's.
    title : str
    detail : bool
        False shows the probabilities alone, for small pictures.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    if not isinstance(chain, pd.DataFrame):
        order = list(chain.states_) if order is None else order
        chain = chain.summary()
    seen = chain[chain["n"] > 0]
    grid = _grid(seen, "probability", order)

    def write(row: pd.Series) -> str:
        share = f"{row['probability']:.0%}"
        if not detail:
            return share
        return f"{share}\n{row['lower']:.0%} to {row['upper']:.0%}\nn {row['n']:,.0f}"

    text = _grid(seen.assign(text=[write(row) for _, row in seen.iterrows()]), "text", order)
    return _paint(grid, text.fillna(""), ax, label, title, cmap=SEQUENTIAL, vmin=0, vmax=1)


def heatmaps_side_by_side(
    summaries: dict[str, pd.DataFrame],
    axes: Sequence[Axes],
    *,
    label: Label = str,
    order: Sequence[str] | None = None,
) -> Sequence[Axes]:
    """Draw several segments' matrices in one row, on one scale.

    Parameters
    ----------
    summaries : dict
        Segment to its ``MarkovChain.summary()``.
    axes : sequence of Axes
        One per segment.
    label, order
        As in `transition_heatmap`.

    Returns
    -------
    sequence of Axes
    """
    for place, (ax, (name, table)) in enumerate(zip(axes, summaries.items(), strict=False)):
        title = f"{shorten(name, 22)} (n {table['n'].sum():,.0f})"
        transition_heatmap(table, label=label, order=order, title=title, detail=False, ax=ax)
        ax.set_xticklabels(ax.get_xticklabels(), rotation=40, ha="right")
        if place:
            ax.set(ylabel="", yticklabels=[])
    return axes


def moved_heatmap(
    cells: pd.DataFrame,
    *,
    label: Label = str,
    order: Sequence[str] | None = None,
    title: str = "What moved, in percentage points",
    significant: float = 0.05,
    ax: Axes | None = None,
) -> Axes:
    """Draw differences of probabilities; those that could be chance are left pale and unwritten.

    Parameters
    ----------
    cells : DataFrame
        Of ``moved_cells`` for one group: from_stage, to_stage, effect, q_value.
    label, order, title
        As in `transition_heatmap`.
    significant : float
        Largest q-value that counts as moved.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    sure = cells["q_value"] <= significant
    grid = _grid(cells.assign(shown=cells["effect"].where(sure, 0.0)), "shown", order)
    text = [
        f"{effect * 100:+.1f}" if moved else "·"
        for effect, moved in zip(cells["effect"], sure, strict=True)
    ]
    written = _grid(cells.assign(text=text), "text", order).fillna("")
    reach = max(0.02, float(cells["effect"].where(sure, 0.0).abs().max()))
    colors = sns.diverging_palette(220, 30, l=60, as_cmap=True)
    return _paint(grid, written, ax, label, title, cmap=colors, vmin=-reach, vmax=reach)


def survival_curves(
    curves: pd.DataFrame,
    *,
    label: Label = str,
    colors: dict[str, str] | None = None,
    longest: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of visits still in their stage after so many days.

    Parameters
    ----------
    curves : DataFrame
        ``survival`` of one or more stages, stacked.
    label : callable
    colors : dict, optional
        Stage to colour.
    longest : float, optional
        Days shown at most; by default where the last curve falls below 2 %.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    stages = list(dict.fromkeys(curves["stage"]))
    colors = colors or dict(zip(stages, sns.color_palette("crest", len(stages)), strict=True))
    if longest is None:
        staying = curves.loc[curves["survival"] >= 0.02, "days"]
        longest = float(staying.max()) if len(staying) else float(curves["days"].max())
    for stage in stages:
        part = curves[curves["stage"] == stage]
        days = np.r_[0, part["days"]]
        ax.step(days, np.r_[1, part["survival"]], where="post", color=colors[stage], linewidth=2)
        low, high = (np.r_[1, part[name].ffill().fillna(1)] for name in ("lower", "upper"))
        ax.fill_between(days, low, high, step="post", color=colors[stage], alpha=0.15, linewidth=0)
    ax.set(xlim=(0, max(longest, 1)), ylim=(0, 1), xlabel="days since the stage was entered")
    ax.set(ylabel="visits still there", title="How long customers stay in a stage")
    percent_axis(ax.yaxis)
    handles = [plt.Line2D([], [], color=colors[stage], linewidth=2) for stage in stages]
    ax.legend(handles, [shorten(label(stage), 22) for stage in stages], frameon=False)
    return ax


def incidence_curves(
    curves: pd.DataFrame,
    *,
    label: Label = str,
    colors: dict[str, str] | None = None,
    longest: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw, for one stage, by which way and after how many days it is left.

    Parameters
    ----------
    curves : DataFrame
        ``cumulative_incidence`` of one stage.
    label : callable
    colors : dict, optional
        Exit to colour.
    longest : float, optional
        Days shown at most.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    last = curves.groupby("exit")["probability"].max().sort_values(ascending=False)
    longest = float(curves["days"].max()) if longest is None else longest
    ramp = iter(sns.color_palette("crest", max(1, len(last))).as_hex())
    fixed = {"lost": BAD, "purchase": GOOD} | (colors or {})
    for name in last.index:
        part = curves[curves["exit"] == name]
        color = fixed.get(name) or next(ramp)
        days = np.r_[0, part["days"], max(longest, part["days"].max())]
        share = np.r_[0, part["probability"], part["probability"].iloc[-1]]
        ax.step(days, share, where="post", color=color, linewidth=2, label=shorten(label(name), 22))
        if part["lower"].notna().any():
            low, high = (np.r_[0, part[c], part[c].iloc[-1]] for c in ("lower", "upper"))
            ax.fill_between(days, low, high, step="post", color=color, alpha=0.15, linewidth=0)
    stage = label(curves["stage"].iloc[0])
    ax.set(xlim=(0, max(longest, 1)), ylim=(0, 1), xlabel="days since the stage was entered")
    ax.set(ylabel="visits that left this way", title=f"Ways out of {shorten(stage, 30)}")
    percent_axis(ax.yaxis)
    ax.legend(frameon=False)
    return ax


def change_curve(points: pd.DataFrame, *, label: Label = str, ax: Axes | None = None) -> Axes:
    """Draw, at every boundary of periods, how surely some move changed there.

    Parameters
    ----------
    points : DataFrame
        Of ``change_points``.
    label : callable
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    ax.plot(points["period"], points["z"].abs(), color=ACCENT, marker="o", linewidth=2)
    for _, point in points[points["chosen"]].iterrows():
        ax.axvline(point["period"], color=BAD, linewidth=1.4)
        origin, target = (shorten(label(point[name]), 18) for name in ("from_stage", "to_stage"))
        ax.annotate(
            f"{pd.Timestamp(point['period']):%Y-%m-%d}\n{origin} to {target}\n"
            f"{point['before']:.1%} to {point['after']:.1%}",
            (point["period"], 0),
            xytext=(6, 8),
            textcoords="offset points",
            color=INK,
        )
    ax.set(ylim=(0, None), xlabel="first period after the cut")
    ax.set(ylabel="largest change,\nin standard errors", title="When did moves change most surely?")
    return ax
