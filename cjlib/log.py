"""The prepared log of one dataset at one moment, made once and read by every notebook of a run."""

import datetime as dt
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd
from filelock import FileLock
from ibis.backends import BaseBackend

from cjlib import beginnings, journeys
from cjlib.dataset import connect, load_dataset, stored
from cjlib.dataset_file import Dataset
from cjlib.errors import ContractError
from cjlib.paths import literal
from cjlib.reading import events
from cjlib.reading.attributes import attributes_file, read_attributes
from cjlib.reading.sources import fingerprint, read_source, source_files, table_fingerprint
from cjlib.stages import StageModel

FORM = 5
"""Raised when the tables of a prepared log change their form, so that older ones are not read."""

LOCK = ".lock"
"""Held for the moment in which prepared logs are made, taken into use, or removed."""

KEPT_PREPARED = 3
"""How many prepared logs of a dataset stay on disk, the last used ones."""


@dataclass(frozen=True)
class Log:
    """An event log as every notebook reads it.

    Attributes
    ----------
    dataset : Dataset
        The dataset file.
    as_of : Timestamp
        The moment of the report, naive UTC.
    folder : Path
        Where its Parquet files lie.
    con : BaseBackend
        The engine on which its tables are read.
    quality : DataFrame
        rule, rows, share, meaning.
    rows : dict
        Rows ``read``, ``kept``, ``quarantined``, ``duplicates``; the last three add up to the
        first. With ``only``, also ``left_out``: rows that it does not let in, which count as not
        read; with ``order_id``, also ``events``: what the rows kept, lines of orders, were made.
    unmapped : DataFrame
        touchpoint, rows: those of the rows quarantined as ``unmapped_touchpoint``.
    sources : list of dict
        name, sha256 and rows of what was read.
    """

    dataset: Dataset
    as_of: pd.Timestamp
    folder: Path
    con: BaseBackend
    quality: pd.DataFrame
    rows: dict[str, int]
    sources: list[dict]
    unmapped: pd.DataFrame

    @property
    def stages(self) -> StageModel:
        """The stage model."""
        return self.dataset.stages

    @property
    def day(self) -> dt.date:
        """The day of the report on the log's clocks."""
        return self._local_moment.date()

    @property
    def whole_day(self) -> bool:
        """Whether the moment is the end of that day, not a time within it."""
        return (self._local_moment + pd.Timedelta(1, "us")).date() > self.day

    @property
    def _local_moment(self) -> pd.Timestamp:
        zone = self.dataset.columns.timestamp.timezone or "UTC"
        return self.as_of.tz_localize("UTC").tz_convert(zone)

    @property
    def ends(self) -> list[str]:
        """How journeys end when they do, beside open ones: see `cjlib.journeys`."""
        declared = self.dataset.journey
        return [
            journeys.LOST,
            journeys.BOUGHT,
            *(name for name in declared.ends if name not in declared.purchase),
        ]

    def label(self, stage: str) -> str:
        """Return what to show for a stage in the language of this log; other names as words."""
        return self.stages.label(stage, self.dataset.language).replace("_", " ")

    def has(self, column: str) -> bool:
        """Return whether the dataset file declares ``channel``, ``value``, ``sentiment``, …."""
        return column in self.dataset.columns.sources

    @cached_property
    def run_in(self) -> pd.DataFrame:
        """The time after which customers are seen to begin, see `cjlib.beginnings.run_in`."""
        weeks = beginnings.weekly(self.events)
        return beginnings.run_in(weeks, self.dataset.journey.inactivity)

    @cached_property
    def beginners(self) -> ir.Table:
        """Customers whose first event here is their first: all, or those of after the run-in."""
        first = self.events.group_by("customer_id").agg(first=self.events.timestamp.min())
        if not self.run_in.empty:
            first = first.filter(first["first"] >= ibis.timestamp(self.run_in["begins"].item()))
        return first.select("customer_id")

    def of(self, customers: ir.Table) -> "Log":
        """Return the same log of some customers alone (``customer_id``)."""
        tables = {name: getattr(self, name) for name in ("events", "visits", "journeys")}
        return self.with_tables(
            **{name: table.semi_join(customers, "customer_id") for name, table in tables.items()}
        )

    def with_tables(self, **tables: ir.Table) -> "Log":
        """Return the same log with other events, visits or journeys; the run-in is known by all."""
        part = replace(self)
        # the whole log keeps its files in use for as long as it lives
        part.__dict__.update(tables, run_in=self.run_in, whole=self)
        return part

    def _table(self, part: str) -> ir.Table:
        return self.con.read_parquet(literal(self.folder / f"{part}.parquet"), table_name=part)

    @cached_property
    def events(self) -> ir.Table:
        """Kept events."""
        return self._table("events")

    @cached_property
    def visits(self) -> ir.Table:
        """Stage visits, see `cjlib.journeys.stage_visits`."""
        return self._table("visits")

    @cached_property
    def journeys(self) -> ir.Table:
        """Journeys, see `cjlib.journeys.journey_table`."""
        return self._table("journeys")

    @cached_property
    def quarantine(self) -> ir.Table:
        """Quarantined rows as read: file, line, rule, text, and the source's columns."""
        return self._table("quarantine")

    @cached_property
    def customers(self) -> ir.Table | None:
        """Attributes per customer, or None where the dataset file declares no such table."""
        if self.dataset.customers is None:
            return None
        return self._table("customers")


def open_log(
    dataset: str | Path,
    source: str = "",
    as_of: str = "",
    language: str = "",
    horizon: str = "",
    inactivity: str = "",
    *,
    progress: Callable[[str], None] = lambda step: None,
) -> Log:
    """Open a dataset's log, preparing it where no earlier run has.

    Parameters
    ----------
    dataset : str or Path
        A name in ``data/``, or the path of a dataset file.
    source : str
        Read this path in place of the file's ``source``.
    as_of : str
        The moment of the report, a day for its end on the log's clocks; by default the dataset
        file's, or else the last time in the log that is not in the future.
    language : str
        Of stage labels: en, es or ca; by default the dataset file's.
    horizon, inactivity : str
        Of churn and of journeys, such as ``30 days``; by default the dataset file's.
    progress : callable
        Told each step of a preparation.

    Returns
    -------
    Log

    Raises
    ------
    ParameterError
        The dataset file, the source or a parameter is wrong.
    ContractError
        The data break the contract; its ``quality`` and ``folder`` say how and where.
    """
    described = load_dataset(
        dataset,
        source=source,
        as_of=as_of,
        language=language,
        horizon=horizon,
        inactivity=inactivity,
    )
    paths = source_files(described)
    home = described.path.parent / "prepared" / described.name
    home.mkdir(parents=True, exist_ok=True)
    con = connect(described)
    sources = [{"name": path.name, "sha256": fingerprint(path)} for path in paths]
    sources = sources or [{"name": described.source, "sha256": table_fingerprint(con, described)}]
    key = _key(described, sources)
    folder = home / key
    with FileLock(home / f"{key}.lock"):
        while (use := _taken(folder)) is None:
            _prepare(con, described, folder, progress)
    facts = json.loads((folder / "log.json").read_text(encoding="utf-8"))
    quality = pd.DataFrame(facts["quality"])
    unmapped = pd.DataFrame(facts["unmapped"])
    try:
        _check_limit(described, quality, folder, unmapped)
    except ContractError:
        os.close(use)
        raise
    rows = row_counts(quality) | facts["rows"]
    sources[0]["rows"] = rows["read"] + rows.get("left_out", 0)
    as_of = pd.Timestamp(facts["as_of"])
    log = Log(described, as_of, folder, con, quality, rows, sources, unmapped)
    weakref.finalize(log, os.close, use)
    return log


def _key(dataset: Dataset, sources: list[dict]) -> str:
    """Return what a prepared log depends on, as a short name."""
    described = dataset.model_dump(mode="json", exclude={"title", "language", "segments"})
    parts = [FORM, described, dataset.stages.model_dump(mode="json"), sources]
    if dataset.customers is not None:
        parts.append(fingerprint(attributes_file(dataset)))
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _prepare(
    con: BaseBackend, dataset: Dataset, folder: Path, progress: Callable[[str], None]
) -> None:
    """Write the tables of a log to a folder, whole or not at all."""
    with FileLock(folder.parent / LOCK):
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".scratch-"))
        use = _use(scratch, alone=True)
    aside = scratch / "aside"  # what is computed on the way
    aside.mkdir()
    try:
        progress("reading the source")
        raw = read_source(
            con, dataset, aside, lambda rows: progress(f"reading the source: {rows:,} rows")
        )
        progress("reading times, numbers and touchpoints")
        rows, as_of = judged_rows(con, raw, dataset, aside)
        quality = events.quality_table(rows)
        stored(con, events.quarantine(raw, rows), scratch / "quarantine.parquet")
        progress("finding journeys and stage visits")
        events.refuse_lines(raw, rows, dataset)
        kept = rows.filter(rows.rule.isnull()).drop("rule", "content")
        kept = events.one_per_order(kept, dataset).rename(line="_row")
        kept = journeys.with_buckets(kept)
        kept = journeys.with_journeys(
            kept,
            dataset.journey.inactivity,
            ends=dataset.journey.ends,
            cases=dataset.columns.journey_id is not None,
        )
        kept = stored(con, kept, scratch / "events.parquet")
        visits = journeys.stage_visits(kept, as_of, dataset.journey.inactivity)
        visits = stored(con, visits, scratch / "visits.parquet")
        stored(con, journeys.journey_table(visits), scratch / "journeys.parquet")
        if dataset.customers is not None:
            stored(con, read_attributes(con, dataset), scratch / "customers.parquet")
        beside = {}
        if dataset.only:
            beside["left_out"] = int(raw.count().execute() - quality["rows"].iloc[0])
        if dataset.columns.order_id:
            beside["events"] = int(kept.count().execute())
        facts = {
            "as_of": as_of.isoformat(),
            "quality": quality.to_dict("list"),
            "rows": beside,
            "unmapped": events.unmapped(rows).to_dict("list"),
        }
        (scratch / "log.json").write_text(json.dumps(facts), encoding="utf-8")
        shutil.rmtree(aside)
        if not folder.exists():
            scratch.rename(folder)
    finally:
        os.close(use)
        shutil.rmtree(scratch, ignore_errors=True)


def judged_rows(
    con: BaseBackend, raw: ir.Table, dataset: Dataset, scratch: Path
) -> tuple[ir.Table, pd.Timestamp]:
    """Return the rows of a source, typed and each with what became of it, and the moment.

    Parameters
    ----------
    con : BaseBackend
    raw : Table
        Of `cjlib.reading.sources.read_source`.
    dataset : Dataset
    scratch : Path
        A folder for what is computed once.

    Returns
    -------
    rows : Table
        Of `cjlib.reading.events.judged`.
    as_of : Timestamp
    """
    rows = stored(con, events.typed(raw, dataset), scratch / "typed.parquet")
    as_of = _as_of(rows, dataset)
    rows = events.not_after(rows, as_of)
    repeated = stored(con, events.repeats(rows, dataset), scratch / "repeats.parquet")
    return events.judged(rows, repeated), as_of


def _as_of(rows: ir.Table, dataset: Dataset) -> pd.Timestamp:
    if dataset.as_of is not None:
        return pd.Timestamp(dataset.as_of)
    now = pd.Timestamp.now("UTC").tz_localize(None)
    last = rows.filter(rows.rule.isnull(), rows.timestamp <= now).timestamp.max().execute()
    return now if pd.isna(last) else pd.Timestamp(last)


def row_counts(quality: pd.DataFrame) -> dict[str, int]:
    """Return the rows read, kept, quarantined and dropped as duplicates of a quality table."""
    read, kept, duplicates, *broken = quality["rows"].tolist()
    return {"read": read, "kept": kept, "quarantined": sum(broken), "duplicates": duplicates}


def dirt(quality: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """Return the rules of a quality table whose rows count against the limit of dirt.

    What lies after a declared moment is the future, not dirt.
    """
    broken = quality.iloc[3:]
    return broken if dataset.as_of is None else broken[broken["rule"] != "time_after_as_of"]


def _check_limit(
    dataset: Dataset, quality: pd.DataFrame, folder: Path, unmapped: pd.DataFrame
) -> None:
    """Stop where more rows broke a rule than the dataset file allows, or none is left."""
    rows = row_counts(quality)
    share = dirt(quality, dataset)["rows"].sum() / max(rows["read"], 1)
    limit = dataset.quality.max_quarantined
    if share > limit:
        what = (
            f"{share:.2%} of {rows['read']:,} rows break a rule; {dataset.path.name} allows"
            f" {limit:.2%} (quality.max_quarantined)"
        )
    elif not rows["kept"]:
        what = f"none of {rows['read']:,} rows could be kept"
    else:
        return
    worst = "\n".join(
        f"  {rule}: {count:,} rows - {meaning}"
        for rule, count, _, meaning in quality.iloc[3:].itertuples(index=False)
    )
    error = ContractError(f"{dataset.name}: {what}.\n{worst}")
    error.quality, error.folder, error.rows = quality, folder, rows
    error.unmapped = unmapped
    raise error


def _use(folder: Path, *, alone: bool = False) -> int | None:
    """Say that a prepared log is in use, or being made or removed, which one does `alone`.

    Returns
    -------
    int or None
        What to close at the end of the use; a process that dies closes it, too. None: not now.
    """
    opened = os.open(folder / ".in-use", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(opened, fcntl.LOCK_NB | (fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
    except OSError:
        os.close(opened)
        return None
    return opened


def _taken(folder: Path) -> int | None:
    """Take a prepared log into use, where it is there, and remove what nobody needs."""
    with FileLock(folder.parent / LOCK):
        if not (folder / "log.json").exists():
            return None
        os.utime(folder)
        use = _use(folder)
        _prune(folder.parent)
    return use


def _prune(home: Path) -> None:
    """Remove all but the last used prepared logs, and what dead runs left; nothing in use."""
    prepared = [path for path in home.iterdir() if (path / "log.json").exists()]
    prepared.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in [*prepared[KEPT_PREPARED:], *home.glob(".scratch-*")]:
        if (use := _use(path, alone=True)) is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(use)
            (home / f"{path.name}.lock").unlink(missing_ok=True)
