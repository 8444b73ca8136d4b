"""Workbooks and JSON as records: line, fields, rule broken, text, like those of a CSV body."""

import datetime as dt
import json
import zipfile
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from cjlib.errors import ContractError, ParameterError
from cjlib.reading.csv_tables import LONGEST_FIELD, Record, records_table

AT_ONCE = 20_000  # records of a table
MOST_NAMES = 2_000  # columns; more are keys of data, not names
UNPACKED = 250  # times its packed size: what no honest file grows to
SMALL = 1 << 26  # bytes that any file may grow to

# -- workbooks -------------------------------------------------------------------------------------


def workbook_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a workbook's first sheet that are not empty: number and cells as text.

    Raises
    ------
    ContractError
        The file is no readable workbook, or unpacks to far more than its size.
    ParameterError
        The package that reads workbooks is not installed.
    """
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise ParameterError(
            f"{path}: workbooks need the package openpyxl: pip install 'cjlib[excel]', or save the"
            " sheet as CSV."
        ) from None
    try:
        with zipfile.ZipFile(path) as packed:
            unpacked = sum(part.file_size for part in packed.infolist())
        if unpacked > max(SMALL, UNPACKED * path.stat().st_size):
            raise ContractError(f"{path}: unpacks to {unpacked:,} bytes; save the sheet as CSV.")
        book = load_workbook(path, read_only=True, data_only=True)
        try:
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # which a file may state wrongly
            for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
                cells = [_cell_text(cell) for cell in row]
                while cells and not cells[-1].strip():
                    cells.pop()
                if cells:
                    yield number, cells
        finally:
            book.close()
    except (ContractError, OSError, GeneratorExit):
        raise
    except Exception as error:  # whatever the XML within may lead to
        raise ContractError(f"{path}: is no readable workbook: {error}.") from None


def first_row(path: Path) -> list[str]:
    """Return the cells of a workbook's first row that is not empty."""
    for _, cells in workbook_rows(path):
        return cells
    raise ContractError(f"{path}: its first sheet is empty; a header and events are needed.")


def _cell_text(cell: Any) -> str:
    """Return a cell as a CSV would write it: ``17850`` for the number, ISO 8601 for times."""
    match cell:
        case None:
            return ""
        case bool():
            return str(cell).lower()
        case float():
            return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
        case dt.datetime():
            return cell.isoformat(" ")
    return str(cell)


def workbook_tables(path: Path, names: list[str], skip: int) -> Iterator[pa.Table]:
    """Yield the records of a workbook below its header, as tables of text."""

    def records() -> Iterator[Record]:
        for number, cells in islice(workbook_rows(path), skip, None):
            problem = "too_many_fields" if len(cells) > len(names) else _too_long(cells)
            if problem:
                yield number, None, problem, " | ".join(cells)[:LONGEST_FIELD]
            else:
                yield number, cells + [""] * (len(names) - len(cells)), None, None

    yield from _in_tables(records(), names)


# -- JSON ------------------------------------------------------------------------------------------

_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def json_names(stream: TextIO, path: Path) -> list[str]:
    """Return the keys of all objects of a JSON file in the order in which they come first."""
    names: dict[str, None] = {}
    for _, fields, _, _ in _objects(stream, path):
        names.update(dict.fromkeys(fields or ()))
        if len(names) > MOST_NAMES:
            raise ContractError(
                f"{path}: its objects have more than {MOST_NAMES:,} different keys; write one"
                " object an event, with the same keys in each."
            )
    return list(names)


def json_tables(stream: TextIO, path: Path, names: list[str]) -> Iterator[pa.Table]:
    """Yield the objects of a JSON file as tables of text."""

    def records() -> Iterator[Record]:
        for number, fields, problem, text in _objects(stream, path):
            row = None if fields is None else [fields.get(name, "") for name in names]
            problem = problem or _too_long(row)
            if problem == "field_too_long":
                row, text = None, " | ".join(row)[:LONGEST_FIELD]
            yield number, row, problem, text

    yield from _in_tables(records(), names)


def _objects(
    stream: TextIO, path: Path
) -> Iterator[tuple[int, dict[str, str] | None, str | None, str | None]]:
    """Yield each object: its line, or place in the one list, its fields, and what is wrong."""
    start, above = stream.read(1), 0
    while start.isspace():
        above += start == "\n"
        start = stream.read(1)
    items = _listed(stream, path) if start == "[" else _lines(stream, start, above + 1)
    for number, item, text in items:
        try:
            found = _DECODER.decode(text) if text is not None else item
            fields = dict(_flat(found, "")) if isinstance(found, dict) else None
        except (ValueError, RecursionError):
            fields = None
        shown = (text if text is not None else str(item))[:LONGEST_FIELD]
        yield number, fields, *((None, None) if fields is not None else ("bad_json", shown.strip()))


def _lines(stream: TextIO, start: str, at: int) -> Iterator[tuple[int, None, str]]:
    first = start + stream.readline()
    for number, line in enumerate(chain([first], stream), start=at):
        if line.strip():
            yield number, None, line


def _listed(stream: TextIO, path: Path) -> Iterator[tuple[int, Any, None]]:
    """Yield the items of a list, the bracket of which is read already, without holding it whole."""
    text, number = stream.read(AT_ONCE), 0
    while True:
        text = text.lstrip(" \t\r\n,")
        if text.startswith("]"):
            return
        try:
            item, end = _DECODER.raw_decode(text)
        except (ValueError, RecursionError):
            more = stream.read(max(AT_ONCE, len(text)))
            if not more or len(text) > stream.longest:
                raise ContractError(
                    f"{path}: item {number + 1} of the list is no JSON, or never ends; write one"
                    " object a line, so that one broken line costs no other."
                ) from None
            text += more
        else:
            number += 1
            yield number, item, None
            text = text[end:] or stream.read(AT_ONCE)


def _flat(found: dict, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the fields of an object, those of objects within it as ``outer.inner``."""
    for key, value in found.items():
        match value:
            case dict():
                yield from _flat(value, f"{prefix}{key}.")
            case str():
                yield prefix + key, value
            case None:
                yield prefix + key, ""
            case _:
                yield prefix + key, json.dumps(value, ensure_ascii=False)


# -- both ------------------------------------------------------------------------------------------


def _too_long(fields: Iterable[str] | None) -> str | None:
    return "field_too_long" if any(len(text) > LONGEST_FIELD for text in fields or ()) else None


def _in_tables(records: Iterator[Record], names: list[str]) -> Iterator[pa.Table]:
    while some := list(islice(records, AT_ONCE)):
        yield records_table(some, names)
