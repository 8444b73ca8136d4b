"""From executed notebooks and tables to a whole report: verified, tidied, with its pages and facts.

A report is whole when every cell of every notebook ran, none shows an error, and every table that
the code promises is there with its columns: also that of a cell that was left out because the log
cannot answer it, which then has no rows.
"""

import ast
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import nbformat
import pandas as pd
import pyarrow.parquet
from nbformat import NotebookNode

from cjlib.forms import figure
from cjlib.log import Log
from cjlib.runs.execution import Outcome
from cjlib.runs.index_page import index_html
from cjlib.runs.pages import describe, reason_left_out, to_html
from cjlib.runs.plan import Plan
from cjlib.tables import FOR_THE_NEXT_RUN, TABLES, table_files, write_table
from cjlib.vocabulary import in_own_words

_NAMED_PACKAGES = [
    *["cjlib", "ibis-framework", "duckdb", "pyarrow", "numpy", "pandas", "scipy"],
    *["scikit-learn", "matplotlib", "seaborn", "papermill", "nbconvert", "ipykernel"],
]


def verify(folder: Path, notebook: str) -> list[str]:
    """Return what an executed notebook lacks: cells that did not run, tables that are not there."""
    cells = _code(nbformat.read(folder / f"{notebook}.ipynb", as_version=4))
    problems = []
    counts = [cell.execution_count for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        problems.append(f"Its cells did not run once each, in order: {counts}.")
    for cell in cells:
        for output in cell.outputs:
            if output.output_type == "error":
                problems.append(f"Cell [{cell.execution_count}] shows a {output.ename}.")
        for table in promised_tables(cell.source):
            problems += [] if reason_left_out(cell) else _lacks(folder / "tables", table)
    return problems


def promised_tables(source: str) -> list[str]:
    """Return the tables that a cell's code publishes in any case: at the left margin."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:  # a cell with a magic
        return []
    return [
        call.args[0].value
        for statement in statements
        if isinstance(call := getattr(statement, "value", None), ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "publish"
        and call.args
        and isinstance(call.args[0], ast.Constant)
    ]


def _lacks(folder: Path, table: str) -> list[str]:
    files = table_files(table)
    missing = [f"tables/{file} is missing." for file in files if not (folder / file).is_file()]
    if missing:
        return missing
    there = pyarrow.parquet.read_schema(folder / files[0]).names
    missing = [column for column in TABLES.get(table, []) if column not in there]
    return [f"tables/{table}.parquet lacks {', '.join(missing)}."] if missing else []


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def complete(
    folder: Path,
    log: Log,
    run_id: str,
    started: datetime,
    plan: Plan,
    outcomes: list[Outcome],
    inputs: str,
) -> None:
    """Complete a report in its scratch folder, so that only its name is missing.

    Parameters
    ----------
    folder : Path
        With the executed notebooks, verified, ``tables`` and each notebook's ``findings``.
    log : Log
    run_id : str
    started : datetime
    plan : Plan
    outcomes : list of Outcome
        In the order of the report.
    inputs : str
        Of `cjlib.runs.inputs.fingerprint`.
    """
    here = places(log, folder)
    notebooks = {outcome.name: tidy(folder / f"{outcome.name}.ipynb", here) for outcome in outcomes}
    cells = [cell for notebook in notebooks.values() for cell in _code(notebook)]
    left_out = [cell.source for cell in cells if reason_left_out(cell)]
    for table in [name for source in left_out for name in promised_tables(source)]:
        if not (folder / "tables" / f"{table}.parquet").exists():
            write_table(pd.DataFrame(columns=TABLES[table]), folder / "tables", table)
    for cell in (cell for notebook in notebooks.values() for cell in notebook.cells):
        if cell.cell_type == "markdown":
            cell.source = in_own_words(cell.source, log.dataset.words)
    pages = [describe(name, notebook) for name, notebook in notebooks.items()]
    facts = {"dataset": log.dataset.title, "as_of": figure("date", log.day), "run_id": run_id}
    for page, before, after in zip(pages, [None, *pages], [*pages[1:], None], strict=False):
        content = to_html(notebooks[page.name], page, {**facts, "previous": before, "next": after})
        (folder / page.file).write_text(content, encoding="utf-8")
    findings = _merge_findings(folder, list(notebooks))
    tables = _tables(folder / "tables")
    manifest = _manifest(folder, log, run_id, started, plan, outcomes) | {"inputs": inputs}
    index = index_html(manifest, findings, pages, tables, log.dataset.currency or "")
    (folder / "index.html").write_text(index, encoding="utf-8")
    for name, content in (("findings", findings), ("manifest", manifest)):
        text = json.dumps(content, indent=1, ensure_ascii=False, default=str)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def places(log: Log, scratch: Path) -> list[str]:
    """Return the folders of this machine that no published file may name, the longest first."""
    package = Path(__file__).parents[2]
    folders = {scratch, log.dataset.folder, log.dataset.path.parent, log.dataset.path.parents[1]}
    folders |= {package, Path.cwd(), Path.home(), Path(sys.prefix), Path(tempfile.gettempdir())}
    named = {f"{folder}/" for folder in folders if len(folder.parts) > 1}
    return sorted(named, key=len, reverse=True)


def nameless(text: str, folders: Iterable[str]) -> str:
    """Return a text whose paths begin below the folders of this machine."""
    for folder in folders:
        text = text.replace(folder, "")
    return text


def tidy(path: Path, folders: Iterable[str] = ()) -> NotebookNode:
    """Take the paths of this machine out of an executed notebook.

    Parameters
    ----------
    path : Path
    folders : iterable of str
        Of `places`.

    Returns
    -------
    NotebookNode
        The notebook as written.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            lines = cell.source.splitlines()
            lines = ['out = ""' if line.startswith("out = ") else line for line in lines]
            cell.source = "\n".join(lines)
    notebook = nbformat.reads(nameless(nbformat.writes(notebook), folders), as_version=4)
    nbformat.write(notebook, path)
    return notebook


def _merge_findings(folder: Path, notebooks: list[str]) -> list[dict]:
    """Return the findings of all notebooks in their order, and remove the single files."""
    files = [folder / "findings" / f"{name}.json" for name in notebooks]
    texts = [file.read_text(encoding="utf-8") for file in files if file.exists()]
    shutil.rmtree(folder / "findings", ignore_errors=True)
    return [finding for text in texts for finding in json.loads(text)]


def _tables(folder: Path) -> list[dict]:
    described = []
    for path in sorted(folder.glob("*.parquet")):
        if path.stem in FOR_THE_NEXT_RUN:
            continue
        file = pyarrow.parquet.ParquetFile(path)
        columns = file.schema_arrow.names
        described.append({"name": path.stem, "rows": file.metadata.num_rows, "columns": columns})
    return described


def _manifest(
    folder: Path,
    log: Log,
    run_id: str,
    started: datetime,
    plan: Plan,
    outcomes: list[Outcome],
) -> dict:
    every = [plan.parameters[outcome.name] for outcome in outcomes]
    facts = {
        "run_id": run_id,
        "dataset": log.dataset.name,
        "title": log.dataset.title,
        "as_of": log.as_of.isoformat(),
        "day": log.day.isoformat(),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "parameters": plan.given,
        "seed": next((values["seed"] for values in every if "seed" in values), None),
        "sources": log.sources,
        "rows": log.rows,
        "notebooks": [
            {
                "name": outcome.name,
                "status": "done",
                "seconds": round(outcome.seconds, 2),
                "parameters": values,
                "sha256": sha256((folder / f"{outcome.name}.ipynb").read_bytes()).hexdigest(),
            }
            for outcome, values in zip(outcomes, every, strict=True)
        ],
        "versions": versions(),
        "commit": _commit(),
    }
    return json.loads(nameless(json.dumps(facts), places(log, folder)))


def versions() -> dict[str, str]:
    """Return the versions of the packages that figures depend on."""
    found = {}
    for package in _NAMED_PACKAGES:
        with suppress(PackageNotFoundError):  # cjlib itself, where it runs from a folder
            found[package] = version(package)
    return found


def _commit() -> str | None:
    """Return the commit of the code that ran, with a mark where files differ from it."""
    place = str(Path(__file__).resolve().parent)
    command = ["git", "-C", place, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
