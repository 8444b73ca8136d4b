"""What a report measures of the last weeks, counted by bucket so that a later one can compare.

The window lies where the silence that ends a journey has passed since: there every visit is known
to have led on or not, in every report alike. All is counted by who the customers were (the
*stratum*: new or not, how active so far), so that a growing or ageing set of customers is no change
of the journey.
"""

import hashlib
import json
from collections.abc import Iterator

import ibis
import ibis.expr.types as ir
import pandas as pd

from cjlib.errors import Unanswerable
from cjlib.journey_map.counts import VISIT
from cjlib.journeys import DAY, first_events, purchase_days
from cjlib.log import FORM, Log
from cjlib.markov.standing import JOURNEY
from cjlib.shelf import EarlierReport

ALL = "all"
RATES = (0.1, 0.2, 0.35, 0.6)
"""Journeys so far for each silence that would end one, at which bands of earlier activity part."""
COLUMNS = ("channel", "value", "sentiment")
MOST_LEVELS = 12
"""Levels of an attribute beyond which it says nothing of who comes."""
ONE_DAY = pd.Timedelta(days=1)
CELL = ["measure", "segment", "of", "item", "stratum", "bucket"]


def measures(log: Log, days: int, until: pd.Timestamp | None = None) -> pd.DataFrame:
    """Count what changes are looked for in, over a window of days.

    Parameters
    ----------
    log : Log
    days : int
        Length of the window.
    until : Timestamp, optional
        The moment as of which to count, by default the log's: a report of that moment would have
        counted the same.

    Returns
    -------
    DataFrame
        measure, segment (``all``, or the channel in which a visit began), of (what is divided: a
        stage, a touchpoint, an attribute), item (missing in rows that count what is divided),
        stratum, bucket (of the customer's id, the same in every report), n (a count, or a sum of
        feelings); as_of, window_days and definitions (of what journeys and stages are).

        ==========  ===========================================================================
        move        visits of a stage; where they led
        touchpoint  visits of a stage; those that met a touchpoint
        channel     visits of a stage; those that began in a channel
        feeling     events of a touchpoint with a feeling; their sum
        stage       journeys that ended; those that came through a stage
        purchase    journeys that ended; those with a purchase
        again       purchases; those followed by another within the churn horizon
        newcomers   customers seen to begin; those of an attribute or first channel
        column      events of a touchpoint; those that fill a column
        events      days; events
        ==========  ===========================================================================

    Raises
    ------
    Unanswerable
        Where no visit is in the window.
    """
    until = log.as_of if until is None else until
    patience, length = log.dataset.journey.inactivity, pd.Timedelta(days=days)
    end, bought = until - patience, until - log.dataset.churn.horizon - ONE_DAY
    strata = _strata(log).cache()
    visits, journeys = (
        _described(_between(table, "ended", end - length, end), keys, strata, log.events)
        for table, keys in ((log.visits, VISIT), (log.journeys, JOURNEY))
    )
    recent = _between(log.events, "timestamp", until - length, until)
    parts = [
        *_of_visits(log, visits),
        *_of_journeys(log, journeys),
        *_of_purchases(log, strata, bought - length, bought),
        *_of_newcomers(log, until - length, until),
        *_of_events(log, recent.mutate(bucket=_bucket(recent))),
    ]
    table = pd.concat([part for part in parts if len(part)], ignore_index=True)
    if table.empty or not (table["measure"] == "move").any():
        raise Unanswerable(
            f"no visit of a customer seen to begin ended in the {days} days to be compared"
        )
    table = table[[*CELL, "n"]].sort_values(CELL, ignore_index=True)
    return table.assign(as_of=until, window_days=days, definitions=_definitions(log))


def earlier_measures(
    log: Log, earlier: EarlierReport | None, days: int, days_back: int
) -> pd.DataFrame:
    """Return the measures to compare with: those of an earlier report, or of the log as it was.

    Parameters
    ----------
    log : Log
    earlier : EarlierReport or None
        Whose measures to take, where they count by the same definitions.
    days : int
        Length of the window.
    days_back : int
        Without such a report: how many days before this one's moment the same log is measured, or
        as many as it reaches back.

    Returns
    -------
    DataFrame
        Of `measures`; its column ``source`` says ``report`` or ``log``.

    Raises
    ------
    Unanswerable
        When more than half of the two windows would be the same.
    """
    if earlier is not None:
        table = earlier.table("measures")
        if "definitions" in table and (table["definitions"] == _definitions(log)).all():
            return table.assign(source="report")
    first = log.events.timestamp.min().execute()
    reached = first + log.dataset.journey.inactivity + pd.Timedelta(days=days)
    until = max(log.as_of - pd.Timedelta(days=days_back), reached)
    if log.as_of - until < pd.Timedelta(days=days) / 2:
        raise Unanswerable(
            f"this is the first report, and the log, which begins on {first:%Y-%m-%d}, is too short"
            " to be compared with itself"
        )
    return measures(log, days, until).assign(source="log")


def moments(log: Log, then: pd.DataFrame, earlier: EarlierReport | None) -> pd.DataFrame:
    """Return with what is compared: one row, source, day (of then) and between (days)."""
    until = then["as_of"].iloc[0]
    source = then["source"].iloc[0]
    between = round((log.as_of - until) / ONE_DAY)
    day = earlier.day if source == "report" else until.date()
    return pd.DataFrame([{"source": source, "day": day, "between": f"{between} days"}])


def _definitions(log: Log) -> str:
    """Return what journeys, their ends and the stages are here, as a short name."""
    journey, horizon = log.dataset.journey.model_dump(mode="json"), log.dataset.churn.horizon
    parts = json.dumps([FORM, journey, str(horizon), log.stages.names], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:8]


def _between(table: ir.Table, time: str, begin: pd.Timestamp, end: pd.Timestamp) -> ir.Table:
    return table.filter(table[time] >= ibis.timestamp(begin), table[time] < ibis.timestamp(end))


def _bucket(table: ir.Table) -> ir.StringValue:
    """Return the bucket of each row's customer, however many customers the log has."""
    return table.customer_id.hexdigest("md5").substr(0, 2)


def _strata(log: Log) -> ir.Table:
    """Return the stratum of every journey of which it is known: customer_id, journey, stratum.

    Of customers not seen to begin nobody knows how many journeys went before: their first ones here
    are left out, the later ones are strata of their own.
    """
    journeys = log.journeys.mutate(day=log.journeys.started.epoch_seconds() / DAY)
    first = journeys.day.min().over(ibis.window(group_by="customer_id"))
    patience = log.dataset.journey.inactivity / ONE_DAY
    rate = patience * journeys.journey / (journeys.day - first + patience)
    band = sum((rate >= border).cast("int64") for border in RATES).cast("string")
    number = ibis.least(journeys.journey, 2).cast("string")
    journeys = journeys.select(*JOURNEY, stratum=number + "." + band)
    journeys = _joined(journeys, log.beginners.mutate(begun=True), ["customer_id"], "left")
    journeys = journeys.filter(journeys.begun.notnull() | (journeys.journey > 0))
    early = journeys.begun.isnull().ifelse(".early", "")
    return journeys.select(*JOURNEY, stratum=journeys.stratum + early)


def _joined(table: ir.Table, other: ir.Table, keys: list[str], how: str = "inner") -> ir.Table:
    joined = table.join(other, keys, how=how)
    return joined.drop([name for name in joined.columns if name.endswith("_right")])


def _described(table: ir.Table, keys: list[str], strata: ir.Table, events: ir.Table) -> ir.Table:
    """Add bucket, stratum and, as segment, the channel in which each visit or journey began."""
    table = _joined(table, strata, JOURNEY)
    first = first_events(events.semi_join(table, keys), keys)
    table = _joined(table, first.select(*keys, segment=first.channel), keys)
    return table.mutate(bucket=_bucket(table)).cache()


def _counts(measure: str, table: ir.Table, n=None, **cells) -> pd.DataFrame:
    """Count a table, or add up its `n`, by bucket and cells; what a cell lacks is one level."""
    levels = {
        "segment": ibis.literal(ALL),
        "item": ibis.null("string"),
        "stratum": ibis.literal(""),
    }
    levels |= cells
    rows = table.mutate(**{name: levels[name] for name in CELL if name in levels})
    keys = ["segment", "of", "item", "stratum", "bucket"]
    counted = rows.group_by(keys).agg(n=rows.count() if n is None else n(rows).sum())
    return counted.to_pandas().assign(measure=measure)


def _everybody_and_segments(
    measure: str, table: ir.Table, item, base: ir.Table, log: Log, **cells
) -> Iterator[pd.DataFrame]:
    """Count items and what they are of, in all and by channel where the log has one."""
    for segmented in (False, *[True] * log.has("channel")):
        rows, whole = (t.filter(t.segment.notnull()) if segmented else t for t in (table, base))
        own = {"segment": lambda t: t.segment} if segmented else {}
        yield _counts(measure, rows, item=item, **own, **cells)
        yield _counts(measure, whole, **own, **cells)


def _of_visits(log: Log, visits: ir.Table) -> Iterator[pd.DataFrame]:
    cells = {"of": lambda t: t.stage, "stratum": lambda t: t.stratum}
    yield from _everybody_and_segments("move", visits, lambda t: t.next_stage, visits, log, **cells)
    keys = [*VISIT, "stage", "segment", "stratum", "bucket"]
    met = _joined(log.events.drop("stage", "bucket"), visits.select(*keys), VISIT)
    touched = met.select(*keys, "touchpoint").distinct()
    yield from _everybody_and_segments(
        "touchpoint", touched, lambda t: t.touchpoint, visits, log, **cells
    )
    if log.has("channel"):
        known = visits.filter(visits.segment.notnull())
        yield _counts("channel", known, item=lambda t: t.segment, **cells)
        yield _counts("channel", known, **cells)
    if log.has("sentiment"):
        felt = met.filter(met.sentiment.notnull())
        cells |= {"of": lambda t: t.touchpoint}
        yield _counts("feeling", felt, lambda t: t.sentiment, item=ibis.literal("feeling"), **cells)
        yield _counts("feeling", felt, **cells)


def _of_journeys(log: Log, journeys: ir.Table) -> Iterator[pd.DataFrame]:
    cells = {"of": ibis.literal("journeys"), "stratum": lambda t: t.stratum}
    through = log.visits.select(*JOURNEY, "stage").distinct()
    through = _joined(through, journeys.select(*JOURNEY, "stratum", "bucket"), JOURNEY)
    yield _counts("stage", through, item=lambda t: t.stage, **cells)
    yield _counts("stage", journeys, **cells)
    bought = journeys.filter(journeys.purchases > 0)
    yield from _everybody_and_segments(
        "purchase", bought, ibis.literal("a purchase"), journeys, log, **cells
    )


def _of_purchases(
    log: Log, strata: ir.Table, begin: pd.Timestamp, end: pd.Timestamp
) -> Iterator[pd.DataFrame]:
    """Count purchases followed by another; alike are those of one number and of like customers."""
    horizon = ibis.interval(seconds=int(log.dataset.churn.horizon.total_seconds()))
    in_order = ibis.window(group_by="customer_id", order_by="day")
    days = purchase_days(log.events).mutate(
        number=ibis.row_number().over(in_order), following=lambda t: t.day.lead().over(in_order)
    )
    bought = log.events.filter(log.events.purchase)
    bought = bought.mutate(day=bought.timestamp.truncate("D"))
    bought = bought.group_by(["customer_id", "day"]).agg(journey=bought.journey.min())
    days = _joined(_between(days, "day", begin, end), bought, ["customer_id", "day"])
    days = _joined(days, strata, JOURNEY)
    days = days.mutate(
        bucket=_bucket(days),
        of=ibis.literal("purchases"),
        alike=days.stratum + "." + ibis.least(days.number, 2).cast("string"),
    )
    again = days.filter(days.following <= days.day + horizon)
    cells = {"stratum": lambda t: t.alike}
    yield _counts("again", again, item=ibis.literal("another purchase"), **cells)
    yield _counts("again", days, **cells)


def _of_newcomers(log: Log, begin, end) -> Iterator[pd.DataFrame]:
    first = first_events(log.events.semi_join(log.beginners, "customer_id"), ["customer_id"])
    first = _between(first, "timestamp", begin, end)
    kinds = {"first_channel": first.channel} if log.has("channel") else {}
    if log.customers is not None:
        names = [one for one in log.customers.columns if one not in ("customer_id", "bucket")]
        attributes = {f"is_{name}": log.customers[name] for name in names}
        attributes = log.customers.select("customer_id", **attributes)
        first = _joined(first, attributes, ["customer_id"], "left")
        few = [name for name in names if log.customers[name].nunique().execute() <= MOST_LEVELS]
        kinds |= {name: first[f"is_{name}"].cast("string") for name in few}
    first = first.mutate(bucket=_bucket(first))
    for name, item in kinds.items():
        known = first.mutate(of=ibis.literal(name), item=item).filter(lambda t: t.item.notnull())
        yield _counts("newcomers", known, item=lambda t: t.item)
        yield _counts("newcomers", known)


def _of_events(log: Log, events: ir.Table) -> Iterator[pd.DataFrame]:
    day = {"of": ibis.literal("day")}
    yield _counts("events", events, item=ibis.literal("events"), **day)
    cells = {"of": ibis.literal("events"), "stratum": lambda t: t.touchpoint}
    for column in filter(log.has, COLUMNS):
        filled = events.filter(events[column].notnull())
        yield _counts("column", filled, item=ibis.literal(column), **cells)
    yield _counts("column", events, **cells)
