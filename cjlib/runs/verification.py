"""Whether an executed notebook is whole: every cell ran, no error shows, its tables are there."""

import ast
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet

from cjlib.notebooks import read_notebook, source_of
from cjlib.tables import TABLES


def verify(folder: Path, notebook: str) -> list[str]:
    """Return what an executed notebook lacks: cells that did not run, tables that are not there."""
    content = read_notebook(folder / f"{notebook}.ipynb")
    cells = [
        cell for cell in content["cells"] if cell["cell_type"] == "code" and source_of(cell).strip()
    ]
    problems = []
    counts = [cell["execution_count"] for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        problems.append(f"Its cells did not run once each, in order: {counts}.")
    for cell in cells:
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                problems.append(f"Cell [{cell['execution_count']}] shows a {output['ename']}.")
    for table in promised_tables(source_of(cell) for cell in cells):
        problems += _check_table(folder / "tables", table)
    return problems


def promised_tables(sources: Iterable[str]) -> list[str]:
    """Return the tables that a notebook's code publishes in any case: at the left margin."""
    return [
        call.args[0].value
        for source in sources
        for statement in _statements(source)
        if isinstance(call := getattr(statement, "value", None), ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "publish"
        and call.args
        and isinstance(call.args[0], ast.Constant)
    ]


def _statements(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError:  # a cell with a magic
        return []


def _check_table(folder: Path, name: str) -> list[str]:
    missing = [
        f"tables/{name}.{kind} is missing."
        for kind in ("parquet", "csv")
        if not (folder / f"{name}.{kind}").is_file()
    ]
    if missing:
        return missing
    columns = pyarrow.parquet.read_schema(folder / f"{name}.parquet").names
    lacking = [column for column in TABLES.get(name, []) if column not in columns]
    return [f"tables/{name}.parquet lacks {', '.join(lacking)}."] if lacking else []
