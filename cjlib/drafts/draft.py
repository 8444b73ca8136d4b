"""A first dataset file for a log that nobody has described yet: the library behind ``cj new``.

Nothing in a draft is final. What is not plain from the log is marked ``# CHECK`` with what to
decide; once those lines are settled, the file passes ``cj check``. Its words stand in
``templates/dataset.yml.j2`` and ``drafts/words.yml``.
"""

import os
import re
from collections.abc import Callable
from datetime import datetime
from importlib.resources import files
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import ibis
import ibis.expr.types as ir
import pandas as pd
import yaml
from jinja2 import Environment

from cjlib.dataset import connect, load_dataset
from cjlib.dataset_file import Dataset, Quality
from cjlib.drafts.columns import CONSTANT, ColumnGuess
from cjlib.drafts.layout import Layout, find_layout
from cjlib.drafts.names import currency_in, match, plain, purchases_among, words
from cjlib.errors import ContractError
from cjlib.log import dirt, judged_rows, stored
from cjlib.reading.events import quality_table, typed
from cjlib.reading.sources import read_source
from cjlib.stages import load_stage_model, ready_made

LISTED = 100  # touchpoints that a draft lists, most frequent first
EMPTY_YEAR = 365  # days without an event that set off times written by mistake
ROUND_DAYS = (1, 2, 3, 7, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365)
_HOSTILE = re.compile(r"^\s*[=+\-@]|[<>\x00-\x1f]")  # code or a formula, not a touchpoint
_BARE = re.compile(r"(?!(y|n|yes|no|on|off|true|false|null)$)[a-z_][a-z0-9_]*", re.I | re.A)


def draft_dataset(
    log: Path, target: Path, progress: Callable[[str], None] = lambda step: None
) -> str:
    """Draft the dataset file of a log.

    Parameters
    ----------
    log : Path
        A CSV (plain or ``.gz``) or Parquet file.
    target : Path
        Where the dataset file will be written: it gives the dataset its name, and its ``source``
        is relative to it.
    progress : callable
        Told each step.

    Returns
    -------
    str
        The file, YAML.

    Raises
    ------
    ParameterError
        The file is not there or of no form that can be read.
    ContractError
        The file is empty or damaged, or no column of it holds times.
    """
    path = Path(os.path.abspath(log.expanduser()))
    layout = find_layout(path)
    source = Path(os.path.relpath(path, target.parent)).as_posix()
    facts = {"name": dataset_name(target), "source": source, "layout": layout}
    with TemporaryDirectory(prefix="cj_draft_") as scratch:
        return _drafted(path, facts, Path(scratch), progress)


def dataset_name(path: Path) -> str:
    """Return what to call a dataset after a file: its own name in plain words."""
    return plain(path.name.split(".")[0])[:64].strip("_") or "my_log"


def unsure(draft: str) -> list[str]:
    """Return the lines of a draft marked ``# CHECK``, with their numbers."""
    lines = enumerate(draft.splitlines(), start=1)
    return [f"line {number}: {line.strip()}" for number, line in lines if "# CHECK: " in line]


def _drafted(path: Path, facts: dict, scratch: Path, progress: Callable[[str], None]) -> str:
    """Read the log with guessed columns and write its dataset file, tried on the log once."""
    layout = facts["layout"]
    first = layout.header[0]
    any_columns = {"customer_id": first, "timestamp": first, "touchpoint": {"value": CONSTANT}}
    blank = _described(path, layout, any_columns)
    con = connect(blank)
    progress("reading the log")
    raw = read_source(con, blank, scratch, lambda rows: progress(f"reading the log: {rows:,} rows"))
    progress("finding the columns")
    guess = ColumnGuess(raw, str(path))
    columns = {meaning: column.declared for meaning, column in guess.columns.items()}
    facts |= {
        "columns": guess.columns,
        "unused": list(guess.free),
        "currency": currency_in(guess.columns["value"].name) if "value" in columns else None,
    }
    progress("counting the touchpoints")
    rows = typed(raw, _described(path, layout, columns))
    events = rows.filter(rows.rule.isnull())
    events = events.select("customer_id", "timestamp", "touchpoint", "value")
    events = stored(con, events, scratch / "events.parquet")
    facts |= _touchpoints(events)
    earliest, as_of = facts["earliest"], facts["as_of"] = _edges(events)
    within = events.timestamp.between(earliest or datetime.min, as_of or datetime.max)
    facts["pace"] = _pace(events.filter(within), facts["purchases"])
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
        columns=columns,
        touchpoints={CONSTANT: {"stage": buying}},
        journey={"inactivity": "1 day", "purchase": CONSTANT},
        quality={"unmapped": buying},
        stages=model,
    )


def _touchpoints(events: ir.Table) -> dict:
    """Return touchpoints with proposed stages, and what counts as a purchase."""
    counts = events.group_by("touchpoint").agg(
        events=events.count(), value=events.value.sum().fill_null(0)
    )
    counts = counts.order_by(ibis.desc("events"), "touchpoint").limit(10_000).execute()
    counts = counts.set_index("touchpoint")
    sound = [name for name in counts.index if not _HOSTILE.search(name)]
    if not sound:
        raise ContractError("no row names a customer, a time and a touchpoint that can be read")
    listed = counts.loc[sound[:LISTED]]
    model = load_stage_model(words()["stage_model"])
    known = {name: match(name, words()["stages"]) for name in listed.index}
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
    broken, tolerated = dirt(table, dataset), Quality().max_quarantined
    share = broken["share"].sum()
    much = share > tolerated
    return {
        "broken": broken.to_dict("records") if much else [],
        "share": share,
        "limit": min(ceil(100 * share) + 1, 100) / 100 if much else tolerated,
        "repeated": table["rows"].iloc[2],
    }


# -- lengths of time -------------------------------------------------------------------------------


def _edges(events: ir.Table) -> list[datetime | None]:
    """Return the first and last time beyond which times seem to be mistakes, None without any.

    An empty year sets them, and at most 1 % of the events, apart from all others.
    """
    days = events.group_by(day=events.timestamp.truncate("D"))
    days = days.agg(events=events.count(), last=events.timestamp.max())
    days = days.order_by("day").execute()
    few = 0.01 * days["events"].sum()
    after_a_gap = days["day"].diff().dt.days > EMPTY_YEAR
    early = after_a_gap & (days["events"].cumsum().shift() <= few)
    late = after_a_gap & (days["events"][::-1].cumsum()[::-1] <= few)
    found = days["day"][early].max(), days["last"].shift()[late].min()
    return [None if pd.isna(edge) else edge.to_pydatetime() for edge in found]


def _pace(events: ir.Table, purchases: list[str]) -> dict[str, float | None]:
    """Return an inactivity and a churn horizon that fit how often customers come and buy.

    The inactivity covers nine in ten of the gaps between a customer's days with events; the
    horizon twice the median gap between days with purchases. Both leave room in the log to be
    observed: a third of it, a quarter of it.

    Returns
    -------
    dict
        ``inactivity`` and ``horizon``, and what they rest on: ``coming`` and ``buying``, the
        two gaps, None where nobody comes or buys twice; all in days.
    """
    ends = events.agg(first=events.timestamp.min(), last=events.timestamp.max()).execute().iloc[0]
    span = (ends["last"] - ends["first"]).days
    coming = _gap(events, 0.9)
    buying = _gap(events.filter(events.touchpoint.isin(purchases)), 0.5)
    inactivity = _round_days(coming or 30, most=span / 3)
    horizon = _round_days(2 * buying if buying else 90, most=span / 4)
    return {"inactivity": inactivity, "coming": coming, "horizon": horizon, "buying": buying}


def _gap(events: ir.Table, share: float) -> float | None:
    """Return a quantile of the days between a customer's days with events, None without any."""
    days = events.select("customer_id", day=events.timestamp.truncate("D")).distinct()
    window = ibis.window(group_by="customer_id", order_by="day")
    gaps = days.mutate(gap=days.day.delta(days.day.lag().over(window), unit="day"))
    found = gaps.agg(gap=gaps.gap.quantile(share)).execute()["gap"].iloc[0]
    return None if pd.isna(found) else float(found)


def _round_days(days: float, most: float) -> int:
    """Return the next longer round number of days, or the longest within `most`."""
    allowed = [known for known in ROUND_DAYS if known <= most] or ROUND_DAYS[:1]
    return next((known for known in allowed if known >= days), allowed[-1])


# -- the text --------------------------------------------------------------------------------------


def _page(**facts) -> str:
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
