"""Where every active customer was at the end of each week, and where a week later.

A snapshot places each active customer in the stage of the last event; a customer silent for longer
than the journey's ``inactivity`` is gone. How long the silence has lasted is kept too, in the bands
of `cjlib.markov.next_stage`: a customer silent for most of the inactivity is about to be gone, one
seen this week is not. All that a snapshot says was known at its own moment.
"""

import datetime as dt
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import pandas as pd

from cjlib.markov.next_stage import SILENCE_BANDS, silence_band

WEEK = 7 * 86_400
NEW, GONE = "(new)", "(gone)"
STATES = ["from_stage", "from_band", "to_stage", "to_band"]


def weekly_moves(
    events: ir.Table, as_of: pd.Timestamp, inactivity: dt.timedelta, weeks: int = 104
) -> ir.Table:
    """Pair each active customer's state with that of one week later, on the engine.

    Parameters
    ----------
    events : Table
        ``customer_id, bucket, timestamp, line, stage``.
    as_of : Timestamp
        The last snapshot; the others lie whole weeks before it. Later events are left out.
    inactivity : timedelta
        The silence after which a customer is gone.
    weeks : int
        How many snapshots to look back.

    Returns
    -------
    Table
        ``bucket, week, from_stage, from_band, to_stage, to_band``, a row per customer and week:
        ``to`` is the state at snapshot ``week`` (0 for ``as_of``, -1 a week earlier), ``from`` the
        one a week before. ``(new)`` in ``from_stage`` is who was not active then, ``(gone)`` in
        ``to_stage`` who is no longer. Bands of silence count from 0.
    """
    patience = int(inactivity.total_seconds())
    now = int(as_of.timestamp())
    age = ibis.literal(now) - events.timestamp.epoch_seconds()
    seen = events.filter(events.timestamp <= ibis.timestamp(as_of)).select(
        "customer_id",
        "bucket",
        "timestamp",
        "line",
        "stage",
        age=age,
        first=-(age / WEEK).floor().cast("int64"),
        last=((patience - age) / WEEK).floor().cast("int64"),
    )
    in_order = ibis.window(group_by="customer_id", order_by=["timestamp", "line"])
    seen = seen.mutate(following=seen.first.lead().over(in_order))
    # of several events between two snapshots the last one counts, until the next event's snapshot
    seen = seen.filter(seen.following.isnull() | (seen.following > seen.first))
    seen = seen.mutate(
        first=ibis.greatest(seen.first, -weeks),
        last=ibis.least(seen.last, 0, ibis.coalesce(seen.following - 1, 0)),
    )
    seen = seen.filter(seen.last >= seen.first)
    placed = seen.select(
        "customer_id",
        "bucket",
        "stage",
        "age",
        week=ibis.range(seen.first, seen.last + 1).unnest(),
    )
    silence = placed.age + placed.week * WEEK
    placed = placed.mutate(band=ibis.least(silence_band(silence, inactivity), SILENCE_BANDS - 1))
    by_week = ibis.window(group_by="customer_id", order_by="week")
    placed = placed.mutate(
        next_week=placed.week.lead().over(by_week),
        next_stage=placed.stage.lead().over(by_week),
        next_band=placed.band.lead().over(by_week),
        last_week=placed.week.lag().over(by_week),
    )
    stays = (placed.next_week == placed.week + 1).fill_null(False)
    known = (placed.last_week == placed.week - 1).fill_null(False)
    moves = placed.filter(placed.week < 0).select(
        "bucket",
        week=placed.week + 1,
        from_stage=placed.stage,
        from_band=placed.band,
        to_stage=stays.ifelse(placed.next_stage, GONE),
        to_band=stays.ifelse(placed.next_band, 0),
    )
    arrivals = placed.filter((placed.week > -weeks) & ~known).select(
        "bucket",
        "week",
        from_stage=ibis.literal(NEW),
        from_band=ibis.literal(0, "int64"),
        to_stage=placed.stage,
        to_band=placed.band,
    )
    return moves.union(arrivals)


@dataclass(frozen=True)
class Snapshots:
    """The snapshots of a log, counted as the forecast needs them.

    Attributes
    ----------
    as_of : Timestamp
        Snapshot 0.
    weekly : DataFrame
        ``week`` and the states, ``n``: everybody's moves by week.
    moves : Table
        :func:`weekly_moves`, to be counted by bucket.
    """

    as_of: pd.Timestamp
    weekly: pd.DataFrame
    moves: ir.Table

    @classmethod
    def of(
        cls, events: ir.Table, as_of: pd.Timestamp, inactivity: dt.timedelta, weeks: int = 104
    ) -> "Snapshots":
        """Count the snapshots of events; parameters of :func:`weekly_moves`."""
        moves = weekly_moves(events, as_of, inactivity, weeks).cache()
        weekly = moves.group_by(["week", *STATES]).agg(n=moves.count()).to_pandas()
        return cls(as_of, weekly, moves)

    def by_bucket(self, first: int, last: int) -> pd.DataFrame:
        """Count the moves of a span of weeks by bucket: ``bucket``, the states, ``n``."""
        span = self.moves.filter(self.moves.week.between(first, last))
        return span.group_by(["bucket", *STATES]).agg(n=span.count()).to_pandas()

    def occupancy(self, weeks: int = 104) -> pd.DataFrame:
        """Return the customers seen in each stage at the last snapshots.

        Parameters
        ----------
        weeks : int

        Returns
        -------
        DataFrame
            ``period, stage, customers``, by both.
        """
        there = self.weekly[(self.weekly["to_stage"] != GONE) & (self.weekly["week"] > -weeks)]
        seen = there.groupby(["week", "to_stage"], as_index=False)["n"].sum()
        days = pd.to_timedelta(seen.pop("week") * 7, unit="D")
        seen["period"] = (self.as_of + days).dt.normalize()
        seen = seen.rename(columns={"to_stage": "stage", "n": "customers"})
        return seen[["period", "stage", "customers"]].sort_values(["period", "stage"])
