"""What each customer did, as numbers: the features that behaviour clusters are made of.

A feature is a column's name. What stands before a colon says what it belongs to: ``stage:
purchase`` and ``touchpoint: checkout`` are shares of the customer's events, ``country: ES`` is an
attribute, yes or no.
"""

from collections.abc import Iterator, Sequence

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from cjlib.journeys import DAY

SAMPLE = 20_000  # customers from which clusters are learned
CHUNK = 200_000  # customers held at once while all are assigned
OF_EVENTS = ("stage", "touchpoint", "channel")
LOGARITHMS = ("days between events", "events", "value")
"""Features that are the logarithm of one more than a number of days, a count, an amount: their mean
may fall where that of sums rises."""
STEPS_BACK = "steps back"


def behaviour_features(
    log, *, touchpoints: int = 8, channels: int = 5, attributes: Sequence[str] = ()
) -> list[str]:
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
    list of str
        Their names; leave out what should not count.
    """
    counts = _frequent(log.events, "stage", "touchpoint")
    present = [stage for stage in log.stages.names if stage in set(counts["stage"])]
    several = len(present) > 1
    features = [f"stage: {stage}" for stage in present if several]
    alone = counts.groupby("stage")["touchpoint"].transform("size") == 1  # says what its stage says
    features += [f"touchpoint: {name}" for name in counts.loc[~alone, "touchpoint"][:touchpoints]]
    if log.has("channel"):
        used = _frequent(log.events, "channel")["channel"]
        features += [f"channel: {name}" for name in used[:channels] if len(used) > 1]
    features += ["days between events", "events"]
    features += [STEPS_BACK] if several else []
    features += ["feeling"] if log.has("sentiment") else []
    features += ["value"] if log.has("value") else []
    for column in filter(None, map(str.strip, attributes)):
        levels = _frequent(log.customers, column)[column].astype(str)
        features += [f"{column}: {level}" for level in levels[:channels]]
    return features


def _frequent(table: ir.Table, *columns: str) -> pd.DataFrame:
    """Return the values of columns, the most frequent first."""
    counts = table.group_by(columns).aggregate(n=lambda t: t.count()).to_pandas().dropna()
    return counts.sort_values(["n", columns[-1]], ascending=[False, True])


def behaviour_table(
    log,
    features: Sequence[str],
    *,
    until: pd.Timestamp | None = None,
    buckets: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Compute features on the engine.

    Parameters
    ----------
    log : Log
    features : sequence of str
        Of `behaviour_features`.
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
    attributes = [name for name in features if ": " in name and _kind(name) not in OF_EVENTS]
    counted = {
        name: _aggregate(events, name)
        for name in features
        if name not in attributes and name != STEPS_BACK
    }
    table = events.group_by("customer_id").aggregate(bucket=events.bucket.min(), **counted)
    others = [_steps_back(visits, log.stages.positions)] if STEPS_BACK in features else []
    others += [_attribute_levels(log.customers, attributes)] if attributes else []
    for other in others:
        table = table.left_join(other, "customer_id").drop("customer_id_right")
    if STEPS_BACK in features:
        table = table.fill_null({STEPS_BACK: 0.0})
    table = table.mutate(**{name: table[name].round(6).cast("float32") for name in features})
    return table.select("customer_id", "bucket", *features).order_by("customer_id").to_pandas()


def _kind(feature: str) -> str:
    return feature.partition(": ")[0]


def _aggregate(events: ir.Table, feature: str) -> ir.Scalar:
    """Return the expression of one feature over a customer's events."""
    kind, _, level = feature.partition(": ")
    if kind in OF_EVENTS:
        return (events[kind] == level).fill_null(False).cast("float64").mean()
    if kind == "days between events":
        first, last = events.timestamp.min(), events.timestamp.max()
        days = (last.epoch_seconds() - first.epoch_seconds()) / DAY
        return (days / (events.count() - 1).nullif(0) + 1).ln()
    if kind == "events":
        return (events.count() + 1).ln()
    if kind == "feeling":
        return events.sentiment.mean()
    spent = events.value.sum(where=events.purchase | (events.value < 0)).fill_null(0.0)
    return (ibis.greatest(spent, 0.0) + 1).ln()


def _steps_back(visits: ir.Table, positions: dict[str, int]) -> ir.Table:
    """Return, per customer, the share of moves within journeys that lead to an earlier stage."""
    place = visits.next_stage.cases(*positions.items(), else_=ibis.null("int64"))
    moves = visits.filter(visits.next_stage.isin(list(positions)))
    back = (place < visits.position).cast("float64")
    return moves.group_by("customer_id").aggregate(**{STEPS_BACK: back.mean()})


def _attribute_levels(customers: ir.Table, features: Sequence[str]) -> ir.Table:
    """Return one yes-or-no column per level of an attribute."""
    levels = {}
    for feature in features:
        column, _, level = feature.partition(": ")
        same = customers[column].cast("string") == level
        levels[feature] = same.fill_null(False).cast("float64")
    return customers.select("customer_id", **levels)


def behaviour_sample(
    log, features: Sequence[str], *, size: int = SAMPLE, seed: int = 0
) -> pd.DataFrame:
    """Return the behaviour of about so many customers, to learn clusters from.

    Whole buckets are drawn: they come from a hash of the id, so the same customers are drawn
    whatever the engine, and customers who come later change the sample little.

    Parameters
    ----------
    log : Log
    features : sequence of str
    size : int
    seed : int
        Of the draw.

    Returns
    -------
    DataFrame
        One row per customer (the index), one column per feature; what a customer lacks is the
        median of the others.
    """
    customers, buckets = _size(log)
    order = np.random.default_rng(seed).permutation(buckets)
    wanted = buckets if customers <= size else max(1, round(buckets * size / customers))
    table = behaviour_table(log, features, buckets=sorted(order[:wanted].tolist()))
    table = table.set_index("customer_id").drop(columns="bucket").astype(float)
    return table.fillna(table.median().fillna(0.0))


def behaviour_chunks(
    log, features: Sequence[str], *, until: pd.Timestamp | None = None, size: int = CHUNK
) -> Iterator[pd.DataFrame]:
    """Yield the `behaviour_table` of everyone, about so many customers at a time."""
    customers, buckets = _size(log)
    parts = max(1, min(buckets, -(-customers // size)))
    for part in np.array_split(np.arange(buckets), parts):
        yield behaviour_table(log, features, until=until, buckets=part.tolist())


def _size(log) -> tuple[int, int]:
    """Return how many customers and how many buckets a log has."""
    events = log.events
    found = events.aggregate(n=events.customer_id.nunique(), last=events.bucket.max()).to_pandas()
    return int(found["n"].iloc[0]), int(found["last"].iloc[0]) + 1
