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

FEWEST = 30
"""Customers who must have met a touchpoint, channel or stage for it to become a feature."""
TOUCHPOINTS, OTHERS = 40, 10
"""How many touchpoints, and how many channels and stages, become features at most."""
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


def vocabulary(events: Table, until: pd.Timestamp) -> Vocabulary:
    """Read from the events up to ``until`` which features the log can carry.

    Parameters
    ----------
    events : Table
        Events of a prepared log.
    until : Timestamp
        Usually the last training cut-off, so that no name is learned from the test.
    """
    events = events.filter(events.timestamp <= until)

    def names(column: str, rows: Table, most: int) -> tuple[str, ...]:
        rows = rows.filter(rows[column].notnull())
        counts = rows.group_by(column).aggregate(customers=rows.customer_id.nunique()).execute()
        counts = counts[counts["customers"] >= FEWEST]
        counts = counts.sort_values(["customers", column], ascending=[False, True])
        return tuple(sorted(counts[column].head(most)))

    channels, stages = (names(column, events, OTHERS) for column in ("channel", "stage"))
    known = events.aggregate(value=events.value.count(), sentiment=events.sentiment.count())
    return Vocabulary(
        touchpoints=names("touchpoint", events.filter(~events.purchase), TOUCHPOINTS),
        channels=channels if len(channels) > 1 else (),
        stages=stages if len(stages) > 1 else (),
        **known.execute().iloc[0].astype(bool),
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
        table = table.join(_journeys(past, cut_off, horizon, words), "customer_id")
    if words.sentiment:
        table = table.left_join(_feelings(past, cut_off, horizon), "customer_id")
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
    refunds = refunds.group_by("customer_id").aggregate(refunded=refunds.value.sum())
    table = table.left_join(refunds, "customer_id").drop("customer_id_right")
    brought = table.spent + table.refunded.coalesce(0.0)
    return table.mutate(purchase_value=(brought / table.valued.nullif(0)).coalesce(0.0))


def _journeys(past: Table, cut_off, horizon, words: Vocabulary) -> Table:
    """One row per customer: what was met, where, and where the customer stands now."""
    past = past.mutate(
        since=_days(past.timestamp, cut_off),
        recent=past.timestamp > cut_off - horizon,
        place=past.journey * 1_000_000 + past.visit,
    )
    latest = past.place.max().over(group_by=["customer_id", "stage"])
    past = past.mutate(latest=past.place == latest)
    columns = {"last_place": past.place.max()}
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
    for name in words.stages:
        columns[f"stage:{name}"] = (past.stage.argmax(past.place) == name).cast("int8")
    table = past.group_by("customer_id").aggregate(**columns)
    if words.touchpoints:
        visits = past.group_by(["customer_id", "place"]).aggregate(dwell_days=past.since.max())
        table = table.join(visits.rename(last_place="place"), ["customer_id", "last_place"])
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
