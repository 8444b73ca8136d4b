"""Papermill at work: notebooks side by side, each in its own kernel, in worker processes.

The run speaks with a worker through its pipes, one JSON object a line: a notebook to execute goes
in, the cells as they start and at last the outcome come out. A worker whose input ends, because
its run was stopped or killed, ends at once, and its kernel with it.
"""

import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cjlib.notebooks import read_notebook, skip_slow_import

FAILED, TIMED_OUT, DIED = 1, 124, 138
_START_TIMEOUT = 120  # seconds a kernel may take to start
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Task:
    """A notebook to execute."""

    name: str
    source: Path
    target: Path
    parameters: Mapping[str, str | int | float | bool]
    timeout: float  # seconds that a cell may take


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
    """What a run tells while it goes on; this one keeps silent. Called by one thread at a time."""

    def step(self, text: str) -> None:
        """Tell what the run does now."""

    def begin(self, cells: int) -> None:
        """Tell how many cells there are in all."""

    def cell(self, notebook: str, done: int, of: int, heading: str) -> None:
        """Tell that a notebook has come to its cell number `done`, under which heading."""

    def ended(self, outcome: Outcome) -> None:
        """Tell how a notebook ended."""


def execute(tasks: list[Task], *, jobs: int, logs: Path, progress: Progress) -> list[Outcome]:
    """Execute notebooks in `jobs` worker processes.

    Parameters
    ----------
    tasks : list of Task
    jobs : int
        Notebooks at a time.
    logs : Path
        Folder for what the workers say beside their outcomes.
    progress : Progress

    Returns
    -------
    list of Outcome
        In the order of `tasks`. A notebook that fails does not stop the others.
    """
    waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
    # Later chapters fit models and take longest: begun first, they leave no core idle at the end.
    for task in reversed(tasks):
        waiting.put(task)
    one_at_a_time = threading.Lock()

    def tell(*news) -> None:
        with one_at_a_time:
            progress.cell(*news)

    side_by_side = min(jobs, len(tasks))
    threads = max(1, (os.cpu_count() or 1) // side_by_side)
    workers = [Worker(logs / f".worker-{number}.log", threads) for number in range(side_by_side)]
    outcomes: dict[str, Outcome] = {}

    def serve(worker: Worker) -> None:
        while True:
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            outcomes[task.name] = worker.execute(task, tell)
            with one_at_a_time:
                progress.ended(outcomes[task.name])

    with ThreadPoolExecutor(len(workers)) as pool:
        try:
            for future in [pool.submit(serve, worker) for worker in workers]:
                future.result()
        finally:  # also when the run is interrupted: threads end when their workers do
            while not waiting.empty():
                waiting.get_nowait()
            for worker in workers:
                worker.stop()
    return [outcomes[task.name] for task in tasks]


class Worker:
    """One worker process, started anew when it has died."""

    def __init__(self, log: Path, threads: int):
        self.log = log
        # Two models that each take every core wait for one another more than they work.
        self.environment = {"OMP_NUM_THREADS": str(threads), **os.environ, **_KERNEL_ENVIRONMENT}
        self.stopped = False
        self._start()

    def _start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cjlib.runs.execution"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                env=self.environment,
                start_new_session=True,  # Ctrl-C goes to the run, which ends its workers
            )

    def execute(self, task: Task, tell: Callable) -> Outcome:
        """Execute one notebook in the worker and return how it ended."""
        began = time.monotonic()
        order = {**vars(task), "source": str(task.source), "target": str(task.target)}
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                news = json.loads(line)
                if "exit_code" in news:
                    return Outcome(**news)
                tell(task.name, news["cell"], news["of"], news["heading"])
        except OSError:
            pass  # the worker is gone: the same as no more news
        if not self.stopped:
            self._start()
        seconds = time.monotonic() - began
        return Outcome(task.name, DIED, seconds, error="Died", message="The worker process died.")

    def stop(self) -> None:
        """End the process; its kernel notices and ends too."""
        self.stopped = True
        self.process.kill()
        self.process.wait()


_KERNEL_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",  # the same order of sets in every run
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # whatever the shell says
    "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel of this environment, not the user's own
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


# -- in the worker process -------------------------------------------------------------------------


def main() -> None:
    """Execute the notebooks that come in, one after another."""
    news = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log, not among the news

    def tell(content: dict) -> None:
        news.write(json.dumps(content) + "\n")
        news.flush()

    orders: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            orders.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    skip_slow_import()
    import papermill  # noqa: F401 - while the first order is on its way

    while True:
        tell(vars(execute_notebook(json.loads(orders.get()), tell)))


def execute_notebook(order: Mapping, tell: Callable[[dict], None]) -> Outcome:
    """Execute one notebook with Papermill, telling of each cell as it starts."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    cells = len(read_notebook(Path(order["source"]))["cells"])
    began = time.monotonic()
    at = {"number": 0, "line": "", "heading": ""}

    def started(cell, cell_index) -> None:
        if cell.cell_type == "markdown":
            lines = [line for line in cell.source.splitlines() if line.startswith("#")]
            at["heading"] = lines[-1].lstrip("# ") if lines else at["heading"]
        elif cell.source.strip():
            at["number"] += 1
            at["line"] = cell.source.strip().splitlines()[0]
        tell({"cell": min(cell_index + 1, cells), "of": cells, "heading": at["heading"]})

    def ended(code: int, **what) -> Outcome:
        return Outcome(order["name"], code, time.monotonic() - began, **what)

    try:
        papermill.execute_notebook(
            _literal(order["source"]),
            _literal(order["target"]),
            parameters=order["parameters"],
            kernel_name="python3",
            cwd=str(Path(order["source"]).parent),
            progress_bar=False,
            start_timeout=_START_TIMEOUT,
            execution_timeout=order["timeout"],
            iopub_timeout=60,
            on_cell_start=started,
        )
    except PapermillExecutionError as error:
        return ended(
            FAILED,
            cell=error.exec_count or at["number"],
            line=at["line"],
            error=error.ename,
            message=_ANSI.sub("", error.evalue),
            traceback=_ANSI.sub("", "\n".join(error.traceback)),
        )
    except CellTimeoutError:
        message = f"The cell took longer than {order['timeout']:g} seconds (--timeout)."
        where = {"cell": at["number"], "line": at["line"]}
        return ended(TIMED_OUT, error="Time-out", message=message, **where)
    except DeadKernelError:
        message = "The kernel died: often for want of memory."
        where = {"cell": at["number"], "line": at["line"]}
        return ended(DIED, error="Kernel died", message=message, **where)
    except Exception as error:  # whatever else: told to the run, which reports it by name
        where = {"cell": at["number"], "line": at["line"]}
        return ended(FAILED, error=type(error).__name__, message=str(error), **where)
    return ended(0)


def _literal(path: str) -> str:
    """Protect a path from Papermill, which fills in braces in paths."""
    return path.replace("{", "{{").replace("}", "}}")


if __name__ == "__main__":
    main()
