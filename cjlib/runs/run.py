"""A whole run: lock, execute in a scratch folder, verify, make pages, look for ids, publish.

Nothing gets a published name before everything else has succeeded, and then all of it at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from cjlib import errors
from cjlib.dataset import load_dataset
from cjlib.errors import CjlibError, ContractError
from cjlib.log import Log, open_log
from cjlib.notebooks import source_of
from cjlib.runs.execution import FAILED, Outcome, Progress, Task, execute
from cjlib.runs.finishing import finish
from cjlib.runs.index_page import error_html
from cjlib.runs.plan import Plan, Request, find_project, make_plan
from cjlib.runs.privacy import check
from cjlib.runs.shelf import Shelf, new_run_id
from cjlib.runs.verification import verify
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
    outcomes: list[Outcome] = field(default_factory=list)

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
    name = load_dataset(**plan.fixed).name
    shelf = Shelf((request.out or home / "reports").absolute() / name)
    with shelf.locked():
        run_id = new_run_id()
        scratch = shelf.scratch(run_id)
        try:
            return _run(request, plan, shelf, run_id, scratch, progress or Progress())
        finally:
            shelf.drop(run_id)


def _run(
    request: Request, plan: Plan, shelf: Shelf, run_id: str, scratch: Path, progress: Progress
) -> Published:
    started = datetime.now(UTC)
    progress.step("preparing the log")
    try:
        log = open_log(**plan.fixed, progress=progress.step)
    except ContractError as error:
        if not hasattr(error, "quality"):  # the source could not be read at all
            raise
        _keep_quarantine(error, plan, scratch)
        place = shelf.set_aside(run_id) / "tables"
        raise ContractError(
            f"{error}\nThe quarantined rows and the quality table: {place}"
        ) from None
    progress.begin(sum(map(len, _cells(plan))))
    outcomes = execute(
        [
            Task(
                name=path.stem,
                source=path,
                target=scratch / path.name,
                parameters={**plan.settings[path.stem], "out": str(scratch)},
                timeout=request.timeout,
            )
            for path in plan.notebooks
        ],
        jobs=request.jobs,
        logs=scratch,
        progress=progress,
    )
    failures = [outcome for outcome in outcomes if outcome.exit_code] or [
        Outcome(outcome.name, FAILED, outcome.seconds, error="Incomplete", message=problem)
        for outcome in outcomes
        for problem in verify(scratch, outcome.name)
    ]
    if failures:
        raise _set_aside(failures, log, shelf, run_id, scratch)
    progress.step("making the pages")
    finish(scratch, log, run_id, started, plan, outcomes)
    progress.step("looking for personal data")
    check(
        scratch,
        log.events.select("customer_id"),
        known=_known_texts(plan, log, run_id),
        every_file=log.dataset.privacy.customer_ids == "hash",
    )
    folder = shelf.publish(run_id)
    latest = not request.only and shelf.point_latest(run_id)
    if request.keep:
        shelf.prune(request.keep)
    return Published(folder, latest, outcomes)


def _keep_quarantine(error: ContractError, plan: Plan, scratch: Path) -> None:
    """Write what a reader needs to see why the data broke the contract."""
    tables = {"quality": error.quality}
    tables["quarantine"] = pd.read_parquet(error.folder / "quarantine.parquet")
    hashed = load_dataset(**plan.fixed).privacy.customer_ids == "hash"
    for name, table in tables.items():
        write_table(without_ids(name, table) if hashed else table, scratch / "tables", name)


def _set_aside(
    failures: list[Outcome], log: Log, shelf: Shelf, run_id: str, scratch: Path
) -> NotebookError:
    """Keep a failed run apart with a page that says why, and return the error to raise."""
    title = log.dataset.title or log.dataset.name
    page = error_html(title, run_id, failures)
    (scratch / "index.html").write_text(page, encoding="utf-8")
    place = shelf.set_aside(run_id)
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
            *(source_of(cell) for cells in _cells(plan) for cell in cells),
            log.dataset.path.read_text(encoding="utf-8"),
            *log.stages.names,
            *(label for stage in log.stages.stages for label in stage.labels.values()),
            run_id,
        ]
    )


def _cells(plan: Plan) -> list[list[Mapping]]:
    return [content["cells"] for content in plan.contents.values()]
