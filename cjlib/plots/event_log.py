"""Pictures of an event log: its weeks, its touchpoints, its silences."""

import datetime as dt

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from cjlib.forms import shortened
from cjlib.plots.charts import Label, new_axes
from cjlib.plots.style import ACCENT, BAD, INK, MUTED, percent_axis, role_colors, thousands_axis

_LENGTHS = {
    1 / 1440: "1 min",
    1 / 24: "1 hour",
    1.0: "1 day",
    7.0: "1 week",
    30.0: "1 month",
    365.0: "1 year",
}


def activity_curves(activity: pd.DataFrame, *, axes: np.ndarray | None = None) -> np.ndarray:
    """Draw how many events, active customers and purchases there were over time, side by side.

    Parameters
    ----------
    activity : DataFrame
        Of `cjlib.log_profile.activity`.
    axes : array of three Axes, optional

    Returns
    -------
    array of Axes
    """
    axes = plt.subplots(1, 3, figsize=(10, 2.9))[1] if axes is None else axes
    unit = activity["unit"].iloc[0]
    counts = {"events": "Events", "customers": "Active customers", "purchases": "Purchases"}
    for ax, (column, name) in zip(axes, counts.items(), strict=True):
        ax.plot(activity["period"], activity[column], color=ACCENT, linewidth=1.8)
        ax.fill_between(activity["period"], activity[column], color=ACCENT, alpha=0.12, linewidth=0)
        ax.set_ylim(bottom=0)
        ax.margins(x=0.01)
        locator = AutoDateLocator(maxticks=6)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        thousands_axis(ax.yaxis)
        ax.set_title(f"{name} per {unit}")
    return axes


def touchpoint_reach(
    profile: pd.DataFrame, *, label: Label = str, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw the share of customers that each touchpoint reaches, in the colour of its stage.

    Parameters
    ----------
    profile : DataFrame
        Of `cjlib.log_profile.touchpoint_profile`; rows from top to bottom.
    label : callable
        From a stage or touchpoint to what is shown.
    title : str
    ax : Axes, optional
    """
    ax = new_axes(ax, 1.2 + 0.27 * len(profile))
    stages = profile.drop_duplicates("stage")
    palette = dict(zip(stages["stage"].map(label), role_colors(stages["role"]), strict=True))
    rows = profile.assign(
        touchpoint=[shortened(label(name)) for name in profile["touchpoint"]],
        stage=profile["stage"].map(label),
        place=np.arange(len(profile)),
    )
    sns.barplot(
        rows, x="reach", y="place", hue="stage", palette=palette, orient="y", saturation=1, ax=ax
    )
    for place, (reach, customers) in enumerate(zip(rows["reach"], rows["customers"], strict=True)):
        ax.text(reach, place, f" {customers:,}", va="center", color=INK, fontsize=9)
    ax.set_yticks(rows["place"], rows["touchpoint"])
    ax.margins(x=0.1)
    ax.grid(axis="y", visible=False)
    percent_axis(ax.xaxis)
    ax.set(xlabel="share of all customers (figures: their number)", ylabel="", title=title)
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def silence_lengths(
    silences: pd.DataFrame, inactivity: dt.timedelta, *, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw how long customers stay silent between events, and where a journey is cut.

    Parameters
    ----------
    silences : DataFrame
        Of `cjlib.log_profile.silences`.
    inactivity : timedelta
        The declared one: a red line.
    title : str
    ax : Axes, optional
    """
    ax = new_axes(ax, 3.2)
    longest = inactivity / dt.timedelta(days=1)
    edges = silences["days"].to_numpy()
    middles, widths = edges / 2**0.25, edges * (1 - 2**-0.5)  # on the logarithmic axis
    colors = np.where(middles <= longest, ACCENT, MUTED)
    ax.bar(middles, silences["n"], width=widths, color=colors, linewidth=0)
    ax.axvline(longest, color=BAD, linewidth=2)
    ax.set_xscale("log")
    shown = {days: text for days, text in _LENGTHS.items() if days <= edges.max() * 1.6}
    ax.xaxis.set_major_locator(FixedLocator(list(shown)))
    ax.xaxis.set_major_formatter(FixedFormatter(list(shown.values())))
    ax.xaxis.set_minor_locator(NullLocator())
    thousands_axis(ax.yaxis)
    ax.set(xlabel="silence between two events of a customer", ylabel="silences", title=title)
    ax.grid(axis="x", visible=False)
    return ax
