"""No group smaller than ``privacy.smallest_group`` is shown, and none can be worked out.

This is the one place that says which columns count customers and which rows are too small. What a
notebook shows, says and finds passes it in `cjlib.report`, what it draws on the way into every
function of `cjlib.plots`; `cjlib.runs.privacy` looks once more at what a run is about to publish.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from cjlib.errors import Unanswerable

_PEOPLE = {"customers", "buyers", "churners", "gone"}
_DONE = {"n", "visits", "journeys"}  # by a customer each: fewer than five are of fewer than five
_SAID = re.compile(
    r"(?<![\w.,])(?<!\d[ -])(\d[\d,]*) (?:more |other )?(?:customers|buyers)\b"
    r"|\bn (\d[\d,]*)(?![\d.,]*\d)"
)
_NO_COUNTS = {
    *("share", "rate", "probability", "reach", "churned", "per", "mean", "median", "days", "value"),
}
_EVERYBODY = "all"  # the segment of that name
TEXTS = "texts"
"""Under this name a picture's output carries what is written in it; or it is not published."""


def counts_customers(name) -> bool:
    """Return whether a column counts customers, or what each of them did, by its name's words."""
    words = _words(name)
    return bool(words & (_PEOPLE | _DONE)) and not words & _NO_COUNTS


def too_small(count, smallest: int):
    """Return whether a count (or each of an array) is of a group too small to show; none is not."""
    return (count > 0) & (count < smallest)


def says_too_few(text: str, smallest: int) -> bool:
    """Return whether a sentence names such a count: before the word customers, or after n."""
    counts = [(one or other).replace(",", "") for one, other in _SAID.findall(text)]
    return any(too_small(int(count), smallest) for count in counts)


def hidden_rows(table: pd.DataFrame, smallest: int, everybody: Callable[[], int]) -> np.ndarray:
    """Return which rows of a table must not be shown.

    Those too small, and the next smallest beside them where the hidden count could be worked out
    as what is missing from a total (complementary suppression): among the rows that differ in one
    or two texts, until two or more are hidden that add up to `smallest`.

    Parameters
    ----------
    table : DataFrame
        A matrix, whose columns have a name, has no columns that count (see `enough_cells`).
    smallest : int
        Customers.
    everybody : callable
        Returns how many customers there are: groups that add up to more overlap, and nothing can
        be worked out from them.

    Returns
    -------
    array of bool, shape (rows,)
    """
    matrix = table.columns.name is not None
    names = [name for name in table.columns if counts_customers(name) and not matrix]
    counts = table[names].astype(object).map(_number).astype(float).to_numpy()
    shares = (counts % 1 > 0).any(axis=0)  # or means, whatever they are called
    counts = np.where(shares, 0, counts)
    hidden = too_small(counts, smallest).any(axis=1)
    if not hidden.any():
        return hidden
    adding_up = [
        (rows, count)
        for name, count in zip(names, np.nan_to_num(counts).T, strict=True)
        for rows in _that_may_add_up(table)
        if not (_words(name) & _PEOPLE and count[rows].sum() > everybody())
    ]
    before = 0
    while hidden.sum() > before:  # what is hidden in one line may be alone in another
        before = hidden.sum()
        for rows, count in adding_up:
            _hide_beside(hidden, rows, count, smallest)
    return hidden


def _words(name) -> set[str]:
    return set(re.findall(r"[a-z]+", str(name).lower()))


def _number(value) -> float:
    known = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return float(value) if known else np.nan


def _that_may_add_up(table: pd.DataFrame) -> Iterator[np.ndarray]:
    """Yield the places of rows that may share a total: all, and those alike in one or two texts."""
    texts = table.select_dtypes(exclude=["number", "bool"]).astype(str).reset_index(drop=True)
    parts = ~(texts == _EVERYBODY).any(axis=1).to_numpy()
    yield np.flatnonzero(parts)
    every = [texts.iloc[:, place] for place in range(texts.shape[1])]
    repeating = [column for column in every if column.duplicated().any()]
    for keys in [*combinations(repeating, 1), *combinations(repeating, 2)]:
        for rows in texts.groupby(list(keys)).indices.values():
            yield rows[parts[rows]]


def _hide_beside(hidden: np.ndarray, rows: np.ndarray, count: np.ndarray, smallest: int) -> None:
    """Hide, in place, the next smallest of some rows until the hidden ones count enough."""
    for row in rows[np.argsort(count[rows], kind="stable")]:
        missing = count[rows][hidden[rows] & (count[rows] > 0)]
        if not len(missing) or (len(missing) > 1 and missing.sum() >= smallest):
            return
        hidden[row] |= count[row] > 0


class _Guard:
    """The limit of the report that a notebook makes; without a report, as in tests, none."""

    smallest = 1
    everybody: Callable[[], int] = staticmethod(lambda: 0)


def protect(smallest: int, everybody: Callable[[], int]) -> None:
    """Set the limit for all that this process shows and draws from now on."""
    _Guard.smallest, _Guard.everybody = smallest, staticmethod(functools.cache(everybody))


def hidden(table: pd.DataFrame) -> np.ndarray:
    """Return which rows of a table must not be shown in this report, see `hidden_rows`."""
    return hidden_rows(table, _Guard.smallest, _Guard.everybody)


def too_few_said(text: str) -> bool:
    """Return whether a sentence must not be said in this report, see `says_too_few`."""
    return says_too_few(text, _Guard.smallest)


def enough_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table that may be shown."""
    return table[~hidden(table)]


def enough_cells(grid: pd.DataFrame, customers: pd.DataFrame) -> pd.DataFrame:
    """Return a matrix in which the cells of too few customers are empty, and those beside them.

    Parameters
    ----------
    grid : DataFrame
    customers : DataFrame
        How many customers each of its cells is made of, in the same rows and columns.
    """
    counts = customers.reindex(index=grid.index, columns=grid.columns).to_numpy()
    rows, columns = np.indices(counts.shape).reshape(2, -1).astype(str)
    cells = pd.DataFrame({"row": rows, "column": columns, "n": counts.ravel()})
    return grid.where(~hidden(cells).reshape(counts.shape))


def drawn_from_groups(draw: Callable) -> Callable:
    """Return a function of `cjlib.plots` that draws nothing of groups too small.

    Its tables lose the rows of such groups, or their figures where rows are points in time: then
    the line has a gap. The figure remembers that it was looked at and how many rows it lacks.

    Raises
    ------
    Unanswerable
        Where no row of a table is left.
    """

    @functools.wraps(draw)
    def drawn(*tables, **options):
        lacking = 0

        def enough(value):
            nonlocal lacking
            if isinstance(value, Mapping):
                return {name: enough(one) for name, one in value.items()}
            if isinstance(value, list | tuple):
                return [enough(one) for one in value]
            if not isinstance(value, pd.DataFrame):
                return value
            gone = hidden(value)
            lacking += int(gone.sum())
            if gone.any() and gone.all():
                raise Unanswerable(f"its groups hold fewer than {_Guard.smallest} customers each")
            if gone.any() and len(value.select_dtypes("datetime").columns):
                figures = value.select_dtypes("number")
                return value.assign(**figures.where(pd.Series(~gone, index=figures.index), axis=0))
            return value[~gone] if gone.any() else value

        first = tables[0] if tables else None
        if isinstance(first, pd.DataFrame):  # what is given by row, such as colours, loses it too
            kept = ~hidden(first)
            for name, value in options.items():
                if isinstance(value, list | np.ndarray | pd.Series) and len(value) == len(kept):
                    options[name] = np.asarray(value)[kept]
        axes = draw(*map(enough, tables), **options)
        figure = np.ravel(axes)[0].figure
        figure.cj_lacking = getattr(figure, "cj_lacking", 0) + lacking
        return axes

    return drawn
