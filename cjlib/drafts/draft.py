"""A first dataset file for a log that nobody has described yet: the library behind ``cj new``.

Nothing in a draft is final. What is not plain from the log is marked ``# CHECK`` with what to
decide; once those lines are settled, the file passes ``cj check``.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from cjlib.dataset import load_dataset
from cjlib.dataset_file import Columns, Quality
from cjlib.drafts.facts import CONSTANT, DraftLog
from cjlib.drafts.guess import (
    currency_in,
    looks_hostile,
    match,
    plain,
    purchases_among,
    stage_of,
    words,
)
from cjlib.drafts.page import Page, flow, quoted, some
from cjlib.drafts.sniff import Layout, sniff
from cjlib.stages import load_stage_model, ready_made

LISTED = 100  # touchpoints that a draft lists, most frequent first
LONGEST = 200  # characters of a name that is still a touchpoint's
TOLERATED = Quality().max_quarantined
NOTABLE = 0.001  # share of repeated rows worth a question


@dataclass(frozen=True)
class Draft:
    """A drafted dataset file.

    Attributes
    ----------
    text : str
        The file, YAML.
    unsure : list of str
        What is marked ``# CHECK`` in it: line number, the line, what to check.
    """

    text: str
    unsure: list[str]


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
    layout = sniff(path)
    name = plain(name or path.name.split(".")[0])[:64].strip("_") or "my_log"
    source = Path(os.path.relpath(path, folder or path.parent)).as_posix()
    page = Page()
    with TemporaryDirectory(prefix="cj_draft_") as scratch:
        log = DraftLog(path, layout, Path(scratch), progress)
        _write_head(page, name, source, layout)
        _write_columns(page, log)
        _write_touchpoints(page, log)
        progress("trying the draft on the log")
        trial = Path(scratch) / "draft.yml"
        trial.write_text(page.text, encoding="utf-8")
        _write_quality(page, log, log.quality(load_dataset(trial, source=str(path))))
    return Draft(page.text, page.unsure)


def _write_head(page: Page, name: str, source: str, layout: Layout) -> None:
    page.add("# Drafted from the log. Settle every line marked CHECK, then run cj check on it.")
    page.add(f"name: {quoted(name)}")
    page.add(f"title: {quoted(name.replace('_', ' ').capitalize())}")
    page.add(f"source: {quoted(source)}")
    if layout.delimiter != ",":
        page.add(f"delimiter: {quoted('tab' if layout.delimiter == chr(9) else layout.delimiter)}")
    if layout.encoding != "utf-8":
        page.add(f"encoding: {layout.encoding}", "not UTF-8; do the accents look right?")
    if layout.headless:
        page.add(
            f"header: {flow(layout.header)}",
            "the first line is data; name the columns here and below",
        )


def _write_columns(page: Page, log: DraftLog) -> None:
    columns = log.guess.columns
    page.add("columns:")
    for meaning in Columns.model_fields:
        if column := columns.get(meaning):
            value = {"column": column.name} | column.options if column.options else column.name
            page.add(f"  {meaning}: {flow(value)}", "; ".join(column.checks))
        elif meaning == "touchpoint":
            page.add(
                f"  touchpoint: {{value: {CONSTANT}}}",
                "no column tells what happened; is every row a purchase?",
            )
    used = {column.name for column in columns.values()}
    if unused := [name for name in log.guess.content if name not in used]:
        page.add(f"  # not used: {some(unused, 30)}")
    currency = currency_in(columns["value"].name) if "value" in columns else None
    if currency:
        page.add(f"currency: {currency}", "so says the column's name")


def _write_touchpoints(page: Page, log: DraftLog) -> None:
    """Write touchpoints with proposed stages, and the journey with what counts as a purchase."""
    model = load_stage_model(words()["stage_model"])
    counts = log.touchpoints["events"].to_dict()
    names = [name for name in counts if not looks_hostile(name) and len(name) <= LONGEST][:LISTED]
    known = {name: stage_of(name) for name in names}
    buying = [name for name in names if known[name] in model.purchase]
    purchases = purchases_among(buying) or [_likeliest_purchase(log.touchpoints.loc[names])]
    page.add(
        f"stage_model: {model.name}",
        note=f"or {', '.join(other for other in ready_made() if other != model.name)}",
    )
    page.add("touchpoints:")
    for name in names:
        stage = model.purchase[0] if name in purchases else known[name] or words()["unknown"]
        marks = {key: match(name, words()[key]) for key in ("initiator", "medium")}
        parts = {"stage": stage} | {key: mark for key, mark in marks.items() if mark}
        check = "" if known[name] else "no word in the name tells its stage"
        page.add(f"  {quoted(name)}: {flow(parts)}", check, _events(counts[name]))
    rest = {name: count for name, count in counts.items() if name not in known}
    if rest:
        page.add(
            f"  # not listed: {len(rest):,} more, {_events(sum(rest.values()))}: {some([*rest])}"
        )
    page.add("journey:")
    further = [name for name in buying if name not in purchases]
    check = ""
    if not buying:
        check = "no touchpoint is plainly a purchase; which one is?"
    elif further:
        check = f"what counts as one purchase; left out, as it may count it twice: {some(further)}"
    elif len(purchases) > 1:
        check = "does each stand for one whole purchase?"
    page.add(f"  purchase: {flow(purchases)}", check)
    pace = log.pace(purchases)
    page.add(f"  inactivity: {pace.inactivity} days", pace.inactivity_reason)
    page.add("churn:")
    page.add(f"  horizon: {pace.horizon} days", pace.horizon_reason)
    if log.as_of:
        page.add(
            f"as_of: {log.as_of:%Y-%m-%d %H:%M:%S}",
            "no event for a year after it; are later times mistakes?",
        )


def _likeliest_purchase(touchpoints: pd.DataFrame) -> str:
    """Return the touchpoint that carries most value, or else most events."""
    return str(touchpoints.sort_values(["value", "events"], ascending=False).index[0])


def _events(count: int) -> str:
    return f"{count:,} event" + ("s" if count != 1 else "")


def _write_quality(page: Page, log: DraftLog, quality: pd.DataFrame) -> None:
    """Write how much dirt the log has: the draft must pass its own check."""
    page.add("quality:")
    broken = quality.iloc[3:]
    if log.as_of:
        broken = broken[broken["rule"] != "time_after_as_of"]
    share = broken["share"].sum()
    if share > TOLERATED:
        rules = ", ".join(f"{rule} {rows:,}" for rule, rows in broken[["rule", "rows"]].to_numpy())
        page.add(
            f"  max_quarantined: {min(ceil(share * 100) + 1, 100)}%",
            f"{share:.1%} of the rows break a rule and are left out: {rules}",
        )
    else:
        page.add(f"  max_quarantined: {TOLERATED:.0%}")
    repeated = quality.iloc[2]
    check = ""
    if repeated["share"] >= NOTABLE:
        check = f"{repeated['rows']:,} rows repeat another in every column; keep, if that is real"
    page.add("  duplicates: drop", check)
    if log.earliest:
        check = "no event for a year before it; are earlier times mistakes?"
        page.add(f"  earliest: {log.earliest:%Y-%m-%d}", check)
    page.add("privacy:")
    page.add("  customer_ids: keep", note="or hash, which needs the key CJ_ID_KEY")
    page.add("  smallest_group: 5")
