"""The command ``cj``: report, check, new, list.

Exit codes: 0 done, 1 a notebook failed, 2 bad parameters or dataset file, 3 the data break the
contract, 4 the privacy scan stopped the publication, 74 a file cannot be read or written, 75
another run holds the lock, 124 time-out, 138 the kernel died; 128 and a signal's number when
interrupted.
"""

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import click

from cjlib.errors import CjlibError, ContractError, ParameterError
from cjlib.runs.execution import Progress

# What a command needs is imported when it runs, so that help comes at once.

MARKS = 30  # lines marked CHECK that `cj new` prints

_SOURCE = click.option("--source", default="", help="Read this path, not the dataset file's.")
_AS_OF = click.option("--as-of", default="", help="Moment of the report: the end of YYYY-MM-DD.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cjlib")
@click.option(
    "-C",
    "project",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Work in this folder, which holds notebooks/ and data/ [the present one].",
)
def cli(project: Path | None) -> None:
    """Turn an event log into a published report on customers' journeys."""
    if project:
        os.chdir(project)


@cli.command()
@click.argument("dataset")
@click.option("--only", default="", help="Notebooks to run, as 03,05. Does not move `latest`.")
@_AS_OF
@_SOURCE
@click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="Set a parameter.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Instead of reports/")
@click.option("--jobs", default=2, type=click.IntRange(1), help="Notebooks at a time [2].")
@click.option("--force", is_flag=True, help="Run although nothing has changed since.")
@click.option("--keep", default=0, type=click.IntRange(0), help="Runs to keep [all].")
@click.option(
    "--timeout",
    default=1800.0,
    type=click.FloatRange(1),
    help="Seconds that a cell may take [1800].",
)
def report(dataset: str, only: str, parameters: tuple[str, ...], **options) -> None:
    """Run the notebooks for DATASET and publish the report whole, or not at all.

    DATASET is the name of a dataset file in data/, or the path of one.
    """
    from cjlib.runs.run import Request, report as run

    chosen = tuple(name.strip() for name in only.split(",") if name.strip())
    request = Request(dataset, only=chosen, parameters=parameters, **options)
    with watch() as progress:
        published = run(request, progress)
    _say_marks(dataset)
    if published.again:
        click.echo(
            "Nothing has changed since this report was made (--force makes it anew).", err=True
        )
    elif not published.latest:
        why = "holds only some notebooks" if chosen else "is of an earlier moment"
        click.echo(f"`latest` stays where it is: this report {why}.", err=True)
    click.echo(_short(published.index))


@cli.command()
@click.argument("dataset")
@_SOURCE
@_AS_OF
def check(dataset: str, source: str, as_of: str) -> None:
    """Say how far the log of DATASET can be trusted: rows read, kept, quarantined and why.

    Ends with 3 when more rows break a rule than the dataset file allows.
    """
    from cjlib.drafts.draft import touchpoint_lines
    from cjlib.forms import Wording, plain_table, table_texts
    from cjlib.log import open_log
    from cjlib.runs.privacy import labels_like_ids

    broken = None
    try:
        with watch() as progress:
            found = open_log(dataset, source=source, as_of=as_of, progress=progress.step)
    except ContractError as error:  # which says the same of the log, unless none could be read
        found = broken = error
    if hasattr(found, "quality"):
        click.echo(plain_table(table_texts(found.quality, Wording()), "", ""))
        if found.rows["quarantined"]:
            click.echo(f"The quarantined rows, as read: {found.folder / 'quarantine.parquet'}")
        if len(found.unmapped):
            click.echo("On no stage yet; to be pasted under touchpoints, each with its stage:")
            click.echo("\n".join(touchpoint_lines(found.unmapped)))
        if "left_out" in found.rows:
            click.echo(f"Not read, as `only` says: {found.rows['left_out']:,} rows.")
        if "events" in found.rows:
            click.echo(f"The rows kept are lines of {found.rows['events']:,} events.")
        same = {} if broken else labels_like_ids(found.events, found.dataset.touchpoints)
        for column, number in same.items():
            click.echo(
                f"{column}: {number:,} of its texts are customers' ids. A report that would show"
                " one is not published (exit code 4): clean them in the source, or leave out the"
                " column."
            )
    _say_marks(dataset)
    if broken:
        raise broken


@cli.command()
@click.argument("log")
@click.option("--out", default="", help="Dataset file to write [data/LOG.yml].")
@click.option("--customer", "customer_id", metavar="COLUMN", help="The customers' column.")
@click.option("--time", "timestamp", metavar="COLUMN", help="The column of times.")
@click.option("--touchpoint", metavar="COLUMN", help="The column of what happened.")
@click.option("--value", metavar="COLUMN", help="The column of money.")
def new(log: str, out: str, **columns: str | None) -> None:
    """Draft a dataset file from LOG, marking what it is unsure of.

    LOG is a file (CSV, Excel, JSON, Parquet, or one SELECT in a .sql) or a folder of tables. A
    draft that nobody has edited is drafted again.
    """
    from cjlib.drafts.draft import dataset_name, draft_dataset, is_untouched, unsure
    from cjlib.drafts.joins import draft_query
    from cjlib.paths import user_path
    from cjlib.runs.plan import find_project

    log = user_path(log)
    out = user_path(out or find_project() / "data" / f"{dataset_name(log)}.yml").absolute()
    if out.is_dir():
        raise ParameterError(f"{_short(out)} is a folder; name the file to write with --out FILE.")
    if out.exists() and not is_untouched(out.read_text(encoding="utf-8", errors="replace")):
        raise ParameterError(f"{_short(out)} is there already; write elsewhere with --out FILE.")
    fixed = {meaning: name for meaning, name in columns.items() if name}
    written = [out]
    with watch() as progress:
        if log.is_dir():
            query = out.with_suffix(".sql")
            if query.exists() and not out.exists():
                raise ParameterError(f"{_short(query)} is there already; choose another --out.")
            progress.step("finding the keys of the tables")
            text = draft_query(log, fixed)
            out.parent.mkdir(parents=True, exist_ok=True)
            query.write_text(text, encoding="utf-8")
            written.append(query)
            draft = draft_dataset(query, out, progress.step, tables=log)
        else:
            draft = draft_dataset(log, out, progress.step, fixed)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(draft, encoding="utf-8")
    click.echo("\n".join(map(_short, written)))
    marks = unsure(draft)
    click.echo(f"Settle {len(marks)} lines marked # CHECK in it:", err=True)
    for line in marks[:MARKS]:
        click.echo(f"  {line}", err=True)
    if len(marks) > MARKS:
        click.echo(f"  and {len(marks) - MARKS} more", err=True)
    click.echo(f"Then: cj check {_short(out)}", err=True)


@cli.command("list")
def list_datasets() -> None:
    """List the datasets that can be named."""
    from cjlib.dataset import find_datasets, load_dataset

    found = find_datasets()
    if not found:
        click.echo("No dataset files in data/. Draft one: cj new LOG.csv", err=True)
    width = max(map(len, found), default=0)
    for name, path in found.items():
        try:
            click.echo(f"{name:<{width}}  {load_dataset(path).title}")
        except CjlibError as error:
            click.echo(f"{name:<{width}}  not valid: {error}")


def _say_marks(dataset: str) -> None:
    """Say how many lines of a dataset file are still to be settled."""
    from cjlib.dataset import dataset_path
    from cjlib.drafts.draft import unsure

    path = dataset_path(dataset)
    if marks := len(unsure(path.read_text(encoding="utf-8"))):
        lines = "line is" if marks == 1 else "lines are"
        click.echo(f"{marks} {lines} still marked # CHECK in {_short(path)}.", err=True)


def watch() -> contextlib.closing[Progress]:
    """Return, to be opened with ``with``, the progress that fits where the error stream goes."""
    return contextlib.closing(Bar() if sys.stderr.isatty() else Progress())


class Bar(Progress):
    """One bar over the cells of all notebooks, naming the notebook and the cell."""

    def __init__(self):
        from tqdm import tqdm

        form = "{percentage:3.0f}%|{bar:24}| {elapsed} {desc}"
        self.bar = tqdm(total=0, bar_format=form, file=sys.stderr, leave=False, nrows=20)
        self.come_to: dict[str, int] = {}

    def step(self, text: str) -> None:
        """Show what the run does now."""
        self.bar.set_description_str(text if len(text) <= 60 else f"{text[:59]}…")

    def begin(self, cells: int) -> None:
        """Set the length of the bar."""
        self.bar.total = cells
        self.bar.refresh()

    def cell(self, notebook: str, done: int, heading: str) -> None:
        """Move the bar to a notebook's cell and name it."""
        self.come_to[notebook] = done
        self.bar.update(sum(self.come_to.values()) - self.bar.n)
        self.step(f"{notebook} · cell {done} · {heading}")

    def write(self, line: str) -> None:
        """Write a line above the bar."""
        self.bar.write(line, file=sys.stderr)

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()


def _short(path: Path) -> str:
    """Return a path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def main() -> None:
    """Run the command line; end with the exit code that says what happened."""
    with _interruptible() as signals:
        try:
            code = cli.main(standalone_mode=False) or 0
        except click.ClickException as error:
            error.show()
            code = 2
        except CjlibError as error:
            click.echo(f"cj: {error}", err=True)
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            signals.append(signal.SIGINT)
        except Exception as error:
            code = _unexpected(error, signals)
    if signals:  # whatever it made of it on the way
        click.echo("cj: interrupted; nothing was published.", err=True)
        code = 128 + signals[0]
    sys.exit(code)


def _unexpected(error: Exception, signals: list[int]) -> int:
    """Say what nobody foresaw, and return the exit code."""
    if signals:
        return 1
    if os.environ.get("CJ_DEBUG"):
        raise error
    full = re.search("No space left|disk full", str(error), re.I)
    if isinstance(error, OSError) or full:
        what = "Free some space" if full else "Mend its name, its permissions or its disk"
        click.echo(f"cj: {error}\n{what}, and run it again; nothing was published.", err=True)
        return 74
    click.echo(
        f"cj: unexpected {type(error).__name__}: {error}\n"
        "This is a defect in cjlib; CJ_DEBUG=1 cj ... shows where.",
        err=True,
    )
    return 1


@contextlib.contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Let signals end a command as errors do, so that it cleans up; also while a query runs.

    Python's own handlers wait until a query ends. So a thread is told of the signal at once,
    interrupts the queries, and ends the process where that is not enough within ten seconds.

    Yields
    ------
    list of int
        The signals that came.
    """
    came: list[int] = []
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def stop(number, frame) -> None:
        came.append(number)
        raise KeyboardInterrupt

    def listen() -> None:
        number = (os.read(reading, 1) or b"\0")[0]  # nothing: the command has ended
        end = time.monotonic() + 10
        while number in before and time.monotonic() < end:
            if "cjlib.dataset" in sys.modules:
                sys.modules["cjlib.dataset"].interrupt_queries()
            time.sleep(0.1)
        if number in before:
            os._exit(128 + number)

    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in wanted}
    before = {number: known for number, known in before.items() if known is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, stop)
    waking = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=listen, daemon=True).start()
    try:
        yield came
    finally:
        signal.set_wakeup_fd(waking)
        for number, known in before.items():
            signal.signal(number, known)
        os.close(writing)
