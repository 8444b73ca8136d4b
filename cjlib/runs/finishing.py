"""From executed notebooks and tables to a report: tidy notebooks, findings, pages, manifest."""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow.parquet

from cjlib.log import Log
from cjlib.notebooks import read_notebook, source_of
from cjlib.runs.execution import Outcome
from cjlib.runs.index_page import index_html
from cjlib.runs.pages import Page, describe, to_html
from cjlib.runs.plan import Plan

_NAMED_PACKAGES = [
    *["cjlib", "ibis-framework", "duckdb", "pyarrow", "numpy", "pandas", "scipy"],
    *["scikit-learn", "matplotlib", "seaborn", "papermill", "nbconvert", "ipykernel"],
]


def finish(
    folder: Path,
    log: Log,
    run_id: str,
    started: datetime,
    plan: Plan,
    outcomes: list[Outcome],
) -> None:
    """Complete a report in its scratch folder, so that only its name is missing.

    Parameters
    ----------
    folder : Path
        With the executed notebooks, ``tables`` and each notebook's ``findings``.
    log : Log
    run_id : str
    started : datetime
    plan : Plan
    outcomes : list of Outcome
        In the order of the report.
    """
    notebooks = {outcome.name: tidy(folder / f"{outcome.name}.ipynb") for outcome in outcomes}
    findings = _merge_findings(folder, list(notebooks))
    tables = _tables(folder / "tables")
    pages = [describe(name, notebook) for name, notebook in notebooks.items()]
    _write_pages(folder, pages, log, run_id)
    manifest = _manifest(folder, log, run_id, started, plan, outcomes)
    _write_json(folder / "findings.json", findings)
    _write_json(folder / "manifest.json", manifest)
    index = index_html(manifest, findings, pages, tables)
    (folder / "index.html").write_text(index, encoding="utf-8")
    for left in folder.glob(".worker-*.log"):
        left.unlink()


def tidy(path: Path) -> dict:
    """Take the run's own paths out of an executed notebook, so that it can be run anywhere again.

    Returns
    -------
    dict
        The notebook as written.
    """
    notebook = read_notebook(path)
    notebook["metadata"].pop("papermill", None)
    for cell in notebook["cells"]:
        cell["metadata"].pop("papermill", None)
        cell["metadata"].pop("execution", None)
        if "injected-parameters" in cell["metadata"].get("tags", []):
            lines = source_of(cell).splitlines(keepends=True)
            cell["source"] = ['out = ""\n' if line.startswith("out = ") else line for line in lines]
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return notebook


def _merge_findings(folder: Path, notebooks: list[str]) -> list[dict]:
    """Return the findings of all notebooks in their order, and remove the single files."""
    files = [folder / "findings" / f"{name}.json" for name in notebooks]
    found = [
        finding
        for file in files
        if file.exists()
        for finding in json.loads(file.read_text(encoding="utf-8"))
    ]
    shutil.rmtree(folder / "findings", ignore_errors=True)
    return found


def _tables(folder: Path) -> list[dict]:
    described = []
    for path in sorted(folder.glob("*.parquet")):
        facts = pyarrow.parquet.ParquetFile(path)
        described.append(
            {
                "name": path.stem,
                "rows": facts.metadata.num_rows,
                "columns": facts.schema_arrow.names,
            }
        )
    return described


def _write_pages(folder: Path, pages: list[Page], log: Log, run_id: str) -> None:
    for page, before, after in zip(pages, [None, *pages[:-1]], [*pages[1:], None], strict=True):
        context = {
            "dataset": log.dataset.title or log.dataset.name,
            "as_of": f"{log.as_of.day} {log.as_of:%B %Y}",
            "run_id": run_id,
            "previous": before,
            "next": after,
        }
        content = to_html(folder / f"{page.name}.ipynb", page, context)
        (folder / page.file).write_text(content, encoding="utf-8")


def _manifest(
    folder: Path,
    log: Log,
    run_id: str,
    started: datetime,
    plan: Plan,
    outcomes: list[Outcome],
) -> dict:
    every = [plan.effective(outcome.name) for outcome in outcomes]
    return {
        "run_id": run_id,
        "dataset": log.dataset.name,
        "title": log.dataset.title or log.dataset.name,
        "as_of": log.as_of.isoformat(),
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
        "versions": {name: found for name in _NAMED_PACKAGES if (found := _version(name))},
        "commit": _commit(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> str | None:
    """Return the commit of the code that ran, with a mark where files differ from it."""
    place = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _write_json(path: Path, content) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, default=str)
    path.write_text(text + "\n", encoding="utf-8")
