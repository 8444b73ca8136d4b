"""What is known of a customer at a cut-off: purchases and journey until then, in the engine."""

import math
from dataclasses import dataclass

import ibis
import pandas as pd
from ibis.expr.types import BooleanValue, Table

from cjlib.journeys import purchase_days

RFM = [
    "recency_days",  # since the last day with a purchase
    "previous_days",  # since the last but one
    "purchase_days",  # days with a purchase
    "age_days",  # since the first purchase
    "overdue",  # recency over the mean days between purchases
    "silent_share",  # recency over age
    "rhythm",  # purchase days, each halved in weight with every half horizon that passed
    "pace",  # the same; models take one by its logarithm, the other bent for frequent buyers
]
"""What purchase times alone say; ``purchase_value`` joins them where the log has values."""

FEELINGS = ["feeling_mean", "feeling_last", "feeling_trend", "bad_recent", "bad_open"]


@dataclass(frozen=True)
class Vocabulary:
    """The touchpoints, channels and stages that become features, fixed before the test."""

    touchpoints: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    value: bool = False
    sentiment: bool = False

    @property
    def rfm(self) -> list[str]:
        """Names of the purchase features."""
        return [*RFM, *(["purchase_value"] if self.value else [])]

    @property
    def journey(self) -> list[str]:
        """Names of the journey features; empty for a log of purchases alone."""
        names = [f"{kind}:{name}" for name in self.touchpoints for kind in ("recent", "last")]
        names += [f"stage:{name}" for name in self.stages]
        names += [f"channel:{name}" for name in self.channels]
        if self.touchpoints:
            names += ["silence_days", "dwell_days", "recent_events", "own_initiative"]
        if self.sentiment:
            names += FEELINGS
        return names


def vocabulary(
    events: Table, until: pd.Timestamp, *, most: int = 40, fewest: int = 30
) -> Vocabulary:
    """Read from the events up to ``until`` which features the log can carry.

    Parameters
    ----------
    events : Table
        Events of a prepared log.
    until : Timestamp
        Usually the last training cut-off, so that no name is learned from the test.
    most, fewest : int
        Keep at most ``most`` touchpoints (and a quarter as many channels and stages), each met by
        at least ``fewest`` customers.
    """
    events = events.filter(events.timestamp <= until)

    def names(column: str, rows: Table, limit: int) -> tuple[str, ...]:
        rows = rows.filter(rows[column].notnull())
        counts = rows.group_by(column).aggregate(customers=rows.customer_id.nunique()).execute()
        counts = counts[counts["customers"] >= fewest]
        counts = counts.sort_values(["customers", column], ascending=[False, True])
        return tuple(sorted(counts[column].head(limit)))

    known = events.aggregate(value=events.value.count(), sentiment=events.sentiment.count())
    known = known.execute().iloc[0]
    channels, stages = (names(column, events, most // 4) for column in ("channel", "stage"))
    return Vocabulary(
        touchpoints=names("touchpoint", events.filter(~events.purchase), most),
        channels=channels if len(channels) > 1 else (),
        stages=stages if len(stages) > 1 else (),
        value=bool(known["value"]),
        sentiment=bool(known["sentiment"]),
    )


def features(
    events: Table, cut_off: pd.Timestamp, horizon: pd.Timedelta, words: Vocabulary
) -> Table:
    """Describe every customer who had bought by the cut-off, from what happened until then.

    Parameters
    ----------
    events : Table
        Events of a prepared log; journey and visit numbers depend on the past alone.
    cut_off : Timestamp
    horizon : Timedelta
        ``recent`` features count within one horizon before the cut-off; ``last`` features say
        whether the customer's latest visit to the touchpoint's stage met it.
    words : Vocabulary

    Returns
    -------
    Table
        customer_id, bucket, ``x``, ``t_x`` and ``T`` (repeat purchases, and days), usual_gap
        (mean days between purchases), and the columns of ``words.rfm`` and ``words.journey``. A
        purchase is `cjlib.journeys.purchase_days`.
    """
    past = events.filter(events.timestamp <= cut_off)
    table = _purchases(past, cut_off, horizon, words)
    if words.journey:
        journey = _journeys(past, cut_off, horizon, words).rename(met="customer_id")
        table = table.join(journey, table.customer_id == journey.met).drop("met")
    if words.sentiment:
        felt = _feelings(past, cut_off, horizon).rename(felt_by="customer_id")
        table = table.left_join(felt, table.customer_id == felt.felt_by).drop("felt_by")
        # Who never said what they felt stands at neutral; the log does not tell more.
        table = table.mutate(**{name: table[name].coalesce(0) for name in FEELINGS})
    kept = ["customer_id", "bucket", "x", "t_x", "T", "usual_gap"]
    return table.select(*kept, *words.rfm, *words.journey)


def _purchases(past: Table, cut_off, horizon, words: Vocabulary) -> Table:
    """One row per customer who bought: what the days of the purchases say."""
    days = purchase_days(past)
    latest = ibis.window(group_by="customer_id", order_by=days.day.desc())
    days = days.mutate(since=_days(days.day, cut_off), back=ibis.row_number().over(latest))
    half = horizon / pd.Timedelta(1, "D") / 2
    table = days.group_by(["customer_id", "bucket"]).aggregate(
        purchase_days=days.count(),
        age_days=days.since.max(),
        recency_days=days.since.min(),
        previous=days.since.min(where=days.back == 1),
        rhythm=(days.since * (-math.log(2) / half)).exp().sum(),
        spent=days.value.sum().coalesce(0.0),
        valued=days.value.count(),
    )
    repeats = table.purchase_days - 1
    watched = table.age_days - table.recency_days
    table = table.mutate(
        x=repeats,
        t_x=watched,
        T=table.age_days,
        previous_days=table.previous.coalesce(table.age_days + half),
        # One purchase has no gap: the time watched is the least that it can be.
        usual_gap=(watched / repeats.nullif(0)).coalesce(table.age_days),
        pace=table.rhythm,
        silent_share=(table.recency_days + 1) / (table.age_days + 1),
    )
    table = table.mutate(overdue=(table.recency_days + 1) / (table.usual_gap + 1))
    return _valued(table, past) if words.value else table


def _valued(table: Table, past: Table) -> Table:
    """Add the mean value of a purchase (a day's), less refunds: what is sent back is no value."""
    refunds = past.filter(~past.purchase & (past.value < 0))
    refunds = refunds.group_by(refunded_to="customer_id").aggregate(refunded=refunds.value.sum())
    table = table.left_join(refunds, table.customer_id == refunds.refunded_to).drop("refunded_to")
    brought = table.spent + table.refunded.coalesce(0.0)
    return table.mutate(purchase_value=(brought / table.valued.nullif(0)).coalesce(0.0))


def _journeys(past: Table, cut_off, horizon, words: Vocabulary) -> Table:
    """One row per customer: what was met, where, and where the customer stands now."""
    past = past.mutate(
        since=_days(past.timestamp, cut_off),
        recent=past.timestamp > cut_off - horizon,
        place=past.journey * 1_000_000 + past.visit,
    )
    past = past.mutate(
        latest=past.place == past.place.max().over(group_by=["customer_id", "stage"])
    )
    columns = {"last_place": past.place.max(), "last_stage": past.stage.argmax(past.place)}
    for name in words.touchpoints:
        met = past.touchpoint == name
        columns[f"recent:{name}"] = (met & past.recent).sum()
        columns[f"last:{name}"] = (met & past.latest).any().cast("int8")
    for name in words.channels:
        columns[f"channel:{name}"] = _share(past.channel == name)
    if words.touchpoints:
        columns["silence_days"] = past.since.min()
        columns["recent_events"] = past.recent.sum()
        columns["own_initiative"] = _share(past.initiator == "customer")
    table = past.group_by("customer_id").aggregate(**columns)
    stages = {f"stage:{name}": (table.last_stage == name).cast("int8") for name in words.stages}
    table = table.mutate(**stages)
    if words.touchpoints:
        visits = past.group_by(["customer_id", "place"]).aggregate(dwell_days=past.since.max())
        visits = visits.rename(visitor="customer_id")
        here = (table.customer_id == visits.visitor) & (table.last_place == visits.place)
        table = table.left_join(visits, here)
    return table.select("customer_id", *(name for name in words.journey if name not in FEELINGS))


def _feelings(past: Table, cut_off, horizon) -> Table:
    """One row per customer who felt; ``bad_open`` counts bad feelings that no good one followed."""
    felt = past.filter(past.sentiment.notnull())
    latest = ibis.window(group_by="customer_id", order_by=[felt.timestamp.desc(), felt.line.desc()])
    felt = felt.mutate(
        last_good=felt.timestamp.max(where=felt.sentiment > 0).over(group_by="customer_id"),
        back=ibis.row_number().over(latest),
        recent=felt.timestamp > cut_off - horizon,
    )
    bad = felt.sentiment < 0
    still = bad & (felt.last_good.isnull() | (felt.timestamp > felt.last_good))
    return felt.group_by("customer_id").aggregate(
        feeling_mean=felt.sentiment.mean(),
        feeling_last=felt.sentiment.mean(where=felt.back == 0),
        feeling_trend=felt.sentiment.mean(where=felt.recent) - felt.sentiment.mean(),
        bad_recent=(bad & felt.recent).sum(),
        bad_open=still.sum(),
    )


def _days(time, cut_off: pd.Timestamp):
    """Days from a time to the cut-off, with fractions."""
    until = int(cut_off.timestamp())
    return (ibis.literal(until) - time.epoch_seconds()) / 86_400.0


def _share(met: BooleanValue):
    return met.cast("float64").mean().coalesce(0.0)
