"""Lengths of time that fit a log: how often its customers come and buy, and where it ends."""

from datetime import datetime

import ibis
import ibis.expr.types as ir
import pandas as pd

ROUND_DAYS = (1, 2, 3, 7, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365)
EMPTY_YEAR = 365  # days without an event that set off times written by mistake


def edges(events: ir.Table) -> tuple[datetime | None, datetime | None]:
    """Return bounds to a log where an empty year sets at most 1 % of the events apart.

    Returns
    -------
    earliest, as_of : datetime or None
        The first and last time beyond which times seem to be mistakes.
    """
    days = events.group_by(day=events.timestamp.truncate("D"))
    days = days.agg(events=events.count(), last=events.timestamp.max())
    days = days.order_by("day").execute()
    few = 0.01 * days["events"].sum()
    after_a_gap = days["day"].diff().dt.days > EMPTY_YEAR
    early = after_a_gap & (days["events"].cumsum().shift() <= few)
    late = after_a_gap & (days["events"][::-1].cumsum()[::-1] <= few)
    found = days["day"][early].max(), days["last"].shift()[late].min()
    return tuple(None if pd.isna(edge) else edge.to_pydatetime() for edge in found)


def pace(events: ir.Table, purchases: list[str]) -> dict[str, float | None]:
    """Return an inactivity and a churn horizon that fit how often customers come and buy.

    The inactivity covers nine in ten of the gaps between a customer's days with events; the
    horizon twice the median gap between days with purchases. Both leave room in the log to be
    observed: a third of it, a quarter of it.

    Returns
    -------
    dict
        ``inactivity`` and ``horizon``, and what they rest on: ``coming`` and ``buying``, the
        two gaps, None where nobody comes or buys twice; all in days.
    """
    ends = events.agg(first=events.timestamp.min(), last=events.timestamp.max()).execute().iloc[0]
    span = (ends["last"] - ends["first"]).days
    coming = _gap(events, 0.9)
    buying = _gap(events.filter(events.touchpoint.isin(purchases)), 0.5)
    inactivity = min(_round_up(coming or 30), _round_down(span / 3))
    horizon = min(_round_up(2 * buying if buying else 90), _round_down(span / 4))
    return {"inactivity": inactivity, "coming": coming, "horizon": horizon, "buying": buying}


def _gap(events: ir.Table, share: float) -> float | None:
    """Return a quantile of the days between a customer's days with events, None without any."""
    days = events.select("customer_id", day=events.timestamp.truncate("D")).distinct()
    window = ibis.window(group_by="customer_id", order_by="day")
    gaps = days.mutate(gap=days.day.delta(days.day.lag().over(window), unit="day"))
    found = gaps.agg(gap=gaps.gap.quantile(share)).execute()["gap"].iloc[0]
    return None if pd.isna(found) else float(found)


def _round_up(days: float) -> int:
    return next((known for known in ROUND_DAYS if known >= days), ROUND_DAYS[-1])


def _round_down(days: float) -> int:
    return max((known for known in ROUND_DAYS if known <= days), default=1)
