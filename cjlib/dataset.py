"""The dataset file, read: one YAML file that says all that cjlib must know of a company's log.

Connections to engines are made here alone, and all that they write goes through `stored`.
"""

import weakref
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
from ibis.backends import BaseBackend

from cjlib.dataset_file import Dataset
from cjlib.errors import ParameterError, did_you_mean
from cjlib.paths import literal, quotable, user_path
from cjlib.stages import load_stage_model
from cjlib.yaml_files import read_yaml, validated

OWN_ENGINE = {
    "memory_limit": "75%",  # of the machine, or of what its group of processes may take
    "autoinstall_known_extensions": False,  # nothing is fetched at run time
}
"""How DuckDB is set wherever it runs."""


def _without_blanks(value: Any) -> Any:
    """Drop keys with nothing behind them, so that ``channel:`` means no channel."""
    if isinstance(value, dict):
        return {key: _without_blanks(item) for key, item in value.items() if item not in ("", "~")}
    return value


def find_datasets(folder: Path | None = None) -> dict[str, Path]:
    """Return the dataset files that can be named: those in ``data/``, nearest folder first.

    Parameters
    ----------
    folder : Path, optional
        Where to begin; the working folder by default. ``data/`` is looked for there (where it is
        a folder ``notebooks``: beside it) and beside the installed package. No other is looked
        for: the SQL that a dataset file names runs as code.
    """
    here = (folder or Path.cwd()).resolve()
    project = here.parent if here.name == "notebooks" else here
    found: dict[str, Path] = {}
    for parent in (here, project, Path(__file__).resolve().parents[1]):
        for path in sorted((parent / "data").glob("*.yml")):
            found.setdefault(path.stem, path)
    return found


def dataset_path(dataset: str | Path) -> Path:
    """Return the dataset file of a name in ``data/``, or of a path.

    Raises
    ------
    ParameterError
        No dataset has the name.
    """
    path = user_path(dataset)
    if path.suffix not in (".yml", ".yaml"):
        known = find_datasets()
        if str(dataset) not in known:
            hint = did_you_mean(str(dataset), known) or f"; known: {', '.join(known)}."
            raise ParameterError(f"No dataset is called {str(dataset)!r}{hint}")
        path = known[str(dataset)]
    return path


def load_dataset(
    dataset: str | Path,
    *,
    source: str = "",
    as_of: str = "",
    language: str = "",
    horizon: str = "",
    inactivity: str = "",
) -> Dataset:
    """Read and check a dataset file.

    Parameters
    ----------
    dataset : str or Path
        A name in ``data/`` (without ``.yml``), or a path.
    source : str
        A path that stands in for the file's ``source``, or a folder with a file of its name; for a
        ``.sql`` source, the folder in which its tables lie.
    as_of : str
        A moment that stands in for the file's ``as_of``.
    language : str
        A language that stands in for the file's ``language``.
    horizon, inactivity : str
        Lengths of time that stand in for the file's ``churn.horizon`` and ``journey.inactivity``.

    Returns
    -------
    Dataset

    Raises
    ------
    ParameterError
        The file is not there, is no YAML, or a key is wrong: the message names the key.
    """
    path = dataset_path(dataset)
    content = _without_blanks(read_yaml(path))
    folder = path.resolve().parent
    if source and str(content.get("source", "")).lower().endswith(".sql"):
        content["source"] = str(folder / content["source"])
        folder = user_path(source).resolve()
        content["tables"] = str(folder)
        if not folder.is_dir():
            raise ParameterError(
                f"{source}: a .sql source takes the folder of its tables in place of a file."
            )
    elif source:
        place = user_path(source).absolute()
        if place.is_dir():
            place /= Path(content.get("source", "")).name
        content["source"] = str(place)
    content |= {key: value for key, value in (("as_of", as_of), ("language", language)) if value}
    for section, key, value in (
        ("churn", "horizon", horizon),
        ("journey", "inactivity", inactivity),
    ):
        if value and isinstance(content.get(section, {}), dict):
            content[section] = {**content.get(section, {}), key: value}
    stages = load_stage_model(content.get("stage_model", "five_phases"), base=path.parent)
    content["title"] = content.get("title") or content.get("name", "")
    content |= {"path": path.resolve(), "folder": folder, "stages": stages}
    return validated(Dataset, content, path)


_OPEN: weakref.WeakSet = weakref.WeakSet()


def interrupt_queries() -> None:
    """Interrupt what runs on any DuckDB of this process; from another thread."""
    for con in list(_OPEN):
        getattr(con, "con", con).interrupt()


def connect(dataset: Dataset) -> BaseBackend:
    """Open the engine that a dataset file names.

    DuckDB runs inside the process; any other engine is an Ibis URL. All engines are set to UTC.

    Raises
    ------
    ParameterError
        The engine cannot be reached or its package is not installed.
    """
    ibis.options.sql.fuse_selects = False  # fused, a value used twice is computed twice
    if dataset.engine == "duckdb":
        con = ibis.duckdb.connect(**OWN_ENGINE)
        # Only where it is on: in Jupyter without widgets DuckDB refuses even to turn it off.
        if con.raw_sql("SELECT current_setting('enable_progress_bar')").fetchall()[0][0]:
            con.raw_sql("SET enable_progress_bar = false")
        _OPEN.add(con)
        return con
    try:
        con = ibis.connect(dataset.engine)
    except Exception as error:
        raise ParameterError(
            f"{dataset.path}: engine: {dataset.engine!r} cannot be opened: {error}"
        ) from None
    if con.name == "pyspark":
        con.raw_sql("SET TIME ZONE 'UTC'")
    return con


def connect_confined(folder: Path, scratch: Path) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB for a query of somebody else's: it reads a folder, and nothing more.

    No other file, no extension, no network; what does not fit into memory goes to `scratch`, and
    no setting can be changed afterwards.
    """
    limits = OWN_ENGINE | {
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "temp_directory": quotable(scratch),
    }
    con = duckdb.connect(config=limits)
    allowed = quotable(folder).replace("'", "''")
    con.execute(f"SET allowed_directories = ['{allowed}']")
    con.execute("SET enable_progress_bar = false")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
    _OPEN.add(con)
    return con


def stored(con: BaseBackend, table: ir.Table, path: Path) -> ir.Table:
    """Write a table and return it as read back, so that nothing is computed twice.

    Raises
    ------
    ParameterError
        The path cannot be given to an engine, or the engine neither writes nor reads Parquet.
    """
    place = quotable(path)
    try:
        con.to_parquet(table, place)
        return con.read_parquet(literal(path))
    except (NotImplementedError, AttributeError):
        raise ParameterError(
            f"engine: {con.name} cannot write and read Parquet, in which logs are prepared;"
            " export the log as a file and take the engine duckdb."
        ) from None
