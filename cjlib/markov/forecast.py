"""How many customers will be in each stage, week by week, and how well that was foreseen before.

The customers of a snapshot move on by the weekly moves of the weeks before it, between states made
of the stage and of the silence so far; arrivals come at their recent average. A snapshot knows no
more than was known at its moment, so the back-test is the same forecast from an earlier one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cjlib.errors import Unanswerable
from cjlib.markov.next_stage import SILENCE_BANDS
from cjlib.markov.snapshots import GONE, NEW, Snapshots
from cjlib.uncertainty import bucket_array

ALL, BACK_TEST = "all", "back-test"
FIT_WEEKS, ARRIVAL_WEEKS = 26, 8
"""How far the moves and the arrivals look back; fewer where the log is shorter."""
FEWEST_WEEKS = 4
PRIOR = 0.5  # pseudo-customers per row, spread over the cells seen, so that no row is empty
DRAWS = 1_000
FAR_OFF = 0.5  # a band that holds no more than this share of the figures is no band


@dataclass(frozen=True)
class Forecast:
    """The weeks ahead, and the same forecast made as many weeks ago.

    Attributes
    ----------
    table : DataFrame
        The published table ``stage_forecast``: period (end of the week), stage, expected, lower,
        upper, observed (NaN where not yet known), naive (as many as at the moment of the forecast),
        kind (``back-test`` or ``forecast``); customers. Stages whose back-test failed have no
        forecast, a log too short for a back-test none of these.
    seen : DataFrame
        period, stage, customers at the last snapshots.
    arrivals : Series
        Customers newly active or active again per week, by the stage they are found in.
    """

    table: pd.DataFrame
    seen: pd.DataFrame
    arrivals: pd.Series


def forecast_stages(log, stages: Sequence[str], *, weeks: int = 8, seed: int = 0) -> Forecast:
    """Forecast the customers in each stage, and score the forecast of as many weeks ago.

    Parameters
    ----------
    log : Log
    stages : sequence of str
        In order.
    weeks : int
        How far ahead.
    seed : int
        Of the draws.

    Returns
    -------
    Forecast

    Raises
    ------
    Unanswerable
        With fewer than four weeks to learn from.
    """
    snapshots = Snapshots.of(log.events, log.as_of, log.dataset.journey.inactivity)
    ahead, arrivals = forecast_from(snapshots, stages, weeks=weeks, seed=seed)
    seen = snapshots.occupancy(weeks=4 * weeks)
    try:
        past, _ = forecast_from(snapshots, stages, weeks=weeks, at=-weeks, seed=seed)
    except Unanswerable:
        return Forecast(ahead, seen, arrivals)
    score = backtest_score(past).set_index("stage")["verdict"]
    ahead = ahead[ahead["stage"].map(score) != "failed"]
    return Forecast(pd.concat([past, ahead], ignore_index=True), seen, arrivals)


def backtest_score(table: pd.DataFrame) -> pd.DataFrame:
    """Score a back-test against what happened and against "as many as today".

    Parameters
    ----------
    table : DataFrame
        Of a `Forecast`.

    Returns
    -------
    DataFrame
        stage (``all`` first), cells (weeks times stages), coverage (share of them inside their
        band), error_rate and naive_rate (absolute errors over the customers observed), band_rate
        (width of the bands of the weeks ahead over the customers expected there; above 1 too wide
        to plan with) and verdict: ``better`` than the naive forecast, ``no better``, or ``failed``
        where besides its band holds no more than half of the figures: then no forecast is made, and
        none at all where it failed as a whole. Empty where no week has been observed.
    """
    both = pd.concat([table.assign(stage=ALL), table])
    both = both.assign(
        cells=1,
        inside=both["observed"].between(both["lower"], both["upper"]),
        error=(both["expected"] - both["observed"]).abs(),
        naive_error=(both["naive"] - both["observed"]).abs(),
        width=both["upper"] - both["lower"],
    )
    past, ahead = (
        part.groupby("stage", sort=False).sum(numeric_only=True)
        for part in (both[both["kind"] == BACK_TEST], both[both["kind"] != BACK_TEST])
    )
    coverage, no_better = past["inside"] / past["cells"], past["error"] >= past["naive_error"]
    failed = no_better & (coverage <= FAR_OFF)
    failed |= failed.head(1).any()  # as a whole
    score = {
        "cells": past["cells"],
        "coverage": coverage,
        "error_rate": past["error"] / past["observed"],
        "naive_rate": past["naive_error"] / past["observed"],
        "band_rate": (ahead["width"] / ahead["expected"]).reindex(past.index),
        "verdict": np.select([failed, no_better], ["failed", "no better"], "better"),
    }
    return pd.DataFrame(score).rename_axis("stage").reset_index()


def forecast_from(
    snapshots: Snapshots, stages: Sequence[str], *, weeks: int = 8, at: int = 0, seed: int = 0
) -> tuple[pd.DataFrame, pd.Series]:
    """Forecast the customers in each stage for the weeks after a snapshot.

    Parameters
    ----------
    snapshots : Snapshots
    stages : sequence of str
        In order.
    weeks : int
        How far ahead.
    at : int
        The snapshot to forecast from, 0 or negative; later ones are used to score alone.
    seed : int
        Of the draws.

    Returns
    -------
    table : DataFrame
        As in `Forecast`, of this snapshot.
    arrivals : Series

    Raises
    ------
    Unanswerable
        With fewer than four weeks before ``at``.

    Notes
    -----
    Expected counts are :math:`x_{t+1} = x_t P + a`, over states of stage and silence. The band
    holds 95 % of draws in which the matrix comes from resampled buckets of customers, every
    customer moves by chance (multinomial), each coming week's arrivals are those of a resampled
    recent week, and their level drifts as far from the recent average as it did earlier within
    the weeks learned from, up as easily as down.
    """
    stages, weekly = list(stages), snapshots.weekly
    found = list(range(int(weekly["week"].min()), 1)) if len(weekly) else []
    if at - FEWEST_WEEKS + 1 not in found:
        raise Unanswerable(f"a forecast needs {FEWEST_WEEKS} weeks to learn from")
    states = [f"{band} {stage}" for band in range(SILENCE_BANDS) for stage in stages]
    levels = {"week": found, "origin": [*states, NEW], "target": [*states, GONE]}
    total = bucket_array(_stated(weekly).assign(bucket=0), list(levels), "n", levels=levels)[0]
    there = total[..., :-1].sum(axis=1)  # (weeks, states)
    place = found.index
    first = max(at - FIT_WEEKS + 1, found[0] + 1)
    recent = max(at - ARRIVAL_WEEKS + 1, found[0] + 1)
    span = total[place(first) : place(at) + 1, -1, :-1]
    arrivals = total[place(recent) : place(at) + 1, -1, :-1]
    del levels["week"]
    moved = _stated(snapshots.by_bucket(first, at))
    by_bucket = bucket_array(moved, list(levels), "n", levels=levels)[:, :-1]
    now = there[place(at)]

    def by_stage(states: np.ndarray) -> np.ndarray:
        return states.reshape(*states.shape[:-1], SILENCE_BANDS, len(stages)).sum(axis=-2)

    moves = by_bucket.sum(axis=0)
    expected, matrix = [now], _rows(moves, _possible(moves))[:, :-1]
    for _ in range(weeks):
        expected.append(expected[-1] @ matrix + arrivals.mean(axis=0))
    drift = _drift(by_stage(span).sum(axis=-1), len(arrivals), weeks)
    draws = by_stage(_draws(now, by_bucket, arrivals, drift, weeks, seed))
    lower, upper = np.quantile(draws, [0.025, 0.975], axis=0)
    ahead = np.arange(at + 1, at + weeks + 1)
    observed = np.full((weeks, len(stages)), np.nan)
    observed[ahead <= 0] = by_stage(there[[place(week) for week in ahead[ahead <= 0]]])
    week = np.repeat(ahead, len(stages))
    table = pd.DataFrame(
        {
            "period": (snapshots.as_of + pd.to_timedelta(week * 7, unit="D")).normalize(),
            "stage": np.tile(np.array(stages, dtype=object), weeks),
            "expected": by_stage(np.array(expected[1:])).ravel(),
            "lower": lower.ravel(),
            "upper": upper.ravel(),
            "observed": observed.ravel(),
            "naive": np.tile(by_stage(now), weeks),
            "kind": np.where(week <= 0, BACK_TEST, "forecast"),
        }
    )
    return table, pd.Series(by_stage(arrivals).mean(axis=0), index=stages)


def _stated(moves: pd.DataFrame) -> pd.DataFrame:
    """Name the states of moves in one column each: ``origin`` and ``target``."""
    ends = {}
    for name, side, outside in (("origin", "from", NEW), ("target", "to", GONE)):
        stage = moves[f"{side}_stage"]
        state = moves[f"{side}_band"].astype(str) + " " + stage
        ends[name] = state.where(stage != outside, outside)
    return moves.assign(**ends)


def _possible(counts: np.ndarray) -> np.ndarray:
    """Return the cells (S, S + 1) that were seen; all of a row of which nothing was seen."""
    return (counts > 0) | (counts.sum(axis=-1, keepdims=True) == 0)


def _rows(counts: np.ndarray, possible: np.ndarray) -> np.ndarray:
    """Return probabilities from counts (..., S, S + 1), a little of the prior in possible cells."""
    counts = counts + PRIOR * possible / possible.sum(axis=-1, keepdims=True)
    return counts / counts.sum(axis=-1, keepdims=True)


def _drift(arrivals: np.ndarray, recent: int, weeks: int) -> np.ndarray:
    """Return by how much arrivals of so many weeks differed from the average before them.

    Parameters
    ----------
    arrivals : ndarray, shape (W,)
        By week, oldest first.

    Returns
    -------
    ndarray, shape (2 * moments,)
        Factors, each with its inverse; 1 alone where the weeks are too few.
    """
    sums = np.r_[0, arrivals.cumsum()]
    moments = np.arange(recent, len(arrivals) - weeks + 1)
    if not len(moments):
        return np.ones(1)
    before = (sums[moments] - sums[moments - recent]) / recent
    after = (sums[moments + weeks] - sums[moments]) / weeks
    factor = (after + PRIOR) / (before + PRIOR)
    return np.r_[factor, 1 / factor]


def _draws(
    now: np.ndarray,
    by_bucket: np.ndarray,
    arrivals: np.ndarray,
    drift: np.ndarray,
    weeks: int,
    seed: int,
) -> np.ndarray:
    """Draw possible futures, shape (DRAWS, weeks, S)."""
    rng = np.random.default_rng(seed)
    size = len(by_bucket)
    weights = rng.multinomial(size, np.full(size, 1 / size), DRAWS)
    possible = _possible(by_bucket.sum(axis=0))
    matrices = _rows(np.tensordot(weights, by_bucket, axes=1), possible)
    # resampling the recent weeks carries how unsure their mean is; drawing from them, their noise
    resampled = rng.integers(len(arrivals), size=(DRAWS, len(arrivals)))
    drawn = np.take_along_axis(resampled, rng.integers(len(arrivals), size=(DRAWS, weeks)), axis=1)
    coming = arrivals[drawn] * drift[rng.integers(len(drift), size=DRAWS)][:, None, None]
    coming = np.rint(coming).astype(np.int64)
    there, path = np.tile(now.astype(np.int64), (DRAWS, 1)), []
    for step in range(weeks):
        moved = np.zeros((DRAWS, len(now) + 1), np.int64)
        for state, cells in enumerate(possible):
            moved[:, cells] += rng.multinomial(there[:, state], matrices[:, state, cells])
        there = moved[:, :-1] + coming[:, step]
        path.append(there)
    return np.stack(path, axis=1)
