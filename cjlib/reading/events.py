"""Events: text in, typed out, every row kept, quarantined with its rule, or dropped as duplicate.

All of it is Ibis expressions, the same on every engine.
"""

import datetime as dt
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd

from cjlib.dataset_file import Dataset
from cjlib.reading.sources import OWN, row_text, without_margins
from cjlib.timestamps import read_time, to_utc
from cjlib.yaml_files import read_yaml

WORDS = read_yaml(Path(__file__).parents[1] / "templates" / "rules.yml")
RULES = WORDS["rules"]
"""What a row can break, each with what it says, in the order of checking."""

NUMBER = r"^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)$"


def _number(text: ir.StringValue, decimal: str = ".") -> ir.FloatingValue:
    if decimal == ",":
        text = text.replace(".", "").replace(",", ".")
    number = text.re_extract(NUMBER, 1).try_cast("float64")
    return (number.abs() < 1e300).ifelse(number, ibis.null("float64"))


def _sentiment(text: ir.StringValue, dataset: Dataset) -> ir.FloatingValue:
    """Return a feeling, beyond [-1, 1] where the text lies outside the scale."""
    column = dataset.columns.sentiment
    if column.labels:
        return text.cases(*column.labels.items(), else_=ibis.null("float64"))
    worst, best = column.scale
    return 2 * (_number(text) - worst) / (best - worst) - 1


def typed(raw: ir.Table, dataset: Dataset) -> ir.Table:
    """Return the rows of a source with their meaning, and the rule that each breaks.

    Parameters
    ----------
    raw : Table
        Text columns as `cjlib.reading.sources.read_source` gives them.
    dataset : Dataset

    Returns
    -------
    Table
        ``_row``, the event's columns (customer_id, timestamp, touchpoint, stage, position, role,
        purchase, initiator, medium, channel, value, sentiment, event_id), ``rule`` (missing where
        the row breaks none so far) and ``content``, the row as one text, to compare rows by.
    """
    columns, missing = dataset.columns, ["", *dataset.quality.missing]
    nothing = ibis.null("string")

    texts = {
        field: without_margins(raw[columns.sources[field]]) if field in columns.sources else nothing
        for field in type(columns).model_fields
    }
    # Step by step: an expression that stands in another several times is computed several times.
    read = raw.select("_row", "_problem", **texts, content=row_text(raw))
    read = read.mutate(
        **{field: read[field].isin(missing).ifelse(nothing, read[field]) for field in texts}
    )
    local, offset = read_time(read.timestamp.fill_null(""), columns.timestamp.format)
    unknown = ibis.null("float64")
    read = read.mutate(
        local=local,
        offset=offset,
        value=_number(read.value, columns.value.decimal) if columns.value else unknown,
        value_text=read.value,
        sentiment=_sentiment(read.sentiment, dataset) if columns.sentiment else unknown,
        sentiment_text=read.sentiment,
    ).drop("timestamp")
    if columns.touchpoint.value is not None:
        read = read.mutate(touchpoint=ibis.literal(columns.touchpoint.value))
    read = to_utc(read, columns.timestamp.timezone)
    known = ibis.memtable(_touchpoint_table(dataset))
    rows = read.left_join(known, read.touchpoint == known.known_touchpoint)
    rows = rows.drop("known_touchpoint")
    if dataset.quality.unmapped != "quarantine":
        stage = dataset.quality.unmapped
        rows = rows.mutate(
            stage=rows.stage.fill_null(stage),
            position=rows.position.fill_null(dataset.stages.positions[stage]),
            role=rows.role.fill_null(dataset.stages.roles[stage]),
            purchase=rows.purchase.fill_null(False),
        )
    rows = rows.mutate(rule=_rule(rows, dataset))
    return rows.drop("_problem", "zoneless", "value_text", "sentiment_text")


def _touchpoint_table(dataset: Dataset) -> pd.DataFrame:
    table = pd.DataFrame(
        [
            (name, one.stage, name in dataset.journey.purchase, one.initiator, one.medium)
            for name, one in dataset.touchpoints.items()
        ],
        columns=["known_touchpoint", "stage", "purchase", "initiator", "medium"],
    ).fillna("")
    table["position"] = table["stage"].map(dataset.stages.positions)
    return table.assign(role=table["stage"].map(dataset.stages.roles))


def _rule(rows: ir.Table, dataset: Dataset) -> ir.StringValue:
    earliest = dataset.quality.earliest or dt.datetime(1, 1, 1)
    return ibis.cases(
        (rows._problem.notnull(), rows._problem),
        (rows.customer_id.isnull(), "missing_customer_id"),
        (rows.zoneless, "time_without_zone"),
        (rows.timestamp.isnull(), "unreadable_time"),
        (rows.timestamp < ibis.timestamp(earliest), "time_too_early"),
        (rows.touchpoint.isnull(), "missing_touchpoint"),
        (rows.stage.isnull(), "unmapped_touchpoint"),
        (rows.value_text.notnull() & rows.value.isnull(), "unreadable_value"),
        (rows.sentiment_text.notnull() & rows.sentiment.isnull(), "unreadable_sentiment"),
        (rows.sentiment.abs() > 1, "sentiment_out_of_range"),
    )


def not_after(rows: ir.Table, as_of: pd.Timestamp) -> ir.Table:
    """Return typed rows with those after the moment of the report under their rule."""
    late = rows.rule.isnull() & (rows.timestamp > ibis.timestamp(as_of))
    return rows.mutate(rule=late.ifelse("time_after_as_of", rows.rule))


def repeats(rows: ir.Table, dataset: Dataset) -> ir.Table:
    """Return the rows that repeat an earlier one, with what they are.

    Of rows with the same ``event_id`` (or, without one, the same content) the first stays; a later
    one with the same content is a duplicate, with other content a conflict.

    Parameters
    ----------
    rows : Table
        Typed rows.

    Returns
    -------
    Table
        ``_row`` and ``repeat``: ``duplicate`` or ``conflicting_event_id``.
    """
    by_id = rows.event_id.notnull()
    sound = rows.mutate(key=by_id.ifelse("id " + rows.event_id, "row " + rows.content))
    sound = sound.filter(sound.rule.isnull() & (by_id | (dataset.quality.duplicates == "drop")))
    sound = sound.select("_row", "key", "content", short=sound.key.hash())
    # Few rows repeat: an integer hash finds the suspects, the texts themselves decide.
    suspects = sound.group_by("short").having(sound.count() > 1).agg()
    sound = sound.semi_join(suspects, "short")
    first = ibis.window(group_by="key", order_by="_row")
    placed = sound.mutate(
        place=ibis.row_number().over(first), original=sound.content.first().over(first)
    )
    same = placed.content == placed.original
    return placed.filter(placed.place > 0).select(
        "_row", repeat=same.ifelse("duplicate", "conflicting_event_id")
    )


def judged(rows: ir.Table, repeated: ir.Table) -> ir.Table:
    """Return typed rows with their final ``rule``: none (kept), ``duplicate``, or a rule broken."""
    joined = rows.left_join(repeated, "_row")
    return joined.mutate(rule=joined.rule.fill_null(joined.repeat)).drop("repeat", "_row_right")


def quarantine(raw: ir.Table, rows: ir.Table) -> ir.Table:
    """Return the quarantined rows as read, each with its place and rule, in reading order."""
    broken = rows.filter(rows.rule.notnull() & (rows.rule != "duplicate"))
    broken = broken.select("_row", "rule")
    joined = broken.inner_join(raw, "_row").order_by("_row")
    own = {"file": joined._file, "line": joined._line, "rule": joined.rule, "text": joined._text}
    fields = {name: joined[name] for name in raw.columns if name not in OWN}
    return joined.select(**{**own, **{k: v for k, v in fields.items() if k not in own}})


def quality_table(rows: ir.Table) -> pd.DataFrame:
    """Return how many rows were kept, dropped as duplicates, and quarantined by each rule.

    Returns
    -------
    DataFrame
        rule, rows, share (of the rows read), ``meaning``; ``read``, ``kept`` and ``duplicate``
        first, then the rules broken, most frequent first.
    """
    counts = rows.group_by(rows.rule.fill_null("kept").name("rule")).agg(rows=rows.count())
    found = counts.order_by(ibis.desc("rows"), "rule").execute().set_index("rule")["rows"]
    read = found.sum()
    listed = pd.Series({"read": read, "kept": 0, "duplicate": 0} | found.to_dict())
    meanings = WORDS["rows"] | RULES
    return pd.DataFrame(
        {
            "rule": listed.index,
            "rows": listed.to_numpy(),
            "share": listed.to_numpy() / max(read, 1),
            "meaning": [meanings[rule] for rule in listed.index],
        }
    )
