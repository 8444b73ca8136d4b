"""Events: text in, typed out, every row kept, quarantined with its rule, or dropped as duplicate.

All of it is Ibis expressions, the same on every engine.
"""

import datetime as dt
import re
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd

from cjlib.dataset_file import Dataset, ValueColumn
from cjlib.errors import ContractError
from cjlib.reading.sources import OWN, row_text, without_margins
from cjlib.timestamps import read_time, to_utc
from cjlib.yaml_files import read_yaml

WORDS = read_yaml(Path(__file__).parents[1] / "templates" / "rules.yml")
RULES = WORDS["rules"]
"""What a row can break, each with what it says, in the order of checking."""

UNMAPPED = 100  # touchpoints on no stage that are named
ORDER_NAME = re.compile(
    r"(?:(?:id|num|no|numero|codi|codigo)[ _.-]*)?"
    r"(?:order|invoice|receipt|basket|transaction|pedido|comanda|factura|tiquet|ticket)"
    r"(?:[ _.-]*(?:id|num|no|nr|number|key|code))?",
    re.IGNORECASE,
)
CENTS = 6  # decimals of a sum: more would differ with the order in which it is added up
EARLIEST = dt.datetime(1900, 1, 1)
"""Times before are mistakes, unless the dataset file says otherwise."""
LARGEST = 1e15
"""No sum of money is as large, and beyond it a float no longer holds cents."""
NUMBER = r"^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)$"


def _number(text: ir.StringValue, decimal: str = ".") -> ir.FloatingValue:
    if decimal == ",":
        text = text.replace(".", "").replace(",", ".")
    return _finite(text.re_extract(NUMBER, 1).try_cast("float64"))


def _finite(number: ir.FloatingValue) -> ir.FloatingValue:
    return (number.abs() < LARGEST).ifelse(number, ibis.null("float64"))


def _valued(rows: ir.Table, column: ValueColumn | None) -> ir.Table:
    """Return rows with ``value`` as a number, of two factors their product, beside its text."""
    if column is None:
        return rows.mutate(value=ibis.null("float64"), value_text=ibis.null("string"))
    value, text = _number(rows.value, column.decimal), rows.value
    if column.product:
        value = _finite(value * _number(rows.factor, column.decimal))
        text = rows.factor.isnull().ifelse(rows.factor, text)  # half a product is none, not dirt
    return rows.mutate(value=value, value_text=text)


def _touched(rows: ir.Table, dataset: Dataset) -> ir.Table:
    """Return rows with the touchpoint and the value that the dataset file makes of them."""
    one, value = dataset.columns.touchpoint, dataset.columns.value
    if one.value is not None:
        worth = rows.value
        if dataset.columns.order_id:  # of the order, not of one line
            of_order = ibis.window(group_by=["customer_id", _order(rows)])
            worth = rows.value.sum().over(of_order).round(CENTS)
        touchpoint = ibis.literal(one.value)
        if one.refund is not None:
            touchpoint = (worth.fill_null(0) < 0).ifelse(ibis.literal(one.refund), touchpoint)
        rows = rows.mutate(touchpoint=touchpoint)
    if value and value.refunds:
        refund = rows.touchpoint.isin(value.refunds)
        rows = rows.mutate(value=refund.ifelse(-rows.value.abs(), rows.value))
    return rows


def _order(rows: ir.Table) -> ir.StringValue:
    """Return the order of a row; without one, a row is an order of its own."""
    return rows.order_id.fill_null("\x1e" + rows._row.cast("string"))


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
        purchase, initiator, medium, channel, value, sentiment, event_id, order_id), ``rule``
        (missing where the row breaks none so far) and ``content``, the row as one text, to compare
        rows by. Rows that ``only`` leaves out are not among them.
    """
    raw = _wanted(raw, dataset)
    columns, missing = dataset.columns, ["", *dataset.quality.missing]
    nothing = ibis.null("string")

    texts = {
        field: without_margins(raw[columns.sources[field]]) if field in columns.sources else nothing
        for field in type(columns).model_fields
    }
    if factor := columns.sources.get("value.product"):
        texts["factor"] = without_margins(raw[factor])
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
        sentiment=_sentiment(read.sentiment, dataset) if columns.sentiment else unknown,
        sentiment_text=read.sentiment,
    ).drop("timestamp")
    read = _touched(_valued(read, columns.value), dataset)
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
    spent = ("_problem", "zoneless", "value_text", "sentiment_text", "factor")
    return rows.drop(*(name for name in spent if name in rows.columns))


def _wanted(raw: ir.Table, dataset: Dataset) -> ir.Table:
    """Return the rows that belong to the log; broken ones cannot be told and stay."""
    for column, wanted in dataset.only.items():
        text = without_margins(raw[column]).fill_null("")
        fits = text.isin(wanted.texts) if wanted.texts else text.notin(wanted.without)
        raw = raw.filter(raw._problem.notnull() | fits)
    return raw


def one_per_order(rows: ir.Table, dataset: Dataset) -> ir.Table:
    """Return kept rows as events: the lines of an order, at one touchpoint, made one.

    The event is its first line with the earliest time, the sum of the values and the mean of the
    feelings.
    """
    names = [name for name in rows.columns if name != "order_id"]
    if not dataset.columns.order_id:
        return rows.select(names)
    orders = rows.group_by("customer_id", "touchpoint", order=_order(rows)).agg(
        first=rows._row.min(),
        timestamp=rows.timestamp.min(),
        value=rows.value.sum().round(CENTS),
        sentiment=rows.sentiment.mean(),
    )
    orders = orders.drop("customer_id", "touchpoint", "order")
    lines = rows.drop("timestamp", "value", "sentiment")
    return lines.inner_join(orders, lines._row == orders.first).select(names)


def refuse_lines(raw: ir.Table, rows: ir.Table, dataset: Dataset) -> None:
    """Raise ContractError where each purchase seems to be a line of an order.

    So it is where a column named like an order's id, which the dataset file says nothing of, names
    the same order at the same moment of the same customer again and again.
    """
    columns = dataset.columns
    free = set(raw.columns) - {*OWN, *columns.sources.values(), *dataset.only}
    if columns.order_id or columns.event_id:
        return
    for name in sorted(name for name in free if ORDER_NAME.fullmatch(name)):
        bought = rows.filter(rows.rule.isnull() & rows.purchase)
        bought = bought.select("_row", "customer_id", "timestamp")
        bought = bought.inner_join(raw.select("_row", order=raw[name]), "_row")
        orders = bought.select("customer_id", "timestamp", "order").distinct()
        lines, orders = int(bought.count().execute()), int(orders.count().execute())
        if lines > 1.05 * orders:
            raise ContractError(
                f"{dataset.name}: {lines:,} rows that count as purchases name {orders:,} orders in"
                f" {name!r}: they seem to be lines of orders. Write order_id: {name} under columns"
                f" of {dataset.path.name}, which makes one event of an order; or name an event_id,"
                " where each row is a purchase of its own."
            )


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
    earliest = dataset.quality.earliest or EARLIEST
    cases = ibis.literal(dataset.columns.journey_id is not None)
    without_case = cases & rows.journey_id.isnull()
    return ibis.cases(
        (rows._problem.notnull(), rows._problem),
        (rows.customer_id.isnull(), "missing_customer_id"),
        (without_case, "missing_journey_id"),
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


def unmapped(rows: ir.Table) -> pd.DataFrame:
    """Return the touchpoints on no stage, most frequent first: touchpoint and rows."""
    rows = rows.filter(rows.rule == "unmapped_touchpoint")
    found = rows.group_by("touchpoint").agg(rows=rows.count())
    return found.order_by(ibis.desc("rows"), "touchpoint").limit(UNMAPPED).execute()


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
