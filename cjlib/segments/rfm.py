"""Recency, frequency and value: scores from 1 to 5, and the rule table that names them."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Annotated

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from cjlib.errors import ParameterError, Unanswerable
from cjlib.journeys import DAY, purchase_days
from cjlib.segments.clusters import jaccard
from cjlib.uncertainty import proportion

SCORES = 5
RULES, BANDS = (Path(__file__).with_name(name) for name in ("rfm_rules.yml", "recency_bands.yml"))
MEASURES = {"recency": "recency_days", "frequency": "frequency", "value": "value"}
"""What is scored, and the column that holds it."""
NOT_YET = "no purchase in this log"
"""The segment of customers who are in the log and have not bought."""
FEW_REPEAT = 0.05  # share of repeat buyers below which frequency tells little
DRAWN = 20_000  # buyers at most on whom cut points are learned anew


# -- the rules -------------------------------------------------------------------------------------


def _range(said: object) -> tuple[int, int]:
    """Read ``5``, ``"5"`` or ``[4, 5]``: a dataset file is read as text, a rule file as numbers."""
    low, high = said if isinstance(said, list | tuple) and len(said) == 2 else (said, said)
    low, high = (int(score) if str(score).isdigit() else 0 for score in (low, high))
    if not 1 <= low <= high <= SCORES:
        raise ValueError(
            f"{said!r} is no score; write a number from 1 to {SCORES} or a range such as [4, 5]"
        )
    return low, high


Range = Annotated[tuple[int, int], BeforeValidator(_range)]


class Rule(BaseModel, extra="forbid", frozen=True, str_strip_whitespace=True):
    """One line of a rule table: the score ranges that carry a name."""

    segment: str = Field(min_length=1)
    recency: Range = (1, SCORES)
    frequency: Range = (1, SCORES)
    value: Range = (1, SCORES)
    means: str = ""
    advice: str = ""


class RuleTable:
    """Rules read from the top: the first that fits names the customer.

    Parameters
    ----------
    rules : list of mappings
        As in ``rfm_rules.yml``.
    source : str
        Where the rules come from, for error messages.
    bands : bool
        Whether they tell buyers apart by their last purchase alone.

    Raises
    ------
    ParameterError
        When a key or a score is wrong, or a combination of scores has no name.
    """

    def __init__(self, rules: object, source: str = "segments.rfm", bands: bool = False):
        self.source, self.bands = source, bands
        if not isinstance(rules, list) or not rules:
            raise ParameterError(
                f"{source}: write a list of rules, such as "
                "[{segment: best, recency: [4, 5]}, {segment: others}]."
            )
        try:
            self.rules = TypeAdapter(list[Rule]).validate_python(rules)
        except ValidationError as error:
            number, *place = error.errors()[0]["loc"]
            said = error.errors()[0]["msg"].removeprefix("Value error, ")
            key = "".join(f"{key}: " for key in place[:1])
            raise ParameterError(f"{source}, rule {number + 1}: {key}{said}.") from None
        self.lookup()

    @cached_property
    def names(self) -> list[str]:
        """The segments' names, in the order of the table."""
        return list(dict.fromkeys(rule.segment for rule in self.rules))

    def lookup(self, measures: int = 3) -> np.ndarray:
        """Return the place in `names` of every combination of scores, shape (5,) * measures.

        In a log without values the scores are two, and the conditions on value fall away.
        """
        codes = np.full((SCORES,) * measures, -1)
        for rule in reversed(self.rules):
            ranges = (rule.recency, rule.frequency, rule.value)[:measures]
            place = tuple(slice(low - 1, high) for low, high in ranges)
            codes[place] = self.names.index(rule.segment)
        if (codes < 0).any():
            scores = zip(MEASURES, np.argwhere(codes < 0)[0] + 1, strict=False)
            said = ", ".join(f"{measure} {score}" for measure, score in scores)
            raise ParameterError(
                f"{self.source}: no rule names the scores {said}; widen a rule, or end the table "
                "with a rule that has a segment and no scores."
            )
        return codes

    def assign(self, scores: pd.DataFrame) -> pd.Categorical:
        """Name customers by their recency, frequency and, if present, value scores."""
        columns = [f"{name}_score" for name in MEASURES if f"{name}_score" in scores]
        place = tuple(scores[column].to_numpy() - 1 for column in columns)
        return pd.Categorical.from_codes(self.lookup(len(columns))[place], categories=self.names)

    def to_frame(self) -> pd.DataFrame:
        """Return what each name means and what to do: ``segment``, ``means``, ``advice``."""
        table = pd.DataFrame([rule.model_dump() for rule in self.rules])
        table = table[["segment", "means", "advice"]].replace("", None)
        return table.drop_duplicates("segment", ignore_index=True)


def rfm_rules(log) -> RuleTable:
    """Return the rules that fit a log: its own, or cjlib's.

    Where hardly anybody buys twice, cjlib's are recency bands. A table that the dataset file names
    (``segments: {rfm: ...}``, a path beside it or the rules themselves) is a company's decision and
    stays.

    Raises
    ------
    ParameterError
        When the file is missing or is no YAML; and as `RuleTable`.
    """
    settings = log.dataset.segments or {}
    if unknown := sorted(set(settings) - {"rfm"}):
        raise ParameterError(f"segments.{unknown[0]}: no such key; known here: rfm")
    if "rfm" not in settings:
        few = (purchase_history(log).frequency.execute() > 1).mean() < FEW_REPEAT
        return read_rules(BANDS, bands=True) if few else read_rules(RULES)
    own = settings["rfm"]
    return read_rules(log.dataset.path.parent / own) if isinstance(own, str) else RuleTable(own)


def read_rules(path: Path, *, bands: bool = False) -> RuleTable:
    """Read a table of rules, a company's or cjlib's; `bands` as for `RuleTable`."""
    source = f"segments.rfm ({path.name})"
    if not path.is_file():
        raise ParameterError(f"{source}: no such file; give a path beside the dataset file.")
    try:
        return RuleTable(yaml.safe_load(path.read_text(encoding="utf-8")), source, bands)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{source}: this is not readable YAML: {error}") from None


# -- scores ----------------------------------------------------------------------------------------


def purchase_history(log, as_of: pd.Timestamp | None = None) -> ir.Table:
    """Return what each buyer has bought up to a moment, as an expression on the engine.

    Parameters
    ----------
    log : Log
    as_of : Timestamp, optional
        Nothing after this moment is read; the log's own moment by default.

    Returns
    -------
    ibis table
        One row per customer who has bought: ``customer_id``, ``bucket``, ``recency_days`` (whole
        days from the last purchase to ``as_of``), ``frequency`` (see
        `cjlib.journeys.purchase_days`) and ``value`` (of the purchases, less refunds, which are
        negative values at any touchpoint; null in a log without values).
    """
    as_of = log.as_of if as_of is None else as_of
    events = log.events.filter(log.events.timestamp <= as_of)
    days = purchase_days(events)
    often = days.group_by("customer_id").agg(frequency=days.count().cast("int32"))
    spent = events.value.sum(where=events.purchase | (events.value < 0))
    history = events.group_by("customer_id", "bucket").agg(
        last=events.timestamp.max(where=events.purchase),
        # Sums of floats depend in their last digits on the order of the rows, and equal sums must
        # get equal scores.
        value=spent.round(6).cast("float64") if log.has("value") else ibis.null("float64"),
    )
    silence = int(pd.Timestamp(as_of).timestamp()) - history["last"].epoch_seconds()
    history = history.mutate(recency_days=(silence / DAY).floor().cast("int32"))
    return history.inner_join(often, "customer_id").select(
        "customer_id", "bucket", "recency_days", "frequency", "value"
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


def rfm_scores(log, rules: RuleTable, *, as_of: pd.Timestamp | None = None) -> pd.DataFrame:
    """Score and name the buyers of a log as they were at a moment.

    Parameters
    ----------
    log : Log
    rules : RuleTable
    as_of : Timestamp, optional
        The log's own moment by default. The cut points are those of the buyers known by then.

    Returns
    -------
    DataFrame
        One row per buyer, sorted by ``customer_id``: `purchase_history` with ``recency_score``,
        ``frequency_score``, ``value_score`` (only where there are values; a missing value counts
        as 0) and ``rfm_segment``.
    """
    scored = purchase_history(log, as_of).order_by("customer_id").to_pandas()
    scored = scored.assign(**_scores(scored))
    scored["rfm_segment"] = rules.assign(scored)
    return scored


def _scores(buyers: pd.DataFrame, drawn: np.ndarray | None = None) -> pd.DataFrame:
    """Return the score columns of buyers, cut points learned from those drawn."""
    known = [name for name in MEASURES if name != "value" or buyers["value"].notna().any()]
    return pd.DataFrame(
        {
            f"{name}_score": quantile_scores(
                buyers[MEASURES[name]].fillna(0), low_is_good=name == "recency", learned_from=drawn
            )
            for name in known
        }
    )


def rfm_stability(scored: pd.DataFrame, rules: RuleTable, *, seed: int = 0) -> pd.Series:
    """Return how well each segment is found again when the cut points are learned anew.

    The buyers are drawn again with replacement (20,000 of them at most), cut points taken from the
    drawn ones, and the same buyers named by those; the mean Jaccard index over 20 draws, by the
    segment's name.
    """
    if scored.empty:
        return pd.Series(np.nan, rules.names)
    rng = np.random.default_rng(seed)
    buyers = scored.iloc[np.sort(rng.permutation(len(scored))[:DRAWN])]
    labels = buyers["rfm_segment"].cat.codes.to_numpy()
    found = []
    for _ in range(20):
        anew = rules.assign(_scores(buyers, rng.integers(len(buyers), size=len(buyers))))
        found.append(jaccard(labels, anew.codes, len(rules.names)))
    return pd.Series(np.mean(found, axis=0), rules.names)


# -- tables for reading ----------------------------------------------------------------------------


def repeat_share(scored: pd.DataFrame) -> pd.DataFrame:
    """Return one row: ``share`` of the ``buyers`` who bought again, ``lower``, ``upper``."""
    if scored.empty:
        raise Unanswerable("nobody has bought yet")
    return _share_of_buyers(scored, scored["frequency"] > 1)


def _share_of_buyers(buyers: pd.DataFrame, which: pd.Series) -> pd.DataFrame:
    counted = (np.bincount(buyers["bucket"], weights) for weights in (which, None))
    table = pd.DataFrame({"buyers": [len(buyers)]})
    share = proportion(*counted, alike=1.0)
    return table.assign(share=share.estimate, lower=share.lower, upper=share.upper)


def score_ranges(scored: pd.DataFrame, enough: Callable) -> pd.DataFrame:
    """Return what each score stands for: the smallest and largest value that got it.

    Parameters
    ----------
    scored : DataFrame
    enough : callable
        From numbers of customers to whether they may be shown, see ``Report.enough``.

    Returns
    -------
    DataFrame
        ``score`` and, of each measure's column, ``{column}_from`` and ``{column}_to``; missing
        where no value got the score, or too few did.
    """
    parts = []
    for measure, column in MEASURES.items():
        if f"{measure}_score" in scored:
            part = scored.groupby(f"{measure}_score")[column].agg(["min", "max", "size"])
            part = part.loc[enough(part.pop("size"))]
            parts.append(part.set_axis([f"{column}_from", f"{column}_to"], axis=1))
    return pd.concat(parts, axis=1).rename_axis("score").sort_index().reset_index()


def rfm_groups(scored: pd.DataFrame, rules: RuleTable) -> pd.DataFrame:
    """Return who the buyers of each segment are, what they brought, and what the rules say.

    Returns
    -------
    DataFrame
        ``segment``, ``buyers``, ``share_of_buyers``, ``share_of_sales`` (of the value or, where
        that is nothing, of the purchases), ``days_since_purchase`` (median), and the rule's
        ``means`` and ``advice``.

    Raises
    ------
    Unanswerable
        Where nobody has bought.
    """
    if scored.empty:
        raise Unanswerable("nobody has bought yet")
    what = "value" if scored["value"].sum() > 0 else "frequency"
    groups = scored.groupby(scored["rfm_segment"].rename("segment"), observed=True)
    table = groups.size().to_frame("buyers")
    table["share_of_buyers"] = table["buyers"] / len(scored)
    table["share_of_sales"] = groups[what].sum() / scored[what].sum()
    table["days_since_purchase"] = groups["recency_days"].median()
    return table.reset_index().merge(rules.to_frame(), on="segment")


def migration(
    then: pd.DataFrame, now: pd.DataFrame, rules: RuleTable
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Count buyers by their RFM segment at an earlier moment and now.

    Each moment's scores come from the cut points of the buyers known by then, so who stands still
    while others buy moves down.

    Parameters
    ----------
    then, now : DataFrame
        Results of `rfm_scores` at the two moments.
    rules : RuleTable

    Returns
    -------
    moved : DataFrame
        Buyers of the earlier moment, ``then`` in rows and ``now`` in columns, in the rules' order.
    stayed : DataFrame
        One row: ``share`` of them in the segment they were in, ``lower``, ``upper``, ``buyers``.
    """
    if rules.bands:
        raise Unanswerable("nearly all bought once, and moves by the calendar are no moves")
    if then.empty:
        raise Unanswerable("nobody had bought by the earlier moment, so nobody can have moved")
    before = then.set_index("customer_id")["rfm_segment"]
    after = now.set_index("customer_id")["rfm_segment"].reindex(before.index)
    moved = pd.crosstab(before.rename("then"), after.rename("now"))
    moved = moved.reindex(index=rules.names, columns=rules.names, fill_value=0)
    stayed = _share_of_buyers(then, (before.cat.codes == after.cat.codes).to_numpy())
    return moved.loc[moved.sum(axis=1) > 0], stayed
