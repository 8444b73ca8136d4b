"""What a run is asked for, and the notebooks and parameters that follow; all checked before it.

A notebook declares its parameters in the code cell tagged ``parameters``, one literal each. Only
declared names can be set, and a value is read as the type of the declared default: ``007`` for a
text stays ``007``. The comment beside a parameter may begin with what it may be, ``from 0 to 1:``,
``from 1:``, ``file:`` or ``folder:`` (see `Limit`). Papermill itself would warn of unknown names,
guess types and write names unchecked into code.
"""

import ast
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from pydantic import FiniteFloat, TypeAdapter, ValidationError

from cjlib.dataset import find_datasets
from cjlib.errors import ParameterError, did_you_mean
from cjlib.paths import user_path

Value = str | int | float | bool

OPTIONS = {"dataset": "DATASET", "source": "--source", "as_of": "--as-of", "out": "--out"}
"""Parameters that a run sets itself, each with the part of the command that gives it."""

OF_THE_LOG = ("language", "horizon", "inactivity")
"""Parameters that stand in for keys of the dataset file, in every notebook alike."""

NOTEBOOKS = "[0-9][0-9]*_*.ipynb"
"""A notebook's name: its number, perhaps a letter (``02b``), and what it is about."""

_WANTED = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class Request:
    """What to report: the arguments of ``cj report``."""

    dataset: str
    only: tuple[str, ...] = ()
    as_of: str = ""
    source: str = ""
    parameters: tuple[str, ...] = ()  # name=value
    out: Path | None = None
    jobs: int = 2
    keep: int = 0  # complete runs to keep; 0: all
    force: bool = False  # run also where a report made of the same is there
    timeout: float = 1800.0  # seconds a cell may take


@dataclass(frozen=True)
class Plan:
    """The notebooks of a run and the values that each gets."""

    notebooks: dict[Path, NotebookNode]  # as they are before the run
    parameters: dict[str, dict[str, Value]]  # all that each notebook declares, but for `out`
    given: dict[str, str]  # what the user set by name
    log: dict[str, str]  # what `open_log` takes, for every notebook and for the run itself


def find_project() -> Path:
    """Return the folder that holds ``notebooks/``: the working folder, or cjlib's own.

    No other is looked for: notebooks run as code.
    """
    for folder in [Path.cwd(), Path(__file__).resolve().parents[2]]:
        if any((folder / "notebooks").glob(NOTEBOOKS)):
            return folder
    raise ParameterError(
        "No notebooks here: run cj in the project, which holds notebooks/01_event_log.ipynb, or"
        " name it: cj -C FOLDER report DATASET."
    )


def make_plan(request: Request, folder: Path) -> Plan:
    """Return which notebooks of a folder a request runs, with which values; all of it checked."""
    paths = pick_notebooks(folder, request.only)
    notebooks = {path: nbformat.read(path, as_version=4) for path in paths}
    log = {
        "dataset": _found_from(folder, request.dataset),
        "source": _absolute(request.source) if request.source else "",
        "as_of": request.as_of,
    }
    given = split_assignments(request.parameters)
    known = {path.stem: declared(notebook) for path, notebook in notebooks.items()}
    chosen = choose(known, given, log)
    for path, notebook in notebooks.items():
        allowed, values = limits(notebook), chosen[path.stem]
        for name in given.keys() & allowed.keys():
            values[name] = allowed[name].checked(name, values[name])
    log |= {name: given[name] for name in OF_THE_LOG if name in given}
    return Plan(notebooks, chosen, given, log)


def pick_notebooks(folder: Path, only: Iterable[str]) -> list[Path]:
    """Return the notebooks to run, in order: all, or those whose number or name is given."""
    notebooks = sorted(folder.glob(NOTEBOOKS))
    picked = []
    for wanted in only:
        called = [path for path in notebooks if wanted in (path.stem.split("_")[0], path.stem)]
        if not called:
            names = ", ".join(path.stem for path in notebooks)
            raise ParameterError(f"--only {wanted}: no such notebook. There are: {names}.")
        picked += called
    return sorted(set(picked)) or notebooks


def _found_from(folder: Path, dataset: str) -> str:
    """Return a dataset's name, or its file's path where notebooks would not find it by name."""
    if Path(dataset).suffix in (".yml", ".yaml"):
        return _absolute(dataset)
    path = find_datasets().get(dataset)
    return dataset if path == find_datasets(folder).get(dataset) else str(path)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


# -- parameters ------------------------------------------------------------------------------------


def declared(notebook: NotebookNode) -> dict[str, Value]:
    """Return the defaults of the parameters that a notebook declares, by name.

    Raises
    ------
    ParameterError
        If the parameters cell is not made of literals.
    """
    found = {}
    for statement in _statements(notebook):
        try:
            [target], default = statement.targets, ast.literal_eval(statement.value)
            name = target.id
        except (AttributeError, ValueError):
            default = None
        if not isinstance(default, Value):
            raise ParameterError(
                "The parameters cell holds more than names with a text, number or truth value "
                f"each: {ast.unparse(statement)}"
            )
        found[name] = default
    return found


def _statements(notebook: NotebookNode) -> list[ast.stmt]:
    return ast.parse(_parameters_cell(notebook)).body


def _parameters_cell(notebook: NotebookNode) -> str:
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    return tagged[0].source if tagged else ""


@dataclass(frozen=True)
class Limit:
    """What a parameter may be: a number from `low` to `high`, or a ``file`` or ``folder``."""

    low: float = -math.inf
    high: float = math.inf
    path: str = ""

    def checked(self, name: str, value: Value) -> Value:
        """Return a value that may be; a path as seen from the working folder.

        Raises
        ------
        ParameterError
            If it may not.
        """
        if not self.path:
            if not self.low <= value <= self.high:
                end = "" if math.isinf(self.high) else f" to {self.high:.15g}"
                raise ParameterError(f"-p {name}={value}: {name} is from {self.low:.15g}{end}.")
            return value
        path = user_path(value).absolute()
        if value and not (path.is_dir() if self.path == "folder" else path.is_file()):
            raise ParameterError(f"-p {name}={value}: there is no such {self.path}.")
        return value and str(path)


_LIMIT = re.compile(r"\s*#\s*(?:from (\S+?)(?: to (\S+?))?|(file|folder)):")


def limits(notebook: NotebookNode) -> dict[str, Limit]:
    """Return what the comments in a notebook's parameters cell allow, by name."""
    lines, found = _parameters_cell(notebook).splitlines(), {}
    for statement in _statements(notebook):
        rest = lines[statement.end_lineno - 1].encode()[statement.end_col_offset :].decode()
        if match := _LIMIT.match(rest):
            low, high, path = match.groups()
            name = statement.targets[0].id
            found[name] = Limit(path=path) if path else Limit(float(low), float(high or "inf"))
    return found


def split_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Return the texts given as ``name=value``, by name.

    Raises
    ------
    ParameterError
        If one has no ``=``, or a name is given twice.
    """
    given: dict[str, str] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals:
            raise ParameterError(f"-p {assignment}: write -p name=value.")
        if name in given:
            raise ParameterError(f"-p {name}: given twice.")
        given[name] = text
    return given


def choose(
    notebooks: Mapping[str, Mapping[str, Value]], given: Mapping[str, str], log: Mapping[str, str]
) -> dict[str, dict[str, Value]]:
    """Return the values of each notebook's parameters, but for the folder `out`.

    Parameters
    ----------
    notebooks : mapping of str to mapping
        The defaults that each notebook declares.
    given : mapping of str to str
        What the user gave by name; each must be declared by at least one notebook.
    log : mapping of str to str
        What the run sets itself (`OPTIONS`).

    Raises
    ------
    ParameterError
        If no notebook declares a name, a value has the wrong type, or the name has its own option.
    """
    known = sorted({name for defaults in notebooks.values() for name in defaults})
    for name in given:
        if name in OPTIONS:
            raise ParameterError(f"-p {name}: give it by {OPTIONS[name]} instead.")
        if name not in known:
            names = ", ".join(other for other in known if other not in OPTIONS)
            raise ParameterError(
                f"-p {name}: no notebook has this parameter{did_you_mean(name, known) or '.'}"
                f" There are: {names}."
            )
    chosen = {}
    for notebook, defaults in notebooks.items():
        values = {name: log.get(name, default) for name, default in defaults.items()}
        for name in given.keys() & defaults.keys():
            values[name] = read_value(name, defaults[name], given[name])
        values.pop("out", None)
        chosen[notebook] = values
    return chosen


def read_value(name: str, default: Value, text: str) -> Value:
    """Return the value that `text` says for a parameter, in the type of its default.

    Raises
    ------
    ParameterError
        If the text does not say such a value.
    """
    kind = type(default)
    try:
        return TypeAdapter(FiniteFloat if kind is float else kind).validate_python(text)
    except ValidationError:
        raise ParameterError(
            f"-p {name}={text}: {name} takes {_WANTED[kind]}, like {default!r}."
        ) from None
