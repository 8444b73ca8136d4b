"""Tests of Markov chains over many customers: differences of segments, and memory.

Each, like those of `cjlib.markov.changes`, is a test of independence of a group and the next stage
(`cjlib.markov.independence`), returned as rows of one table. Its `p_value` is the permutation
p-value by customer wherever there are customers enough, the asymptotic one elsewhere; effects are
total variation, always beside what chance alone would show.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import norm

from cjlib.errors import Unanswerable
from cjlib.markov.independence import (
    count_array,
    held_out_gain,
    independence_test,
    scores_by_bucket,
)
from cjlib.tables import TABLES
from cjlib.uncertainty import (
    FEWEST_BUCKETS,
    FOUND,
    benjamini_hochberg,
    proportion,
)

ALL = "all"
FEWEST_MOVES = 5
"""Moves below which a cell is not compared between groups."""


def corrected_together(*tests: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Run several tests and correct them for their number (Benjamini-Hochberg).

    Parameters
    ----------
    *tests : callable
        Without arguments, to rows of the table; tests that the log cannot answer are left out.

    Returns
    -------
    DataFrame
        The published table ``markov_tests``: test, segment, statistic, df, p_value, q_value,
        effect (total variation), then effect_by_chance, p_asymptotic, n, buckets, and what single
        tests add. Empty when nothing could be tested.
    """
    tables = []
    for test in tests:
        try:
            tables.append(test())
        except Unanswerable:
            continue
    if not tables:
        return pd.DataFrame(columns=TABLES["markov_tests"])
    joined = pd.concat(tables, ignore_index=True)
    joined.insert(5, "q_value", benjamini_hochberg(joined["p_value"]))
    return joined


def homogeneity_test(moves: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Test whether segments move alike: all together, then each against the rest.

    Parameters
    ----------
    moves : DataFrame
        segment, bucket, from_stage, to_stage, n; the segment ``all`` is passed over.
    seed : int

    Returns
    -------
    DataFrame
        Rows of `corrected_together`, test "homogeneity"; segment ``all`` is the joint test.

    Raises
    ------
    Unanswerable
        With fewer than two segments.
    """
    counts, names, *_ = _groups(moves, "segment")
    tests = {ALL: counts}
    if len(names) > 2:
        rest = counts.sum(1, keepdims=True) - counts
        tests |= {name: np.stack([counts[:, i], rest[:, i]], 1) for i, name in enumerate(names)}
    rows = [
        {"test": "homogeneity", "segment": str(name)} | independence_test(part, seed=seed)
        for name, part in tests.items()
    ]
    return pd.DataFrame(rows)


def order_test(histories: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Test whether one more stage of history tells more about the next: order k against k - 1.

    Parameters
    ----------
    histories : DataFrame
        bucket, stage_1, ..., stage_k (oldest first), to_stage, n, as `cjlib.markov.histories`
        gives.
    seed : int

    Returns
    -------
    DataFrame
        A row of `corrected_together`, test "order 2 against 1" and so on, with further columns
        held_out_gain (nats per transition that the longer history saves on customers not learned
        from), held_out_lower, held_out_upper (95 %), and order: what decides, the longer history
        only when it saves for sure on customers not seen.
    """
    oldest, *recent = sorted(name for name in histories.columns if name.startswith("stage_"))
    order = 1 + len(recent)
    context = histories.groupby(recent).ngroup() if recent else 0
    counts, *_ = count_array(histories.assign(from_stage=context), oldest)
    gain = held_out_gain(counts, seed=seed)
    row = {"test": f"order {order} against {order - 1}", "segment": ALL}
    row |= independence_test(counts, n_permutations=499, seed=seed)
    row |= {
        "held_out_gain": float(gain.estimate),
        "held_out_lower": float(gain.lower),
        "held_out_upper": float(gain.upper),
        "order": order if gain.lower > 0 else order - 1,
    }
    return pd.DataFrame([row])


def memory(tests: pd.DataFrame) -> pd.DataFrame:
    """Return what a longer history tells about the next stage of customers held out.

    Parameters
    ----------
    tests : DataFrame
        Of `corrected_together`.

    Returns
    -------
    DataFrame
        longer, shorter (stages of history), gain_share (of likelihood per move) with its limits, n,
        q_value, verdict: ``helps``, ``does not help``, or ``no choice`` where the shorter history
        already tells the longer. A row per order tested.

    Raises
    ------
    Unanswerable
        Where none was.
    """
    rows = tests[tests["test"].astype(str).str.startswith("order")]
    if rows.empty:
        raise Unanswerable("with fewer than three stages the one before the last tells nothing new")
    longer = rows["test"].str.split().str[1].astype(int)
    verdict = np.where(rows["held_out_lower"] > 0, "helps", "does not help")
    return pd.DataFrame(
        {
            "longer": longer,
            "shorter": longer - 1,
            "gain_share": rows["held_out_gain"],
            "gain_share_lower": rows["held_out_lower"],
            "gain_share_upper": rows["held_out_upper"],
            "n": rows["n"].astype(int),
            "q_value": rows["q_value"],
            "verdict": np.where(rows["df"] > 0, verdict, "no choice"),
        }
    )


def moved_cells(moves: pd.DataFrame, group: str) -> pd.DataFrame:
    """Tell which probabilities differ between groups, cell by cell.

    Parameters
    ----------
    moves : DataFrame
        Transitions counted by `group` and bucket; a segment ``all`` is passed over.
    group : str
        Column such as segment.

    Returns
    -------
    DataFrame
        group, from_stage, to_stage, n (of the group), probability (in the group), lower, upper,
        share_elsewhere (in the other groups), q_value over all cells, p_value (customers being the
        unit), difference, verdict (``higher``, ``lower``, or ``none`` where it could be chance);
        surest first.

    Raises
    ------
    Unanswerable
        With fewer than two groups.
    """
    counts, names, origins, targets = _groups(moves, group)
    total = counts.sum(0)
    rest = total.sum(0) - total
    own = proportion(counts, counts.sum(-1, keepdims=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        elsewhere = rest / rest.sum(-1, keepdims=True)
    few = (total + rest < FEWEST_MOVES) | (len(counts) < FEWEST_BUCKETS)
    z = np.where(few, np.nan, scores_by_bucket(counts).sum(0))
    p_value = 2 * norm.sf(np.abs(z))
    shown = (total + rest > 0) & np.isfinite(own.estimate - elsewhere)
    figures = {
        "n": total.astype(int),
        "probability": own.estimate,
        "lower": own.lower,
        "upper": own.upper,
        "share_elsewhere": elsewhere,
        "q_value": benjamini_hochberg(np.where(shown, p_value, np.nan)),
        "p_value": p_value,
        "difference": own.estimate - elsewhere,
    }
    index = pd.MultiIndex.from_product([names, origins, targets])
    table = pd.DataFrame({name: values.ravel() for name, values in figures.items()}, index)
    table = table.rename_axis([group, "from_stage", "to_stage"]).reset_index()[shown.ravel()]
    way = np.where(table["difference"] > 0, "higher", "lower")
    table = table.assign(verdict=np.where(table["q_value"] <= FOUND, way, "none"))
    return table.sort_values("p_value", ignore_index=True, kind="stable")


def _groups(moves: pd.DataFrame, group: str) -> tuple[np.ndarray, list, list, list]:
    """Return counts (B, G, C, J) of two groups or more, and the levels of the axes."""
    counted = count_array(moves[moves[group] != ALL], group)
    if len(counted[1]) < 2:
        raise Unanswerable("this log does not tell these groups of customers apart")
    return counted
