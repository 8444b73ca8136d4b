"""Sources as text: every record of a file, query or table, with its place.

A source becomes one table of text columns beside four of ours: ``_row`` (unique, in reading
order), ``_file`` and ``_line`` (where the source has them), ``_problem`` (a rule that the record
breaks as text, such as ``bad_quoting``) and ``_text`` (a broken record as it stands). Nothing is
interpreted here, so no engine reads a file differently from another.
"""

import csv
import glob
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TextIO

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.backends import BaseBackend

from cjlib.dataset import stored
from cjlib.dataset_file import Dataset
from cjlib.errors import CjlibError, ContractError, ParameterError, did_you_mean
from cjlib.paths import literal, user_path
from cjlib.reading.csv_tables import csv_tables, is_clean
from cjlib.reading.queries import query_files, query_to_parquet
from cjlib.reading.records import first_row, json_names, json_tables, workbook_tables
from cjlib.reading.text_files import TORN, open_text

ROW_GROUP = 100_000
"""Records per row group: large enough to be quick, small enough to stay out of memory's way."""

OWN = ("_row", "_file", "_line", "_problem", "_text")
CSV_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
JSON_ENDINGS = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
ENDINGS = (*CSV_ENDINGS, *JSON_ENDINGS, ".xlsx", ".parquet", ".sql")
"""Of the files that can be a source."""


def _header(stream: TextIO, dataset: Dataset, path: Path) -> list[str]:
    if dataset.header:
        return dataset.header
    first = stream.readline()
    if not first.strip():
        raise ContractError(f"{path}: is empty; a header line and at least one event are needed.")
    if dataset.delimiter == "whitespace":
        names = first.split()
    else:
        try:
            names = next(csv.reader([first], delimiter=dataset.delimiter))
        except csv.Error as error:
            raise ContractError(f"{path}: line 1, the header, cannot be read: {error}.") from None
    return _checked_names(names, dataset, path)


def _checked_names(names: list[str], dataset: Dataset, path: Path) -> list[str]:
    """Return the names of columns as they are used, or raise what an engine would stumble over."""
    if not is_clean(names):
        raise ContractError(
            f"{path}: line 1, the header, is not {dataset.encoding} text; set 'encoding:'."
        )
    names = [name.strip() or f"column_{place}" for place, name in enumerate(names, start=1)]
    ours = [name for name in names if name.lower() in OWN]
    if ours:
        raise ContractError(f"{path}: line 1: column {ours[0]!r} has a name of ours; rename it.")
    times = Counter(name.lower() for name in names)
    if twice := sorted(name for name in names if times[name.lower()] > 1):
        raise ContractError(f"{path}: line 1: column {twice[0]!r} stands twice; rename one.")
    return names


def check_columns(
    found: Sequence[str], named: dict[str, str], dataset: Dataset, place: object
) -> None:
    """Raise ParameterError where a column that the dataset file names is not there."""
    for key, column in named.items():
        if column not in found:
            listed = ", ".join(map(repr, found[:20]))
            hint = f" (is the delimiter {dataset.delimiter!r} right?)" if len(found) == 1 else ""
            raise ParameterError(
                f"{place}: has no column {column!r}, which {dataset.path.name} names as {key}"
                f"{did_you_mean(column, found) or '.'} Its columns: {listed}{hint}."
            )


def _named(dataset: Dataset) -> dict[str, str]:
    """Return the columns that a dataset file names, by its keys."""
    wanted = {f"only.{name}": name for name in dataset.only}
    return {f"columns.{key}": name for key, name in dataset.columns.sources.items()} | wanted


def _records(path: Path, dataset: Dataset) -> tuple[list[str], Iterator[pa.Table]]:
    """Return the names of a file's columns and its records as text, stretch by stretch."""
    if path.suffix.lower() == ".xlsx":
        names = dataset.header or _checked_names(first_row(path), dataset, path)
        return names, workbook_tables(path, names, skip=0 if dataset.header else 1)
    if path.name.lower().endswith(JSON_ENDINGS):
        with open_text(path, dataset.encoding) as stream:
            names = _checked_names(json_names(stream, path), dataset, path)
        return names, _closing(open_text(path, dataset.encoding), json_tables, path, names)
    stream = open_text(path, dataset.encoding)
    try:
        names = _header(stream, dataset, path)
    except BaseException:
        stream.close()
        raise
    start = 0 if dataset.header else 1
    return names, _closing(stream, csv_tables, dataset.delimiter, names, start)


def _closing(stream: TextIO, tables: Callable, *how) -> Iterator[pa.Table]:
    with stream:
        yield from tables(stream, *how)


def _text_files(paths: list[Path], dataset: Dataset) -> Iterator[pa.Table]:
    """Yield the records of files as text with their places, stretch by stretch."""
    columns: list[str] = []
    row = 0
    for path in paths:
        try:
            names, tables = _records(path, dataset)
            if not columns:
                check_columns(names, _named(dataset), dataset, path)
            columns = columns or names
            if sorted(names) != sorted(columns):
                differing = ", ".join(map(repr, sorted({*names} ^ {*columns})[:5]))
                raise ContractError(
                    f"{path}: its columns differ from those of {paths[0].name}: {differing}."
                )
            for table in tables:
                size = table.num_rows
                table = table.select(["_line", "_problem", "_text", *columns])
                table = table.add_column(0, "_row", pa.array(np.arange(row, row + size)))
                yield table.add_column(1, "_file", pa.repeat(path.name, size))
                row += size
        except TORN as error:
            raise ContractError(f"{path}: is no whole gzip file: {error}.") from None
        except UnicodeError as error:
            raise ContractError(f"{path}: is not {dataset.encoding} text: {error}.") from None
        except OSError as error:
            raise ParameterError(f"{path}: cannot be read ({error.strerror or error}).") from None
    if not row:
        raise ContractError(f"{paths[0]}: has a header and no events; at least one is needed.")


def _text_to_parquet(
    paths: list[Path], dataset: Dataset, target: Path, progress: Callable[[int], None]
) -> None:
    """Write the records of files as Parquet, in row groups that the engine likes."""
    gathered: list[pa.Table] = []
    written, read = 0, 0
    tables = _text_files(paths, dataset)
    first = next(tables)
    with pq.ParquetWriter(target, first.schema, compression="lz4") as writer:
        for table in chain([first], tables):
            gathered.append(table)
            read += table.num_rows
            if read - written >= ROW_GROUP:
                writer.write_table(pa.concat_tables(gathered))
                gathered, written = [], read
                progress(read)
        if gathered:
            writer.write_table(pa.concat_tables(gathered))


def without_margins(text: ir.StringValue) -> ir.StringValue:
    r"""Return a text without the blanks around it.

    Ibis' own ``strip`` takes the letters v and f off on Spark, which knows no ``\v`` and ``\f``.
    """
    return text.re_replace(r"^[ \t\r\n]+|[ \t\r\n]+$", "")


def _as_text(table: ir.Table, ours: Sequence[str] = ()) -> ir.Table:
    """Return a typed table as text columns beside ours, those that it lacks missing."""
    text = {name: table[name].cast("string") for name in table.columns if name not in OWN}
    if "_row" not in ours:  # no order of its own: any fixed one will do
        table = table.select(**text)
        table = table.mutate(_row=ibis.row_number().over(order_by=list(text)))
    types = {"_file": "string", "_line": "int64", "_problem": "string", "_text": "string"}
    missing = {name: ibis.null(kind) for name, kind in types.items() if name not in ours}
    return table.mutate(**text, **missing).select(*OWN, *text)


def source_files(dataset: Dataset) -> list[Path]:
    """Return the files that a dataset reads; none where the source is a table of the engine.

    A file of the very name goes before the files that fit the name as a pattern; folders are no
    patterns. Of a ``.sql`` source these are the file itself and the tables that it names.

    Raises
    ------
    ParameterError
        A file is not there.
    """
    path = dataset.folder / user_path(dataset.source)
    if not path.name.lower().endswith(ENDINGS):
        return []
    if path.name.lower().endswith(".sql"):
        return [path, *query_files(path, tables_folder(dataset))]
    paths = [path]
    if not user_path(path).exists():
        fitting = glob.glob(glob.escape(str(path.parent)) + os.sep + path.name)
        paths = sorted(map(Path, fitting)) or paths
    for path in paths:
        if not path.is_file():
            raise ParameterError(
                f"{path}: there is no such file. Put the log there, or name another with --source."
            )
    return paths


def tables_folder(dataset: Dataset) -> Path:
    """Return the folder of a ``.sql`` source's tables: as declared, or the query's own.

    Raises
    ------
    ParameterError
        It is not there.
    """
    source = dataset.folder / user_path(dataset.source)
    folder = dataset.folder / user_path(dataset.tables) if dataset.tables else source.parent
    if not folder.is_dir():
        raise ParameterError(
            f"{folder}: there is no such folder. Put the tables there, or name it with --source."
        )
    return folder.resolve()


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _engine_table(con: BaseBackend, dataset: Dataset) -> ir.Table:
    try:
        return con.table(dataset.source)
    except Exception:
        raise ParameterError(
            f"{dataset.path.name}: source: {dataset.source!r} is neither a file"
            f" ({', '.join(ENDINGS)}) nor a table of {dataset.engine}."
        ) from None


def table_fingerprint(con: BaseBackend, dataset: Dataset) -> str:
    """Return what tells the content of an engine's table, whatever the order of its rows.

    Raises
    ------
    ParameterError
        The engine has no such table.
    """
    table = _engine_table(con, dataset)
    table = table.mutate(**{name: table[name].cast("string") for name in table.columns})
    hashes = table.select(hash=row_text(table).hash())
    low, high = hashes.hash % 2**31, (hashes.hash / 2**31).floor().cast("int64") % 2**31
    facts = hashes.agg(rows=hashes.count(), low=low.sum(), high=high.sum()).execute()
    text = "-".join([*table.columns, *map(str, facts.iloc[0])])
    return hashlib.sha256(text.encode()).hexdigest()


def row_text(table: ir.Table) -> ir.StringValue:
    """Return each row of a table of text as one text, our own columns aside, to compare rows by."""
    parts = [table[name].fill_null("\x1e") for name in table.columns if name not in OWN]
    return ibis.literal("\x1f").join(parts)


def read_source(
    con: BaseBackend,
    dataset: Dataset,
    scratch: Path,
    progress: Callable[[int], None] = lambda rows: None,
) -> ir.Table:
    """Return a dataset's source as a table of text, one row per record.

    Parameters
    ----------
    con : BaseBackend
        The dataset's engine.
    dataset : Dataset
    scratch : Path
        A folder for ``raw.parquet``, the text of CSV files.
    progress : callable
        Told now and then how many records of a CSV have been read.

    Raises
    ------
    ContractError
        A file is empty, torn, or lacks a declared column.
    ParameterError
        A file is not there, or the SQL fails.
    """
    paths = source_files(dataset)
    place = paths[0] if paths else dataset.source
    target = scratch / "raw.parquet"
    match paths[0].suffix.lower() if paths else None:
        case None:
            text = stored(con, _as_text(_engine_table(con, dataset)), target)
        case ".sql":
            query_to_parquet(paths[0], tables_folder(dataset), scratch / "answer.parquet")
            answer = con.read_parquet(literal(scratch / "answer.parquet"))
            text = stored(con, _as_text(answer), target)
        case ".parquet":
            try:
                text = stored(con, _parquet_files(con, paths), target)
            except CjlibError:
                raise
            except Exception as error:
                first = str(error).splitlines()[0]
                if "No space left" in first:
                    raise
                raise ContractError(f"{place}: is no readable Parquet file: {first}") from None
        case _:
            _text_to_parquet(paths, dataset, target, progress)
            text = con.read_parquet(literal(target))
    check_columns(text.drop(*OWN).columns, _named(dataset), dataset, place)
    return text


def _parquet_files(con: BaseBackend, paths: list[Path]) -> ir.Table:
    table = con.read_parquet([literal(path) for path in paths], file_row_number=True, filename=True)
    table = table.mutate(
        _row=ibis.row_number().over(order_by=[table.filename, table.file_row_number]),
        _file=table.filename.re_extract(r"([^/\\]*)$", 1),
        _line=table.file_row_number + 1,
    ).drop("filename", "file_row_number")
    return _as_text(table, ["_row", "_file", "_line"])
