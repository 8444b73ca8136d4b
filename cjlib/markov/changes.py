"""Whether the moves changed, when, and by how much, among customers alike.

Months differ in their customers: a young log fills up with those who come again, and heavy users
make ever more of its visits. So the moves of customers alike are compared (same stage, same
stratum of `cjlib.markov.standing`), and what their mix adds to the raw change stands beside.

The surest of many moves at the surest of many dates has been chosen for being large. Three quarters
of the buckets of customers choose and test it; the last quarter, which had no part in that, says
how large it is.
"""

import numpy as np
import pandas as pd
from scipy.stats import norm

from cjlib.errors import Unanswerable
from cjlib.markov.independence import (
    count_array,
    expected_counts,
    independence_test,
    pooled,
    scores_by_bucket,
)
from cjlib.markov.markov_tests import ALL
from cjlib.uncertainty import FEWEST_BUCKETS, FOUND, benjamini_hochberg, bucket_array, ratio_test

FEWEST_EXPECTED = 5
"""Expected moves before and after a boundary below which a cell cannot show a change."""
PARTS = 4
"""One in so many buckets states the size of a change; the others choose it."""


def stationarity_test(moves: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Test whether customers alike move alike in all periods, and at the surest date.

    Parameters
    ----------
    moves : DataFrame
        period, bucket, from_stage, to_stage, n; ``stratum`` where customers differ, missing where
        it is not known: such moves are left out.
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
    counts, strata, *_ = _counted(moves)
    test = independence_test(counts, strata=strata, seed=seed)
    together = {"test": "stationarity", "segment": ALL} | test
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
        most surely there), z (in customer-level standard errors), effect (total variation of the
        whole chain), p_value (of the largest z over all moves and boundaries, so that the search is
        allowed for; signs of the buckets exchanged) and plausible (no earlier and no later than the
        boundaries at which, in 95 % of resamples of the customers, the surest move changed most
        surely); all by the buckets that choose. By the others, the figures of `like_with_like` for
        that move.

    Raises
    ------
    Unanswerable
        With one stage, or with moves in too few months.
    """
    counts, strata, periods, origins, targets = _counted(moves)
    before = counts.cumsum(1)[:, :-1]
    pairs = np.stack([before, counts.sum(1, keepdims=True) - before], axis=2)
    states = np.arange(len(counts)) % PARTS == 0
    rng, buckets = np.random.default_rng(seed), int((~states).sum())
    signs = rng.integers(0, 2, (n_permutations, buckets)) * 2.0 - 1.0
    drawn = rng.multinomial(buckets, np.full(buckets, 1 / max(buckets, 1)), n_permutations)
    largest = np.zeros(n_permutations)
    rows, cells, departed = [], [], []
    for i, start in enumerate(periods[1:] if len(origins) > 1 else []):
        pair = pairs[~states, i]
        total, scores = pair.sum(0), scores_by_bucket(pair, strata)[:, 1]
        # a stratum on one side alone shows nothing
        expected = pooled(expected_counts(total) * (total.sum(-1) > 0).all(0)[:, None], strata)
        enough = (expected >= FEWEST_EXPECTED).all(0) & np.isfinite(scores[0])
        if not enough.any():
            continue
        scores = np.where(enough, scores, 0.0)
        largest = np.maximum(largest, np.abs(signs @ scores[:, enough]).max(1))
        departed.append(scores)
        z = scores.sum(0)
        cell = np.unravel_index(np.abs(z).argmax(), z.shape)
        cells.append(cell)
        gap = np.abs(pooled(total - expected_counts(total), strata)).sum()
        figures = like_with_like(pairs[states, i], strata)
        rows.append(
            {
                "period": start,
                "from_stage": origins[cell[0]],
                "to_stage": targets[cell[1]],
                "z": z[cell],
                "effect": gap / (2 * total.sum()),
            }
            | {name: values[cell] for name, values in figures.items()}
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


def like_with_like(pair: np.ndarray, strata: int = 1) -> dict[str, np.ndarray]:
    """Take a change of probabilities apart: what customers alike do, and who the customers are.

    Parameters
    ----------
    pair : array, shape (B, 2, S * C, J)
        Moves by bucket, before and since, contexts in S strata, and outcomes.
    strata : int

    Returns
    -------
    dict of arrays, shape (C, J)
        share_before, share_after (probabilities of customers alike: strata weighted by how far they
        overlap, as the harmonic mean of their moves), difference; raw_difference (all customers
        together); mix_difference (the second less the first: exact); of each lower, upper and p
        (95 %, customers being the unit).

    Notes
    -----
    The weights are those of Mantel and Haenszel (1959), so that the difference is what the test
    adds up; the limits are those of `cjlib.uncertainty.ratio_test`.
    """
    moves = pair.sum(-1, keepdims=True)
    total, rows = pair.sum(0), moves.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.nan_to_num(rows.prod(0) / rows.sum(0))
        weight = weight / np.tile(pooled(weight, strata), (strata, 1))
        share = np.nan_to_num(total / rows)
        influence = np.nan_to_num((pair - share * moves) / rows)
        alike = pooled(weight * share, strata)
        all_rows = pooled(rows, strata)
        raw = pooled(total, strata) / all_rows
        influence_raw = (pooled(pair, strata) - raw * pooled(moves, strata)) / all_rows
        held = pooled(moves, strata).sum(1) / all_rows.sum(0)  # of the moves, by bucket
    changes = {
        "difference": (alike[1] - alike[0], pooled(weight * influence, strata)),
        "raw_difference": (raw[1] - raw[0], influence_raw),
    }
    changes["mix_difference"] = tuple(
        one - other for one, other in zip(*list(changes.values())[::-1], strict=True)
    )
    figures = {"share_before": alike[0], "share_after": alike[1]}
    for name, (change, moved) in changes.items():
        found = ratio_test(moved[:, 1] - moved[:, 0] + change * held, held)
        limits = {f"{name}_lower": found.lower, f"{name}_upper": found.upper}
        figures |= {name: change, **limits, f"{name}_p": found.p_value}
    return figures


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
        One row, or none where no date stands out: that of ``points``, and first and last (plausible
        periods), q_value (of the date) and verdict: ``change``, or ``hint`` where the periods
        together are not shown to differ, or the buckets apart do not bear it out.
    """
    q_values = tests[tests["segment"] == ALL].set_index("test")["q_value"]
    surest = points.loc[[points["z"].abs().idxmax()]]
    borne_out = (surest[["difference_lower", "difference_upper"]].prod(axis=1) > 0).item()
    found = surest.assign(
        first=points.loc[points["plausible"], "period"].min(),
        last=points.loc[points["plausible"], "period"].max(),
        q_value=q_values["change"],
        verdict="change" if borne_out and q_values["stationarity"] <= FOUND else "hint",
    )
    return found[found["q_value"] <= FOUND]


def moved_since(moves: pd.DataFrame, change: pd.DataFrame) -> pd.DataFrame:
    """Tell which probabilities of customers alike differ since the date of a change.

    Parameters
    ----------
    moves : DataFrame
        As in `stationarity_test`.
    change : DataFrame
        Of `dated_change`.

    Returns
    -------
    DataFrame
        from_stage, to_stage, the figures of `like_with_like`, p_value, q_value (over all moves) and
        verdict (``higher``, ``lower``, or ``none`` where it could be chance), surest first, all by
        the buckets that had no part in choosing the date; without rows where there is no date.
    """
    tables = [pd.DataFrame(columns=["from_stage", "to_stage", "verdict"])]
    for date in change["period"]:
        counts, strata, periods, origins, targets = _counted(moves)
        since = np.array(periods) >= date
        parts = [counts[::PARTS, when].sum(1) for when in (~since, since)]
        pair = np.stack(parts, axis=1)
        index = pd.MultiIndex.from_product([origins, targets], names=["from_stage", "to_stage"])
        figures = like_with_like(pair, strata)
        table = pd.DataFrame({name: part.ravel() for name, part in figures.items()}, index)
        z = scores_by_bucket(pair, strata)[:, 1].sum(0).ravel()
        few = pooled(pair.sum((0, 1)), strata).ravel() < FEWEST_EXPECTED
        table["p_value"] = np.where(few | (len(pair) < FEWEST_BUCKETS), np.nan, 2 * norm.sf(abs(z)))
        table["q_value"] = benjamini_hochberg(table["p_value"])
        way = np.where(table["difference"] > 0, "higher", "lower")
        table["verdict"] = np.where(table["q_value"] <= FOUND, way, "none")
        known = table[table["difference"].notna()].reset_index()
        tables.append(known.sort_values("p_value", ignore_index=True, kind="stable"))
    return pd.concat(tables)


def _counted(moves: pd.DataFrame) -> tuple[np.ndarray, int, list, list, list]:
    """Return counts (B, P, S * C, J), the number of strata S, and the levels of P, C and J."""
    if "stratum" not in moves:
        counts, *levels = count_array(moves, "period")
        return counts, 1, *levels
    names = ["period", "stratum", "from_stage", "to_stage"]
    known = moves[moves["stratum"].notna()]
    levels = {name: sorted(known[name].dropna().unique()) for name in names}
    counts = bucket_array(known, names, "n", levels=levels)
    size = len(levels["stratum"]) * len(levels["from_stage"])
    periods, strata, origins, targets = levels.values()
    counts = counts.reshape(len(counts), len(periods), size, len(targets))
    return counts, len(strata), periods, origins, targets
