"""The folder of a dataset's reports: each whole or absent, the newest one named ``latest``.

``reports/<dataset>/`` holds complete runs under their ids, ``latest`` pointing at the newest,
failed runs as ``failed-<run_id>``, and, while a run is under way, its scratch folder. Whatever has
a published name got it by one rename of a finished folder, so no reader and no crash ever sees a
half of it.
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from cjlib.errors import LockedError

_RUN_ID = re.compile(r"\d{8}T\d{9}Z-[0-9a-f]{4}")
_KEPT_FAILURES = 10


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
            self._sweep()
            yield

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

    def drop(self, run_id: str) -> None:
        """Remove a run's scratch folder, if it is there."""
        shutil.rmtree(self.folder / f".scratch-{run_id}", ignore_errors=True)

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
        return sorted(path.name for path in self.folder.glob("*") if _RUN_ID.fullmatch(path.name))

    def prune(self, keep: int) -> None:
        """Remove complete runs but the newest `keep` and the one ``latest`` points at."""
        for run_id in self.runs()[:-keep]:
            if run_id != self.latest():
                self._remove(self.folder / run_id)

    def _moment(self, run_id: str) -> tuple[str, str]:
        manifest = json.loads((self.folder / run_id / "manifest.json").read_text(encoding="utf-8"))
        return manifest["as_of"], run_id

    def _remove(self, path: Path) -> None:
        """Take a folder's name away before its content, so that no half of it is ever seen."""
        doomed = path.with_name(f".scratch-{path.name}")
        os.rename(path, doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what dead runs left; the lock says that no living run owns it."""
        for path in self.folder.glob(".scratch-*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob(".latest-*"):
            path.unlink(missing_ok=True)
