"""Tests of Markov chains over many customers: memory, change over time, differences of segments.

Each is a test of independence of a group and the next stage (`cjlib.markov.independence`), returned
as rows of one table. Its `p_value` is the permutation p-value by customer wherever there are
customers enough, the asymptotic one elsewhere; effects are total variation, always beside what
chance alone would show.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm

from cjlib.errors import ParameterError
from cjlib.markov.independence import (
    ChainTest,
    departures,
    expected_counts,
    held_out_gain,
    independence_test,
)
from cjlib.uncertainty import FEWEST_BUCKETS, benjamini_hochberg, bucket_array, difference_test

FEWEST_EXPECTED = 5
"""Expected moves before and after a boundary below which a cell cannot show a change."""

CHANGE_COLUMNS = [
    "period",
    "from_stage",
    "to_stage",
    "before",
    "after",
    "z",
    "effect",
    "lower",
    "upper",
    "p_value",
    "chosen",
    "plausible",
]


def _row(name: str, segment: str, result: ChainTest) -> dict:
    return {
        "test": name,
        "segment": segment,
        "statistic": result.g2,
        "df": result.df,
        "p_value": result.p_value,
        "q_value": np.nan,
        "effect": result.effect,
        "effect_by_chance": result.effect_by_chance,
        "p_asymptotic": result.p_asymptotic,
        "pearson": result.x2,
        "bic_gain": result.bic_gain,
        "n": result.n,
        "buckets": result.buckets,
    }


def as_family(*tables: pd.DataFrame) -> pd.DataFrame:
    """Join the tables of several tests and correct them together (Benjamini-Hochberg)."""
    joined = pd.concat(tables, ignore_index=True)
    return joined.assign(q_value=benjamini_hochberg(joined["p_value"]))


def count_array(
    frame: pd.DataFrame, group: str | Sequence[str], levels: Sequence | None = None
) -> tuple[np.ndarray, list, list, list]:
    """Arrange a table of transitions for the tests.

    Parameters
    ----------
    frame : DataFrame
        ``group``, from_stage, to_stage, n and where known bucket.
    group : str
        Column such as period or segment.
    levels : sequence, optional
        Groups in the order wanted.

    Returns
    -------
    counts : array, shape (B, G, C, J)
    groups, contexts, outcomes : lists
        The levels of its axes.
    """
    missing = {group, "from_stage", "to_stage", "n"} - set(frame.columns)
    if missing:
        raise ParameterError(f"transitions: no column {sorted(missing)}; count them by {group}")
    if "bucket" not in frame.columns:
        frame = frame.assign(bucket=0)
    axes = {
        group: sorted(frame[group].dropna().unique()) if levels is None else list(levels),
        "from_stage": sorted(frame["from_stage"].unique()),
        "to_stage": sorted(frame["to_stage"].unique()),
    }
    return bucket_array(frame, list(axes), "n", levels=axes), *axes.values()


def homogeneity_test(
    frame: pd.DataFrame, *, group: str = "segment", n_permutations: int = 999, seed: int = 0
) -> pd.DataFrame:
    """Test whether segments move alike: all together, then each against the rest.

    Parameters
    ----------
    frame : DataFrame
        Transitions counted by ``group`` and bucket: group, from_stage, to_stage, n, bucket.
    group : str
    n_permutations : int
    seed : int

    Returns
    -------
    DataFrame
        The published columns of ``markov_tests`` (test "homogeneity", statistic G2, effect total
        variation, q_value over its own rows), then effect_by_chance, p_asymptotic, pearson,
        bic_gain, n, buckets. Segment "all" is the joint test.
    """
    counts, names, *_ = count_array(frame, group)
    options = {"n_permutations": n_permutations, "seed": seed}
    rows = [_row("homogeneity", "all", independence_test(counts, **options))]
    if len(names) > 2:
        total = counts.sum(1)
        for i, name in enumerate(names):
            pair = np.stack([counts[:, i], total - counts[:, i]], 1)
            rows.append(_row("homogeneity", str(name), independence_test(pair, **options)))
    return as_family(pd.DataFrame(rows))


def stationarity_test(
    frame: pd.DataFrame,
    *,
    period: str = "period",
    segment: str = "all",
    n_permutations: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether the chain stays the same over periods.

    Parameters
    ----------
    frame : DataFrame
        Transitions counted by ``period`` and bucket.
    period : str
    segment : str
        The name to put in the column.
    n_permutations, seed : int

    Returns
    -------
    DataFrame
        One row as in `homogeneity_test`, test "stationarity".
    """
    counts, *_ = count_array(frame, period)
    result = independence_test(counts, n_permutations=n_permutations, seed=seed)
    return as_family(pd.DataFrame([_row("stationarity", segment, result)]))


def change_points(
    frame: pd.DataFrame, *, period: str = "period", n_permutations: int = 999, seed: int = 0
) -> pd.DataFrame:
    """Compare before with after at every boundary of periods, to date a change.

    Parameters
    ----------
    frame, period, n_permutations, seed
        As in `stationarity_test`.

    Returns
    -------
    DataFrame
        period (the first one after the boundary), from_stage and to_stage (the move that changed
        most surely there), before, after (its probability), z (in customer-level standard
        errors), effect (total variation of the whole chain), lower and upper (95 %, of after less
        before), p_value (of the largest z over all moves and boundaries, so that the search is
        allowed for; signs of the buckets exchanged), chosen (the boundary with the largest z when
        its p-value is at most 0.05) and plausible (no earlier and no later than the boundaries at
        which, in 95 % of resamples of the customers, the surest move changed most surely).
    """
    counts, periods, origins, targets = count_array(frame, period)
    before = counts.cumsum(1)[:, :-1]
    after = counts.sum(1, keepdims=True) - before
    rng, buckets = np.random.default_rng(seed), len(counts)
    signs = rng.integers(0, 2, (n_permutations, buckets)) * 2.0 - 1.0
    drawn = rng.multinomial(buckets, np.full(buckets, 1 / buckets), n_permutations)
    largest = np.zeros(n_permutations)
    rows, departed = [], []
    for i, start in enumerate(periods[1:]):
        pair = np.stack([before[:, i], after[:, i]], 1)
        total = pair.sum(0)
        moved = departures(pair)
        spread, moved = _spread(total, moved)[1], moved[:, 1]
        enough = (spread > 0) & (expected_counts(total) >= FEWEST_EXPECTED).all(0)
        if not enough.any():
            continue
        moved = moved[:, enough] / spread[enough]
        largest = np.maximum(largest, np.abs(signs @ moved).max(1))
        departed.append(np.zeros((buckets, *spread.shape)))
        departed[-1][:, enough] = moved
        scores = np.zeros(spread.shape)
        scores[enough] = moved.sum(0)
        cell = np.unravel_index(np.abs(scores).argmax(), scores.shape)
        share = total[:, cell[0], cell[1]] / total[:, cell[0]].sum(-1)
        seen, of = pair[:, :, cell[0], cell[1]], pair[:, :, cell[0]].sum(-1)
        gap = difference_test(seen[:, 1], of[:, 1], seen[:, 0], of[:, 0])
        rows.append(
            {
                "period": start,
                "from_stage": origins[cell[0]],
                "to_stage": targets[cell[1]],
                "before": share[0],
                "after": share[1],
                "z": scores[cell],
                "effect": np.abs(total - expected_counts(total)).sum() / (2 * total.sum()),
                "lower": float(gap.lower),
                "upper": float(gap.upper),
            }
        )
    table = pd.DataFrame(rows, columns=CHANGE_COLUMNS[:9])
    size = table["z"].abs()
    beyond = (largest[:, None] >= size.to_numpy() * (1 - 1e-12)).sum(0)
    table["p_value"] = (1 + beyond) / (1 + n_permutations)
    if len(counts) < FEWEST_BUCKETS:
        table["p_value"] = np.nan
    table["chosen"] = (size == size.max()) & (table["p_value"] <= 0.05)
    table["plausible"] = False
    if rows:
        best = rows[size.idxmax()]
        cell = origins.index(best["from_stage"]), targets.index(best["to_stage"])
        redrawn = drawn @ np.stack([one[:, *cell] for one in departed], axis=1)
        chosen = np.abs(redrawn).argmax(axis=1)
        first, last = (np.quantile(chosen, tail, method="nearest") for tail in (0.025, 0.975))
        table["plausible"] = np.arange(len(table)).clip(first, last) == np.arange(len(table))
    return table


def change_test(points: pd.DataFrame) -> pd.DataFrame:
    """Return the surest boundary of `change_points` as one test among others.

    Parameters
    ----------
    points : DataFrame
        Not empty.

    Returns
    -------
    DataFrame
        One row as in `homogeneity_test`, test "change", statistic the largest z.
    """
    best = points.loc[points["z"].abs().idxmax()]
    row = {"test": "change", "segment": "all", "statistic": abs(best["z"]), "df": np.nan}
    return as_family(pd.DataFrame([row | best[["p_value", "effect"]].to_dict()]))


def _spread(total: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Return the standard errors of observed minus expected, (G, C, J), by customers.

    At least those of independent moves: where few moves are expected and none is seen, the
    buckets hardly differ, which is no certainty.
    """
    expected, rows = expected_counts(total), total.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        binomial = expected * (1 - expected / rows) * (1 - rows / rows.sum(0))
    return np.sqrt(np.fmax((moved**2).sum(0), binomial))


def moved_cells(frame: pd.DataFrame, *, group: str, levels: Sequence | None = None) -> pd.DataFrame:
    """Tell which probabilities differ between groups, cell by cell.

    Parameters
    ----------
    frame : DataFrame
        Transitions counted by ``group`` and bucket.
    group : str
        Column such as period or segment.
    levels : sequence, optional
        Groups to compare, by default all.

    Returns
    -------
    DataFrame
        group, from_stage, to_stage, n (of the group), probability (in the group), elsewhere (in
        the other groups), effect (difference), z, p_value (customers being the unit), q_value
        over all cells; sorted by p_value.
    """
    counts, names, origins, targets = count_array(frame, group, levels)
    total = counts.sum(0)
    rest = total.sum(0) - total
    moved = departures(counts)
    spread = _spread(total, moved)
    with np.errstate(invalid="ignore", divide="ignore"):
        inside = total / total.sum(-1, keepdims=True)
        elsewhere = rest / rest.sum(-1, keepdims=True)
        score = np.where(spread > 0, moved.sum(0) / spread, np.nan)
    few = (total + rest < 5) | (len(counts) < FEWEST_BUCKETS)
    score = np.where(few, np.nan, score)
    index = pd.MultiIndex.from_product([names, origins, targets])
    table = pd.DataFrame(
        {
            "n": total.ravel().astype(int),
            "probability": inside.ravel(),
            "elsewhere": elsewhere.ravel(),
            "effect": (inside - elsewhere).ravel(),
            "z": score.ravel(),
            "p_value": 2 * norm.sf(np.abs(score)).ravel(),
        },
        index=index.set_names([group, "from_stage", "to_stage"]),
    ).reset_index()
    table = table[((total + rest) > 0).ravel() & table["effect"].notna()]
    table = table.assign(q_value=benjamini_hochberg(table["p_value"]))
    return table.sort_values("p_value", ignore_index=True, kind="stable")


def order_test(
    ngrams: pd.DataFrame,
    *,
    segment: str = "all",
    folds: int = 10,
    n_permutations: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether one more stage of history tells more about the next: order k against k - 1.

    Parameters
    ----------
    ngrams : DataFrame
        stage_1, ..., stage_k (oldest first), to_stage, n and where known bucket, as
        ``ngram_counts(visits, order=k, by=["bucket"])`` gives.
    segment : str
        The name to put in the column.
    folds : int
        Parts of the customers for the held-out comparison.
    n_permutations, seed : int

    Returns
    -------
    DataFrame
        One row as in `homogeneity_test`, test "order 2 against 1" and so on, and further
        held_out_gain (nats per transition that the longer history saves on customers not learned
        from), held_out_lower, held_out_upper (95 %), and order: what decides, the longer history
        only when it saves for sure on customers not seen.
    """
    history = sorted(
        (name for name in ngrams.columns if str(name).startswith("stage_")),
        key=lambda name: int(str(name).removeprefix("stage_")),
    )
    if not history or not {"to_stage", "n"} <= set(ngrams.columns):
        raise ParameterError("ngrams: columns stage_1, …, to_stage, n are needed")
    order = len(history)
    context = ngrams[history[1:]].astype(str).agg("\x1f".join, axis=1) if order > 1 else "*"
    frame = ngrams.assign(from_stage=context)
    counts, *_ = count_array(frame, history[0])
    result = independence_test(counts, n_permutations=n_permutations, seed=seed)
    gain = held_out_gain(counts, folds=folds, seed=seed)
    row = _row(f"order {order} against {order - 1}", segment, result) | {
        "held_out_gain": float(gain.estimate),
        "held_out_lower": float(gain.lower),
        "held_out_upper": float(gain.upper),
        "order": order if gain.lower > 0 else order - 1,
    }
    return as_family(pd.DataFrame([row]))
