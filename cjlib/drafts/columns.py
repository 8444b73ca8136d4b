"""Which column of an undescribed log holds what: names propose, content decides."""

from collections.abc import Callable
from dataclasses import dataclass, field

import ibis.expr.types as ir

from cjlib.dataset_file import Columns, Quality
from cjlib.drafts.contents import Content, scale_of
from cjlib.drafts.names import columns_by_name, currency_in, feeling, parts, words
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
    checks : dict of str to list of str
        What is not plain about it: questions of ``words.yml``, each with the names it lists.
    """

    name: str
    options: dict = field(default_factory=dict)
    checks: dict[str, list[str]] = field(default_factory=dict)

    @property
    def declared(self) -> str | dict:
        """What a dataset file says of it."""
        return {"column": self.name} | self.options if self.options else self.name


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
    contents : dict of str to Content
        A sample of each column of the source.
    columns : dict of str to Column
        By meaning, in the order of a dataset file; each column has one meaning at most.
    """

    def __init__(self, raw: ir.Table, place: str):
        self.raw, self.place = raw, place
        self.rows = int(raw.count().execute())
        self.contents = self._sample()
        self.free = list(self.contents)
        found = {
            "timestamp": self._timestamp(),
            "customer_id": self._customer_id(),
            "touchpoint": self._named("touchpoint", lambda content: content.is_labels(10_000)),
            "event_id": self._named("event_id", self._tells_events_apart),
            "value": self._value(),
            "sentiment": self._sentiment(),
            "channel": self._named("channel", lambda content: content.is_labels(100)),
        }
        self.columns = {key: found[key] for key in Columns.model_fields if found[key]}

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

    def _named(self, meaning: str, fits: Callable[[Content], bool]) -> Column | None:
        """Take the column whose name says a meaning and whose content fits it, if there is one."""
        names = columns_by_name(meaning, self.free)
        names = [name for name in names if fits(self.contents[name])]
        if not names:
            return None
        return self._taken(names[0], {"another": names[1:]} if names[1:] else {})

    def _taken(self, name: str, checks: dict[str, list[str]]) -> Column:
        self.free.remove(name)
        return Column(name, checks=checks)

    def _tells_events_apart(self, content: Content) -> bool:
        return content.total > 0.9 * self.rows and not content.formats

    # -- time -----------------------------------------------------------------------------------

    def _timestamp(self) -> Column:
        column = self._named("timestamp", lambda content: bool(content.formats))
        if not column:
            times = [name for name in self.free if self.contents[name].formats]
            if not times:
                raise ContractError(
                    f"{self.place}: no column holds times in a known form with four-digit years "
                    f"(its columns: {', '.join(map(repr, self.free[:20]))}); write the dataset "
                    "file by hand, see data/README.md"
                )
            column = self._taken(times[0], {"time": []})
        formats = self.contents[column.name].formats
        text = self.raw[column.name].strip().fill_null("")
        if len(formats) > 1:
            column.checks["formats"] = []
        elif twin := _swapped(formats[0]):
            read = [read_time(text, [form])[0].count() for form in (*formats, twin)]
            here, there = self.raw.agg(here=read[0], there=read[1]).execute().iloc[0]
            formats = [twin] if there > here else formats
            if here == there:
                column.checks["day_or_month"] = [twin]
        formats = [form for form in formats if form]  # "" is ISO 8601, which needs no format
        if formats:
            column.options["format"] = formats[0] if len(formats) == 1 else formats
        local, offset = read_time(text, formats)
        zoneless = local.notnull() & offset.isnull()
        if self.raw.agg(some=zoneless.any()).execute()["some"].iloc[0]:
            column.options["timezone"] = "UTC"
            if not any(form.endswith("UTC") for form in formats):
                column.checks["zone"] = []
        return column

    # -- who ------------------------------------------------------------------------------------

    def _customer_id(self) -> Column:
        column = self._named("customer_id", lambda content: bool(content.values))
        if not column:
            if not self.free:
                raise ContractError(
                    f"{self.place}: has one column only; a log needs a customer and a time"
                )
            coming_back = [name for name in self.free if self._comes_back(self.contents[name])]
            ids = [name for name in self.free if "id" in parts(name)]
            likely = [name for name in coming_back if name in ids] or ids or coming_back
            best = max(likely or self.free, key=lambda name: self.contents[name].total)
            column = self._taken(best, {"customer": []})
        content = self.contents[column.name]
        if content.total > 0.95 * self.rows > 20:
            column.checks["customer_or_event"] = []
        if sum("@" in value for value in content.values) > 0.01 * len(content.values):
            column.checks["mail"] = []
        return column

    def _comes_back(self, content: Content) -> bool:
        """Return whether values come back as customers do, and are no times or amounts."""
        amounts = any("." in value or "," in value for value in content.values[:100])
        often = 1.2 <= self.rows / max(content.total, 1) <= 2_000
        return often and not content.formats and not (content.decimal and amounts)

    # -- numbers and feelings -------------------------------------------------------------------

    def _value(self) -> Column | None:
        column = self._named("value", lambda content: content.decimal is not None)
        if column:
            if self.contents[column.name].decimal == ",":
                column.options["decimal"] = ","
            if parts(column.name) & {*words()["prices"]}:
                column.checks["price"] = []
            if not currency_in(column.name):
                column.checks["currency"] = []
        return column

    def _sentiment(self) -> Column | None:
        def feels(content: Content) -> bool:
            return content.is_labels(12) or (content.decimal == "." and len(content.distinct) > 1)

        column = self._named("sentiment", feels)
        if not column:
            return None
        content = self.contents[column.name]
        if content.decimal:
            column.options["scale"], plainly = scale_of(content.values)
            if not plainly:
                column.checks["scale"] = []
            return column
        feelings = {label: feeling(label) for label in content.distinct}
        column.options["labels"] = {label: score or 0 for label, score in feelings.items()}
        if unknown := [label for label, score in feelings.items() if score is None]:
            column.checks["feelings"] = unknown
        return column


def _swapped(form: str) -> str:
    """Return a time format with day and month in each other's place; nothing where one is named."""
    swapped = form.replace("%d", "\0").replace("%m", "%d").replace("\0", "%m")
    return swapped if swapped != form and not form.startswith("%Y") else ""
