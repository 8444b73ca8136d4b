"""What an undescribed log tells of its touchpoints, its pace and its dirt, once it is read."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd
from ibis.backends import BaseBackend

from cjlib.dataset import connect
from cjlib.dataset_file import Dataset
from cjlib.drafts.columns import Column, ColumnGuess
from cjlib.drafts.guess import words
from cjlib.drafts.sniff import Layout
from cjlib.reading.events import judged, not_after, quality_table, repeats, typed
from cjlib.reading.sources import read_source
from cjlib.stages import load_stage_model

CONSTANT = "purchase"  # the one touchpoint of a log that has no column for it
ROUND_DAYS = (1, 2, 3, 7, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365)
EMPTY_YEAR = 365  # days without an event that set off times written by mistake


def draft_description(path: Path, layout: Layout, columns: dict) -> Dataset:
    """Return a dataset of a log that puts every touchpoint on the purchase stage."""
    model = load_stage_model(words()["stage_model"])
    buying = model.purchase[0]
    return Dataset(
        name="draft",
        source=path.name,
        folder=path.parent,
        delimiter=layout.delimiter,
        encoding=layout.encoding,
        header=list(layout.header) if layout.headless else None,
        columns={"touchpoint": {"value": CONSTANT}} | columns,
        touchpoints={CONSTANT: {"stage": buying}},
        journey={"inactivity": "1 day", "purchase": CONSTANT},
        quality={"unmapped": buying},
        stages=model,
    )


def _declared(columns: dict[str, Column]) -> dict:
    """Return guessed columns as the section ``columns`` of a dataset file has them."""
    return {
        meaning: {"column": column.name} | column.options
        if column.options or meaning == "sentiment"
        else column.name
        for meaning, column in columns.items()
    }


@dataclass(frozen=True)
class Pace:
    """Lengths of time that fit a log, in days, and what they rest on."""

    inactivity: int
    inactivity_reason: str
    horizon: int
    horizon_reason: str


class DraftLog:
    """A log read with guessed columns.

    Parameters
    ----------
    path : Path
    layout : Layout
    scratch : Path
        A folder for what is read.
    progress : callable
        Told each step.

    Attributes
    ----------
    guess : ColumnGuess
    touchpoints : DataFrame
        events and value by touchpoint (the index), most events first.
    earliest, as_of : datetime or None
        The first and last time beyond which times seem to be mistakes.
    """

    def __init__(
        self,
        path: Path,
        layout: Layout,
        scratch: Path,
        progress: Callable[[str], None] = lambda step: None,
    ):
        first = layout.header[0]
        blank = draft_description(path, layout, {"customer_id": first, "timestamp": first})
        self.scratch = scratch
        self.con: BaseBackend = connect(blank)
        progress("reading the log")
        self.raw = read_source(
            self.con, blank, scratch, lambda rows: progress(f"reading the log: {rows:,} rows")
        )
        progress("finding the columns")
        self.guess = ColumnGuess(self.raw, str(path))
        described = draft_description(path, layout, _declared(self.guess.columns))
        rows = typed(self.raw, described)
        rows = rows.filter(rows.rule.isnull())
        progress("counting the touchpoints")
        self.events = self._stored(rows.select("customer_id", "timestamp", "touchpoint", "value"))
        self.touchpoints = self._count()
        self.earliest, self.as_of = self._edges()

    def _stored(self, table: ir.Table) -> ir.Table:
        target = self.scratch / "draft_events.parquet"
        table.to_parquet(target)
        return self.con.read_parquet(str(target))

    def _count(self) -> pd.DataFrame:
        events = self.events
        counts = events.group_by("touchpoint").agg(
            events=events.count(), value=events.value.sum().fill_null(0)
        )
        counts = counts.order_by(ibis.desc("events"), "touchpoint").limit(10_000)
        return counts.execute().set_index("touchpoint")

    def _edges(self) -> tuple[dt.datetime | None, dt.datetime | None]:
        """Return bounds to the log where an empty year sets at most 1 % of the events apart."""
        days = self.events.group_by(day=self.events.timestamp.truncate("D"))
        days = days.agg(events=self.events.count(), last=self.events.timestamp.max())
        days = days.order_by("day").execute()
        if days.empty:
            return None, None
        few = 0.01 * days["events"].sum()
        after_a_gap = days["day"].diff().dt.days > EMPTY_YEAR
        early = after_a_gap & (days["events"].cumsum().shift() <= few)
        late = after_a_gap & (days["events"][::-1].cumsum()[::-1] <= few)
        earliest = days["day"][early].max() if early.any() else None
        as_of = days["last"].shift()[late].min() if late.any() else None
        return (
            earliest.to_pydatetime() if earliest is not None else None,
            as_of.to_pydatetime() if as_of is not None else None,
        )

    def pace(self, purchases: list[str]) -> Pace:
        """Return an inactivity and a churn horizon that fit how often customers come and buy.

        The inactivity covers nine in ten of the gaps between a customer's days with events; the
        horizon twice the median gap between days with purchases. Both leave room in the log to be
        observed: a third of it, a quarter of it.
        """
        events = self.events
        if self.earliest is not None:
            events = events.filter(events.timestamp >= self.earliest)
        if self.as_of is not None:
            events = events.filter(events.timestamp <= self.as_of)
        ends = events.agg(first=events.timestamp.min(), last=events.timestamp.max()).execute()
        span = (ends["last"].iloc[0] - ends["first"].iloc[0]).days
        coming = _gap(events, 0.9)
        inactivity = min(_round_up(coming or 30), _round_down(span / 3))
        why = "nobody comes on two days; after how long a silence is a journey over?"
        if coming:
            why = f"nine in ten customers who come back do so within {_days(coming)}"
            why += "; the log is too short for more" if inactivity < coming else ""
        buying = _gap(events.filter(events.touchpoint.isin(purchases)), 0.5)
        horizon = min(_round_up(2 * buying if buying else 90), _round_down(span / 4))
        because = "nobody buys on two days; after how long without a purchase is a customer lost?"
        if buying:
            because = f"half of the repeat purchases come within {_days(buying)}"
            because += "; the log is too short for twice that" if horizon < 2 * buying else ""
        return Pace(inactivity, why, horizon, because)

    def quality(self, dataset: Dataset) -> pd.DataFrame:
        """Return the quality table that a drafted dataset file gives for this log."""
        rows = typed(self.raw, dataset)
        target = self.scratch / "typed.parquet"
        rows.to_parquet(target)
        rows = self.con.read_parquet(str(target))
        moment = dataset.as_of or pd.Timestamp.now("UTC").tz_localize(None)
        rows = not_after(rows, pd.Timestamp(moment))
        return quality_table(judged(rows, repeats(rows, dataset)))


def _gap(events: ir.Table, share: float) -> float | None:
    """Return a quantile of the days between a customer's days with events, None without any."""
    days = events.select("customer_id", day=events.timestamp.truncate("D")).distinct()
    window = ibis.window(group_by="customer_id", order_by="day")
    gaps = days.mutate(gap=days.day.delta(days.day.lag().over(window), unit="day"))
    found = gaps.agg(gap=gaps.gap.quantile(share)).execute()["gap"].iloc[0]
    return None if pd.isna(found) else float(found)


def _days(days: float) -> str:
    return f"{days:,.0f} day" + ("s" if round(days) != 1 else "")


def _round_up(days: float) -> int:
    return next((round_days for round_days in ROUND_DAYS if round_days >= days), ROUND_DAYS[-1])


def _round_down(days: float) -> int:
    return max((round_days for round_days in ROUND_DAYS if round_days <= days), default=1)
