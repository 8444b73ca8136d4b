"""What each customer did, as numbers: the features that behaviour clusters are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

SAMPLE = 20_000  # customers from which clusters are learned
CHUNK = 200_000  # customers held at once while all are assigned


@dataclass(frozen=True)
class Feature:
    """One number per customer.

    Attributes
    ----------
    name : str
        Column, e.g. ``"stage: purchase"``.
    group : str
        What it belongs to: stage, touchpoint, channel, pace, depth, loops, feeling, value or an
        attribute.
    much, little : str
        How a cluster clearly above or below the others is described.
    kind : {"share", "log", "score"}
        A share of the customer's events; the logarithm of one more than a count, an amount or a
        number of days; or a score from -1 to 1.
    mostly, hardly : str
        How it is described where the level itself says as much: a share from a half, or below a
        twentieth; a score from a quarter above, or below, zero.
    """

    name: str
    group: str
    much: str
    little: str
    kind: str = "share"
    mostly: str = ""
    hardly: str = ""

    @property
    def label(self) -> str:
        """The name, and whether it is a logarithm, whose mean may fall where that of sums rises."""
        return f"{self.name} (log)" if self.kind == "log" else self.name

    def words(self, level: float, above: bool) -> str:
        """Describe a cluster of this mean that lies above, or below, the others."""
        high, low = {"share": (0.5, 0.05), "score": (0.25, -0.25)}.get(self.kind, (np.inf, -np.inf))
        if above:
            return self.mostly if self.mostly and level >= high else self.much
        return self.hardly if self.hardly and level <= low else self.little


def _share_of_events(name: str, group: str, said: str, adverbs: Sequence[str]) -> Feature:
    """Return the feature of a share of events, described by four adverbs before what is `said`."""
    much, little, mostly, hardly = (f"{adverb} {said}" for adverb in adverbs)
    return Feature(name, group, much, little, mostly=mostly, hardly=hardly)


_AMOUNT = ("more", "less", "mostly", "hardly any")
_OFTEN = ("more often", "less often", "mostly", "seldom")
_BY = ("more by", "less by", "mostly by", "hardly by")


def behaviour_features(
    log, *, touchpoints: int = 8, channels: int = 5, attributes: Sequence[str] = ()
) -> list[Feature]:
    """Choose the features that a log allows.

    Parameters
    ----------
    log : Log
    touchpoints, channels : int
        How many of the most frequent ones enter, each as a share of the customer's events.
    attributes : sequence of str
        Columns of ``log.customers`` that enter too, each of their frequent values as yes or no; by
        default none, since who a customer is should not decide what the customer did.

    Returns
    -------
    list of Feature
    """
    counts = log.events.group_by("stage", "touchpoint").aggregate(n=lambda t: t.count())
    counts = counts.to_pandas().sort_values(["n", "touchpoint"], ascending=[False, True])
    present = [stage for stage in log.stages.names if stage in set(counts["stage"])]
    features = []
    if len(present) > 1:
        for stage in present:
            label = log.label(stage).lower()
            features.append(_share_of_events(f"stage: {stage}", "stage", label, _AMOUNT))
    alone = counts.groupby("stage")["touchpoint"].transform("size") == 1  # says what its stage says
    for name in counts.loc[~alone, "touchpoint"].head(touchpoints):
        said = name.replace("_", " ")
        features.append(_share_of_events(f"touchpoint: {name}", "touchpoint", said, _OFTEN))
    if log.has("channel"):
        used = log.events.filter(log.events.channel.notnull()).group_by("channel")
        used = used.aggregate(n=lambda t: t.count()).to_pandas()
        used = used.sort_values(["n", "channel"], ascending=[False, True])["channel"]
        if len(used) > 1:
            for name in used.head(channels):
                features.append(_share_of_events(f"channel: {name}", "channel", name, _BY))
    features += [
        Feature("days between events", "pace", "events further apart", "events closer", "log"),
        Feature("events", "depth", "more contacts", "fewer contacts", "log"),
    ]
    if len(present) > 1:
        features.append(Feature("steps back", "loops", "more steps back", "fewer steps back"))
    if log.has("sentiment"):
        words = ("more pleased", "less pleased", "score", "pleased", "displeased")
        features.append(Feature("feeling", "feeling", *words))
    if log.has("value"):
        features.append(Feature("value", "value", "higher value", "lower value", "log"))
    if attributes and log.customers is not None:
        for column in attributes:
            known = log.customers.group_by(column).aggregate(n=lambda t: t.count()).to_pandas()
            known = known.dropna().sort_values(["n", column], ascending=[False, True])
            for level in known[column].astype(str).head(channels):
                name = f"{column}: {level}"
                features.append(Feature(name, column, name, f"not {name}"))
    return features


def behaviour_table(
    log,
    features: Sequence[Feature],
    *,
    until: pd.Timestamp | None = None,
    buckets: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Compute features on the engine.

    Parameters
    ----------
    log : Log
    features : sequence of Feature
    until : Timestamp, optional
        Use only what was known at that moment; ``log.as_of`` by default.
    buckets : sequence of int, optional
        Only the customers in these buckets.

    Returns
    -------
    DataFrame
        ``customer_id`` (sorted), ``bucket`` and one float32 column per feature, NaN where a
        customer has none (a feeling never told, the pace of a single event).
    """
    until = log.as_of if until is None else until
    events, visits = log.events, log.visits
    events = events.filter(events.timestamp <= until)
    # A visit tells where it led once the customer can no longer go on: the moves seen sooner are
    # those of the quick.
    visits = visits.filter(visits.settled, visits.ended < until - log.dataset.journey.inactivity)
    if buckets is not None:
        events = events.filter(events.bucket.isin(list(buckets)))
        visits = visits.filter(visits.bucket.isin(list(buckets)))
    columns = {
        feature.name: _aggregate(events, feature)
        for feature in features
        if feature.group in _ON_EVENTS
    }
    table = events.group_by("customer_id").aggregate(bucket=events.bucket.min(), **columns)
    wanted = [feature.name for feature in features]
    if "steps back" in wanted:
        table = table.left_join(_steps_back(visits, log.stages.positions), "customer_id")
        table = table.drop("customer_id_right")
        table = table.mutate(**{"steps back": table["steps back"].fill_null(0.0)})
    attributes = [f for f in features if f.group not in {*_ON_EVENTS, "loops"}]
    if attributes:
        table = table.left_join(_attribute_levels(log.customers, attributes), "customer_id")
        table = table.drop("customer_id_right")
    table = table.mutate(**{name: table[name].round(6).cast("float32") for name in wanted})
    return table.select("customer_id", "bucket", *wanted).order_by("customer_id").to_pandas()


_ON_EVENTS = {"stage", "touchpoint", "channel", "pace", "depth", "feeling", "value"}


def _aggregate(events: ir.Table, feature: Feature) -> ir.Scalar:
    """Return the expression of one feature over a customer's events."""
    if feature.group in ("stage", "touchpoint", "channel"):
        level = feature.name.removeprefix(f"{feature.group}: ")
        return (events[feature.group] == level).fill_null(False).cast("float64").mean()
    if feature.group == "pace":
        first, last = (
            time.epoch_seconds() for time in (events.timestamp.min(), events.timestamp.max())
        )
        return ((last - first) / 86400 / (events.count() - 1).nullif(0) + 1).ln()
    if feature.group == "depth":
        return (events.count() + 1).ln()
    if feature.group == "feeling":
        return events.sentiment.mean()
    spent = events.value.sum(where=events.purchase | (events.value < 0)).fill_null(0.0)
    return (ibis.greatest(spent, 0.0) + 1).ln()


def _steps_back(visits: ir.Table, positions: dict[str, int]) -> ir.Table:
    """Return, per customer, the share of moves within journeys that lead to an earlier stage."""
    place = visits.next_stage.cases(*positions.items(), else_=ibis.null("int64"))
    moves = visits.filter(visits.next_stage.isin(list(positions)))
    back = (place < visits.position).cast("float64")
    return moves.group_by("customer_id").aggregate(**{"steps back": back.mean()})


def _attribute_levels(customers: ir.Table, features: Sequence[Feature]) -> ir.Table:
    """Return one yes-or-no column per level of an attribute."""
    levels = {
        feature.name: (customers[feature.group].cast("string") == feature.name.split(": ", 1)[1])
        .fill_null(False)
        .cast("float64")
        for feature in features
    }
    return customers.select("customer_id", **levels)


def sample_buckets(customers: int, buckets: int, *, size: int = SAMPLE, seed: int = 0) -> list[int]:
    """Choose whole buckets that hold about ``size`` customers; all of them when there are fewer.

    Buckets come from a hash of the id, so the same customers are drawn whatever the engine, and
    customers who come later change the sample little.
    """
    order = np.random.default_rng(seed).permutation(buckets)
    wanted = buckets if customers <= size else max(1, round(buckets * size / customers))
    return sorted(order[:wanted].tolist())


def bucket_chunks(customers: int, buckets: int, *, size: int = CHUNK) -> list[list[int]]:
    """Split the buckets so that each part holds about ``size`` customers."""
    parts = max(1, min(buckets, -(-customers // size)))
    return [part.tolist() for part in np.array_split(np.arange(buckets), parts)]
