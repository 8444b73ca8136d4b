"""Pictures with a bar per stage: where its visits lead, and who starts what in it."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cjlib.errors import Unanswerable
from cjlib.forms import shortened
from cjlib.plots.charts import Label, new_axes
from cjlib.plots.style import ACCENT, BAD, GOOD, INK, percent_axis

COMPANY = "#b9832f"  # what the company starts; what customers start has the accent's colour
BACK = "#cfd6dc"  # visits that lead back
ENDED = "#8da2b4"  # visits after which a journey ended that is no loss


def visit_shares(stages: pd.DataFrame) -> list[tuple[str, pd.Series, str]]:
    """Return where visits lead, each with its share and colour; only a loss is red."""
    on, ended, lost = (stages[f"{way}_rate"] for way in ("advance", "ended", "drop_off"))
    back = (1 - on - ended - lost).clip(lower=0)
    return [("on", on, GOOD), ("back", back, BACK), ("ended", ended, ENDED), ("lost", lost, BAD)]


def visit_outcomes(
    stages: pd.DataFrame, *, label: Label = str, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw where visits lead from each stage: onward, back, to an end, or lost, as stacked bars.

    Parameters
    ----------
    stages : DataFrame
        Of `cjlib.journey_map.stage_table`; stages without closed visits are left out.
    label : callable
        From a stage to what is shown.
    title : str
    ax : Axes, optional

    Raises
    ------
    Unanswerable
        If the visits of fewer than two stages were seen to end.
    """
    stages = stages[stages["closed"] > 0]
    if len(stages) < 2:
        raise Unanswerable("with a single stage every journey ends in it, so nothing is lost there")
    ax = new_axes(ax, 1.2 + 0.45 * len(stages))
    place, start = np.arange(len(stages)), np.zeros(len(stages))
    for name, share, color in visit_shares(stages):
        ax.barh(place, share, left=start, color=color, height=0.6)
        for y, x, part in zip(place, start + share / 2, share, strict=True):
            text = f"{name} {part:.0%}" if part > 0.085 else f"{part:.0%}" if part > 0.03 else ""
            ink = INK if name == "back" else "white"
            ax.text(x, y, text, ha="center", va="center", color=ink)
        start = start + share.to_numpy()
    lower, upper = 1 - stages["drop_off_rate_upper"], 1 - stages["drop_off_rate_lower"]
    ax.hlines(place - 0.36, lower, upper, color=INK, linewidth=2)
    _stage_axis(ax, stages["stage"], label)
    ax.set(xlim=(0, 1), title=title)
    percent_axis(ax.xaxis)
    ax.set_xlabel("Share of the visits whose end was seen (black: 95 % interval of the share lost)")
    return ax


def sales_cycle(cycle: pd.DataFrame, *, label: Label = str, ax: Axes | None = None) -> Axes:
    """Draw what the company starts (left) against what customers start (right), by stage.

    Parameters
    ----------
    cycle : DataFrame
        Of `cjlib.journey_map.sales_cycle`.
    label : callable
        From a stage to what is shown.
    ax : Axes, optional
    """
    ax = new_axes(ax, 1.4 + 0.45 * len(cycle))
    place = np.arange(len(cycle))
    widest = cycle[["company_share", "customer_share"]].max(axis=None)
    for side, sign, color, align, name in (
        ("company_share", -1, COMPANY, "right", "The company starts (sales cycle)"),
        ("customer_share", 1, ACCENT, "left", "Customers start (customer journey)"),
    ):
        ax.barh(place, sign * cycle[side], color=color, height=0.62)
        for y, share in zip(place, cycle[side], strict=True):
            x = sign * (share + 0.012 * widest)
            ax.text(x, y, f"{share:.0%}", ha=align, va="center", fontsize=9.5)
        above = {"xycoords": ("data", "axes fraction"), "fontweight": "bold"}
        ax.annotate(name, (sign * 0.03 * widest, 1.02), ha=align, color=color, **above)
    ax.axvline(0, color=INK, linewidth=1)
    _stage_axis(ax, cycle["stage"], label)
    ax.set_xlim(-1.18 * widest, 1.18 * widest)
    ax.xaxis.set_major_formatter(lambda share, _: f"{abs(share):.0%}")
    ax.set_xlabel("Share of all events started by the company (left) or by customers (right)")
    return ax


def _stage_axis(ax: Axes, stages: pd.Series, label: Label) -> None:
    """Name the bars by their stages, from top to bottom."""
    ax.set_yticks(range(len(stages)), [shortened(label(stage)) for stage in stages])
    ax.invert_yaxis()
    ax.grid(visible=False)
