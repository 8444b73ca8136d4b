"""Recency, frequency and value: scores from 1 to 5, and the rule table that names them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from pathlib import Path

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import yaml

from cjlib.errors import ParameterError

SCORES = 5
MEASURES = ("recency", "frequency", "value")
COLUMNS = {"recency": "recency_days", "frequency": "frequency", "value": "value"}
NOT_YET = "no purchase in this log"
"""The segment of customers who are in the log and have not bought."""
FEW_REPEAT = 0.05  # share of repeat buyers below which frequency tells little


def purchase_history(events: ir.Table, as_of: pd.Timestamp, *, value: bool = True) -> ir.Table:
    """Return what each buyer has bought up to ``as_of``, as an expression on the engine.

    Parameters
    ----------
    events : ibis table
        Events with ``customer_id``, ``bucket``, ``timestamp``, ``purchase`` and ``value``.
    as_of : Timestamp
        Nothing after this moment is read.
    value : bool
        Whether the log has values; without them the column is null.

    Returns
    -------
    ibis table
        One row per customer who has bought: ``customer_id``, ``bucket``, ``recency_days`` (whole
        days from the last purchase to ``as_of``), ``frequency`` (distinct moments of purchase, so
        that the lines of one order count once) and ``value`` (of the purchases, less refunds, which
        are negative values at any touchpoint).
    """
    events = events.filter(events.timestamp <= as_of)
    last = events.timestamp.max(where=events.purchase)
    spent = events.value.sum(where=events.purchase | (events.value < 0))
    seconds = int(pd.Timestamp(as_of).timestamp())
    history = events.group_by("customer_id").aggregate(
        bucket=events.bucket.min(),
        last=last,
        frequency=events.timestamp.nunique(where=events.purchase),
        # Sums of floats depend in their last digits on the order of the rows, and equal sums must
        # get equal scores.
        value=spent.round(6),
    )
    history = history.filter(history.frequency > 0)
    return history.select(
        "customer_id",
        "bucket",
        recency_days=((seconds - history["last"].epoch_seconds()) / 86400).floor().cast("int32"),
        frequency=history.frequency.cast("int32"),
        value=history.value.cast("float64") if value else ibis.null("float64"),
    )


def quantile_scores(
    values: np.ndarray, *, low_is_good: bool = False, learned_from: np.ndarray | None = None
) -> np.ndarray:
    """Score values from 1 to 5 by their quintiles; equal values get equal scores.

    The tie rule: the score is one more than the number of cut points that lie *strictly below* the
    value, so a value that falls on a cut point belongs to the lower fifth. With whole numbers that
    is the rule "cut point + 1" of the R package rfm. When half of the buyers bought once, they all
    score 1 and the scores that their tie covers stay empty.

    Parameters
    ----------
    values : array of shape (n,)
    low_is_good : bool
        Give the lowest fifth a 5, as for the days since the last purchase.
    learned_from : array of int, optional
        Places of the values that the cut points come from; all of them by default.

    Returns
    -------
    array of shape (n,), int8
    """
    values = np.asarray(values, dtype=float)
    if not len(values):
        return np.empty(0, dtype=np.int8)
    learned = values if learned_from is None else values[learned_from]
    cuts = np.quantile(learned, np.arange(1, SCORES) / SCORES)
    fifth = np.searchsorted(cuts, values, side="left")
    return (SCORES - fifth if low_is_good else fifth + 1).astype(np.int8)


@dataclass(frozen=True)
class Rule:
    """One line of the rule table: the score ranges that carry a name."""

    segment: str
    ranges: Mapping[str, tuple[int, int]]
    means: str = ""
    advice: str = ""

    def fits(self, scores: Mapping[str, int]) -> bool:
        """Tell whether the rule names a customer with these scores."""
        return all(
            low <= scores[measure] <= high
            for measure, (low, high) in self.ranges.items()
            if measure in scores
        )


class RuleTable:
    """Rules read from the top: the first that fits names the customer.

    Parameters
    ----------
    rules : iterable of Rule
    source : str
        Where the rules come from, for error messages.

    Raises
    ------
    ParameterError
        When a combination of scores has no name.
    """

    def __init__(self, rules: Iterable[Rule], source: str = "rfm_rules.yml"):
        self.rules = list(rules)
        self.source = source
        for measures in (MEASURES, MEASURES[:2]):
            self._lookup(measures)

    @property
    def names(self) -> list[str]:
        """The segments' names, in the order of the table."""
        return list(dict.fromkeys(rule.segment for rule in self.rules))

    def rule(self, segment: str) -> Rule:
        """Return the first rule of a segment."""
        return next(rule for rule in self.rules if rule.segment == segment)

    def _lookup(self, measures: tuple[str, ...]) -> np.ndarray:
        """Return the code of the segment of every combination of scores, shape (5,) * measures."""
        codes = np.empty((SCORES,) * len(measures), dtype=np.int16)
        for scores in product(range(1, SCORES + 1), repeat=len(measures)):
            named = dict(zip(measures, scores, strict=True))
            rule = next((rule for rule in self.rules if rule.fits(named)), None)
            if rule is None:
                said = ", ".join(f"{measure} {score}" for measure, score in named.items())
                raise ParameterError(
                    f"{self.source}: no rule names the scores {said}; widen a rule, or end the "
                    "table with a rule that has a segment and no scores."
                )
            codes[tuple(score - 1 for score in scores)] = self.names.index(rule.segment)
        return codes

    def assign(self, scores: pd.DataFrame) -> pd.Categorical:
        """Name customers by their recency, frequency and, if present, value scores.

        Returns
        -------
        Categorical
            One name per row; the categories are the table's names in their order.
        """
        measures = tuple(name for name in MEASURES if f"{name}_score" in scores)
        place = tuple(scores[f"{name}_score"].to_numpy() - 1 for name in measures)
        return pd.Categorical.from_codes(self._lookup(measures)[place], categories=self.names)

    def to_frame(self) -> pd.DataFrame:
        """Return the table for reading: ``segment``, a range per measure, ``means``, ``advice``."""

        def said(rule: Rule, measure: str) -> str:
            low, high = rule.ranges.get(measure, (1, SCORES))
            if (low, high) == (1, SCORES):
                return "any"
            return str(low) if low == high else f"{low}-{high}"

        return pd.DataFrame(
            [
                {"segment": rule.segment}
                | {measure: said(rule, measure) for measure in MEASURES}
                | {"means": rule.means, "advice": rule.advice}
                for rule in self.rules
            ]
        )


RECENCY_BANDS = RuleTable(
    (
        Rule(name, {"recency": (score, score)})
        for score, name in zip(
            range(SCORES, 0, -1),
            ("latest fifth", "second fifth", "middle fifth", "fourth fifth", "earliest fifth"),
            strict=True,
        )
    ),
    "recency bands",
)
"""Buyers by their last purchase alone, with no name that promises more and no advice."""


def few_repeat(scored: pd.DataFrame) -> bool:
    """Tell whether so few bought twice that frequency tells nobody apart."""
    return bool(len(scored)) and float((scored["frequency"] > 1).mean()) < FEW_REPEAT


def load_rules(rules: str | Path | list | None = None, folder: str | Path = ".") -> RuleTable:
    """Read a rule table: cjlib's own, a company's file, or rules written in the dataset file.

    Parameters
    ----------
    rules : None, path, or list of mappings
        What ``segments: {rfm: ...}`` of the dataset file holds; None for the table of cjlib.
    folder : path
        Where a relative path starts.

    Raises
    ------
    ParameterError
        When the file is missing, a key or a score is wrong, or a combination of scores has no name.
    """
    source = "segments.rfm"
    if rules is None:
        path = files("cjlib.segments") / "rfm_rules.yml"
        rules, source = yaml.safe_load(path.read_text(encoding="utf-8")), path.name
    elif isinstance(rules, str | Path):
        path = Path(folder) / rules
        source = f"segments.rfm ({Path(rules).name})"
        if not path.is_file():
            raise ParameterError(f"{source}: no such file; give a path beside the dataset file.")
        try:
            rules = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ParameterError(f"{source}: this is not readable YAML: {error}") from None
    if not isinstance(rules, list) or not rules:
        raise ParameterError(
            f"{source}: write a list of rules, such as "
            "[{segment: best, recency: [4, 5]}, {segment: others}]."
        )
    return RuleTable((_rule(i, entry, source) for i, entry in enumerate(rules, 1)), source)


def _rule(number: int, entry: object, source: str) -> Rule:
    """Check one entry of a rule table."""
    place = f"{source}, rule {number}"
    if not isinstance(entry, dict) or not str(entry.get("segment") or "").strip():
        raise ParameterError(f"{place}: every rule needs a segment, such as segment: loyal.")
    known = {"segment", *MEASURES, "means", "advice"}
    if unknown := sorted(str(key) for key in set(entry) - known):
        raise ParameterError(
            f"{place}: unknown key {unknown[0]!r}; a rule has segment, recency, frequency, value, "
            "means and advice."
        )
    ranges = {}
    for measure in MEASURES:
        if measure not in entry:
            continue
        said = entry[measure]
        low, high = said if isinstance(said, list) and len(said) == 2 else (said, said)
        # A dataset file is read as text, a rule file as YAML types: 5 and "5" are the same score.
        low, high = (int(score) if str(score).isdigit() else 0 for score in (low, high))
        if not 1 <= low <= high <= SCORES:
            raise ParameterError(
                f"{place}: {measure}: {said!r} is no score; write a number from 1 to {SCORES} or a "
                "range such as [4, 5]."
            )
        ranges[measure] = (low, high)
    text = {
        key: " ".join(str(entry.get(key, "")).split()) for key in ("segment", "means", "advice")
    }
    return Rule(ranges=ranges, **text)


def score(history: pd.DataFrame, rules: RuleTable) -> pd.DataFrame:
    """Score and name buyers.

    Parameters
    ----------
    history : DataFrame
        The result of `purchase_history`; values all null mean a log without values.
    rules : RuleTable

    Returns
    -------
    DataFrame
        ``history`` with ``recency_score``, ``frequency_score``, ``value_score`` (only where there
        are values; a missing value counts as 0) and ``rfm_segment``.
    """
    scored = history.copy()
    measures = MEASURES if len(history) and history["value"].notna().any() else MEASURES[:2]
    for measure in measures:
        values = history[COLUMNS[measure]].fillna(0).to_numpy()
        scored[f"{measure}_score"] = quantile_scores(values, low_is_good=measure == "recency")
    scored["rfm_segment"] = rules.assign(scored)
    return scored


def score_meaning(scored: pd.DataFrame) -> pd.DataFrame:
    """Return what each score stands for: ``measure``, ``score``, ``customers``, ``low``, ``high``.

    ``low`` and ``high`` are the smallest and largest value that got the score (days, purchases,
    currency); scores that no value got are left out.
    """
    parts = []
    for measure in (name for name in MEASURES if f"{name}_score" in scored):
        grouped = scored.groupby(f"{measure}_score", observed=True)[COLUMNS[measure]]
        part = grouped.agg(customers="size", low="min", high="max").rename_axis("score")
        parts.append(part.reset_index().assign(measure=measure))
    columns = ["measure", "score", "customers", "low", "high"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def rfm(log, *, as_of: pd.Timestamp | None = None, rules: RuleTable | None = None) -> pd.DataFrame:
    """Score and name the buyers of a log as they were at a moment.

    Parameters
    ----------
    log : Log
    as_of : Timestamp, optional
        The log's own moment by default. The cut points are those of the buyers known by then.
    rules : RuleTable, optional
        The table that the dataset file names, or cjlib's, by default.

    Returns
    -------
    DataFrame
        One row per buyer, sorted by ``customer_id``; see `score`.
    """
    if rules is None:
        rules = rules_of(log)
    as_of = log.as_of if as_of is None else as_of
    history = purchase_history(log.events, as_of, value=log.has("value"))
    return score(history.order_by("customer_id").to_pandas(), rules)


def rules_for(log) -> RuleTable:
    """Return the rules that fit a log: its own, or recency bands where hardly anybody buys twice.

    A table that the dataset file names is a company's decision and stays.
    """
    rules = rules_of(log)
    named = "rfm" in (log.dataset.segments or {})
    return rules if named or not few_repeat(rfm(log, rules=rules)) else RECENCY_BANDS


def rules_of(log) -> RuleTable:
    """Return the rule table that the log's dataset file names, or cjlib's."""
    settings = log.dataset.segments or {}
    if unknown := sorted(set(settings) - {"rfm"}):
        raise ParameterError(f"segments.{unknown[0]}: no such key; known here: rfm")
    return load_rules(settings.get("rfm"), folder=log.dataset.path.parent)
