"""Tests of Markov chains over many customers: differences of segments, memory, change over time.

Each is a test of independence of a group and the next stage (`cjlib.markov.independence`), returned
as rows of one table. Its `p_value` is the permutation p-value by customer wherever there are
customers enough, the asymptotic one elsewhere; effects are total variation, always beside what
chance alone would show.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import norm

from cjlib.errors import Unanswerable
from cjlib.markov.independence import (
    count_array,
    expected_counts,
    held_out_gain,
    independence_test,
    scores_by_bucket,
)
from cjlib.tables import TABLES
from cjlib.uncertainty import (
    FEWEST_BUCKETS,
    FOUND,
    benjamini_hochberg,
    difference_test,
    proportion,
)

ALL = "all"
FEWEST_EXPECTED = 5
"""Expected moves before and after a boundary below which a cell cannot show a change."""
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


def stationarity_test(moves: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Test whether the chain stays the same over periods: all together, and at the surest date.

    Parameters
    ----------
    moves : DataFrame
        period, bucket, from_stage, to_stage, n.
    seed : int

    Returns
    -------
    DataFrame
        Rows of `corrected_together`: test "stationarity", and test "change" whose statistic is the
        largest z of `change_points` and whose p-value allows for the search of a date.

    Raises
    ------
    Unanswerable
        As `change_points`.
    """
    points = change_points(moves, seed=seed)
    counts, *_ = count_array(moves, "period")
    together = {"test": "stationarity", "segment": ALL} | independence_test(counts, seed=seed)
    surest = points.loc[points["z"].abs().idxmax()]
    change = {"test": "change", "segment": ALL, "statistic": abs(surest["z"])}
    return pd.DataFrame([together, change | surest[["p_value", "effect"]].to_dict()])


def change_points(moves: pd.DataFrame, *, n_permutations: int = 999, seed: int = 0) -> pd.DataFrame:
    """Compare before with after at every boundary of periods, to date a change.

    Parameters
    ----------
    moves, n_permutations, seed
        As in `stationarity_test`.

    Returns
    -------
    DataFrame
        period (the first one after the boundary), from_stage and to_stage (the move that changed
        most surely there), share_before, share_after (its probability), z (in customer-level
        standard errors), effect (total variation of the whole chain), lower and upper (95 %, of the
        share after less that before), p_value (of the largest z over all moves and boundaries, so
        that the search is allowed for; signs of the buckets exchanged) and plausible (no earlier
        and no later than the boundaries at which, in 95 % of resamples of the customers, the surest
        move changed most surely).

    Raises
    ------
    Unanswerable
        With one stage, or with moves in too few months.
    """
    counts, periods, origins, targets = count_array(moves, "period")
    before = counts.cumsum(1)[:, :-1]
    after = counts.sum(1, keepdims=True) - before
    rng, buckets = np.random.default_rng(seed), len(counts)
    signs = rng.integers(0, 2, (n_permutations, buckets)) * 2.0 - 1.0
    drawn = rng.multinomial(buckets, np.full(buckets, 1 / buckets), n_permutations)
    largest = np.zeros(n_permutations)
    rows, cells, departed = [], [], []
    for i, start in enumerate(periods[1:] if len(origins) > 1 else []):
        pair = np.stack([before[:, i], after[:, i]], 1)
        total, scores = pair.sum(0), scores_by_bucket(pair)[:, 1]
        enough = (expected_counts(total) >= FEWEST_EXPECTED).all(0) & np.isfinite(scores[0])
        if not enough.any():
            continue
        scores = np.where(enough, scores, 0.0)
        largest = np.maximum(largest, np.abs(signs @ scores[:, enough]).max(1))
        departed.append(scores)
        z = scores.sum(0)
        cell = np.unravel_index(np.abs(z).argmax(), z.shape)
        cells.append(cell)
        share = total[:, *cell] / total[:, cell[0]].sum(-1)
        seen, of = pair[:, :, *cell], pair[:, :, cell[0]].sum(-1)
        difference = difference_test(seen[:, 1], of[:, 1], seen[:, 0], of[:, 0])
        rows.append(
            {
                "period": start,
                "from_stage": origins[cell[0]],
                "to_stage": targets[cell[1]],
                "share_before": share[0],
                "share_after": share[1],
                "z": z[cell],
                "effect": np.abs(total - expected_counts(total)).sum() / (2 * total.sum()),
                "lower": float(difference.lower),
                "upper": float(difference.upper),
            }
        )
    if not rows:
        raise Unanswerable("a change over time needs two stages, and moves in some months")
    table = pd.DataFrame(rows)
    size = table["z"].abs()
    beyond = (largest[:, None] >= size.to_numpy() * (1 - 1e-12)).sum(0)
    table["p_value"] = (1 + beyond) / (1 + n_permutations) if buckets >= FEWEST_BUCKETS else np.nan
    redrawn = drawn @ np.stack([one[:, *cells[size.idxmax()]] for one in departed], axis=1)
    chosen = np.abs(redrawn).argmax(axis=1)
    first, last = (np.quantile(chosen, tail, method="nearest") for tail in (0.025, 0.975))
    return table.assign(plausible=(table.index >= first) & (table.index <= last))


def dated_change(points: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """Return the date of a change where the tests of the page bear one out.

    Parameters
    ----------
    points : DataFrame
        Of `change_points`. Its own p-value allows for the search of a date, not for the other
        tests of the page.
    tests : DataFrame
        Of `corrected_together`.

    Returns
    -------
    DataFrame
        One row, or none where no date stands out: that of ``points``, and difference (after less
        before) with its limits, first and last (plausible periods), q_value (of the date) and
        verdict: ``change``, or ``hint`` where the periods together are not shown to differ.
    """
    q_values = tests[tests["segment"] == ALL].set_index("test")["q_value"]
    surest = points.loc[[points["z"].abs().idxmax()]]
    limits = {"lower": "difference_lower", "upper": "difference_upper"}
    found = surest.rename(columns=limits).assign(
        difference=surest["share_after"] - surest["share_before"],
        first=points.loc[points["plausible"], "period"].min(),
        last=points.loc[points["plausible"], "period"].max(),
        q_value=q_values["change"],
        verdict="change" if q_values["stationarity"] <= FOUND else "hint",
    )
    return found[found["q_value"] <= FOUND]


def moved_since(moves: pd.DataFrame, change: pd.DataFrame) -> pd.DataFrame:
    """Tell which probabilities differ since the date of a change from those before it.

    Parameters
    ----------
    moves : DataFrame
        As in `stationarity_test`.
    change : DataFrame
        Of `dated_change`.

    Returns
    -------
    DataFrame
        As `moved_cells`, of the periods since then; without rows where there is no date.
    """
    dates = [moves["period"] >= date for date in change["period"]]
    cells = [moved_cells(moves.assign(since=since), "since").query("since") for since in dates]
    return pd.concat([pd.DataFrame(columns=["from_stage", "to_stage", "verdict"]), *cells])


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
