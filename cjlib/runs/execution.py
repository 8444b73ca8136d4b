"""Papermill at work: notebooks side by side, each in a process and a kernel of its own.

Each process holds one end of a pipe whose other end the run alone has: it closes when the run ends,
is stopped or is killed, then the processes end at once and their kernels with them.
"""

import contextlib
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from cjlib.errors import ParameterError
from cjlib.runs.kernels import context, waiting_kernel

FAILED, TIMED_OUT, DIED = 1, 124, 138
_START_TIMEOUT = 120  # seconds a kernel may take to start
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_KERNEL_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",  # the same order of sets in every run
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # whatever the shell says
    "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel of this environment, not the user's own
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


@dataclass(frozen=True)
class Task:
    """A notebook to execute."""

    source: Path
    target: Path
    parameters: Mapping[str, str | int | float | bool]
    timeout: float  # seconds that a cell may take
    sockets: str = ""  # the start of its kernel's file names

    @property
    def name(self) -> str:
        """Name of the notebook."""
        return self.source.stem


@dataclass(frozen=True)
class Outcome:
    """How a notebook ended: exit code 0, or what failed where."""

    name: str
    exit_code: int
    seconds: float
    cell: int = 0  # the number that Jupyter shows: In [cell]
    line: str = ""  # the first line of that cell
    error: str = ""  # the kind of error
    message: str = ""
    traceback: str = ""


class Progress:
    """What a run tells while it goes on: here a line a notebook, for logs of schedulers."""

    def step(self, text: str) -> None:
        """Tell what the run does now."""

    def begin(self, cells: int) -> None:
        """Tell how many cells there are in all."""

    def cell(self, notebook: str, done: int, heading: str) -> None:
        """Tell that a notebook has come to its cell number `done`, under which heading."""

    def ended(self, outcome: Outcome) -> None:
        """Tell how a notebook ended."""
        how = "failed" if outcome.exit_code else "done"
        self.write(f"{outcome.name} {how} in {outcome.seconds:.1f} s")

    def write(self, line: str) -> None:
        """Write a line that stays."""
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Tell that nothing more is to come."""


def execute(tasks: list[Task], *, jobs: int, log: Path, progress: Progress) -> list[Outcome]:
    """Execute notebooks, `jobs` at a time.

    Parameters
    ----------
    tasks : list of Task
    jobs : int
    log : Path
        File for what libraries say beside the notebooks.
    progress : Progress

    Returns
    -------
    list of Outcome
        In the order of `tasks`. A notebook that fails does not stop the others.
    """
    started = context()
    alive, held = started.Pipe(duplex=False)
    jobs = min(jobs, len(tasks))
    outcomes, running = {}, {}
    with _sockets() as sockets, _environment(jobs) as environment:
        forked = started.get_start_method() == "forkserver"
        serve = partial(_serve, forked=forked, alive=alive, log=log, environment=environment)
        # Later chapters fit models and take longest: begun first, they leave no core idle.
        left = [replace(task, sockets=f"{sockets}/{n}") for n, task in enumerate(tasks)]
        try:
            while left or running:
                while left and len(running) < jobs:
                    task = left.pop()
                    news, told = started.Pipe(duplex=False)
                    process = started.Process(target=serve, args=(task, told))
                    process.start()
                    told.close()
                    running[news] = process, task.name, time.monotonic()
                for news in wait(running):
                    process, name, began = running[news]
                    try:
                        told = news.recv()
                    except EOFError:
                        what = {"error": "Died", "message": "A process of the run died."}
                        told = Outcome(name, DIED, time.monotonic() - began, **what)
                    if isinstance(told, Outcome):
                        del running[news]
                        process.join()
                        outcomes[name] = told
                        progress.ended(told)
                    else:
                        progress.cell(name, *told)
        finally:  # also when the run is interrupted: no notebook goes on then
            held.close()
    return [outcomes[task.name] for task in tasks]


@contextlib.contextmanager
def _sockets() -> Iterator[str]:
    """Make a folder for the files by which a run reaches its kernels; sweep those of dead runs.

    It is in the system's temporary folder, since the name of a socket may have some hundred
    characters only, below one that only this user may enter. A living run holds a lock in its own.
    """
    home = Path(tempfile.gettempdir()) / f"cj-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    if home.is_symlink() or home.stat().st_uid != os.getuid():
        raise ParameterError(f"{home} is somebody else's; set TMPDIR to a folder of your own.")
    with FileLock(home / "lock"):  # or a run might sweep one that is just beginning
        for left in home.glob("run-*"):
            lock = FileLock(left / "lock", timeout=0)
            with contextlib.suppress(Timeout, OSError), lock:
                shutil.rmtree(left, ignore_errors=True)
        folder = tempfile.mkdtemp(prefix="run-", dir=home)
        living = FileLock(f"{folder}/lock").acquire()
    try:
        with living:
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _environment(jobs: int) -> Iterator[dict[str, str]]:
    """Set what kernels need; Python's hashes and libraries' threads are set when they begin."""
    before = dict(os.environ)
    # Two models that each take every core wait for one another more than they work.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    os.environ.update(_KERNEL_ENVIRONMENT)
    try:
        yield dict(os.environ)
    finally:
        os.environ.clear()
        os.environ.update(before)


# -- in the process of one notebook ---------------------------------------------------------------


def _serve(
    task: Task,
    news: Connection,
    *,
    forked: bool,
    alive: Connection,
    log: Path,
    environment: Mapping[str, str],
) -> None:
    """Execute one notebook and tell of it; what libraries print is kept from the terminal."""
    os.environ.clear()  # a fork has that of the first run
    os.environ.update(environment)
    tempfile.tempdir = None
    kernel = waiting_kernel() if forked else {}
    threading.Thread(target=_end_with_the_run, args=(alive,), daemon=True).start()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    news.send(execute_notebook(task, news, kernel))


def _end_with_the_run(alive: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        alive.recv()  # nothing ever comes but the end
    for kernel in psutil.Process().children(recursive=True):  # one that starts would make its files
        with contextlib.suppress(psutil.Error):
            kernel.kill()
    os._exit(0)


def execute_notebook(task: Task, news: Connection, kernel: Mapping) -> Outcome:
    """Execute one notebook with Papermill, telling of each cell as it starts."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    began = time.monotonic()
    # Files as sockets: of ports, which are chosen before they are taken, two kernels that start at
    # once may choose the same, and then one never answers.
    sockets = {"transport": "ipc", "ip": task.sockets, "connection_file": f"{task.sockets}.json"}
    at, heading = {"cell": 0, "line": ""}, ""

    def started(cell, cell_index) -> None:
        nonlocal heading
        lines = cell.source.strip().splitlines()
        if cell.cell_type == "code" and lines:
            at.update(cell=at["cell"] + 1, line=lines[0])
        elif cell.cell_type == "markdown":
            heading = next((line.lstrip("# ") for line in lines if line[0:1] == "#"), heading)
        news.send((cell_index + 1, heading))

    try:
        papermill.execute_notebook(
            _literal(task.source),
            _literal(task.target),
            parameters=task.parameters,
            kernel_name="python3",
            cwd=str(task.source.parent),
            progress_bar=False,
            config=Config(KernelManager=sockets),
            **kernel,
            start_timeout=_START_TIMEOUT,
            execution_timeout=task.timeout,
            iopub_timeout=60,
            on_cell_start=started,
        )
        code, failure = 0, {}
    except PapermillExecutionError as error:
        at.update(cell=error.exec_count or at["cell"], line=error.source.strip().split("\n")[0])
        texts = {"message": error.evalue, "traceback": "\n".join(error.traceback)}
        texts = {name: _ANSI.sub("", text) for name, text in texts.items()}
        code, failure = FAILED, {"error": error.ename, **texts}
    except CellTimeoutError:
        message = f"The cell took longer than {task.timeout:g} seconds (--timeout)."
        code, failure = TIMED_OUT, {"error": "Time-out", "message": message}
    except DeadKernelError:
        message = "The kernel died: often for want of memory."
        code, failure = DIED, {"error": "Kernel died", "message": message}
    except Exception as error:  # whatever else: told to the run, which reports it by name
        code, failure = FAILED, {"error": type(error).__name__, "message": str(error)}
    return Outcome(task.name, code, time.monotonic() - began, **(at | failure if code else {}))


def _literal(path: Path) -> str:
    """Protect a path from Papermill, which fills in braces in paths."""
    return str(path).replace("{", "{{").replace("}", "}}")
