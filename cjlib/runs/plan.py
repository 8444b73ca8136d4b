"""What a run is asked for, and the notebooks and values that follow from it; checked before it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cjlib.dataset import find_datasets
from cjlib.errors import ParameterError
from cjlib.notebooks import read_notebook
from cjlib.runs.parameters import Parameter, Value, choose, declared, split_assignments


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
    timeout: float = 1800.0  # seconds a cell may take


@dataclass(frozen=True)
class Plan:
    """The notebooks of a run and the values that each gets."""

    notebooks: list[Path]
    contents: dict[str, Mapping]  # of each notebook by name, as it is before the run
    declared: dict[str, dict[str, Parameter]]  # the parameters of each notebook
    settings: dict[str, dict[str, Value]]  # what is set in each notebook
    given: dict[str, str]  # what the user set by name
    fixed: dict[str, str]  # dataset, source, as_of: for every notebook and for the log

    def effective(self, notebook: str) -> dict[str, Value]:
        """Return all parameters of a notebook as they were in the run, the folder `out` aside."""
        defaults = {
            parameter.name: parameter.default for parameter in self.declared[notebook].values()
        }
        return {
            name: value
            for name, value in (defaults | self.settings[notebook]).items()
            if name != "out"
        }


def find_project() -> Path:
    """Return the folder that holds ``notebooks/``: from the working folder up, or cjlib's own."""
    here = Path.cwd()
    for folder in [here, *here.parents, Path(__file__).resolve().parents[2]]:
        if any((folder / "notebooks").glob("[0-9][0-9]_*.ipynb")):
            return folder
    raise ParameterError(
        "No notebooks here: run cj inside the project, which holds notebooks/01_event_log.ipynb."
    )


def make_plan(request: Request, folder: Path) -> Plan:
    """Return which notebooks a request runs, with which values; all of it checked."""
    if request.as_of:
        _check_date(request.as_of)
    notebooks = pick_notebooks(folder, request.only)
    contents = {path.stem: read_notebook(path) for path in notebooks}
    fixed = {
        "dataset": _found_from(folder, request.dataset),
        "source": _absolute(request.source) if request.source else "",
        "as_of": request.as_of,
    }
    known = {name: declared(content) for name, content in contents.items()}
    given = split_assignments(request.parameters)
    return Plan(notebooks, contents, known, choose(known, given, fixed), given, fixed)


def pick_notebooks(folder: Path, only: Iterable[str]) -> list[Path]:
    """Return the notebooks to run, in order: all, or those whose number or name is given."""
    notebooks = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    only = list(only)
    for wanted in only:
        if not any(_is_called(path, wanted) for path in notebooks):
            names = ", ".join(path.stem for path in notebooks)
            raise ParameterError(f"--only {wanted}: no such notebook. There are: {names}.")
    return [
        path for path in notebooks if not only or any(_is_called(path, wanted) for wanted in only)
    ]


def _is_called(path: Path, wanted: str) -> bool:
    number, _, name = path.stem.partition("_")
    return wanted.removesuffix(".ipynb") in (path.stem, name, number, number.lstrip("0"))


def _found_from(folder: Path, dataset: str) -> str:
    """Return a dataset's name, or its file's path where notebooks would not find it by name."""
    if Path(dataset).suffix in (".yml", ".yaml"):
        return _absolute(dataset)
    path = find_datasets().get(dataset)
    return dataset if path == find_datasets(folder).get(dataset) else str(path)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _check_date(as_of: str) -> None:
    try:
        datetime.fromisoformat(as_of)
    except ValueError:
        raise ParameterError(f"--as-of {as_of}: write a date as YYYY-MM-DD.") from None
