"""A first dataset file for a log that nobody has described yet: the library behind ``cj new``.

Nothing in a draft is final. What is not plain from the log is marked ``# CHECK`` with what to
decide; once those lines are settled, the file passes ``cj check``. Its words stand in
``templates/dataset.yml.j2`` and ``drafts/words.yml``.
"""

import hashlib
import os
import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from importlib.resources import files
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import ibis
import ibis.expr.types as ir
import pandas as pd
import yaml
from jinja2 import Environment

from cjlib.dataset import connect, load_dataset, stored
from cjlib.dataset_file import Dataset, Quality
from cjlib.drafts.columns import CONSTANT, REFUND, ColumnGuess
from cjlib.drafts.layout import Layout, find_layout
from cjlib.drafts.names import currency_in, match, plain, purchases_among, words
from cjlib.errors import ContractError
from cjlib.log import dirt, judged_rows
from cjlib.paths import user_path
from cjlib.reading.events import one_per_order, quality_table, typed
from cjlib.reading.sources import read_source
from cjlib.stages import RESERVED, load_stage_model, ready_made

LISTED = 100  # touchpoints that a draft lists, most frequent first
UNMARKED = "0" * 8  # where the mark of an untouched draft comes to stand
EMPTY_YEAR = 365  # days without an event that set off times written by mistake
ROUND_DAYS = (1, 2, 3, 7, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365)
_HOSTILE = re.compile(r"^\s*[=+\-@]|[<>\x00-\x1f]")  # code or a formula, not a touchpoint
_BARE = re.compile(r"(?!(y|n|yes|no|on|off|true|false|null)$)[a-z_][a-z0-9_]*", re.I | re.A)


def draft_dataset(
    log: Path,
    target: Path,
    progress: Callable[[str], None] = lambda step: None,
    fixed: dict[str, str] | None = None,
    tables: Path | None = None,
) -> str:
    """Draft the dataset file of a log.

    Parameters
    ----------
    log : Path
        A file of any form that can be a source.
    target : Path
        Where the dataset file will be written: it gives the dataset its name, and its ``source``
        is relative to it.
    progress : callable
        Told each step.
    fixed : dict of str to str, optional
        Columns by meaning (``customer_id``, ``timestamp``, ``touchpoint``, ``value``) that are
        known and no guess.
    tables : Path, optional
        The folder of the tables of a ``.sql`` log, where it is not the log's own.

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
    path = Path(os.path.abspath(user_path(log)))
    tables = tables and Path(os.path.abspath(user_path(tables)))
    with TemporaryDirectory(prefix="cj_draft_") as scratch:
        layout = find_layout(path, Path(scratch), tables)
        facts = {"name": dataset_name(target), "source": _relative(path, target), "layout": layout}
        facts["tables"] = tables and _relative(tables, target)
        page = _drafted(path, tables, facts, Path(scratch), progress, fixed)
    return page.replace(UNMARKED, _mark(page), 1)


def _relative(path: Path, target: Path) -> str:
    return Path(os.path.relpath(path, target.parent)).as_posix()


def _mark(page: str) -> str:
    """Return what tells a draft from one that somebody has edited."""
    rest = page.partition("\n")[2]
    return hashlib.sha256(rest.encode()).hexdigest()[: len(UNMARKED)]


def is_untouched(draft: str) -> bool:
    """Return whether a draft stands as it was written, so that it may be drafted again."""
    return f"({_mark(draft)})" in draft.partition("\n")[0]


def dataset_name(path: Path) -> str:
    """Return what to call a dataset after a file: its own name in plain words."""
    return plain(path.name.split(".")[0])[:64].strip("_") or "my_log"


def unsure(draft: str) -> list[str]:
    """Return the lines of a draft marked ``# CHECK``, with their numbers."""
    lines = enumerate(draft.splitlines(), start=1)
    return [f"line {number}: {line.strip()}" for number, line in lines if "# CHECK: " in line]


def touchpoint_lines(unmapped: pd.DataFrame) -> list[str]:
    """Return lines to be pasted under ``touchpoints:`` for touchpoints on no stage.

    Parameters
    ----------
    unmapped : DataFrame
        Of `cjlib.reading.events.unmapped`.
    """
    lists = words()
    return [
        lists["unmapped"].format(
            name=quoted(name), stage=match(name, lists["stages"]) or lists["unknown"], rows=rows
        )
        for name, rows in unmapped.itertuples(index=False)
    ]


def _drafted(
    path: Path,
    tables: Path | None,
    facts: dict,
    scratch: Path,
    progress: Callable[[str], None],
    fixed: dict[str, str] | None,
) -> str:
    """Read the log with guessed columns and write its dataset file, tried on the log once."""
    layout = facts["layout"]
    first = layout.header[0]
    any_columns = {"customer_id": first, "timestamp": first, "touchpoint": {"value": CONSTANT}}
    described = partial(_described, path, layout, str(tables or ""))
    blank = described(any_columns)
    con = connect(blank)
    progress("reading the log")
    raw = read_source(con, blank, scratch, lambda rows: progress(f"reading the log: {rows:,} rows"))
    progress("finding the columns")
    guess = ColumnGuess(raw, str(path), fixed)
    columns = {meaning: column.declared for meaning, column in guess.columns.items()}
    facts |= {
        "columns": guess.columns,
        "unused": list(guess.free),
        "currency": currency_in(guess.columns["value"].sources) if "value" in columns else None,
        "only": guess.only,
    }
    progress("counting the touchpoints")
    dataset = described(columns, {name: column.options for name, column in guess.only.items()})
    rows = typed(raw, dataset)
    events = one_per_order(rows.filter(rows.rule.isnull()), dataset)
    events = events.select("customer_id", "timestamp", "touchpoint", "value")
    events = stored(con, events, scratch / "events.parquet")
    facts |= _touchpoints(events, path)
    earliest, as_of = facts["earliest"], facts["as_of"] = _edges(events)
    within = events.timestamp.between(earliest or datetime.min, as_of or datetime.max)
    facts["pace"] = _pace(events.filter(within), facts["purchases"])
    progress("trying the draft on the log")
    trial = scratch / "draft.yml"
    trial.write_text(_page(**facts, quality=None), encoding="utf-8")
    dataset = load_dataset(trial, source="" if path.suffix.lower() == ".sql" else str(path))
    rows, _ = judged_rows(con, raw, dataset, scratch)
    return _page(**facts, quality=_quality(quality_table(rows), dataset))


def _described(
    path: Path, layout: Layout, tables: str, columns: dict, only: dict | None = None
) -> Dataset:
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
        tables=tables,
        columns=columns,
        only=only or {},
        touchpoints={CONSTANT: {"stage": buying}, REFUND: {"stage": model.names[-1]}},
        journey={"inactivity": "1 day", "purchase": CONSTANT},
        quality={"unmapped": buying},
        stages=model,
    )


def _touchpoints(events: ir.Table, path: Path) -> dict:
    """Return touchpoints with proposed stages, and what counts as a purchase."""
    counts = events.group_by("touchpoint").agg(
        events=events.count(), value=events.value.sum().fill_null(0)
    )
    counts = counts.order_by(ibis.desc("events"), "touchpoint").limit(10_000).execute()
    counts = counts.set_index("touchpoint")
    sound = [name for name in counts.index if not _HOSTILE.search(name)]
    if not sound:
        raise ContractError(
            f"{path}: no row names a customer, a time and a touchpoint that can be read. Fix the"
            " columns with --customer, --time and --touchpoint, or mend the log."
        )
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
    ends = [
        name
        for name in known
        if match(name, {"ends": words()["ends"]})
        and name not in (*purchases, *buying, *model.names, *RESERVED)
    ]
    return {
        "ends": ends,
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
    facts |= {"mark": UNMARKED, "constants": (CONSTANT, REFUND)}
    template = (files("cjlib") / "templates" / "dataset.yml.j2").read_text(encoding="utf-8")
    return page.from_string(template).render(**facts)


def _questions(checks: dict[str, list[str]]) -> str:
    questions = words()["checks"]
    return "; ".join(questions[name].format(some(listed)) for name, listed in checks.items())


def some(names: list[str], most: int = 5) -> str:
    """Return the first names of a list for a comment, each cut to 40 characters."""
    listed = ", ".join(quoted(name[:40]) for name in names[:most]) or "none"
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
