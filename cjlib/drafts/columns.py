"""Which column of an undescribed log holds what: names propose, content decides."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import ibis.expr.types as ir

from cjlib.dataset_file import Columns, Quality
from cjlib.drafts.content import Content, mixed_formats, scale_of
from cjlib.drafts.guess import columns_by_name, currency_in, feeling, plain, stage_of, words
from cjlib.drafts.page import some
from cjlib.errors import ContractError
from cjlib.reading.sources import OWN
from cjlib.timestamps import read_time

SAMPLE = 3_000  # rows looked at to learn what a column holds
MISSING = ("", *Quality().missing)


@dataclass
class Column:
    """A column of the source and what it is taken for.

    Attributes
    ----------
    name : str
        The source's name for it.
    options : dict
        Further keys of the dataset file, such as ``format`` or ``scale``.
    checks : list of str
        What is not plain about it.
    """

    name: str
    options: dict = field(default_factory=dict)
    checks: list[str] = field(default_factory=list)


class ColumnGuess:
    """Guesses at the columns of a log.

    Parameters
    ----------
    raw : Table
        Text columns as `cjlib.reading.sources.read_source` gives them.
    place : str
        The log's path, for messages.

    Attributes
    ----------
    rows : int
        Rows of the log.
    content : dict of str to Content
        A sample of each column of the source.
    columns : dict of str to Column
        By meaning, in the order of a dataset file; each column has one meaning at most.
    """

    def __init__(self, raw: ir.Table, place: str):
        self.raw, self.place = raw, place
        self.rows = int(raw.count().execute())
        self.content = self._sample()
        guesses = {
            "timestamp": self._timestamp,
            "customer_id": self._customer_id,
            "touchpoint": self._touchpoint,
            "event_id": self._event_id,
            "value": self._value,
            "sentiment": self._sentiment,
            "channel": self._channel,
        }
        found: dict[str, Column] = {}
        for meaning, guess in guesses.items():
            used = {column.name for column in found.values()}
            if column := guess([name for name in self.content if name not in used]):
                found[meaning] = column
        self.columns = {key: found[key] for key in Columns.model_fields if key in found}

    def _sample(self) -> dict[str, Content]:
        names = [name for name in self.raw.columns if name not in OWN]
        spread = self.raw._row % (1 + self.rows // SAMPLE) == 0
        sample = self.raw.filter(spread & self.raw._problem.isnull()).order_by("_row")
        sample = sample.select(*names).execute()
        if sample.empty:
            raise ContractError(f"{self.place}: no line of it fits its header; is it a table?")
        totals = self.raw.agg(**{name: self.raw[name].approx_nunique() for name in names}).execute()
        return {
            name: Content(
                [text for text in sample[name].dropna().str.strip() if text not in MISSING],
                int(totals[name].iloc[0]),
            )
            for name in names
        }

    def _named(
        self, meaning: str, free: Iterable[str], fits: Callable[[Content], bool]
    ) -> Column | None:
        """Return the column whose name says a meaning and whose content fits it."""
        names = [name for name in columns_by_name(meaning, free) if fits(self.content[name])]
        if not names:
            return None
        return Column(names[0], checks=[f"or {some(names[1:], 3)}?"] if names[1:] else [])

    # -- time -----------------------------------------------------------------------------------

    def _timestamp(self, free: list[str]) -> Column:
        column = self._named("timestamp", free, lambda content: bool(content.formats))
        if not column:
            column = self._named("timestamp", free, lambda c: bool(mixed_formats(c.distinct)))
        if not column:
            by_content = [name for name in free if self.content[name].formats]
            if not by_content:
                raise ContractError(
                    f"{self.place}: no column holds times in a known form with four-digit years "
                    f"(its columns: {some(free, 20)}); write the dataset file by hand, see "
                    "data/README.md"
                )
            column = Column(by_content[0], checks=["is this the time of the event?"])
        content = self.content[column.name]
        formats = self._most_readable(column, content.formats[:4])
        if not formats:
            formats = mixed_formats(content.distinct)
            column.checks.append("several forms of time, tried in this order; is it right?")
        formats = [form for form in formats if form]  # "" is ISO 8601, which needs no format
        if formats:
            column.options["format"] = formats[0] if len(formats) == 1 else formats
        local, offset = read_time(self._text(column), formats)
        zoneless = local.notnull() & offset.isnull()
        if self.raw.agg(some=zoneless.any()).execute()["some"].iloc[0]:
            column.options["timezone"] = "UTC"
            if not any(form.endswith("UTC") for form in formats):
                column.checks.append("times without a zone; on whose clocks, e.g. Europe/Madrid?")
        return column

    def _text(self, column: Column) -> ir.StringValue:
        return self.raw[column.name].strip().fill_null("")

    def _most_readable(self, column: Column, formats: list[str]) -> list[str]:
        """Return the format that reads most of all rows; say where two read as many."""
        if len(formats) < 2:
            return formats
        counts = {
            str(place): read_time(self._text(column), [form] if form else [])[0].count()
            for place, form in enumerate(formats)
        }
        read = self.raw.agg(**counts).execute().iloc[0].tolist()
        best, other = sorted(range(len(formats)), key=lambda place: -read[place])[:2]
        if read[best] == read[other]:
            column.checks.append(f'"{formats[other]}" reads as well; day or month first?')
        return [formats[best]]

    # -- who and what ---------------------------------------------------------------------------

    def _customer_id(self, free: list[str]) -> Column:
        column = self._named("customer_id", free, lambda content: bool(content.values))
        if not column:
            repeating = [name for name in free if self._repeats(self.content[name])]
            named = [name for name in free if plain(name).endswith("id")]
            both = [name for name in repeating if name in named]
            candidates = both or named or repeating or free
            best = max(candidates, key=lambda name: self.content[name].total, default=None)
            if best is None:
                raise ContractError(
                    f"{self.place}: has one column only; a log needs a customer and a time"
                )
            column = Column(best, checks=["no column is named like a customer; is this the one?"])
        content = self.content[column.name]
        if content.total > 0.95 * self.rows > 20:
            column.checks.append("nearly every row has its own; is it a customer, or an event?")
        if sum("@" in value for value in content.values) > 0.01 * len(content.values):
            column.checks.append("holds e-mail addresses; think of customer_ids: hash below")
        return column

    def _repeats(self, content: Content) -> bool:
        """Return whether values come back as customers do, and are no times or amounts."""
        amounts = any("." in value or "," in value for value in content.values[:100])
        return (
            1.2 <= self.rows / max(content.total, 1) <= 2_000
            and not content.formats
            and not (content.decimal and amounts)
        )

    def _touchpoint(self, free: list[str]) -> Column | None:
        def named_well(content: Content) -> bool:
            return bool(content.values) and content.decimal is None and not content.formats

        def tells(name: str) -> bool:
            content = self.content[name]
            if not content.is_labels(60) or {*plain(name).split("_")} & {*words()["states"]}:
                return False  # a state that a row ended in is no event with a time
            known = {value for value in content.distinct if stage_of(value)}
            return 2 * sum(value in known for value in content.values) > len(content.values)

        if column := self._named("touchpoint", free, named_well):
            return column
        found = [name for name in free if tells(name)]
        return Column(found[0], checks=["does it tell what happened?"]) if found else None

    def _event_id(self, free: list[str]) -> Column | None:
        def unique(content: Content) -> bool:
            return content.total > 0.9 * self.rows and not content.formats

        return self._named("event_id", free, unique)

    def _channel(self, free: list[str]) -> Column | None:
        return self._named("channel", free, lambda content: content.is_labels(100))

    # -- numbers and feelings -------------------------------------------------------------------

    def _value(self, free: list[str]) -> Column | None:
        column = self._named("value", free, lambda content: content.decimal is not None)
        if not column:
            return None
        if self.content[column.name].decimal == ",":
            column.options["decimal"] = ","
        if {"price", "precio", "preu", "unit"} & {*plain(column.name).split("_")}:
            column.checks.append("is it what the whole event is worth, or a price per piece?")
        if not currency_in(column.name):
            column.checks.append("in which currency? add a line such as currency: EUR")
        return column

    def _sentiment(self, free: list[str]) -> Column | None:
        column = self._named(
            "sentiment", free, lambda content: content.is_scale or content.is_labels(12)
        )
        if not column:
            return None
        content = self.content[column.name]
        if content.is_scale:
            column.options["scale"], plainly = scale_of(content.numbers)
            if not plainly:
                column.checks.append("from the worst to the best number of the scale?")
            return column
        feelings = {label: feeling(label) for label in content.distinct}
        column.options["labels"] = {label: score or 0 for label, score in feelings.items()}
        if unknown := [label for label, score in feelings.items() if score is None]:
            column.checks.append(f"from -1 (bad) to 1 (good), what is {some(unknown)}?")
        return column
