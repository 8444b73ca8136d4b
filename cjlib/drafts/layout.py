"""What form a log file has: its delimiter, encoding and header, found by looking at it."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cjlib.errors import ContractError, ParameterError
from cjlib.reading.csv_tables import STRETCH, is_clean
from cjlib.reading.queries import query_columns
from cjlib.reading.records import first_row, json_names
from cjlib.reading.sources import ENDINGS, JSON_ENDINGS
from cjlib.reading.text_files import TORN, open_text

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_LINES = 200
NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f]")  # in archives, workbooks and Parquet


@dataclass(frozen=True)
class Layout:
    """How a log file is to be read.

    Attributes
    ----------
    header : tuple of str
        Column names in their order.
    delimiter : str
        One character, or ``"whitespace"``.
    encoding : str
        ``utf-8``, ``utf-16`` or ``cp1252``.
    headless : bool
        The first line holds data already; the names in ``header`` are made up.
    """

    header: tuple[str, ...]
    delimiter: str = ","
    encoding: str = "utf-8"
    headless: bool = False


def find_layout(path: Path, scratch: Path | None = None, tables: Path | None = None) -> Layout:
    """Return how a log file is to be read.

    Parameters
    ----------
    path : Path
        A file of any form that can be a source.
    scratch : Path, optional
        A folder for what a query does not keep in memory.
    tables : Path, optional
        The folder of a query's tables; by default its own.

    Raises
    ------
    ParameterError
        There is no such file, or it is of a kind that cannot be read.
    ContractError
        The file is empty or damaged.
    """
    if not path.is_file():
        what = "is a folder; name one file of it." if path.is_dir() else "is not there; correct it."
        raise ParameterError(f"The path {path} {what}")
    name = path.name.lower()
    if not name.endswith(ENDINGS):
        raise ParameterError(
            f"{path.name}: its ending says no form that can be read. Save the log with one of the"
            f" endings {', '.join(ENDINGS)}."
        )
    try:
        if name.endswith(".sql"):
            return Layout(tuple(query_columns(path, tables or path.parent, scratch or path.parent)))
        if name.endswith(".parquet"):
            return Layout(tuple(pq.read_schema(path).names))
        if name.endswith(".xlsx"):
            return Layout(tuple(map(str.strip, first_row(path))))
        if name.endswith(JSON_ENDINGS):
            with open_text(path, "utf-8") as stream:
                return Layout(tuple(json_names(stream, path)))
        return _of_text(path)
    except (*TORN, UnicodeError, csv.Error, pa.ArrowException) as error:
        raise ContractError(f"{path} is damaged: {error}; export the log again.") from None
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror or error}.") from None


def _of_text(path: Path) -> Layout:
    with open_text(path, "utf-8") as stream:
        lines = list(islice(stream, SAMPLE_LINES))
        encoding = stream.encoding.removesuffix("-sig")
        # An accent may come late; of the lines with accents a few may be damaged.
        damaged = [not is_clean([line]) for line in lines if not line.isascii()]
        while text := stream.read(STRETCH):
            if not text.isascii():
                found = text.split("\n")
                damaged += [not is_clean([line]) for line in found if not line.isascii()]
    if 2 * sum(damaged) > len(damaged):
        encoding = "cp1252"
        lines = [
            line.encode("utf-8", "surrogateescape").decode(encoding, "replace") for line in lines
        ]
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise ContractError(f"{path} is empty; export the log again, with a header line.")
    if NO_TEXT.search("".join(lines[:2])):
        raise ParameterError(
            f"{path} is no text, but a workbook, an archive or Parquet under another name; "
            "rename it, or save the table in it as CSV."
        )
    delimiter = _delimiter(lines)
    first = [name.strip() for name in next(_rows(lines, delimiter))]
    data = [bool(cell) and not any(map(str.isalpha, cell)) for cell in first]
    headless = 2 * sum(data) > len(first)
    names = ["" if headless else name for name in first]
    header = tuple(name or f"column_{place}" for place, name in enumerate(names, start=1))
    return Layout(header, delimiter, encoding, headless)


def _rows(lines: list[str], delimiter: str) -> Iterator[list[str]]:
    if delimiter == "whitespace":
        return (line.split() for line in lines)
    return csv.reader(io.StringIO("".join(lines), newline=""), delimiter=delimiter)


def _delimiter(lines: list[str]) -> str:
    """Return the delimiter that gives most rows as many fields, more than one, as the header."""

    def agreement(delimiter: str) -> tuple[float, int]:
        widths = [len(row) for row in _rows(lines, delimiter) if row]
        same = sum(width == widths[0] for width in widths) / len(widths)
        return (round(same, 1), widths[0]) if widths[0] > 1 else (0.0, 0)

    best = max(DELIMITERS, key=agreement)
    if agreement(best)[0] < 0.5 < agreement("whitespace")[0]:
        return "whitespace"
    return best
