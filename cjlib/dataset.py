"""The dataset file, read: one YAML file that says all that cjlib must know of a company's log.

Every error names the key and says what to write. Connections to engines are made here alone.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ibis
import yaml
from ibis.backends import BaseBackend
from pydantic import BaseModel, ValidationError

from cjlib.dataset_file import Dataset
from cjlib.errors import ParameterError, did_you_mean
from cjlib.stages import load_stage_model


class _Strings(yaml.SafeLoader):
    """YAML in which every scalar is text, so that ``007`` and ``no`` stay what was written."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - PyYAML's own way

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ParameterError(f"line {node.start_mark.line + 1}: {key!r} stands twice")
        return super().construct_mapping(node, deep)


def _without_blanks(value: Any) -> Any:
    """Drop keys with nothing behind them, so that ``channel:`` means no channel."""
    if isinstance(value, dict):
        return {key: _without_blanks(item) for key, item in value.items() if item not in ("", "~")}
    return value


def _keys_at(location: tuple) -> list[str]:
    """Return the keys that may stand at a place of the dataset file."""
    model: Any = Dataset
    for step in location:
        field = model.model_fields.get(str(step)) if _is_section(model) else None
        if field is not None:  # else the step is a key of the company's own, as a touchpoint's name
            model = _section_of(field.annotation)
    if _is_section(model):
        return [key for key in model.model_fields if key not in ("path", "folder", "stages")]
    return []


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _section_of(annotation: Any) -> Any:
    options = [annotation, *getattr(annotation, "__args__", ())]
    options += [inner for option in options for inner in getattr(option, "__args__", ())]
    return next(filter(_is_section, options), None)


def _explain(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        location = problem["loc"]
        place = ".".join(str(step) for step in location)
        if problem["type"] == "extra_forbidden":
            known = _keys_at(location[:-1])
            hint = did_you_mean(location[-1], known) or f"; known here: {', '.join(known)}"
            yield f"{place}: no such key{hint}"
        elif problem["type"] == "missing":
            yield f"{place}: is needed; see data/README.md for what to write"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            yield f"{place}: {message}" if place else message


def find_datasets(folder: Path | None = None) -> dict[str, Path]:
    """Return the dataset files that can be named: those in ``data/``, nearest folder first.

    Parameters
    ----------
    folder : Path, optional
        Where to begin; the working folder by default. ``data/`` is looked for there, in every
        folder above, and beside the installed package.
    """
    here = (folder or Path.cwd()).resolve()
    found: dict[str, Path] = {}
    for parent in (here, *here.parents, Path(__file__).resolve().parents[1]):
        for path in sorted((parent / "data").glob("*.yml")):
            found.setdefault(path.stem, path)
    return found


def load_dataset(
    dataset: str | Path, *, source: str = "", as_of: str = "", language: str = ""
) -> Dataset:
    """Read and check a dataset file.

    Parameters
    ----------
    dataset : str or Path
        A name in ``data/`` (without ``.yml``), or a path.
    source : str
        A path that stands in for the file's ``source``; for a ``.sql`` source, the folder in which
        its tables lie.
    as_of : str
        A moment that stands in for the file's ``as_of``.
    language : str
        A language that stands in for the file's ``language``.

    Returns
    -------
    Dataset

    Raises
    ------
    ParameterError
        The file is not there, is no YAML, or a key is wrong: the message names the key.
    """
    path = Path(dataset).expanduser()
    if path.suffix not in (".yml", ".yaml"):
        known = find_datasets()
        if str(dataset) not in known:
            hint = did_you_mean(str(dataset), known) or f"; known: {', '.join(known)}"
            raise ParameterError(f"No dataset is called {str(dataset)!r}{hint}.")
        path = known[str(dataset)]
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, _Strings)
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise ParameterError(f"{path}: is not UTF-8 text.") from None
    except yaml.YAMLError as error:
        raise ParameterError(f"{path}: is no valid YAML.\n{error}") from None
    except ParameterError as error:
        raise ParameterError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{path}: is no dataset file; begin with 'name:' and 'source:'.")
    content = _without_blanks(content)
    folder = path.resolve().parent
    if source and str(content.get("source", "")).endswith(".sql"):
        content["source"] = str(folder / content["source"])
        folder = Path(source).expanduser().resolve()
        if not folder.is_dir():
            raise ParameterError(
                f"{source}: a .sql source takes the folder of its tables in place of a file."
            )
    elif source:
        content["source"] = str(Path(source).expanduser().absolute())
    content |= {key: value for key, value in (("as_of", as_of), ("language", language)) if value}
    try:
        model = load_stage_model(content.get("stage_model", "five_phases"), base=path.parent)
        return Dataset.model_validate(
            {**content, "path": path.resolve(), "folder": folder, "stages": model}
        )
    except ValidationError as error:
        raise ParameterError("\n".join(f"{path}: {line}" for line in _explain(error))) from None


def connect(dataset: Dataset) -> BaseBackend:
    """Open the engine that a dataset file names.

    DuckDB runs inside the process and reads relative paths from the dataset's folder; any other
    engine is an Ibis URL. All engines are set to UTC.

    Raises
    ------
    ParameterError
        The engine cannot be reached or its package is not installed.
    """
    ibis.options.sql.fuse_selects = False  # fused, a value used twice is computed twice
    if dataset.engine == "duckdb":
        con = ibis.duckdb.connect(
            file_search_path=str(dataset.folder),
            autoinstall_known_extensions=False,  # nothing is fetched at run time
        )
        # Only where it is on: in Jupyter without widgets DuckDB refuses even to turn it off.
        if con.raw_sql("SELECT current_setting('enable_progress_bar')").fetchone()[0]:
            con.raw_sql("SET enable_progress_bar = false")
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
