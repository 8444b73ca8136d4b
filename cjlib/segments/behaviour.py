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
    sums = behaviour_sums(log, features, until=until, buckets=buckets)
    return pd.concat([sums[["customer_id", "bucket"]], from_sums(sums, features)], axis=1)


def behaviour_sums(
    log,
    features: Sequence[str],
    *,
    until: pd.Timestamp | None = None,
    buckets: Sequence[int] | None = None,
    by: Sequence[str] = ("customer_id",),
) -> pd.DataFrame:
    """Count and add up, on the engine, what features are made of: by customer, or journey as well.

    Returns
    -------
    DataFrame
        ``bucket``, ``n`` events, ``first`` and ``last`` (seconds since 1970), ``days`` between
        them, and what the features need: events of each stage, touchpoint and channel, ``told`` and
        ``felt``, ``spent``, ``moves`` and ``back``. Sorted by customer (and journey).
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
    counted = {
        name: (events[kind] == name.partition(": ")[2]).fill_null(False).cast("float64").sum()
        for name in features
        if ": " in name and (kind := _kind(name)) in OF_EVENTS
    }
    if "feeling" in features:
        counted |= {"told": events.sentiment.count(), "felt": events.sentiment.sum()}
    if "value" in features:
        counted["spent"] = events.value.sum(where=events.purchase | (events.value < 0))
    seconds = events.timestamp.epoch_seconds()
    table = events.group_by(by).aggregate(
        bucket=events.bucket.min(),
        n=events.count(),
        first=seconds.min(),
        last=seconds.max(),
        **counted,
    )
    others = [_steps_back(visits, log.stages.positions, by)] if STEPS_BACK in features else []
    attributes = [name for name in features if is_attribute(name)]
    if attributes:
        others.append(_attribute_levels(log.customers, attributes))
    for other in others:
        shared = [name for name in by if name in other.columns]
        table = table.left_join(other, shared).drop([f"{name}_right" for name in shared])
    sums = table.order_by(by).to_pandas()
    return sums.assign(days=(sums["last"] - sums["first"]) / DAY)


def from_sums(sums: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Return one float32 column per feature, from the sums of `behaviour_sums`."""
    events = sums["n"]
    found = {}
    for name in features:
        if name == "days between events":
            found[name] = np.log1p(sums["days"] / (events - 1).where(events > 1))
        elif name == "events":
            found[name] = np.log1p(events)
        elif name == "feeling":
            found[name] = sums["felt"] / sums["told"].where(sums["told"] > 0)
        elif name == "value":
            found[name] = np.log1p(sums["spent"].fillna(0).clip(lower=0))
        elif name == STEPS_BACK:
            found[name] = (sums["back"] / sums["moves"].where(sums["moves"] > 0)).fillna(0)
        elif _kind(name) in OF_EVENTS:
            found[name] = sums[name] / events
        else:
            found[name] = sums[name]
    return pd.DataFrame(found, index=sums.index).astype(float).round(6).astype(np.float32)


def is_attribute(feature: str) -> bool:
    """Say whether a feature is what a customer is, not what was done."""
    return ": " in feature and _kind(feature) not in OF_EVENTS


def _kind(feature: str) -> str:
    return feature.partition(": ")[0]


def _steps_back(visits: ir.Table, positions: dict[str, int], by: Sequence[str]) -> ir.Table:
    """Count the moves within journeys, and those of them that lead to an earlier stage."""
    place = visits.next_stage.cases(*positions.items(), else_=ibis.null("int64"))
    moves = visits.filter(visits.next_stage.isin(list(positions)))
    back = (place < visits.position).cast("float64")
    return moves.group_by(by).aggregate(moves=moves.count(), back=back.sum())


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
