"""Imports go one way, and the heavy doors are opened in one place each."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import cjlib

FOLDER = Path(cjlib.__file__).parent
LAYERS = [
    {"errors", "forms", "timestamps"},
    {"stages", "notebooks"},
    {"dataset_file"},
    {"dataset"},
    {"reading", "journeys", "uncertainty"},
    {"log"},
    {"log_profile", "drafts"},
    {"plots", "tables"},
    {"journey_map", "attribution"},
    {"markov"},
    {"segments", "churn"},
    {"report"},
    {"runs"},
    {"cli"},
]
"""Modules and packages of cjlib; each imports from the layers above it, or from its own package."""


def modules() -> dict[str, Path]:
    found = {path: path.relative_to(FOLDER).with_suffix("").parts for path in FOLDER.rglob("*.py")}
    return {".".join(parts): path for path, parts in found.items() if parts[-1] != "__init__"}


def imports(path: Path, everything: set[str]) -> set[str]:
    """Return the modules of cjlib that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cjlib":
            module = node.module.removeprefix("cjlib").lstrip(".")
            inside = {f"{module}.{alias.name}".lstrip(".") for alias in node.names}
            found |= (inside & everything) or {module}
    return found


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


@pytest.mark.parametrize(
    ("library", "places"),
    [
        ("papermill", {"runs.execution"}),
        ("nbconvert", {"runs.pages"}),
        ("pickle", set()),
        ("joblib", set()),
        ("requests", set()),
    ],
)
def test_a_library_is_imported_in_its_place_alone(library, places):
    found = set()
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(each.split(".")[0] == library for each in names):
                found.add(name)
    assert found == places
