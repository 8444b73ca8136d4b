"""A ``.sql`` source: one SELECT in DuckDB's SQL over the tables of one folder."""

import re
from contextlib import chdir
from fnmatch import fnmatch
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from cjlib.dataset import connect_confined
from cjlib.errors import ParameterError

BATCH = 100_000  # rows of an answer held at a time


def read_query(path: Path) -> str:
    """Return the one SELECT of a ``.sql`` file.

    Raises
    ------
    ParameterError
        The file cannot be read, is no UTF-8, no SQL, or anything else than one SELECT.
    """
    try:
        statements = duckdb.extract_statements(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise ParameterError(f"{path}: is no text in UTF-8 ({error}); save it so.") from None
    except duckdb.Error as error:
        raise _fails(path, error) from None
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise ParameterError(
            f"{path}: holds {len(statements)} statements or none that is a SELECT; write exactly"
            " one SELECT that builds the log."
        )
    return statements[0].query.strip().rstrip(";")


def query_files(path: Path, folder: Path) -> list[Path]:
    """Return the files of a folder that a query names, by name or pattern, in order."""
    query = read_query(path)
    patterns = {Path(text).name for text in re.findall(r"'([^'\n]+)'", query)} - {""}
    return [
        file
        for file in sorted(folder.rglob("*"))
        if any(fnmatch(file.name, pattern) for pattern in patterns) and file.is_file()
    ]


def query_columns(path: Path, folder: Path, scratch: Path) -> list[str]:
    """Return the names of the columns that a query gives.

    Raises
    ------
    ParameterError
        The SQL fails, or two columns have one name.
    """
    try:
        with chdir(folder), connect_confined(folder, scratch) as con:
            names = con.sql(read_query(path)).columns
    except duckdb.Error as error:
        raise _fails(path, error) from None
    twice = {name for name in names if [n.lower() for n in names].count(name.lower()) > 1}
    if twice:
        raise ParameterError(f"{path}: gives the column {min(twice)!r} twice; name one otherwise.")
    return names


def query_to_parquet(path: Path, folder: Path, target: Path) -> None:
    """Write what a query gives as Parquet, every column as text.

    The query runs in an engine of its own that reads nothing outside the folder. Relative names
    are looked for there: for so long the folder is the process's working folder.

    Raises
    ------
    ParameterError
        The SQL fails.
    """
    names = query_columns(path, folder, target.parent)
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    texts = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in quoted)
    schema = pa.schema([(name, pa.string()) for name in names])
    try:
        with (
            chdir(folder),
            connect_confined(folder, target.parent) as con,
            pq.ParquetWriter(target, schema, compression="lz4") as writer,
        ):
            answer = con.sql(f"SELECT {texts} FROM ({read_query(path)}\n)")
            for batch in answer.to_arrow_reader(BATCH):
                writer.write_batch(batch.cast(schema))
    except (duckdb.Error, pa.ArrowException) as error:
        raise _fails(path, error) from None


def _fails(path: Path, error: Exception) -> ParameterError:
    first = str(error).split("\n\n")[0]
    return ParameterError(f"{path}: the SQL fails: {first}")
