"""Which column of an undescribed log holds what: names propose, content decides."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import ibis
import ibis.expr.types as ir
import pandas as pd

from cjlib.dataset_file import Columns, Quality
from cjlib.drafts.names import columns_by_name, currency_in, feeling, parts, words
from cjlib.errors import ContractError, ParameterError, did_you_mean
from cjlib.reading.events import NUMBER
from cjlib.reading.sources import OWN
from cjlib.timestamps import EPOCHS, ISO_PATTERN, read_time

SAMPLE = 3_000  # rows looked at to learn what a column holds
MOSTLY = 0.9  # share of a column's values that must fit a guess at its content
CONSTANT = "purchase"  # the one touchpoint of a log that has no column for it
REFUND = "return"  # what it is when it is worth less than nothing
REPEATED = 1.05  # rows for each order, customer and time: more are lines of orders
MISSING = ("", *Quality().missing)
DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y",
         "%d.%m.%Y", "%m.%d.%Y", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y")  # fmt: skip
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
FORMATS = (*EPOCHS, *map("".join, product(DATES, CLOCKS)), "%Y-%m-%d %H:%M:%S UTC")
NUMBERS = {".": NUMBER, ",": r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+"}  # by their decimal mark
SCALES = ((0, 1), (-1, 1), (1, 5), (0, 5), (1, 10), (0, 10), (0, 100))


@dataclass(frozen=True)
class Content:
    """What a sample of a column holds, empty cells left out.

    Attributes
    ----------
    cells : list of str
        Those that are not empty.
    total : int
        About how many different values the whole column has.
    """

    cells: list[str]
    total: int = 0

    @cached_property
    def distinct(self) -> pd.Series:
        """Values that differ, sorted."""
        return pd.Series(sorted(set(self.cells)), dtype=str)

    @cached_property
    def formats(self) -> list[str]:
        """Time formats that together fit nearly all values, each at least 5 % of them; or none.

        A single ``""`` stands for ISO 8601. Where the month could come first too, the day does.
        """
        rest = some = _spread(self.distinct, 500)
        if some.str.fullmatch(ISO_PATTERN).sum() >= max(MOSTLY * len(some), 1):
            return [""]
        if (some.str.count(r"\d") >= 5).sum() < MOSTLY * len(some):  # as in 1 May 2024
            return []
        few = _spread(some, 20)  # spares most formats the rest
        likely = [form for form in FORMATS if _fits(form, few).any()]
        chosen = []
        while len(rest) > (1 - MOSTLY) * len(some):
            fits = {form: _fits(form, rest) for form in likely}
            best = max(likely, key=lambda form: fits[form].sum(), default=None)
            if best is None or fits[best].sum() < 0.05 * len(some):
                return []
            chosen, rest = [*chosen, best], rest[~fits[best]]
        return chosen

    @cached_property
    def decimal(self) -> str | None:
        """Decimal mark, ``"."`` or ``","``; None where the values are no numbers."""
        texts = pd.Series(self.cells, dtype=str)
        read = {mark: texts.str.fullmatch(pattern).sum() for mark, pattern in NUMBERS.items()}
        if texts.empty or sum(read.values()) < MOSTLY * len(texts):
            return None
        return "," if read[","] else "."

    @property
    def scale(self) -> tuple[tuple[float, float], bool]:
        """The scale that numbers of feeling probably come from, and whether that is plain.

        Dirt must not widen the scale: it is the narrowest that holds 97 % of the numbers.
        """
        numbers = pd.to_numeric(pd.Series(self.cells), errors="coerce")
        low, high = numbers.quantile([0.015, 0.985], interpolation="nearest")
        for scale in SCALES:
            if scale[0] <= low and high <= scale[1]:
                return scale, (low, high) == scale
        return (math.floor(low), math.ceil(high)), False

    def is_labels(self, most: int) -> bool:
        """Return whether there are few different values, and no numbers or times."""
        few = 0 < len(self.distinct) <= most
        return few and self.decimal is None and not self.formats

    def reads_as(self, form: str) -> int:
        """Return how many of the different values a time format fits."""
        return _fits(form, self.distinct).sum()


def _spread(values: pd.Series, most: int) -> pd.Series:
    return values[:: 1 + len(values) // most]


def _fits(form: str, values: pd.Series) -> pd.Series:
    if form in EPOCHS:
        return values.str.fullmatch(r"\d{10}" if form == "epoch_s" else r"\d{13}")
    read = pd.to_datetime(values, format=form, errors="coerce").notna()
    if form.startswith("%Y%m%d"):  # any seven digits could be read so
        read &= values.str.match(r"(19|20)\d{6}\b")
    return read


@dataclass
class Column:
    """A column of the source and what it is taken for.

    Attributes
    ----------
    name : str
        The source's name for it; empty where the source has no such column.
    content : Content
    options : dict
        Further keys of the dataset file, such as ``format`` or ``scale``.
    checks : dict of str to list of str
        What is not plain about it: questions of ``words.yml``, each with the names it lists.
    """

    name: str
    content: Content
    options: dict = field(default_factory=dict)
    checks: dict[str, list[str]] = field(default_factory=dict)

    @property
    def sources(self) -> str:
        """The columns that it is made of, as one text."""
        return self.name or " ".join(self.options.get("product", []))

    @property
    def declared(self) -> str | dict:
        """What a dataset file says of it."""
        named = {"column": self.name} if self.name else {}
        return named | self.options if self.options else self.name


class ColumnGuess:
    """Guesses at the columns of a log.

    Parameters
    ----------
    raw : Table
        Text columns as `cjlib.reading.sources.read_source` gives them.
    place : str
        The log's path, for messages.
    fixed : dict of str to str
        Columns by meaning that are no guess.

    Attributes
    ----------
    columns : dict of str to Column
        By meaning, in the order of a dataset file; each column has one meaning at most.
    only : dict of str to Column
        Columns of which only some texts belong to the log, each with them as its options.
    free : dict of str to Content
        A sample of each column that has no meaning.
    """

    def __init__(self, raw: ir.Table, place: str, fixed: dict[str, str] | None = None):
        self.raw, self.place, self.fixed = raw, place, fixed or {}
        self.rows = int(raw.count().execute())
        self.free = self._sample()
        for meaning, name in self.fixed.items():
            if name not in self.free:
                hint = did_you_mean(name, self.free) or f"; there are {', '.join(self.free)}."
                raise ParameterError(f"{place}: has no column {name!r} for {meaning}{hint}")
        found = {"timestamp": self._timestamp(), "customer_id": self._customer_id()}
        found["touchpoint"] = self._touchpoint()
        found["event_id"] = self._named("event_id", self._tells_events_apart)
        found["value"] = self._value()
        found["journey_id"] = self._journey_id(found["customer_id"])
        found["order_id"] = self._order_id(found)
        found["sentiment"] = self._sentiment()
        found["channel"] = self._named("channel", lambda content: content.is_labels(100))
        self._mark_refunds(found)
        self.only = self._only()
        self.columns = {key: found[key] for key in Columns.model_fields if found.get(key)}

    def _sample(self) -> dict[str, Content]:
        names = [name for name in self.raw.columns if name not in OWN]
        spread = self.raw._row % (1 + self.rows // SAMPLE) == 0
        sample = self.raw.filter(spread & self.raw._problem.isnull()).order_by("_row")
        sample = sample.select(*names).execute()
        if sample.empty:
            raise ContractError(
                f"{self.place}: no rows, or none that fits its header; is it a table?"
            )
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
        if meaning in self.fixed:
            return self._taken(self.fixed[meaning], {})
        names = columns_by_name(meaning, self._unfixed())
        names = [name for name in names if fits(self.free[name])]
        if not names:
            return None
        return self._taken(names[0], {"another": names[1:]} if names[1:] else {})

    def _unfixed(self) -> list[str]:
        return [name for name in self.free if name not in self.fixed.values()]

    def _taken(self, name: str, checks: dict[str, list[str]]) -> Column:
        return Column(name, self.free.pop(name), checks=checks)

    def _tells_events_apart(self, content: Content) -> bool:
        return content.total > 0.9 * self.rows and not content.formats

    def _timestamp(self) -> Column:
        column = self._named("timestamp", lambda content: bool(content.formats))
        if not column:
            times = [name for name in self._unfixed() if self.free[name].formats]
            if not times:
                raise ContractError(
                    f"{self.place}: no column holds times in a known form with four-digit years "
                    f"(its columns: {', '.join(map(repr, [*self.free][:20]))}); write the dataset "
                    "file by hand, see data/README.md."
                )
            column = self._taken(times[0], {"time": []})
        formats = column.content.formats
        if not formats:
            raise ContractError(f"{self.place}: {column.name!r} holds no times in a known form.")
        if len(formats) > 1:
            column.checks["formats"] = []
        twin = _swapped(formats[0])
        if twin and column.content.reads_as(twin) == column.content.reads_as(formats[0]):
            column.checks["day_or_month"] = [twin]
        formats = [form for form in formats if form]  # "" is ISO 8601, which needs no format
        if formats:
            column.options["format"] = formats[0] if len(formats) == 1 else formats
        local, offset = read_time(self.raw[column.name].strip().fill_null(""), formats)
        zoneless = local.notnull() & offset.isnull()
        if self.raw.agg(some=zoneless.any()).execute()["some"].iloc[0]:
            column.options["timezone"] = "UTC"
            if not any(form.endswith("UTC") for form in formats):
                column.checks["zone"] = []
        return column

    def _customer_id(self) -> Column:
        column = self._named("customer_id", lambda content: bool(content.cells))
        if not column:
            if not self._unfixed():
                raise ContractError(
                    f"{self.place}: has one column only; a log needs a customer and a time."
                )
            column = self._taken(max(self._unfixed(), key=self._likelihood), {"customer": []})
        content = column.content
        if content.total > 0.95 * self.rows > 20:
            column.checks["customer_or_event"] = []
        if sum("@" in cell for cell in content.cells) > 0.01 * len(content.cells):
            column.checks["mail"] = []
        return column

    def _likelihood(self, name: str) -> tuple[bool, bool, bool, int]:
        """Return by what a customer's column is told where no name says so: ids that come back."""
        content = self.free[name]
        amounts = content.decimal and any("." in cell or "," in cell for cell in content.cells)
        comes_back = 1.2 <= self.rows / max(content.total, 1) <= 2_000
        comes_back = comes_back and not content.formats and not amounts
        another = bool(parts(name) & {*words()["not_customers"]})
        return not another, "id" in parts(name), comes_back, content.total

    def _touchpoint(self) -> Column:
        column = self._named("touchpoint", lambda content: content.is_labels(10_000))
        if column:
            return column
        considered = [name for name in self._unfixed() if self.free[name].is_labels(10_000)]
        return Column("", Content([]), {"value": CONSTANT}, {"constant": considered})

    def _journey_id(self, customer: Column) -> Column | None:
        """Return what names a customer's case, of which several rows are steps."""
        least, most = customer.content.total, 0.95 * self.rows
        column = self._named("journey_id", lambda content: least <= content.total < most)
        if column:
            column.checks["case"] = []
        return column

    def _value(self) -> Column | None:
        factors = self._factors()
        column = self._named("value", lambda content: content.decimal is not None)
        if not column:
            return None
        if column.content.decimal is None:
            raise ContractError(f"{self.place}: {column.name!r} holds no numbers.")
        if parts(column.name) & {*words()["prices"]} and "value" not in self.fixed:
            if factors and column.name == factors[1]:
                self.free.pop(factors[0])
                column = Column("", column.content, {"product": factors}, {"product": []})
            else:
                column.checks["price"] = []
        if column.content.decimal == ",":
            column.options["decimal"] = ","
        if not currency_in(column.sources):
            column.checks["currency"] = []
        return column

    def _factors(self) -> list[str]:
        """Return the columns of quantity and price where there is one of each, else none."""
        numbers = [name for name in self._unfixed() if self.free[name].decimal]
        found = [columns_by_name(meaning, numbers)[:1] for meaning in ("quantity", "unit_price")]
        return found[0] + found[1] if all(found) else []

    def _order_id(self, found: dict[str, Column | None]) -> Column | None:
        """Return what names the order of which several rows are lines, if there is such."""
        told = [found[key].name for key in ("customer_id", "timestamp", "touchpoint")]
        told = [name for name in told if name]

        def repeats(names: list[str]) -> bool:
            known = self.raw.filter(*(self.raw[name].strip() != "" for name in names))
            once = known.select(*dict.fromkeys(names)).distinct().count()
            return int(known.count().execute()) > REPEATED * int(once.execute())

        for name in columns_by_name("order_id", self._unfixed()):
            if not self.free[name].formats and repeats([*told, name]):
                return self._taken(name, {"lines": []})
        value = found["value"]
        if value and "product" in value.options and repeats(told):
            moment = found["timestamp"]
            return Column(moment.name, moment.content, checks={"lines_by_time": []})
        return None

    def _mark_refunds(self, found: dict[str, Column | None]) -> None:
        """Tell refunds from purchases where every row is one or the other."""
        value, touchpoint = found["value"], found["touchpoint"]
        if value and not touchpoint.name:
            names = value.options.get("product", [value.name])
            minus = [self.raw[name].strip().startswith("-") for name in names]
            if self.raw.filter(ibis.or_(*minus)).limit(1).count().execute():
                touchpoint.options["refund"] = REFUND
                touchpoint.checks["refund"] = []

    def _only(self) -> dict[str, Column]:
        """Return the column of steps of which one, the complete one, makes the event."""
        for name in columns_by_name("lifecycle", self._unfixed()):
            steps = [*self.free[name].distinct]
            complete = [step for step in steps if step.lower() in words()["complete"]]
            if complete and 1 < len(steps) <= 30:
                others = [step for step in steps if step not in complete]
                column = self._taken(name, {"lifecycle": others})
                column.options = complete
                return {name: column}
        return {}

    def _sentiment(self) -> Column | None:
        def feels(content: Content) -> bool:
            return content.is_labels(12) or (content.decimal == "." and len(content.distinct) > 1)

        column = self._named("sentiment", feels)
        if not column:
            return None
        if column.content.decimal:
            column.options["scale"], plainly = column.content.scale
            if not plainly:
                column.checks["scale"] = []
            return column
        feelings = {label: feeling(label) for label in column.content.distinct}
        column.options["labels"] = {label: score or 0 for label, score in feelings.items()}
        if unknown := [label for label, score in feelings.items() if score is None]:
            column.checks["feelings"] = unknown
        return column


def _swapped(form: str) -> str:
    """Return a time format with day and month in each other's place; nothing where one is named."""
    swapped = form.replace("%d", "\0").replace("%m", "%d").replace("\0", "%m")
    return swapped if swapped != form and not form.startswith("%Y") else ""
