"""Sources as text: every record of a CSV, Parquet file, SQL file or table, with its place.

A source becomes one table of text columns beside four of ours: ``_row`` (unique, in reading
order), ``_file`` and ``_line`` (where the source has them), ``_problem`` (a rule that the record
breaks as text, such as ``bad_quoting``) and ``_text`` (a broken record as it stands). Nothing is
interpreted here, so no engine reads a file differently from another.
"""

import codecs
import csv
import glob
import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from itertools import chain
from operator import add
from pathlib import Path
from typing import TextIO

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.backends import BaseBackend

from cjlib.dataset_file import Dataset
from cjlib.errors import ContractError, ParameterError
from cjlib.reading.csv_tables import csv_tables, is_clean

ROW_GROUP = 100_000
"""Records per row group: large enough to be quick, small enough to stay out of memory's way."""

OWN = ("_row", "_file", "_line", "_problem", "_text")
TORN = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading a damaged gzip file may raise."""

CSV_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")


def open_text(path: Path, encoding: str) -> TextIO:
    """Open a plain or packed text file: undecodable bytes as surrogates, line ends as they are.

    A byte order mark goes before the declared encoding.
    """
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rb") as stream:
        start = stream.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"
    return opener(path, "rt", encoding=encoding, errors="surrogateescape", newline="")


def _header(stream: TextIO, dataset: Dataset, path: Path) -> list[str]:
    if dataset.header:
        return dataset.header
    first = stream.readline(1_000_000)
    if not first.strip():
        raise ContractError(f"{path}: is empty; a header line and at least one event are needed.")
    if dataset.delimiter == "whitespace":
        names = first.split()
    else:
        try:
            names = next(csv.reader([first], delimiter=dataset.delimiter))
        except csv.Error as error:
            raise ContractError(f"{path}: line 1, the header, cannot be read: {error}.") from None
    if not is_clean(names):
        raise ContractError(
            f"{path}: line 1, the header, is not {dataset.encoding} text; set 'encoding:'."
        )
    names = [name.strip() or f"column_{place}" for place, name in enumerate(names, start=1)]
    ours = [name for name in names if name.lower() in OWN]
    if ours:
        raise ContractError(f"{path}: line 1: column {ours[0]!r} has a name of ours; rename it.")
    twice = sorted({name for name in names if [n.lower() for n in names].count(name.lower()) > 1})
    if twice:
        raise ContractError(f"{path}: line 1: column {twice[0]!r} stands twice; rename one.")
    return names


def _check_columns(
    found: Sequence[str], named: dict[str, str], dataset: Dataset, place: object
) -> None:
    """Raise ContractError where a column that the dataset file names, by its keys, is not there."""
    for key, column in named.items():
        if column not in found:
            listed = ", ".join(map(repr, found[:20]))
            hint = f" (is the delimiter {dataset.delimiter!r} right?)" if len(found) == 1 else ""
            raise ContractError(
                f"{place}: has no column {column!r}, which {dataset.path.name} names as {key}."
                f" Its columns: {listed}{hint}."
            )


def _csv_files(paths: list[Path], dataset: Dataset) -> Iterator[pa.Table]:
    """Yield the records of CSV files as text with their places, stretch by stretch."""
    columns: list[str] = []
    row = 0
    for path in paths:
        try:
            with open_text(path, dataset.encoding) as stream:
                names = _header(stream, dataset, path)
                _check_columns(names, dataset.columns.sources, dataset, path)
                columns = columns or names
                if sorted(names) != sorted(columns):
                    raise ContractError(
                        f"{path}: its columns differ from those of {paths[0].name}."
                    )
                start = 0 if dataset.header else 1
                for table in csv_tables(stream, dataset.delimiter, names, start):
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


def _csv_to_parquet(
    paths: list[Path], dataset: Dataset, target: Path, progress: Callable[[int], None]
) -> None:
    """Write the records of CSV files as Parquet, in row groups that the engine likes."""
    gathered: list[pa.Table] = []
    written, read = 0, 0
    tables = _csv_files(paths, dataset)
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

    Of a ``.sql`` source these are the file itself and the tables that it names.

    Raises
    ------
    ParameterError
        A file is not there.
    """
    pattern = str(dataset.folder / Path(dataset.source).expanduser())
    if not pattern.lower().endswith((*CSV_ENDINGS, ".parquet", ".sql")):
        return []
    paths = sorted(Path(path) for path in glob.glob(pattern, recursive=True)) or [Path(pattern)]
    for path in paths:
        if not path.is_file():
            raise ParameterError(
                f"{path}: there is no such file. Put the log there, or name another with --source."
            )
    if pattern.lower().endswith(".sql"):
        text = paths[0].read_text(encoding="utf-8")
        named = [path for path in sorted(dataset.folder.rglob("*")) if path.name in text]
        paths += [path for path in named if path.is_file()]
    return paths


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
            f" ({', '.join(CSV_ENDINGS)}, .parquet, .sql) nor a table of {dataset.engine}."
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
    return reduce(add, (part + "\x1f" for part in parts))


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
    if not paths:
        text = _as_text(_engine_table(con, dataset))
    elif paths[0].suffix.lower() == ".sql":
        try:
            query = paths[0].read_text(encoding="utf-8").rstrip().rstrip(";")
            con.raw_sql(f"CREATE TEMP TABLE source AS {query}")
            text = _as_text(con.table("source"))
        except Exception as error:
            first = str(error).split("\n\n")[0]
            raise ParameterError(f"{paths[0]}: the SQL fails: {first}") from None
    elif paths[0].suffix.lower() == ".parquet":
        names = [str(path) for path in paths]
        try:
            table = con.read_parquet(names, file_row_number=True, filename=True)
        except Exception as error:
            raise ContractError(f"{paths[0]}: is no readable Parquet file: {error}") from None
        table = table.mutate(
            _row=ibis.row_number().over(order_by=[table.filename, table.file_row_number]),
            _file=table.filename.re_extract(r"([^/\\]*)$", 1),
            _line=table.file_row_number + 1,
        ).drop("filename", "file_row_number")
        text = _as_text(table, ["_row", "_file", "_line"])
    else:
        _csv_to_parquet(paths, dataset, scratch / "raw.parquet", progress)
        text = con.read_parquet(str(scratch / "raw.parquet"))
    place = paths[0] if paths else dataset.source
    _check_columns(text.columns, dataset.columns.sources, dataset, place)
    return text


def attributes_file(dataset: Dataset) -> Path:
    """Return the file of a dataset's table of customers.

    Raises
    ------
    ParameterError
        It is not there.
    """
    path = dataset.folder / Path(dataset.customers.source).expanduser()
    if not path.is_file():
        raise ParameterError(
            f"{path}: there is no such file. Put the table of customers there, or mend "
            f"customers.source in {dataset.path.name}."
        )
    return path


def read_attributes(con: BaseBackend, dataset: Dataset) -> ir.Table:
    """Return the dataset's table of customers: customer_id and its attributes, all text.

    Raises
    ------
    ContractError
        The file is no readable table, a declared column is missing, or a customer has two rows.
    ParameterError
        The file is not there.
    """
    path = attributes_file(dataset)
    named = dataset.customers.columns
    try:
        if path.suffix.lower() == ".parquet":
            table = con.read_parquet(str(path))
        else:
            table = con.read_csv(str(path), all_varchar=True)
        keys = {f"customers.columns.{key}": name for key, name in named.items()}
        _check_columns(table.columns, keys, dataset, path)
        table = table.select(
            **{key: without_margins(table[name].cast("string")) for key, name in named.items()}
        )
        twice = table.group_by("customer_id").having(table.count() > 1).agg().count().execute()
    except ContractError:
        raise
    except Exception as error:
        first = str(error).splitlines()[0]
        raise ContractError(f"{path}: is no readable table of customers: {first}") from None
    if twice:
        raise ContractError(f"{path}: {twice:,} customers have more than one row; keep one each.")
    return table
