"""What each channel or touchpoint contributes to the purchases, by several models side by side.

No model knows the truth: the rules (first, last, linear, ...) are conventions, the removal effect
(``markov_k``) is an association in the paths seen, not an experiment. What they agree on is firmer
than any of them, and the table says how firm: intervals from the buckets, and how often a level
keeps its rank when customers are drawn anew.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cjlib.attribution.removal_effect import removal_effect
from cjlib.attribution.rules import RULES, touch_weights
from cjlib.attribution.touch_paths import DIMENSIONS, TouchPaths, paths
from cjlib.errors import ParameterError
from cjlib.uncertainty import resample

__all__ = [
    "DIMENSIONS",
    "MODELS",
    "NONE",
    "attribute",
    "attribute_log",
    "model_agreement",
    "paths",
]

MODELS = (*RULES, "markov_1")
NONE = "(none)"
COLUMNS = [
    "dimension",
    "level",
    "model",
    "conversions",
    "share",
    "lower",
    "upper",
    "value",
    "rank",
    "rank_stability",
]


def attribute(
    frame: pd.DataFrame | TouchPaths,
    *,
    dimension: str = "channel",
    models: Sequence[str] = MODELS,
    separator: str = " > ",
    seed: int = 0,
    n_resamples: int = 1000,
) -> pd.DataFrame:
    """Credit the purchases to the levels, by every model asked for.

    In every model the conversions of the levels add up to all conversions, and so do the values.
    A purchase without any touch is nobody's merit: it goes to the level ``(none)`` in full.

    Parameters
    ----------
    frame : DataFrame or TouchPaths
        Distinct paths: ``path`` (sequences of levels, oldest first, or text joined by
        ``separator``), ``conversions``, and where known ``value``, ``nulls`` and ``bucket``; what
        :func:`paths` returns, collected.
    dimension : str
        What the levels are; copied into the table.
    models : sequence of str
        ``first``, ``last``, ``linear``, ``time_decay``, ``position``, ``shapley`` and ``markov_k``
        with k the order of the chain (``markov_1``, ``markov_2``, ...).
    separator : str
        Of paths given as text.
    seed, n_resamples : int
        Of the intervals.

    Returns
    -------
    DataFrame
        ``dimension, level, model, conversions, share, lower, upper, value, rank, rank_stability``,
        by model and falling share. ``lower`` and ``upper`` (95 %) belong to ``share``;
        ``rank_stability`` is the share of resamples in which the level has the same rank. All three
        are NaN without buckets. Empty when there is no purchase at all.

    Raises
    ------
    ParameterError
        When a model is not known or a column is missing.
    """
    orders = {model: _order(model) for model in models}
    touches = frame if isinstance(frame, TouchPaths) else TouchPaths.from_frame(frame, separator)
    if not touches.conversions.sum():
        return pd.DataFrame(columns=COLUMNS)
    untouched = touches.conversions[touches.untouched].sum()
    levels = list(touches.levels)
    if untouched and NONE not in levels:
        levels.append(NONE)
    tables = [
        _table(touches, levels, model, order, seed, n_resamples) for model, order in orders.items()
    ]
    table = pd.concat(tables, ignore_index=True).assign(dimension=dimension)
    return table[COLUMNS]


def attribute_log(log, *, models: Sequence[str] = MODELS, seed: int = 0) -> pd.DataFrame:
    """Credit a log's purchases to its channels and to its touchpoints.

    Without a touchpoint of the role ``before`` there is nothing to credit: what the log then holds
    before a purchase is the purchase before it.

    Parameters
    ----------
    log : Log
    models : sequence of str
    seed : int

    Returns
    -------
    DataFrame
        Of :func:`attribute`, both dimensions; one without at least two levels is left out, and
        levels met by fewer customers than may be shown, or credited with fewer purchases by every
        model, are one, ``(other)``. ``value`` is NaN where it is that of fewer purchases.
    """
    if not (log.events.role == "before").any().execute():
        return pd.DataFrame(columns=COLUMNS)
    tables = [_credit(log, dimension, models, seed) for dimension in DIMENSIONS]
    kept = [table for table in tables if len(table["level"].unique()) > 1]
    return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(columns=COLUMNS)


def _credit(log, dimension: str, models: Sequence[str], seed: int) -> pd.DataFrame:
    """Return the table of one dimension of a log, small levels together."""
    smallest = log.dataset.privacy.smallest_group

    def is_few(purchases: pd.Series) -> pd.Series:
        return purchases.between(0, smallest, inclusive="neither")

    frame = paths(log, dimension, smallest).to_pandas()
    first = attribute(frame.drop(columns="bucket"), models=models)
    most = first.groupby("level")["conversions"].max()
    few = most.index[is_few(most)].drop(NONE, errors="ignore").tolist()
    if few:
        frame = paths(log, dimension, smallest, few).to_pandas()
    table = attribute(frame, dimension=dimension, models=models, seed=seed)
    return table.assign(value=table["value"].mask(is_few(table["conversions"])))


def model_agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Say for each level how far the models agree on it.

    Parameters
    ----------
    table : DataFrame
        Of :func:`attribute`, of one dimension.

    Returns
    -------
    DataFrame
        ``level, lowest, highest`` (share over the models), ``lowest_model, highest_model``,
        ``best_rank, worst_rank``; by falling mean share.
    """
    shares = table.pivot_table(index="level", columns="model", values="share")
    ranks = table.pivot_table(index="level", columns="model", values="rank")
    agreement = pd.DataFrame(
        {
            "lowest": shares.min(axis=1),
            "highest": shares.max(axis=1),
            "lowest_model": shares.idxmin(axis=1),
            "highest_model": shares.idxmax(axis=1),
            "best_rank": ranks.min(axis=1).astype(int),
            "worst_rank": ranks.max(axis=1).astype(int),
        }
    )
    by_mean = shares.mean(axis=1).sort_values(ascending=False, kind="stable").index
    return agreement.loc[by_mean].reset_index()


def _order(model: str) -> int:
    """Return the order of a Markov model, 0 for a rule."""
    if model in RULES:
        return 0
    name, _, order = model.partition("_")
    if name == "markov" and order.isascii() and order.isdigit() and int(order) > 0:
        return int(order)
    raise ParameterError(
        f"models: {model!r} is not known; write some of {', '.join(RULES)}, markov_1, markov_2"
    )


def _table(
    touches: TouchPaths, levels: list[str], model: str, order: int, seed: int, n_resamples: int
) -> pd.DataFrame:
    """Return one model's part of the table."""
    buckets = None if touches.bucket is None else np.unique(touches.bucket)
    if order:
        credit, counts, statistic = _by_removal(touches, levels, order, buckets)
    else:
        credit, counts, statistic = _by_rule(touches, levels, model, buckets)
    share = _shares(credit[0])
    rank = _ranks(share)
    lower, upper, stability = np.full((3, len(levels)), np.nan)
    if counts is not None and len(counts) > 1:
        interval = resample(counts, statistic, seed=seed, n_resamples=n_resamples)
        lower, upper = interval.lower, interval.upper
        drawn = interval.replicates[~np.isnan(interval.replicates).any(axis=1)]
        stability = (_ranks(drawn) == rank).mean(axis=0)
    table = pd.DataFrame(
        {
            "level": levels,
            "model": model,
            "conversions": credit[0],
            "share": share,
            "lower": lower,
            "upper": upper,
            "value": credit[1],
            "rank": rank,
            "rank_stability": stability,
        }
    )
    return table.sort_values("rank")


def _by_rule(touches: TouchPaths, levels: list[str], rule: str, buckets: np.ndarray | None):
    """Return credits (2, L) in purchases and value, purchases by bucket (B, L), their statistic."""
    weights, row, known = touch_weights(touches, rule), touches.row, len(touches.levels)
    ends = np.stack([touches.conversions, touches.value])
    credit = np.stack([np.bincount(touches.codes, weights * end[row], known) for end in ends])
    credit = _widen(credit, ends[:, touches.untouched].sum(axis=1), levels)
    if buckets is None:
        return credit, None, _shares
    cell = np.searchsorted(buckets, touches.bucket)[row] * known + touches.codes
    counts = np.bincount(cell, weights * touches.conversions[row], len(buckets) * known)
    untouched = _by_bucket(touches, buckets, touches.conversions * touches.untouched)
    return credit, _widen(counts.reshape(len(buckets), known), untouched, levels), _shares


def _by_removal(touches: TouchPaths, levels: list[str], order: int, buckets: np.ndarray | None):
    """Return what :func:`_by_rule` does, for the removal effect; value follows the purchases."""
    solved = removal_effect(touches, order, buckets)
    ends = np.stack([touches.conversions, touches.value])
    touched, untouched = (
        ends[:, chosen].sum(axis=1) for chosen in (~touches.untouched, touches.untouched)
    )
    credit = np.nan_to_num(_shares(solved.effect)) * touched[:, None]
    credit = _widen(credit, untouched, levels)
    if buckets is None:
        return credit, None, None

    def statistic(totals: np.ndarray) -> np.ndarray:
        """From probabilities with all and without each level, and purchases, to shares."""
        effect = np.clip(1 - totals[:, 1:-2] / totals[:, :1], 0, None)
        return _shares(
            _widen(np.nan_to_num(_shares(effect)) * totals[:, [-2]], totals[:, -1], levels)
        )

    purchases = [
        _by_bucket(touches, buckets, touches.conversions * chosen)
        for chosen in (~touches.untouched, touches.untouched)
    ]
    return credit, np.column_stack([solved.by_bucket, *purchases]), statistic


def _widen(credit: np.ndarray, untouched: np.ndarray, levels: list[str]) -> np.ndarray:
    """Add the untouched purchases to credits (..., known), under a level of their own."""
    wide = np.zeros((*credit.shape[:-1], len(levels)))
    wide[..., : credit.shape[-1]] = credit
    if NONE in levels:
        wide[..., levels.index(NONE)] += untouched
    return wide


def _shares(credit: np.ndarray) -> np.ndarray:
    """Divide credits by their sum over the last axis; NaN where that is 0."""
    total = credit.sum(axis=-1, keepdims=True)
    return np.divide(credit, total, out=np.full_like(credit, np.nan), where=total > 0)


def _by_bucket(touches: TouchPaths, buckets: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Add up one value per path by bucket, shape (B,)."""
    return np.bincount(np.searchsorted(buckets, touches.bucket), values, len(buckets))


def _ranks(shares: np.ndarray) -> np.ndarray:
    """Rank shares along the last axis, 1 for the greatest; ties by position."""
    order = np.argsort(-shares, axis=-1, kind="stable")
    return np.argsort(order, axis=-1, kind="stable") + 1
