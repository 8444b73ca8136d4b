"""Credit for the purchases by channel or touchpoint, by several models side by side.

No model knows the truth: the rules (first, last, linear, ...) are conventions, the removal effect
is an association in the paths seen, not an experiment. What they agree on is firmer than any of
them, and the table says how firm: intervals from the buckets, and how often a level keeps its rank
when customers are drawn anew.
"""

from collections.abc import Callable, Mapping
from itertools import groupby

import numpy as np
import pandas as pd

from cjlib.attribution.removal_effect import RemovalEffect, shares_of
from cjlib.attribution.touch_paths import NONE, OTHER, touches_of
from cjlib.errors import Unanswerable
from cjlib.uncertainty import resample


def attribute(
    paths: pd.DataFrame, rules: Mapping[str, Callable], *, seed: int = 0, n_resamples: int = 1000
) -> pd.DataFrame:
    """Credit the purchases to the levels, by every rule given.

    In every model the conversions of the levels add up to all conversions, and so do the values.
    A purchase without any touch is nobody's merit: it goes to the level ``(none)`` in full.

    Parameters
    ----------
    paths : DataFrame
        Of `touch_paths`.
    rules : mapping of str to callable
        Name of a model to its rule: a function from touches to weights (see
        `cjlib.attribution.rules`), or a `RemovalEffect`.
    seed, n_resamples : int
        Of the intervals.

    Returns
    -------
    DataFrame
        dimension, level, model, conversions, share, lower, upper, value, rank, rank_stability, by
        dimension, model and falling share. ``lower`` and ``upper`` (95 %) belong to ``share``;
        ``rank_stability`` is the share of resamples in which the level has the same rank. ``value``
        is NaN where it is that of fewer purchases than may be shown.

    Raises
    ------
    Unanswerable
        Where in no dimension two levels share purchases.
    """
    smallest = paths.attrs.get("smallest_group", 0)
    tables = []
    for dimension, part in paths.groupby("dimension"):
        part = part[part["conversions"] + part["nulls"] > 0]
        if not part["conversions"].any():
            continue
        part = part.assign(bucket=np.unique(part["bucket"], return_inverse=True)[1])
        levels, models = _models(part, rules, smallest)
        if len(levels) < 2:
            continue
        for model, (totals, credit) in models.items():
            table = _table(levels, totals, credit, seed, n_resamples)
            table.insert(0, "dimension", dimension)
            table.insert(2, "model", model)
            tables.append(table)
    if not tables:
        raise Unanswerable("no two channels or touchpoints share the credit for purchases")
    credit = pd.concat(tables, ignore_index=True)
    few = credit["conversions"].between(0, smallest, inclusive="neither")
    return credit.assign(value=credit["value"].mask(few))


def _models(
    paths: pd.DataFrame, rules: Mapping[str, Callable], smallest: int
) -> tuple[pd.Index, dict[str, tuple]]:
    """Return the levels and the totals by model, after `RemovalEffect.totals`.

    Levels that every model credits with fewer purchases than `smallest` are one, ``(other)``.
    """
    touches = touches_of(paths)
    levels = touches["level"].cat.categories
    models = {model: _totals(rule, paths, touches) for model, rule in rules.items()}
    most = np.max([credit(totals.sum(axis=0))[0] for totals, credit in models.values()], axis=0)
    few = set(levels[(most > 0) & (most < smallest)]) - {NONE}
    if not few:
        return levels, models
    walks = [
        [level for level, _ in groupby(OTHER if level in few else level for level in path)]
        for path in paths["path"]
    ]
    return _models(paths.assign(path=walks), rules, smallest=0)


def _table(
    levels: pd.Index, totals: np.ndarray, credit: Callable, seed: int, n_resamples: int
) -> pd.DataFrame:
    """Return one model's part of the table."""

    def share(drawn: np.ndarray) -> np.ndarray:
        return shares_of(credit(drawn)[..., 0, :])

    interval = resample(totals, share, seed=seed, n_resamples=n_resamples)
    conversions, value = credit(totals.sum(axis=0))
    rank = _ranks(interval.estimate)
    drawn = interval.replicates[~np.isnan(interval.replicates).any(axis=1)]
    table = pd.DataFrame(
        {
            "level": levels,
            "conversions": conversions,
            "share": interval.estimate,
            "lower": interval.lower,
            "upper": interval.upper,
            "value": value,
            "rank": rank,
            "rank_stability": (_ranks(drawn) == rank).mean(axis=0),
        }
    )
    return table.sort_values("rank")


def _totals(
    rule: Callable, paths: pd.DataFrame, touches: pd.DataFrame
) -> tuple[np.ndarray, Callable]:
    """Return totals by bucket, and the function from their sum to purchases and value by level."""
    if isinstance(rule, RemovalEffect):
        return rule.totals(paths, touches)
    path, code = touches["path"].to_numpy(), touches["level"].cat.codes.to_numpy(np.int64)
    weights = np.asarray(rule(touches), dtype=float)
    whole = np.bincount(path, weights)[path]
    weights = np.where(whole > 0, weights, 1) / np.where(whole > 0, whole, touches["length"])
    shape = paths["bucket"].max() + 1, len(touches["level"].cat.categories)
    cell = paths["bucket"].to_numpy()[path] * shape[1] + code
    ends = paths[["conversions", "value"]].to_numpy(float)[path].T
    credited = [np.bincount(cell, weights * end, shape[0] * shape[1]) for end in ends]
    return np.stack([each.reshape(shape) for each in credited], axis=1), lambda total: total


def _ranks(shares: np.ndarray) -> np.ndarray:
    """Rank shares along the last axis, 1 for the greatest; ties by position."""
    order = np.argsort(-shares, axis=-1, kind="stable")
    return np.argsort(order, axis=-1, kind="stable") + 1


def in_words(credit: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its models named for a reader: ``markov_1`` is the removal effect."""
    named = credit["model"].replace({"markov_1": "removal effect"})
    named = named.str.replace(r"^markov_(\d+)$", r"removal effect of \1 touches", regex=True)
    return credit.assign(model=named.str.replace("_", " "))


def credit_range(credit: pd.DataFrame, dimension: str, log) -> pd.DataFrame:
    """Return for each level of a dimension how far the models agree on it.

    Parameters
    ----------
    credit : DataFrame
        Of `attribute`.
    dimension : str
    log : Log
        Says who starts a touchpoint, and on which side of the purchase it lies.

    Returns
    -------
    DataFrame
        A column named as the dimension, share (mean over the models), lowest_share and
        highest_share, lowest_model and highest_model (in words), lower and upper (of any model's
        interval), n (all purchases), and of touchpoints initiator and role; by falling share,
        ``(other)`` and ``(none)`` last.

    Raises
    ------
    Unanswerable
        Where no two levels of this dimension share purchases.
    """
    part = in_words(credit[credit["dimension"] == dimension])
    if part.empty:
        raise Unanswerable(f"no two {dimension}s share the credit for purchases")
    shares = part.pivot_table(index="level", columns="model", values="share")
    found = part.groupby("level").agg(
        share=("share", "mean"),
        lowest_share=("share", "min"),
        highest_share=("share", "max"),
        lower=("lower", "min"),
        upper=("upper", "max"),
    )
    found["lowest_model"], found["highest_model"] = shares.idxmin(axis=1), shares.idxmax(axis=1)
    found["n"] = round(part["conversions"].sum() / len(shares.columns))
    if dimension == "touchpoint":
        known = log.dataset.touchpoints
        found["initiator"] = found.index.map({name: one.initiator for name, one in known.items()})
        stages = found.index.map({name: one.stage for name, one in known.items()})
        found["role"] = stages.map(log.stages.roles)
    found["unnamed"] = found.index.isin([NONE, OTHER])
    found = found.sort_values(["unnamed", "share"], ascending=[True, False], kind="stable")
    return found.drop(columns="unnamed").rename_axis(dimension).reset_index()
