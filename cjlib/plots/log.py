"""Pictures of an event log: its rows, its weeks, its touchpoints, its silences."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from cjlib.forms import shortened
from cjlib.plots.style import ACCENT, BAD, INK, MUTED, percent_axis, role_colors, thousands_axis

MOST = 24
"""Touchpoints drawn, those with most customers."""

_LENGTHS = {
    1 / 1440: "1 min",
    1 / 24: "1 hour",
    1.0: "1 day",
    7.0: "1 week",
    30.0: "1 month",
    365.0: "1 year",
}


def plot_rows(quality: pd.DataFrame, *, ax: Axes) -> Axes:
    """Draw what became of the rows that were not kept, one bar per reason.

    Parameters
    ----------
    quality : DataFrame
        rule, rows, share, with the rows ``read`` and ``kept`` in it.
    ax : Axes
    """
    dropped = quality[~quality["rule"].isin(["read", "kept"]) & (quality["rows"] > 0)]
    dropped = dropped.sort_values("rows")
    colors = [MUTED if rule == "duplicate" else BAD for rule in dropped["rule"]]
    bars = ax.barh(
        [rule.replace("_", " ") for rule in dropped["rule"]], dropped["rows"], color=colors
    )
    ax.bar_label(bars, labels=[f"{rows:,}" for rows in dropped["rows"]], padding=4, color=INK)
    ax.margins(x=0.12)
    ax.grid(axis="y", visible=False)
    ax.set(xlabel="rows left out", title="Rows left out, by reason")
    ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    thousands_axis(ax.xaxis)
    return ax


def plot_activity(activity: pd.DataFrame, column: str, *, ax: Axes) -> Axes:
    """Draw a count over time.

    Parameters
    ----------
    activity : DataFrame
        period and ``column``.
    column : {"events", "customers", "purchases"}
    ax : Axes
    """
    label = {"customers": "active customers"}.get(column, column)
    ax.plot(activity["period"], activity[column], color=ACCENT, linewidth=1.8)
    ax.fill_between(activity["period"], activity[column], color=ACCENT, alpha=0.12, linewidth=0)
    ax.set_ylim(bottom=0)
    ax.margins(x=0.01)
    locator = AutoDateLocator(maxticks=9)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    thousands_axis(ax.yaxis)
    days = (activity["period"].diff().dt.days.max() or 0) if len(activity) > 1 else 1
    ax.set_title(f"{label.capitalize()} per {'week' if days >= 7 else 'day'}")
    return ax


def plot_touchpoints(profile: pd.DataFrame, stages, *, ax: Axes) -> Axes:
    """Draw the reach of each touchpoint, by stage; the 24 with most customers.

    Parameters
    ----------
    profile : DataFrame
        Of `cjlib.log_profile.touchpoint_profile`.
    stages : mapping of str to str
        Label of each stage, in order.
    ax : Axes
    """
    drawn = profile[profile["customers"] > 0].nlargest(MOST, "customers").index
    rows = profile.loc[sorted(drawn)]
    roles = profile.drop_duplicates("stage").set_index("stage")["role"]
    palette = dict(zip(roles.index, role_colors(roles), strict=True))
    labels = [shortened(name) for name in rows["touchpoint"]]
    places = np.arange(len(rows))
    for stage, part in rows.assign(place=places).groupby("stage", sort=False):
        ax.barh(part["place"], part["reach"], color=palette[stage], label=stages[stage])
    for place, (reach, customers) in enumerate(zip(rows["reach"], rows["customers"], strict=True)):
        ax.text(reach, place, f" {customers:,}", va="center", color=INK, fontsize=9)
    ax.set_yticks(places, labels)
    ax.invert_yaxis()
    ax.margins(x=0.1, y=0.02)
    ax.grid(axis="y", visible=False)
    percent_axis(ax.xaxis)
    ax.set(xlabel="customers reached (share of all; figures: number)")
    ax.set_title("Reach of the touchpoints")
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def plot_silences(silences: pd.DataFrame, inactivity_days: float, *, ax: Axes) -> Axes:
    """Draw how long customers stay silent between events, and where a journey is cut.

    Parameters
    ----------
    silences : DataFrame
        Of `cjlib.log_profile.silences`.
    inactivity_days : float
        The declared inactivity.
    ax : Axes
    """
    edges = silences["days"].to_numpy()
    ax.bar(
        edges / 2**0.25,
        silences["n"],
        width=edges * (1 - 2**-0.5),
        color=np.where(edges <= inactivity_days * 2**0.25, ACCENT, MUTED),
        linewidth=0,
    )
    ax.axvline(inactivity_days, color=BAD, linewidth=2)
    ax.set_xscale("log")
    shown = {days: text for days, text in _LENGTHS.items() if days <= edges.max() * 1.6}
    ax.xaxis.set_major_locator(FixedLocator(list(shown)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda days, _: shown.get(days, "")))
    ax.xaxis.set_minor_locator(FixedLocator([]))
    thousands_axis(ax.yaxis)
    ax.set(xlabel="silence between two events of a customer", ylabel="silences")
    ax.set_title(f"A silence past {inactivity_days:,.0f} days (red) begins a new journey")
    ax.grid(axis="x", visible=False)
    return ax
