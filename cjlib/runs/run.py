"""A whole run: lock, execute in a scratch folder, verify, make pages, look for ids, publish.

``reports/<dataset>/`` holds complete runs under their ids, ``latest`` pointing at the newest,
failed runs as ``failed-<run_id>``, and, while a run is under way, its scratch folder. Whatever has
a published name got it by one rename of a finished folder, after everything else has succeeded: no
reader and no crash ever sees a half of it.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from cjlib import errors
from cjlib.dataset import load_dataset
from cjlib.errors import CjlibError, ContractError, LockedError, ParameterError
from cjlib.log import Log, open_log
from cjlib.runs.assembly import complete, places, verify, versions
from cjlib.runs.execution import FAILED, Outcome, Progress, Task, execute
from cjlib.runs.index_page import error_html
from cjlib.runs.inputs import fingerprint
from cjlib.runs.plan import Plan, Request, find_project, make_plan
from cjlib.runs.privacy import check
from cjlib.shelf import earlier_reports, moment, run_ids
from cjlib.tables import id_key, without_ids, write_table

_KEPT_FAILURES = 10


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
    again: bool = False  # whether it was there already, made of the same

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
    dataset = load_dataset(**plan.log)
    if dataset.privacy.customer_ids == "hash":
        id_key()  # or an error, before anything runs
    reports = ReportFolder((request.out or home / "reports").absolute() / dataset.name)
    with reports.locked():
        return _run(request, plan, reports, progress or Progress())


def _run(request: Request, plan: Plan, reports: "ReportFolder", progress: Progress) -> Published:
    run_id = new_run_id()
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
    inputs = fingerprint(plan, log, reports.before(log), versions())
    made = not request.force and reports.made_of(inputs)
    if made:
        return Published(reports.folder / made, made == reports.latest(), again=True)
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
    complete(scratch, log, run_id, started, plan, outcomes, inputs)
    progress.step("looking for personal data")
    check(
        scratch,
        log.events,
        known=_known_texts(plan, log, run_id),
        every_file=log.dataset.privacy.customer_ids == "hash",
        smallest=log.dataset.privacy.smallest_group,
        private=places(log, scratch),
        words=log.dataset.words,
    )
    folder = reports.publish(run_id)
    latest = not request.only and reports.point_latest(run_id)
    if request.keep:
        reports.prune(request.keep)
    return Published(folder, latest)


def _keep_quarantine(error: ContractError, plan: Plan, scratch: Path) -> None:
    """Write what a reader needs to see why the data broke the contract."""
    quarantine = pd.read_parquet(error.folder / "quarantine.parquet")
    if load_dataset(**plan.log).privacy.customer_ids == "hash":
        quarantine = without_ids("quarantine", quarantine)
    write_table(error.quality, scratch / "tables", "quality")
    write_table(quarantine, scratch / "tables", "quarantine")


def _set_aside(
    failures: list[Outcome], log: Log, reports: "ReportFolder", run_id: str, scratch: Path
) -> NotebookError:
    """Keep a failed run apart with a page that says why, and return the error to raise."""
    page = error_html(log.dataset.title, run_id, failures)
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


# -- the folder of a dataset's reports -------------------------------------------------------------


def new_run_id() -> str:
    """Return an id that sorts by the time it was made: UTC to the millisecond, and a suffix."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z-{os.urandom(2).hex()}"


class ReportFolder:
    """The reports of one dataset.

    Parameters
    ----------
    folder : Path
        ``reports/<dataset>``; made when first locked.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one run; only then may anything below be called.

        Raises
        ------
        LockedError
            At once, if another run holds it.
        ParameterError
            If ``latest`` is there, but as no link.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock(self.folder / ".lock", timeout=0).acquire()
        except Timeout:
            raise LockedError(
                f"Another run of this dataset is under way (it holds {self.folder / '.lock'}). "
                "Try again when it has ended."
            ) from None
        with lock:
            latest = self.folder / "latest"
            if latest.exists() and not latest.is_symlink():
                raise ParameterError(
                    f"{latest} must be a link that runs move, and is not: give it another name."
                )
            self._sweep()
            try:
                yield
            finally:
                self._sweep()

    def scratch(self, run_id: str) -> Path:
        """Make and return the folder in which a run works, on the file system of the reports."""
        folder = self.folder / f".scratch-{run_id}"
        folder.mkdir()
        return folder

    def publish(self, run_id: str) -> Path:
        """Give a finished scratch folder its published name, and return it."""
        target = self.folder / run_id
        os.rename(self.folder / f".scratch-{run_id}", target)
        return target

    def set_aside(self, run_id: str) -> Path:
        """Keep what a failed run left, readable by its owner alone: nobody checked it for ids."""
        target = self.folder / f"failed-{run_id}"
        scratch = self.folder / f".scratch-{run_id}"
        scratch.chmod(0o700)
        os.rename(scratch, target)
        for old in sorted(self.folder.glob("failed-*"))[:-_KEPT_FAILURES]:
            self._remove(old)
        return target

    def point_latest(self, run_id: str) -> bool:
        """Let ``latest`` point at a complete run, unless it points at a newer one.

        Newer is the report of the later moment (as_of); of two reports of one moment, the later
        run.

        Returns
        -------
        bool
            Whether ``latest`` points at the run now.
        """
        current = self.latest()
        if current and self._moment(current) > self._moment(run_id):
            return False
        link = self.folder / f".latest-{run_id}"
        link.symlink_to(run_id, target_is_directory=True)
        os.replace(link, self.folder / "latest")
        return True

    def latest(self) -> str:
        """Return the id of the run that ``latest`` points at, or nothing."""
        link = self.folder / "latest"
        run_id = os.readlink(link) if link.is_symlink() else ""
        return run_id if (self.folder / run_id / "manifest.json").is_file() else ""

    def runs(self) -> list[str]:
        """Return the ids of the complete runs, oldest first."""
        return run_ids(self.folder)

    def before(self, log: Log) -> list[str]:
        """Return the ids of the reports of earlier moments than the log's."""
        return [one.folder.name for one in earlier_reports(log, shelf=self.folder)]

    def made_of(self, inputs: str) -> str:
        """Return the id of a run made of the same, the newest one, or nothing."""
        for run_id in reversed(self.runs()):
            with contextlib.suppress(OSError, ValueError):
                manifest = json.loads((self.folder / run_id / "manifest.json").read_bytes())
                if manifest.get("inputs") == inputs:
                    return run_id
        return ""

    def prune(self, keep: int) -> None:
        """Remove complete runs but the newest `keep` and the one ``latest`` points at."""
        for run_id in self.runs()[:-keep]:
            if run_id != self.latest():
                self._remove(self.folder / run_id)

    def _moment(self, run_id: str) -> tuple[str, str]:
        """Return what orders runs; one whose manifest is broken comes before all others."""
        return moment(self.folder / run_id), run_id

    def _remove(self, path: Path) -> None:
        """Take a folder's name away before its content, so that no half of it is ever seen."""
        doomed = path.with_name(f".scratch-{path.name}")
        os.rename(path, doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what this run or a dead one left; the lock says that no other one owns it."""
        for path in self.folder.glob(".scratch-*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob(".latest-*"):
            path.unlink(missing_ok=True)
