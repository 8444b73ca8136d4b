"""A whole run: lock, execute in a scratch folder, verify, make pages, look for ids, publish.

Nothing gets a published name before everything else has succeeded, and then all of it at once.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from cjlib import errors
from cjlib.dataset import load_dataset
from cjlib.errors import CjlibError, ContractError
from cjlib.log import Log, open_log
from cjlib.runs.assembly import complete, verify
from cjlib.runs.execution import FAILED, Outcome, Progress, Task, execute
from cjlib.runs.index_page import error_html
from cjlib.runs.plan import Plan, Request, find_project, make_plan
from cjlib.runs.privacy import check
from cjlib.runs.publication import ReportFolder, new_run_id
from cjlib.tables import without_ids, write_table


class NotebookError(CjlibError):
    """A notebook failed; its exit code says how."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Published:
    """Where a report is now."""

    folder: Path
    latest: bool  # whether `latest` points at it

    @property
    def index(self) -> Path:
        """The page to open."""
        shown = self.folder.parent / "latest" if self.latest else self.folder
        return shown / "index.html"


def report(request: Request, progress: Progress | None = None) -> Published:
    """Execute the notebooks for one dataset and moment, and publish the report whole or not at all.

    Raises
    ------
    ParameterError
        A parameter, a notebook's name or the dataset file is wrong.
    LockedError
        Another run of the dataset is under way.
    ContractError
        The data break the contract; the message says where the quarantined rows are.
    NotebookError
        A notebook failed; the message names it, its cell and the folder with what it left.
    PrivacyError
        A page would have shown an id, an e-mail address or a phone number.
    """
    home = find_project()
    plan = make_plan(request, home / "notebooks")
    name = load_dataset(**plan.log).name
    reports = ReportFolder((request.out or home / "reports").absolute() / name)
    with reports.locked():
        run_id = new_run_id()
        try:
            return _run(request, plan, reports, run_id, progress or Progress())
        finally:
            reports.drop(run_id)


def _run(
    request: Request, plan: Plan, reports: ReportFolder, run_id: str, progress: Progress
) -> Published:
    scratch = reports.scratch(run_id)
    started = datetime.now(UTC)
    progress.step("preparing the log")
    try:
        log = open_log(**plan.log, progress=progress.step)
    except ContractError as error:
        if not hasattr(error, "quality"):  # the source could not be read at all
            raise
        _keep_quarantine(error, plan, scratch)
        place = reports.set_aside(run_id) / "tables"
        raise ContractError(
            f"{error}\nThe quarantined rows and the quality table: {place}"
        ) from None
    progress.begin(sum(len(notebook.cells) for notebook in plan.notebooks.values()))
    tasks = [
        Task(
            source=path,
            target=scratch / path.name,
            parameters={**plan.parameters[path.stem], "out": str(scratch)},
            timeout=request.timeout,
        )
        for path in plan.notebooks
    ]
    complaints = scratch / ".complaints.log"
    outcomes = execute(tasks, jobs=request.jobs, log=complaints, progress=progress)
    failures = [outcome for outcome in outcomes if outcome.exit_code] or [
        Outcome(outcome.name, FAILED, outcome.seconds, error="Incomplete", message=problem)
        for outcome in outcomes
        for problem in verify(scratch, outcome.name)
    ]
    if failures:
        raise _set_aside(failures, log, reports, run_id, scratch)
    complaints.unlink()
    progress.step("making the pages")
    complete(scratch, log, run_id, started, plan, outcomes)
    progress.step("looking for personal data")
    check(
        scratch,
        log.events.select("customer_id"),
        known=_known_texts(plan, log, run_id),
        every_file=log.dataset.privacy.customer_ids == "hash",
    )
    folder = reports.publish(run_id)
    latest = not request.only and reports.point_latest(run_id)
    if request.keep:
        reports.prune(request.keep)
    return Published(folder, latest)


def _keep_quarantine(error: ContractError, plan: Plan, scratch: Path) -> None:
    """Write what a reader needs to see why the data broke the contract."""
    tables = {"quality": error.quality}
    tables["quarantine"] = pd.read_parquet(error.folder / "quarantine.parquet")
    hashed = load_dataset(**plan.log).privacy.customer_ids == "hash"
    for name, table in tables.items():
        write_table(without_ids(name, table) if hashed else table, scratch / "tables", name)


def _set_aside(
    failures: list[Outcome], log: Log, reports: ReportFolder, run_id: str, scratch: Path
) -> NotebookError:
    """Keep a failed run apart with a page that says why, and return the error to raise."""
    title = log.dataset.title or log.dataset.name
    page = error_html(title, run_id, failures)
    (scratch / "index.html").write_text(page, encoding="utf-8")
    place = reports.set_aside(run_id)
    lines = [
        f"{failure.name}{f', cell [{failure.cell}] {failure.line}' if failure.cell else ''}\n"
        f"  {failure.error}: {failure.message}"
        for failure in failures
    ]
    known = getattr(errors, failures[0].error, None)  # a cjlib error keeps its own exit code
    code = getattr(known, "exit_code", failures[0].exit_code)
    return NotebookError("\n".join([*lines, f"What it left: {place / 'index.html'}"]), code)


def _known_texts(plan: Plan, log: Log, run_id: str) -> str:
    """Return the texts of a report that do not come from customers."""
    return "\n".join(
        [
            *(cell.source for notebook in plan.notebooks.values() for cell in notebook.cells),
            log.dataset.path.read_text(encoding="utf-8"),
            *log.stages.names,
            *(label for stage in log.stages.stages for label in stage.labels.values()),
            run_id,
        ]
    )
