"""What a column holds, seen from a sample of it: times, numbers, labels, a scale of feeling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import pandas as pd

MOSTLY = 0.9  # share of a column's values that must fit a guess at its content
DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y",
         "%d.%m.%Y", "%m.%d.%Y", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y")  # fmt: skip
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
ISO = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)? ?(Z|z|[+-]\d\d(:?\d\d)?)?"
EPOCHS = {"epoch_s": r"\d{10}", "epoch_ms": r"\d{13}"}
FORMATS = (*EPOCHS, *map("".join, product(DATES, CLOCKS)), "%Y-%m-%d %H:%M:%S UTC")
NUMBERS = {
    ".": r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?",
    ",": r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+",
}
SCALES = ((1, 5), (0, 5), (1, 10), (0, 10), (0, 100))


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


def time_formats(values: Sequence[str]) -> list[str]:
    """Return the formats that together fit nearly all values, each at least 5 % of them; or none.

    A single ``""`` stands for ISO 8601. Where the month could come first too, the day does.
    """
    chosen, rest = [], pd.Series(values, dtype=str)
    if rest.str.fullmatch(ISO).sum() >= max(MOSTLY * len(values), 1):
        return [""]
    few = rest[:: 1 + len(values) // 20]  # spares most formats the rest
    likely = [form for form in FORMATS if _fits(form, few).any()]
    while len(rest) > (1 - MOSTLY) * len(values):
        fits = {form: _fits(form, rest) for form in likely}
        best = max(likely, key=lambda form: fits[form].sum(), default=None)
        if best is None or fits[best].sum() < 0.05 * len(values):
            return []
        chosen, rest = [*chosen, best], rest[~fits[best]]
    return chosen


def _fits(form: str, values: pd.Series) -> pd.Series:
    if form in EPOCHS:
        return values.str.fullmatch(EPOCHS[form])
    read = pd.to_datetime(values, format=form, errors="coerce").notna()
    if form.startswith("%Y%m%d"):  # any seven digits could be read so
        read &= values.str.match(r"(19|20)\d{6}\b")
    return read


def decimal_mark(values: Sequence[str]) -> str | None:
    """Return ``"."`` or ``","`` where nearly all values are numbers, else None."""
    texts = pd.Series(values, dtype=str)
    read = {mark: texts.str.fullmatch(pattern).sum() for mark, pattern in NUMBERS.items()}
    if not values or sum(read.values()) < MOSTLY * len(values):
        return None
    return "," if read[","] else "."


def scale_of(values: Sequence[str]) -> tuple[tuple[float, float], bool]:
    """Return the scale that numbers of feeling probably come from, and whether that is plain.

    Dirt must not widen the scale: it is the narrowest that holds 97 % of the numbers.
    """
    numbers = pd.to_numeric(pd.Series(values), errors="coerce")
    low, high = numbers.quantile([0.015, 0.985], interpolation="nearest")
    if low >= -1 and high <= 1:
        return ((-1, 1), True) if low < 0 else ((0, 1), False)
    for scale in SCALES:
        if scale[0] <= low and high <= scale[1]:
            return scale, (low, high) == scale
    return (math.floor(low), math.ceil(high)), False
