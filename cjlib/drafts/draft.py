"""A first dataset file for a log that nobody has described yet: the library behind ``cj new``.

Nothing in a draft is final. What is not plain from the log is marked ``# CHECK`` with what to
decide; once those lines are settled, the file passes ``cj check``. Its words stand in
``templates/dataset.yml.j2`` and ``drafts/words.yml``.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import ibis
import pandas as pd
import yaml

from cjlib.dataset import connect, load_dataset
from cjlib.dataset_file import Columns, Dataset, Quality
from cjlib.drafts.columns import ColumnGuess
from cjlib.drafts.layout import Layout, find_layout
from cjlib.drafts.names import currency_in, match, plain, purchases_among, stage_of, words
from cjlib.drafts.pace import edges, pace
from cjlib.errors import ContractError
from cjlib.log import dirt, judged_rows, stored
from cjlib.reading.events import quality_table, typed
from cjlib.reading.sources import read_source
from cjlib.stages import load_stage_model, ready_made

CONSTANT = "purchase"  # the one touchpoint of a log that has no column for it
LISTED = 100  # touchpoints that a draft lists, most frequent first
LONGEST = 200  # characters of a name that is still a touchpoint's
TOLERATED = Quality().max_quarantined
NOTABLE = 0.001  # share of repeated rows worth a question
_HOSTILE = re.compile(r"^\s*[=+\-@]|[<>\x00-\x1f]")  # code or a formula, not a touchpoint
_BARE = re.compile(r"(?!(y|n|yes|no|on|off|true|false|null)$)[a-z_][a-z0-9_]*", re.I | re.A)


@dataclass(frozen=True)
class Draft:
    """A drafted dataset file.

    Attributes
    ----------
    text : str
        The file, YAML.
    """

    text: str

    @property
    def unsure(self) -> list[str]:
        """The lines marked ``# CHECK``, with their numbers."""
        lines = enumerate(self.text.splitlines(), start=1)
        return [f"line {number}: {line.strip()}" for number, line in lines if "# CHECK: " in line]


def draft_dataset(
    log_path: str | Path,
    *,
    name: str = "",
    folder: Path | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Draft:
    """Draft the dataset file of a log.

    Parameters
    ----------
    log_path : str or Path
        A CSV (plain or ``.gz``) or Parquet file.
    name : str
        Name of the dataset, written in its plain form; the file's by default.
    folder : Path, optional
        Where the dataset file will be written: its ``source`` is relative to it. The log's folder
        by default.
    progress : callable
        Told each step.

    Returns
    -------
    Draft

    Raises
    ------
    ParameterError
        The file is not there or of no form that can be read.
    ContractError
        The file is empty or damaged, or no column of it holds times.
    """
    path = Path(os.path.abspath(Path(log_path).expanduser()))
    layout = find_layout(path)
    name = plain(name or path.name.split(".")[0])[:64].strip("_") or "my_log"
    source = Path(os.path.relpath(path, folder or path.parent)).as_posix()
    facts = {"name": name, "source": source, "layout": layout}
    with TemporaryDirectory(prefix="cj_draft_") as scratch:
        return Draft(_drafted(path, facts, Path(scratch), progress))


def _drafted(path: Path, facts: dict, scratch: Path, progress: Callable[[str], None]) -> str:
    """Read the log with guessed columns and write its dataset file, tried on the log once."""
    layout = facts["layout"]
    first = layout.header[0]
    blank = _described(path, layout, {"customer_id": first, "timestamp": first})
    con = connect(blank)
    progress("reading the log")
    raw = read_source(con, blank, scratch, lambda rows: progress(f"reading the log: {rows:,} rows"))
    progress("finding the columns")
    guess = ColumnGuess(raw, str(path))
    columns = {meaning: column.declared for meaning, column in guess.columns.items()}
    facts |= {
        "columns": guess.columns,
        "meanings": list(Columns.model_fields),
        "constant": CONSTANT,
        "unused": guess.free,
        "currency": currency_in(guess.columns["value"].name) if "value" in columns else None,
    }
    progress("counting the touchpoints")
    rows = typed(raw, _described(path, layout, columns))
    events = rows.filter(rows.rule.isnull())
    events = events.select("customer_id", "timestamp", "touchpoint", "value")
    events = stored(con, events, scratch / "events.parquet")
    earliest, as_of = edges(events)
    counts = events.group_by("touchpoint").agg(
        events=events.count(), value=events.value.sum().fill_null(0)
    )
    counts = counts.order_by(ibis.desc("events"), "touchpoint").limit(10_000)
    facts |= _touchpoints(counts.execute().set_index("touchpoint"))
    within = events.timestamp.between(earliest or datetime.min, as_of or datetime.max)
    facts["pace"] = pace(events.filter(within), facts["purchases"])
    facts |= {"earliest": earliest, "as_of": as_of}
    progress("trying the draft on the log")
    trial = scratch / "draft.yml"
    trial.write_text(_page(**facts, quality=None), encoding="utf-8")
    dataset = load_dataset(trial, source=str(path))
    rows, _ = judged_rows(con, raw, dataset, scratch)
    return _page(**facts, quality=_quality(quality_table(rows), dataset))


def _described(path: Path, layout: Layout, columns: dict) -> Dataset:
    """Return a dataset of a log that puts every touchpoint on the purchase stage."""
    model = load_stage_model(words()["stage_model"])
    buying = model.purchase[0]
    return Dataset(
        name="draft",
        source=path.name,
        folder=path.parent,
        delimiter=layout.delimiter,
        encoding=layout.encoding,
        header=list(layout.header) if layout.headless else None,
        columns={"touchpoint": {"value": CONSTANT}} | columns,
        touchpoints={CONSTANT: {"stage": buying}},
        journey={"inactivity": "1 day", "purchase": CONSTANT},
        quality={"unmapped": buying},
        stages=model,
    )


def _touchpoints(counts: pd.DataFrame) -> dict:
    """Return touchpoints with proposed stages, and what counts as a purchase.

    Parameters
    ----------
    counts : DataFrame
        events and value by touchpoint (the index), most events first.
    """
    model = load_stage_model(words()["stage_model"])
    sound = [name for name in counts.index if not _HOSTILE.search(name) and len(name) <= LONGEST]
    if not sound:
        raise ContractError("no row names a customer, a time and a touchpoint that can be read")
    listed = counts.loc[sound[:LISTED]]
    known = {name: stage_of(name) for name in listed.index}
    buying = [name for name in known if known[name] in model.purchase]
    # without any, the touchpoint that carries most value, or else most events
    likeliest = listed.sort_values(["value", "events"], ascending=False).index
    purchases = purchases_among(buying) or [str(likeliest[0])]
    touchpoints = {}
    for name, stage in known.items():
        stage = model.purchase[0] if name in purchases else stage or words()["unknown"]
        marks = {key: match(name, words()[key]) for key in ("initiator", "medium")}
        touchpoints[name] = {"stage": stage} | {key: mark for key, mark in marks.items() if mark}
    return {
        "model": model.name,
        "other_models": [name for name in ready_made() if name != model.name],
        "touchpoints": touchpoints,
        "known": known,
        "counts": counts["events"],
        "unlisted": counts["events"].drop(listed.index),
        "buying": buying,
        "purchases": purchases,
    }


def _quality(table: pd.DataFrame, dataset: Dataset) -> dict:
    """Return how much dirt the log has: the draft must pass its own check."""
    broken, repeated = dirt(table, dataset), table.iloc[2]
    share = broken["share"].sum()
    much = share > TOLERATED
    return {
        "broken": broken.to_dict("records") if much else [],
        "share": share,
        "limit": min(ceil(100 * share) + 1, 100) / 100 if much else TOLERATED,
        "repeated": repeated["rows"] if repeated["share"] >= NOTABLE else 0,
    }


# -- the text --------------------------------------------------------------------------------------


def _page(**facts) -> str:
    from jinja2 import Environment

    page = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    page.filters |= {"yaml": flow, "some": some, "questions": _questions}
    template = (files("cjlib") / "templates" / "dataset.yml.j2").read_text(encoding="utf-8")
    return page.from_string(template).render(**facts)


def _questions(checks: dict[str, list[str]]) -> str:
    questions = words()["checks"]
    return "; ".join(questions[name].format(some(listed)) for name, listed in checks.items())


def some(names: list[str], most: int = 5) -> str:
    """Return the first names of a list for a comment, each cut to 40 characters."""
    listed = ", ".join(quoted(name[:40]) for name in names[:most])
    return listed + (f" and {len(names) - most:,} more" if len(names) > most else "")


def quoted(text: str) -> str:
    """Return any text from the data as one YAML scalar on one line.

    Examples
    --------
    >>> quoted("order_placed"), quoted("no"), quoted("a: #b")
    ('order_placed', '"no"', '"a: #b"')
    """
    if _BARE.fullmatch(text):
        return text
    dumped = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf"))
    return dumped.rstrip("\n")


def flow(value) -> str:
    """Return a text, number, list or mapping as YAML on one line."""
    if isinstance(value, dict):
        parts = (f"{quoted(str(key))}: {flow(item)}" for key, item in value.items())
        return f"{{{', '.join(parts)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(flow, value))}]"
    return quoted(value) if isinstance(value, str) else str(value)
