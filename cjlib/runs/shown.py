"""What a report says and where: the texts of pages, notebooks, tables and pictures."""

import html
import html.parser
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cjlib.groups import TEXTS

_PERSON = {"id", "ids", "customer", "client", "user", "account", "person", "member"}


@dataclass(frozen=True)
class Piece:
    """A text of a report and its place."""

    place: str
    text: str
    kind: str = "source"  # or said, by a cell's code; head, of a column; figure, of a table
    column: str = ""

    @property
    def where(self) -> str:
        """The place as a reader looks for it."""
        return f"{self.place}, column {self.column}" if self.column else self.place


def pieces(path: Path, name: str) -> Iterator[Piece]:
    """Yield what a file says.

    Parameters
    ----------
    path : Path
        A page, a notebook, a table (its texts: numbers are no ids), or any other text.
    name : str
        How to call it.
    """
    if path.suffix in (".parquet", ".csv"):
        for column, texts in _columns(path):
            yield Piece(name, column)
            yield from (Piece(name, text, column=column) for text in texts)
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".ipynb":
        yield from notebook_pieces(json.loads(text), name)
    elif path.suffix == ".json":
        yield from (Piece(name, text) for text in strings(json.loads(text)))
    else:
        yield Piece(name, page_text(text) if path.suffix == ".html" else text)


def _columns(path: Path) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the columns of a table that can hold an id, and the different texts in each.

    Those are texts, and whole numbers whose name says so: counts and lines are no ids.
    """
    twin, texts = path.with_suffix(".parquet"), None
    if twin.exists():  # of a CSV file: it knows which of its columns are numbers
        texts = pd.read_parquet(twin)
        kinds = ["number", "bool", "datetime", "datetimetz", "timedelta"]
        figures = texts.select_dtypes(include=kinds).columns
        texts = texts.drop(columns=[name for name in figures if not _of_a_person(name)])
    if path.suffix == ".csv":
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        known = [texts is None or name.lstrip("'") in texts for name in table]
        texts = table.loc[:, known]
    for name, column in texts.items():
        yield str(name), column.dropna().astype(str).unique()


def _of_a_person(name) -> bool:
    return bool(set(re.findall(r"[a-z]+", str(name).lower())) & _PERSON)


def strings(value, *, keys: bool = True) -> Iterator[str]:
    """Yield every text in something read from JSON; with `keys` the names, too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from [key] if keys else []
            yield from strings(inner, keys=keys)
    elif isinstance(value, list):
        yield from (text for inner in value for text in strings(inner, keys=keys))


# -- notebooks -------------------------------------------------------------------------------------


def notebook_pieces(notebook: dict, name: str) -> Iterator[Piece]:
    """Yield what a notebook says: its own text and code, and what its cells have shown."""
    yield from (Piece(name, text) for text in strings(notebook.get("metadata", {}), keys=False))
    number = 0
    for cell in notebook["cells"]:
        number = cell.get("execution_count") or number  # of the last code up to here
        place = f"{name}, cell [{number}]"
        yield Piece(place, _joined(cell["source"]))
        yield from (Piece(place, text) for text in strings(cell.get("metadata", {}), keys=False))
        for output in cell.get("outputs", []):
            yield from _shown(output, place)


def _shown(output: dict, place: str) -> Iterator[Piece]:
    rest = dict(output) | {"data": {}, "metadata": dict(output.get("metadata", {}))}
    for kind, content in output.get("data", {}).items():
        if kind.startswith("image/"):
            continue
        text = _joined(content) if isinstance(content, list | str) else json.dumps(content)
        if kind == "text/html":
            yield from table_pieces(text, place)
            text = page_text(_TABLE.sub("", text))
        yield Piece(place, _unmarked(text), "said")
    for text in rest["metadata"].pop(TEXTS, []):
        yield Piece(f"{place}, picture", " ".join(text.split()), "said")
    for name in ("text", "traceback"):
        yield Piece(place, _joined(rest.pop(name, "")), "said")
    yield from (Piece(place, text) for text in strings(rest, keys=False))


def pictures(output: dict) -> list[str] | None:
    """Return what is written in an output's picture, if there is one; None where it is unknown."""
    if not any(kind.startswith("image/") for kind in output.get("data", {})):
        return []
    return output.get("metadata", {}).get(TEXTS)


def _joined(lines: str | list) -> str:
    return "".join(line for line in lines if isinstance(line, str))


def _unmarked(text: str) -> str:
    """Return a text without the marks that escape HTML and Markdown."""
    return re.sub(r"\\(?=\W)", "", html.unescape(text))


# -- HTML ------------------------------------------------------------------------------------------


def page_text(page: str) -> str:
    """Return the text of a page and of its attributes, one element a line."""
    reader = _PageReader()
    reader.feed(page)
    reader.close()
    return "\n".join(reader.parts)


_TABLE = re.compile(r"<table\b.*?(?:</table>|$)", re.S | re.I)


def table_pieces(page: str, place: str) -> Iterator[Piece]:
    """Yield the cells of the tables in some HTML with the columns that they stand in."""
    for rows in _TABLE.findall(page):
        reader = _PageReader()
        reader.feed(rows)
        reader.close()
        heads, *lines = [row for row in reader.rows if row] or [[]]  # a caption is in no row
        yield from (Piece(place, text) for text in [*heads, *re.findall(r"<caption>(.*?)<", rows)])
        for line in lines:
            for head, text in zip(heads, line, strict=False):
                yield Piece(place, text, "figure", " ".join(head.split()))


class _PageReader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.parts: list[str] = []
        self.rows: list[list[str]] = [[]]
        self.in_style = False

    def handle_starttag(self, tag, attrs):
        self.in_style = tag == "style"
        self.parts += [value for name, value in attrs if value and not value.startswith("data:")]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.in_style = False

    def handle_data(self, data):
        if self.in_style:
            return
        self.parts.append(data)
        if self.rows[-1]:
            self.rows[-1][-1] += data
