"""Pictures of chains: matrices with their certainty, what moved, and the time in a stage."""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from cjlib.forms import shortened
from cjlib.plots.style import ACCENT, BAD, GOOD, SEQUENTIAL, percent_axis

Label = Callable[[str], str]


def below(ax: Axes, columns: int = 2) -> None:
    """Put the legend under the axis, where it covers no line."""
    ax.legend(
        frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns, fontsize=9
    )


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
        [shortened(label(name), 14) for name in grid.columns],
        rotation=0 if len(grid.columns) <= 7 else 30,
        ha="center" if len(grid.columns) <= 7 else "right",
    )
    ax.set_yticks(
        np.arange(len(grid.index)) + 0.5,
        [shortened(label(name), 18) for name in grid.index],
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
    frame: tuple[Sequence[str], Sequence[str]] | None = None,
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
    frame : tuple of two sequences of str, optional
        Rows and columns to draw, seen or not; by default those seen.
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
    if frame is not None:
        grid, text = (part.reindex(index=frame[0], columns=frame[1]) for part in (grid, text))
    text = text.astype(object).fillna("")
    return _paint(grid, text, ax, label, title, cmap=SEQUENTIAL, vmin=0, vmax=1)


def moved_heatmap(
    cells: pd.DataFrame,
    *,
    label: Label = str,
    order: Sequence[str] | None = None,
    title: str = "What moved, in percentage points (· could be chance)",
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


def moving_curves(
    curves: pd.DataFrame,
    *,
    label: Label = str,
    colors: dict[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of visits that have moved to another stage after so many days.

    Parameters
    ----------
    curves : DataFrame
        ``moving_on`` of one or more stages, stacked.
    label : callable
    colors : dict, optional
        Stage to colour.
    ax : Axes, optional

    Returns
    -------
    Axes
        Drawn until 98 % of the moves have been made in the slowest stage.
    """
    ax = plt.gca() if ax is None else ax
    stages = list(dict.fromkeys(curves["stage"]))
    colors = colors or dict(zip(stages, sns.color_palette("crest", len(stages)), strict=True))
    most = curves.groupby("stage")["probability"].transform("max")
    longest = float(curves.loc[curves["probability"] <= 0.98 * most, "days"].max())
    for stage in stages:
        part = curves[curves["stage"] == stage]
        days = np.r_[0, part["days"], max(longest, part["days"].max())]
        share, low, high = (
            np.r_[0, part[name].fillna(part["probability"]), part[name].iloc[-1]]
            for name in ("probability", "lower", "upper")
        )
        ax.step(
            days,
            share,
            where="post",
            color=colors[stage],
            linewidth=2,
            label=shortened(label(stage), 22),
        )
        ax.fill_between(days, low, high, step="post", color=colors[stage], alpha=0.15, linewidth=0)
    ax.set(xlim=(0, max(longest, 1)), ylim=(0, 1), xlabel="days since the stage was entered")
    ax.set(ylabel="visits that moved on", title="How soon customers move on")
    percent_axis(ax.yaxis)
    below(ax)
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
        ax.step(
            days, share, where="post", color=color, linewidth=2, label=shortened(label(name), 22)
        )
        if part["lower"].notna().any():
            low, high = (np.r_[0, part[c], part[c].iloc[-1]] for c in ("lower", "upper"))
            ax.fill_between(days, low, high, step="post", color=color, alpha=0.15, linewidth=0)
    stage = label(curves["stage"].iloc[0])
    ax.set(xlim=(0, max(longest, 1)), ylim=(0, 1), xlabel="days since the stage was entered")
    ax.set(ylabel="visits that left this way", title=f"Ways out of {shortened(stage, 30)}")
    percent_axis(ax.yaxis)
    below(ax)
    return ax


def change_curve(points: pd.DataFrame, *, label: Label = str, ax: Axes | None = None) -> Axes:
    """Draw, at every boundary of periods, how surely some move changed there.

    The surest is a line, the other plausible ones a band.

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
    for _, point in points[points["chosen"]].iterrows():
        plausible = points.loc[points["plausible"], "period"]
        ax.axvspan(plausible.min(), plausible.max(), color=BAD, alpha=0.12, linewidth=0)
        ax.axvline(point["period"], color=BAD, linewidth=1.4)
        origin, target = (shortened(label(point[name]), 18) for name in ("from_stage", "to_stage"))
        # above the picture: the curve may run anywhere in it
        ax.text(
            1.0,
            1.02,
            f"{origin} to {target}, {point['before']:.1%} to {point['after']:.1%}",
            transform=ax.transAxes,
            ha="right",
            va="bottom",
            color=BAD,
            fontsize=9,
        )
    ax.plot(points["period"], points["z"].abs(), color=ACCENT, marker="o", linewidth=2)
    ax.set(ylim=(0, None), xlabel="first period after the cut")
    ax.set(ylabel="largest change,\nin standard errors", title="When did moves change?")
    return ax
