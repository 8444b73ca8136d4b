"""The ways to install say the same, and the lock is whole."""

import ast
import importlib.metadata
import re
import sys
import tomllib

import pytest
import yaml

from tests.conftest import ROOT

CONDA_NAMES = {
    "ibis-framework[duckdb]": "ibis-duckdb",
    "bleach[css]": "bleach-with-css",
    "duckdb": "python-duckdb",
    "tzdata": "python-tzdata",
}


def _split(requirement: str) -> tuple[str, str]:
    name, bounds = re.match(r"([A-Za-z0-9_.\[\]-]+?)\s*([<>=~!].*)?$", requirement).groups()
    return CONDA_NAMES.get(name, name), bounds or ""


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_conda_environment_equals_pyproject_in_names_and_bounds(project):
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    listed = dict(_split(line) for line in conda["dependencies"] if isinstance(line, str))
    assert listed.pop("python") == project["requires-python"]
    assert listed.pop("pip") == ""
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    assert listed == dict(map(_split, wanted))
    assert conda["channels"] == ["conda-forge"]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-spark.lock"])
def test_lock_pins_every_dependency_with_hashes_and_holds_no_address(project, lock):
    text = (ROOT / lock).read_text()
    assert "://" not in text
    pins = re.findall(r"^([a-z0-9_.-]+)(?:\[[a-z,]+\])?==\S+.*\\$", text, re.MULTILINE)
    assert text.count("==") >= len(pins) > 100
    unhashed = [line for line in text.splitlines() if re.match(r"^\S+==[^\\]*$", line)]
    assert not unhashed
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {re.match(r"[A-Za-z0-9_-]+", each)[0].replace("_", "-") for each in wanted}
    assert names <= set(pins)


def test_locks_agree_where_both_pin():
    def pins(lock):
        lines = re.findall(r"^(\S+==\S+(?: ;[^\\]*)?)", (ROOT / lock).read_text(), re.MULTILINE)
        return set(lines)

    assert pins("requirements.lock") <= pins("requirements-spark.lock")


def test_every_dependency_states_its_one_reason():
    text = (ROOT / "pyproject.toml").read_text()
    block = text.split("dependencies = [", 1)[1].split("[project.scripts]")[0]
    entries = [line for line in block.splitlines() if line.strip().startswith('"')]
    assert entries
    assert all(re.search(r"#\s\w+", line) for line in entries)


def test_whatever_the_library_imports_is_declared(project):
    imported = set()
    for path in (ROOT / "cjlib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    imported -= {"cjlib", *sys.stdlib_module_names}
    named = project["dependencies"] + project["optional-dependencies"]["excel"]
    declared = {re.match(r"[A-Za-z0-9_-]+", line)[0] for line in named}
    homes = importlib.metadata.packages_distributions()
    undeclared = {
        name
        for name in imported
        if not declared & {home.lower() for home in homes.get(name, [name])}
    }
    assert not undeclared
