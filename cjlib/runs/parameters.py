"""The parameters that notebooks declare, and the values that a run gives them.

A notebook declares its parameters in the code cell tagged ``parameters``: one literal each, with a
comment. Only declared names can be set, and a value is read as the type of the declared default:
``007`` for a text stays ``007``. Papermill itself would warn of unknown names, guess types and
write names unchecked into code.
"""

import ast
import io
import math
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cjlib.errors import ParameterError, did_you_mean
from cjlib.notebooks import source_of

Value = str | int | float | bool

OPTIONS = {"dataset": "DATASET", "source": "--source", "as_of": "--as-of", "out": "--out"}
"""Parameters that a run sets itself, each with the part of the command that gives it."""

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Parameter:
    """One declared parameter: its name, default and comment."""

    name: str
    default: Value
    comment: str = ""

    def read(self, text: str) -> Value:
        """Return the value that `text` says, in the type of the default.

        Raises
        ------
        ParameterError
            If the text does not say such a value.
        """
        kind = type(self.default)
        try:
            if kind is bool:
                return _WORDS[text.strip().lower()]
            value = kind(text)
            if kind is float and not math.isfinite(value):
                raise ValueError(text)
        except (KeyError, ValueError):
            wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
            raise ParameterError(
                f"-p {self.name}={text}: {self.name} takes {wanted}, like {self.default!r}"
                f"{f' ({self.comment})' if self.comment else ''}."
            ) from None
        return value


def declared(notebook: Mapping) -> dict[str, Parameter]:
    """Return the parameters that a notebook declares, by name.

    Parameters
    ----------
    notebook : mapping
        The notebook as its JSON says it.

    Raises
    ------
    ParameterError
        If the parameters cell is not made of literals.
    """
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and "parameters" in cell["metadata"].get("tags", []):
            return _read_cell(source_of(cell))
    return {}


def _read_cell(source: str) -> dict[str, Parameter]:
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for statement in ast.parse(source).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                raise ParameterError(
                    f"The parameters cell holds more than names with literals: "
                    f"{ast.unparse(statement)}"
                )
        try:
            default = ast.literal_eval(value)
        except ValueError:
            raise ParameterError(
                f"The parameter {name} is no literal: {ast.unparse(statement)}"
            ) from None
        if not isinstance(default, Value):
            raise ParameterError(f"The parameter {name} is no text, number or truth value.")
        found[name] = Parameter(name, default, comments.get(statement.lineno, ""))
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
    notebooks: Mapping[str, Mapping[str, Parameter]],
    given: Mapping[str, str],
    fixed: Mapping[str, str],
) -> dict[str, dict[str, Value]]:
    """Return the values to set in each notebook.

    Parameters
    ----------
    notebooks : mapping of str to mapping
        The declared parameters of each notebook.
    given : mapping of str to str
        What the user gave by name; each must be declared by at least one notebook.
    fixed : mapping of str to str
        What the run sets itself (`OPTIONS`).

    Raises
    ------
    ParameterError
        If no notebook declares a name, a value has the wrong type, or the name has its own option.
    """
    known = sorted({name for parameters in notebooks.values() for name in parameters})
    for name in given:
        if name in OPTIONS:
            raise ParameterError(f"-p {name}: give it by {OPTIONS[name]} instead.")
        if name not in known:
            names = ", ".join(other for other in known if other not in OPTIONS)
            raise ParameterError(
                f"-p {name}: no notebook has this parameter{did_you_mean(name, known)}"
                f" There are: {names}."
            )
    chosen = {}
    for notebook, parameters in notebooks.items():
        chosen[notebook] = {name: value for name, value in fixed.items() if name in parameters} | {
            name: parameters[name].read(text) for name, text in given.items() if name in parameters
        }
    return chosen
