"""Pictures of segments: who scores what, what holds, what sets groups apart, who moves where."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from cjlib.forms import shortened
from cjlib.plots.charts import interval_bars
from cjlib.plots.style import ACCENT, BAD, INK, MUTED, SEQUENTIAL, percent_axis, thousands_axis

MORE_OR_LESS = sns.blend_palette(["#b9853b", "#f7f4ef", ACCENT], as_cmap=True)
"""For deviations that are neither good nor bad."""


def score_grid(scored: pd.DataFrame, ax: Axes | None = None, *, smallest: int = 1) -> Axes:
    """Draw how many buyers have each pair of recency and frequency scores.

    Parameters
    ----------
    scored : DataFrame
        ``recency_score`` and ``frequency_score``, one row per buyer.
    ax : Axes, optional
    smallest : int
        Cells with fewer buyers stay blank.

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    scores = range(1, 6)
    table = pd.crosstab(scored["frequency_score"], scored["recency_score"])
    table = table.reindex(index=scores[::-1], columns=scores, fill_value=0)
    shares = (table / table.to_numpy().sum()).where(table >= smallest)
    _heat(shares, ax, cmap=SEQUENTIAL, fmt=".0%", vmin=0)
    ax.set_xlabel("Recency score (5: bought last)")
    ax.set_ylabel("Frequency score (5: most often)")
    ax.set_title("Share of buyers by score")
    return ax


def share_pairs(
    table: pd.DataFrame, *, label: str, first: str, second: str, names: tuple[str, str], ax=None
) -> Axes:
    """Draw two shares per row, joined by a line: of customers and, say, of value.

    Parameters
    ----------
    table : DataFrame
    label, first, second : str
        Columns.
    names : tuple of str
        What the two shares are of.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    rows = np.arange(len(table))
    ax.hlines(rows, table[first], table[second], color=MUTED, linewidth=1.5, zorder=1)
    ax.scatter(table[first], rows, color=MUTED, s=36, label=names[0], zorder=2)
    ax.scatter(table[second], rows, color=ACCENT, s=36, label=names[1], zorder=2)
    ax.set_yticks(rows, [shortened(text) for text in table[label]])
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(plt.MaxNLocator(6))
    percent_axis(ax.xaxis)
    # Below the tick labels: beside the title it would cover it, inside the axes a point.
    place = {"loc": "upper right", "bbox_to_anchor": (1, 0), "borderaxespad": 2.2}
    ax.legend(frameon=False, ncols=2, borderpad=0, **place)
    ax.grid(axis="y", visible=False)
    return ax


def stability_by_number(trials: pd.DataFrame, holds: float, ax: Axes | None = None) -> Axes:
    """Draw the stability of the weakest cluster over the number of clusters.

    Parameters
    ----------
    trials : DataFrame
        ``BehaviourClusters.trials_``.
    holds : float
        Stability from which a cluster holds.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    names = {"kmeans": ("k-means", ACCENT, "o"), "mixture": ("Gaussian mixture", INK, "s")}
    for method, group in trials.groupby("method"):
        text, color, marker = names[method]
        shift = -0.05 if method == "kmeans" else 0.05  # so that equal points stay two points
        ax.plot(group["k"] + shift, group["weakest"], marker=marker, color=color, label=text)
    for row in trials[trials["chosen"]].itertuples():
        place = row.k + (-0.05 if row.method == "kmeans" else 0.05)
        ax.scatter(place, row.weakest, s=220, facecolors="none", edgecolors=BAD, linewidth=2)
    ax.axhline(holds, color=MUTED, linestyle="--")
    ax.annotate(
        "holds from here",
        (trials["k"].max(), holds),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        color=MUTED,
    )
    ax.set_ylim(-0.03, 1.05)
    ax.set_xticks(sorted(trials["k"].unique()))
    ax.set_xlabel("Number of clusters tried")
    ax.set_ylabel("Stability of the weakest cluster")
    ax.set_title("Which numbers of clusters are found again?")
    ax.legend(frameon=False)
    return ax


def likelihood_by_number(choice: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw how far each number of journey types lies behind the best on held-out customers.

    Parameters
    ----------
    choice : DataFrame
        Result of `cjlib.markov.mixture.choose_components`.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    ax.errorbar(
        choice["components"],
        -choice["behind"],
        yerr=choice["standard_error"],
        color=ACCENT,
        marker="o",
        capsize=3,
    )
    chosen = choice[choice["chosen"]]
    ax.scatter(
        chosen["components"],
        -chosen["behind"],
        s=220,
        facecolors="none",
        edgecolors=BAD,
        linewidth=2,
        zorder=3,
    )
    ax.set_xticks(choice["components"])
    ax.set_xlabel("Number of journey types tried")
    ax.set_ylabel("Log-likelihood per customer,\nagainst the best (nats)")
    ax.set_title("How well do so many types foretell customers not learned from?")
    return ax


def feature_deviations(
    centers: pd.DataFrame, spread: pd.Series, labels: Mapping[str, str], ax: Axes | None = None
) -> Axes:
    """Draw how many standard deviations each cluster lies from the mean of the clusters' customers.

    Parameters
    ----------
    centers : DataFrame
        Clusters in rows, features in columns.
    spread : Series
        Standard deviation of each feature.
    labels : mapping
        What each feature is called.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    varying = [name for name in centers.columns if spread[name] > 0]
    distance = (centers[varying] - centers[varying].mean()) / spread[varying]
    strongest = distance.abs().max().sort_values(ascending=False, kind="stable").index[:14]
    table = distance[[name for name in varying if name in set(strongest)]].T
    table.columns = _across(table.columns)
    table.index = [shortened(labels[name].replace("_", " "), 44) for name in table.index]
    _heat(table, ax, cmap=MORE_OR_LESS, fmt="+.1f", vmin=-2, vmax=2)
    ax.set_title("What sets the clusters apart (standard deviations from their mean)")
    return ax


def transition_pictures(
    matrices: np.ndarray, states: Sequence[str], names: Sequence[str], shares: Sequence[float], axes
) -> np.ndarray:
    """Draw the transition matrices of journey types side by side.

    Parameters
    ----------
    matrices : array of shape (C, S, S)
        The last state, which nobody leaves, has no row of its own; states that nobody meets are
        left out.
    states : sequence of str
        Labels of the states.
    names : sequence of str
        Of the types.
    shares : sequence of float
        Of the customers.
    axes : sequence of Axes
        At least C; the rest is hidden.

    Returns
    -------
    array of Axes
    """
    axes = np.atleast_1d(axes).ravel()
    shown = np.nan_to_num(matrices) >= 0.005
    met = shown.any(axis=(0, 1)) | shown.any(axis=(0, 2))
    labels = [shortened(state, 16) for state in states]
    for ax, matrix, name, share in zip(axes, matrices, names, shares, strict=False):
        table = pd.DataFrame(matrix, index=labels, columns=labels).iloc[:-1]
        table = table.loc[met[:-1], met]
        _heat(table.where(table >= 0.005), ax, cmap=SEQUENTIAL, fmt=".0%", vmin=0, vmax=1)
        ax.set_title(f"{_wrapped(name, 48).capitalize()} ({share:.0%})", fontsize=10.5)
        ax.tick_params(axis="x", rotation=30)
        plt.setp(ax.get_xticklabels(), ha="right")
    for ax in axes[len(matrices) :]:
        ax.set_visible(False)
    return axes


def count_map(
    table: pd.DataFrame, ax: Axes | None = None, *, smallest: int = 1, title: str = ""
) -> Axes:
    """Draw a table of counts, coloured by the share of each row; small cells stay blank.

    Counts are rounded to the smallest that is shown: beside a known total, the exact ones would
    give away what the blank cells hold.

    Parameters
    ----------
    table : DataFrame
    ax : Axes, optional
    smallest : int
        Smallest count that is shown, and the step of rounding.
    title : str

    Returns
    -------
    Axes
    """
    ax = plt.gca() if ax is None else ax
    rounded = (table.where(table >= smallest, 0) / smallest).round().astype(int) * smallest
    shares = rounded.div(rounded.sum(axis=1).replace(0, np.nan), axis=0).where(rounded > 0)
    texts = rounded.map(lambda n: f"{n:,}").where(rounded > 0, "")
    shares.index = [_wrapped(name) for name in shares.index]
    shares.columns = _across(shares.columns)
    _heat(shares, ax, cmap=SEQUENTIAL, annot=texts.to_numpy(), fmt="", vmin=0, vmax=1)
    ax.set_title(title)
    return ax


def _wrapped(name: str, width: int = 32, lines: int = 2) -> str:
    """Return a name on so many lines at most, an ellipsis for what is cut."""
    return fill(" ".join(str(name).split()), width, max_lines=lines, placeholder=" …")


def _across(names: Sequence[str]) -> list[str]:
    """Wrap the names of columns to the room that each has; those of many are set aslant."""
    if len(names) > 6:
        return [_wrapped(name, 20) for name in names]
    return [_wrapped(name, max(12, 60 // max(2, len(names))), 4) for name in names]


def _heat(table: pd.DataFrame, ax: Axes, *, annot=True, **options) -> None:
    sns.heatmap(
        table,
        ax=ax,
        annot=annot,
        cbar=False,
        linewidths=1,
        linecolor="white",
        annot_kws={"size": 9},
        yticklabels=False,  # seaborn draws them upright first: long ones would leave no room
        **options,
    )
    ax.set_yticks(np.arange(len(table)) + 0.5, table.index)
    ax.tick_params(axis="x", rotation=0 if table.shape[1] <= 6 else 40)
    if table.shape[1] > 6:
        plt.setp(ax.get_xticklabels(), ha="right")
    ax.tick_params(axis="y", rotation=0)
    ax.grid(visible=False)  # it would show through blank cells
    ax.set_xlabel("")
    ax.set_ylabel("")


def outcome_panels(profile: pd.DataFrame, columns: Sequence[str], currency: str = "") -> np.ndarray:
    """Draw value, conversion, feeling and churn of one view side by side, with their intervals.

    Parameters
    ----------
    profile : DataFrame
        Rows of `cjlib.segments.profiles.profiles`; measures that do not vary are left out.
    columns : sequence of str
        The measures to draw, of value, conversion, feeling and churn.
    currency : str

    Returns
    -------
    array of Axes
    """
    titles = {
        "value": f"Value{f' ({currency})' if currency else ''} each",
        "conversion": "Conversion",
        "feeling": "Feeling (−1 to 1)",
        "churn": "Churn",
    }
    varies = profile[list(titles)].std() > 0
    present = [name for name in titles if name in columns and varies[name]]
    if not present:
        return np.array([])
    figure, axes = plt.subplots(
        1, len(present), figsize=(10.5, 1.1 + 0.34 * len(profile)), sharey=True, squeeze=False
    )
    figure.set_layout_engine("constrained", w_pad=0.12)  # labels of neighbours would touch
    for ax, name in zip(axes[0], present, strict=True):
        limits = {"lower": f"{name}_lower", "upper": f"{name}_upper"}
        interval_bars(profile, label="segment", value=name, **limits, ax=ax)
        ax.set_title(titles[name], fontsize=10.5)
        ax.xaxis.set_major_locator(plt.MaxNLocator(4))
        if name in ("conversion", "churn"):
            percent_axis(ax.xaxis)
        elif profile[limits["upper"]].max() >= 1000:
            thousands_axis(ax.xaxis)
    axes[0, 0].set_ylim(len(profile) - 0.5, -0.5)
    axes[0, 0].set_yticks(range(len(profile)), [_wrapped(name) for name in profile["segment"]])
    return axes[0]
