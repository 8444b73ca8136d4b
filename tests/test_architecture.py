"""Imports go one way, and the heavy doors are opened in one place each."""

import ast
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import cjlib

FOLDER = Path(cjlib.__file__).parent
LAYERS = [
    {"errors", "timestamps", "vocabulary"},
    {"forms"},
    {"yaml_files", "groups", "paths"},
    {"answers"},
    {"stages"},
    {"dataset_file"},
    {"dataset"},
    {"uncertainty"},
    {"journeys"},
    {"beginnings"},
    {"reading"},
    {"log"},
    {"log_profile", "drafts"},
    {"plots", "tables", "shelf"},
    {"journey_map", "survival"},
    {"markov"},
    {"segments", "attribution"},
    {"churn"},
    {"initiatives"},
    {"comparison"},
    {"report"},
    {"runs"},
    {"cli"},
]
"""Modules and packages of cjlib; each imports from the layers above it, or from its own package."""

PLACES = {
    "papermill": {"runs.execution"},
    "nbconvert": {"runs.pages"},
    "seaborn": {"plots"},
    "matplotlib": {"plots", "report", "answers", "runs.kernels"},  # shown, dropped, made ready
    "pickle": set(),
    "joblib": set(),
    "requests": set(),
    "notebooks": set(),
}
"""Where a library may be imported: a module, or a package as a whole."""


def modules() -> dict[str, Path]:
    found = {path: path.relative_to(FOLDER).with_suffix("").parts for path in FOLDER.rglob("*.py")}
    return {".".join(parts): path for path, parts in found.items() if parts[-1] != "__init__"}


def statements(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imports(path: Path, everything: set[str]) -> set[str]:
    """Return the modules of cjlib that a file imports, wherever in the file."""
    found = set()
    for node in statements(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cjlib":
            module = node.module.removeprefix("cjlib").lstrip(".")
            inside = {f"{module}.{alias.name}".lstrip(".") for alias in node.names}
            found |= (inside & everything) or {module}
    return found


def libraries(path: Path) -> set[str]:
    """Return the first names of all that a file imports."""
    names = set()
    for node in statements(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.split(".")[0] for name in names}


@cache
def graph() -> dict[str, set[str]]:
    found = modules()
    return {name: imports(path, set(found)) for name, path in found.items()}


def test_every_module_has_its_layer():
    tops = {name.split(".")[0] for name in modules()}
    assert tops == set().union(*LAYERS)


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_come_from_layers_above(name):
    level = {top: number for number, layer in enumerate(LAYERS) for top in layer}
    top = name.split(".")[0]
    below = {
        other
        for other in graph()[name]
        if other.split(".")[0] != top and level[other.split(".")[0]] >= level[top]
    }
    assert not below


def test_no_two_modules_import_each_other():
    list(TopologicalSorter(graph()).static_order())  # raises CycleError


def test_no_two_modules_have_one_name():
    counts = Counter(name.split(".")[-1] for name in modules())
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("library", PLACES)
def test_a_library_is_imported_in_its_place_alone(library):
    found = {name for name, path in modules().items() if library in libraries(path)}
    places = PLACES[library]
    assert {name for name in found if not {name, name.split(".")[0]} & places} == set()
    assert {place for place in places if any(name.startswith(place) for name in found)} == places


def test_connections_are_made_in_one_place():
    calls = {
        name
        for name, path in modules().items()
        for node in statements(path)
        if isinstance(node, ast.Attribute) and node.attr == "connect"
    }
    assert calls == {"dataset"}
