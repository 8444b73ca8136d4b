"""What a column holds, seen from a sample of it: times, numbers, labels, a scale of feeling."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import product

MOSTLY = 0.9  # share of a column's values that must fit a guess at its content
DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y",
         "%d.%m.%Y", "%m.%d.%Y", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y")  # fmt: skip
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
MORE_FORMATS = ("%Y-%m-%d %H:%M:%S UTC",)
FORMATS = (*(date + clock for date, clock in product(DATES, CLOCKS)), *MORE_FORMATS)
SCALES = ((1, 5), (0, 5), (1, 10), (0, 10), (0, 100))

_ISO = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)? ?(Z|z|[+-]\d\d(:?\d\d)?)?", re.ASCII
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_COMMA_NUMBER = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+", re.ASCII)


@dataclass(frozen=True)
class Content:
    """What a sample of a column holds, empty cells left out.

    Attributes
    ----------
    values : list of str
        Cells that are not empty.
    total : int
        About how many different values the whole column has.
    """

    values: list[str]
    total: int

    @cached_property
    def distinct(self) -> list[str]:
        """Values that differ, sorted."""
        return sorted(set(self.values))

    @cached_property
    def formats(self) -> list[str]:
        """Time formats that fit, see `time_formats`."""
        return time_formats(self.distinct[:: 1 + len(self.distinct) // 500])

    @cached_property
    def decimal(self) -> str | None:
        """Decimal mark, None where the values are no numbers."""
        return decimal_mark(self.values)

    def is_labels(self, most: int) -> bool:
        """Return whether there are few different values, and no numbers or times."""
        few = 0 < len(self.distinct) <= most
        return few and self.decimal is None and not self.formats

    @property
    def is_scale(self) -> bool:
        """Return whether the values are different numbers with a decimal point."""
        return self.decimal == "." and len(self.distinct) > 1

    @property
    def numbers(self) -> list[float]:
        """Those of the values that are numbers with a decimal point."""
        return [float(value) for value in self.values if _NUMBER.fullmatch(value)]


def time_formats(values: Sequence[str]) -> list[str]:
    """Return the formats that nearly all values fit, best first; ``""`` stands for ISO 8601.

    Where the day stands before or after the month and both can be read, both are returned.
    """
    if not values:
        return []
    shares = {"": sum(bool(_ISO.fullmatch(value)) for value in values) / len(values)}
    if shares[""] >= MOSTLY:
        return [""]
    few = values[:: 1 + len(values) // 20]  # spares most formats the rest
    forms = [form for form in FORMATS if 2 * sum(_fit(form, few)) >= len(few)]
    shares |= {form: sum(_fit(form, values)) / len(values) for form in forms}
    for form, digits in (("epoch_s", 10), ("epoch_ms", 13)):
        shares[form] = sum(v.isdecimal() and len(v) == digits for v in values) / len(values)
    return sorted((f for f in shares if shares[f] >= MOSTLY), key=lambda form: -shares[form])


def mixed_formats(values: Sequence[str]) -> list[str]:
    """Return formats that together fit nearly all values, each at least 5 % of them; else none."""
    chosen, rest = [], list(values)
    while rest and len(rest) > (1 - MOSTLY) * len(values):
        best = max(FORMATS, key=lambda form: sum(_fit(form, rest)))
        left = [value for value, fits in zip(rest, _fit(best, rest), strict=True) if not fits]
        if len(rest) - len(left) < 0.05 * len(values):
            return []
        chosen, rest = [*chosen, best], left
    return chosen


def _is_in(form: str, value: str) -> bool:
    if form.startswith("%Y%m%d") and not re.match(r"(19|20)\d{6}\b", value, re.ASCII):
        return False  # strptime would take any seven digits
    try:
        datetime.strptime(value, form)
    except ValueError:
        return False
    return True


def _fit(form: str, values: Sequence[str]) -> list[bool]:
    return [_is_in(form, value) for value in values]


def decimal_mark(values: Sequence[str]) -> str | None:
    """Return ``"."`` or ``","`` where nearly all values are numbers, else None."""
    if not values:
        return None
    dots = sum(bool(_NUMBER.fullmatch(value)) for value in values)
    commas = sum(bool(_COMMA_NUMBER.fullmatch(value)) for value in values)
    if dots + commas < MOSTLY * len(values):
        return None
    return "," if commas else "."


def scale_of(numbers: Sequence[float]) -> tuple[tuple[float, float], bool]:
    """Return the scale that numbers of feeling probably come from, and whether that is plain.

    Dirt must not widen the scale: it is the narrowest that holds 97 % of the numbers.
    """
    within = sorted(numbers)[int(0.015 * len(numbers)) : math.ceil(0.985 * len(numbers))]
    low, high = within[0], within[-1]
    if low >= -1 and high <= 1:
        return ((-1, 1), True) if low < 0 else ((0, 1), False)
    for scale in SCALES:
        if scale[0] <= low and high <= scale[1]:
            return scale, (low, high) == scale
    return (math.floor(low), math.ceil(high)), False
