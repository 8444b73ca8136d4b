"""The picture of attribution: what each model credits a level with, side by side."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from cjlib.forms import shortened
from cjlib.plots.charts import format_axis, new_axes

LEVELS = 12  # shown, the greatest by the mean over the models first


def credit_ranges(
    credit: pd.DataFrame,
    dimension: str,
    *,
    label: Callable[[str], str] = str,
    title: str = "",
) -> Axes:
    """Draw for each level the range of the models' shares, and each model's mark in it.

    Parameters
    ----------
    credit : DataFrame
        dimension, level, model, share, of `cjlib.attribution.attribute`.
    dimension : str
        Which of them to draw.
    label : callable
        From a level to what is shown.
    title : str
        By default what is credited.
    """
    part = credit[credit["dimension"] == dimension]
    shares = part.groupby("level")["share"].agg(["mean", "min", "max"])
    shares = shares.sort_values("mean", ascending=False, kind="stable").head(LEVELS)
    ax = new_axes(None, 1.8 + 0.32 * len(shares))
    rows = np.arange(len(shares))
    ax.hlines(rows, shares["min"], shares["max"], color="#c3ccd4", linewidth=5, zorder=1)
    marks = part[part["level"].isin(shares.index)]
    marks = marks.assign(row=shares.index.get_indexer(marks["level"]))
    look = {"hue": "model", "style": "model", "s": 50, "zorder": 3, "clip_on": False}
    sns.scatterplot(marks, x="share", y="row", **look, ax=ax)
    ax.set_yticks(rows, [shortened(label(level), 26) for level in shares.index])
    ax.set(
        xlim=(0, None),
        ylim=(len(rows) - 0.5, -0.5),
        ylabel="",
        title=title or f"Credit by {dimension}",
    )
    ax.set_xlabel("share of all purchases")
    ax.grid(axis="y", visible=False)
    format_axis(ax.xaxis, "share")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
    return ax
