"""Pictures of segments: who brings what, what holds, what sets groups apart, who moves where."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cjlib.forms import shortened
from cjlib.plots.charts import Label, heatmap, interval_bars, legend_below, new_axes
from cjlib.plots.style import ACCENT, BAD, MUTED

MORE_OR_LESS = sns.blend_palette(["#b9853b", "#f7f4ef", ACCENT], as_cmap=True)
"""For deviations that are neither good nor bad."""


def stability_by_number(
    trials: pd.DataFrame, holds: float, *, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw the stability of the weakest cluster over the number of clusters.

    Parameters
    ----------
    trials : DataFrame
        ``StableClusters.trials_``; what was chosen gets a ring.
    holds : float
        Stability from which a cluster holds.
    title : str
    ax : Axes, optional
    """
    ax = new_axes(ax, 3.6)
    methods = list(trials["method"].unique())
    for place, method in enumerate(methods):
        one = trials[trials["method"] == method]
        shift = 0.1 * (place - (len(methods) - 1) / 2)  # so that equal points stay two points
        ends = [one["weakest"] - one["lower"], one["upper"] - one["weakest"]]
        style = {"marker": "osD^v"[place % 5], "capsize": 2, "label": method}
        ax.errorbar(one["k"] + shift, one["weakest"], ends, **style)
        _ring(ax, one.loc[one["chosen"], "k"] + shift, one.loc[one["chosen"], "weakest"])
    ax.axhline(holds, color=MUTED, linestyle="--", label="holds from here")
    ax.set(ylim=(-0.03, 1.05), title=title)
    ax.set(xlabel="number of clusters", ylabel="stability of the weakest")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(ax, columns=3)
    return ax


def likelihood_by_number(choice: pd.DataFrame, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw how far each number of journey types lies behind the best on held-out customers.

    Parameters
    ----------
    choice : DataFrame
        Result of `cjlib.markov.continuum.choose_components`; what was chosen gets a ring.
    title : str
    ax : Axes, optional
    """
    ax = new_axes(ax, 3.2)
    behind, place = -choice["behind"], np.arange(len(choice))
    ax.errorbar(place, behind, choice["standard_error"], color=ACCENT, marker="o", capsize=3)
    _ring(ax, place[choice["chosen"]], behind[choice["chosen"]])
    ax.set(xlabel="number of journey types", title=title)
    ax.set_ylabel("log-likelihood per customer,\nagainst the best (nats)")
    alone = choice["components"] == 1
    names = choice["components"].astype(str).mask(alone, "1, " + choice["model"])
    ax.set_xticks(place, [fill(name, 14) for name in names])
    return ax


def _ring(ax: Axes, x, y) -> None:
    ax.scatter(x, y, s=220, facecolors="none", edgecolors=BAD, linewidth=2, zorder=3)


def cluster_deviations(
    deviations: pd.DataFrame, *, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw how many standard deviations each cluster (column) lies from the mean, by feature."""
    ax = new_axes(ax, 1.4 + 0.27 * len(deviations))
    heatmap(deviations, text="+.1f", cmap=MORE_OR_LESS, limits=(-2, 2), title=title, ax=ax)
    names = [shortened(name.replace("_", " "), 44) for name in deviations.index]
    ax.set_yticklabels(names)
    _wrap_columns(ax, deviations.columns)
    return ax


def transition_pictures(chains: Mapping[str, pd.DataFrame], *, label: Label = str) -> np.ndarray:
    """Draw the transition matrices of journey types side by side.

    Parameters
    ----------
    chains : mapping of str to DataFrame
        By type, from a state (row) to a state (column); the last state, which nobody leaves, and
        states that nobody meets are left out.
    label : callable
        From a state to what is shown.

    Returns
    -------
    array of Axes
    """
    rows = -(-len(chains) // 2)
    _, axes = plt.subplots(rows, 2, figsize=(10.5, 3.3 * rows), squeeze=False)
    likely = np.stack([*chains.values()]) >= 0.005
    met = likely.any(axis=(0, 1)) | likely.any(axis=(0, 2))
    for ax, (name, chain) in zip(axes.flat, chains.items(), strict=False):
        grid = chain.where(chain >= 0.005).iloc[:-1].loc[met[:-1], met]
        heatmap(grid, label=label, ax=ax)
        plt.setp(ax.get_xticklabels(), rotation=30, ha="right")
        ax.set_title(fill(name, 48).capitalize(), fontsize=10.5)
    for ax in axes.flat[len(chains) :]:
        ax.set_visible(False)
    return axes


def count_maps(tables: Sequence[pd.DataFrame], *, smallest: int = 1, title: str = "") -> np.ndarray:
    """Draw tables of counts, coloured by the share of each row; small cells stay blank.

    Counts are rounded to the smallest that is shown: beside a known total, the exact ones would
    give away what the blank cells hold.

    Parameters
    ----------
    tables : sequence of DataFrame
        Named rows and columns say what the axes are of.
    smallest : int
        Smallest count that is shown, and the step of rounding.
    title : str
        Of the first.

    Returns
    -------
    array of Axes
    """
    heights = [2.0 + 0.36 * len(table) for table in tables]
    figsize = (9.5, sum(heights))
    _, axes = plt.subplots(len(tables), 1, figsize=figsize, height_ratios=heights, squeeze=False)
    for ax, table in zip(axes.flat, tables, strict=True):
        rounded = (table.where(table >= smallest, 0) / smallest).round().astype(int) * smallest
        shares = rounded.div(rounded.sum(axis=1).replace(0, np.nan), axis=0).where(rounded > 0)
        heatmap(shares, text=rounded.map(lambda n: f"{n:,}").where(rounded > 0, ""), ax=ax)
        _wrap_columns(ax, table.columns)
        ax.set_yticklabels([fill(str(name), 32) for name in table.index])
        ax.set(xlabel=table.columns.name or "", ylabel=table.index.name or "")
    axes[0, 0].set_title(title)
    return axes[:, 0]


def _wrap_columns(ax: Axes, names: Sequence[str]) -> None:
    """Wrap the names of few columns to the room that each has, where they stand upright."""
    width = max(12, 70 // max(2, len(names)))
    if len(names) <= 6:
        ax.set_xticklabels([fill(str(name), width) for name in names], rotation=0, ha="center")


def outcome_panels(profile: pd.DataFrame, units: Mapping[str, str]) -> np.ndarray:
    """Draw measures side by side, views one below the other, with their intervals.

    Parameters
    ----------
    profile : DataFrame
        ``view``, ``segment`` and of each measure its column, ``_lower`` and ``_upper``.
    units : mapping of str to str
        The measures to draw and what they are counted in; those that are not known are left out.

    Returns
    -------
    array of Axes
    """
    groups = profile.groupby("view", sort=False)
    present = [name for name in units if profile[name].notna().any()]
    heights = [1.0 + 0.3 * len(rows) for _, rows in groups]
    size = {"figsize": (10.5, sum(heights)), "height_ratios": heights, "squeeze": False}
    figure, axes = plt.subplots(len(heights), len(present), sharey="row", **size)
    figure.set_layout_engine("constrained", w_pad=0.12)  # labels of neighbours would touch
    for line, (view, rows) in zip(axes, groups, strict=True):
        for ax, name in zip(line, present, strict=True):
            interval_bars(rows, label="segment", value=name, ax=ax)
            ax.set_title(name.capitalize(), fontsize=10.5)
            ax.set_xlabel(units[name])
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.tick_params(labelleft=False)
            ax.set_visible(rows[name].notna().any() or ax is line[0])
        line[0].tick_params(labelleft=True)
        line[0].set_yticks(range(len(rows)), [fill(name, 32) for name in rows["segment"]])
        line[0].set_ylabel(view)
    return axes
