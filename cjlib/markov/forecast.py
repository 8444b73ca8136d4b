"""How many customers will be in each stage, week by week, and how well that was foreseen before.

The customers of a snapshot move on by the weekly moves of the weeks before it, between states made
of the stage and of the silence so far; arrivals come at their recent average. A snapshot knows no
more than was known at its moment, so the back-test is the same forecast from an earlier one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cjlib.markov.snapshots import GONE, NEW, Snapshots
from cjlib.uncertainty import bucket_array

PRIOR = 0.5  # pseudo-customers per row, spread over all cells, so that no row is empty
DRAWS = 1_000
FAR_OFF = 0.5  # a band that holds no more than this share of the figures is no band
COLUMNS = ["period", "stage", "expected", "lower", "upper", "observed", "naive", "kind"]


@dataclass(frozen=True)
class Forecast:
    """Weeks ahead of one moment.

    Attributes
    ----------
    table : DataFrame
        ``period`` (end of the week), ``stage, expected, lower, upper, observed`` (NaN where not
        yet known), ``naive`` (as many as at the moment of the forecast), ``kind``
        (``"back-test"`` where observed, else ``"forecast"``); customers.
    arrivals : Series
        Customers newly active or active again per week, by the stage they are found in.
    fit_weeks, arrival_weeks : int
        How many weeks the matrix and the arrivals were learned from.
    """

    table: pd.DataFrame
    arrivals: pd.Series
    fit_weeks: int
    arrival_weeks: int


def forecast(
    snapshots: Snapshots,
    stages: Sequence[str],
    *,
    horizon: int = 8,
    at: int = 0,
    fit_weeks: int = 26,
    arrival_weeks: int = 8,
    seed: int = 0,
) -> Forecast | None:
    """Forecast the customers in each stage for the weeks after a snapshot.

    Parameters
    ----------
    snapshots : Snapshots
    stages : sequence of str
        In order.
    horizon : int
        Weeks ahead.
    at : int
        The snapshot to forecast from, 0 or negative; later ones are used to score alone.
    fit_weeks, arrival_weeks : int
        How far the moves and the arrivals look back; fewer where the log is shorter.
    seed : int
        Of the draws.

    Returns
    -------
    Forecast or None
        None when fewer than four weeks lie before ``at``: too little to learn a week from.

    Notes
    -----
    Expected counts are :math:`x_{t+1} = x_t P + a`, over states of stage and silence. The band
    holds 95 % of draws in which the matrix comes from resampled buckets of customers, every
    customer moves by chance (multinomial), each coming week's arrivals are those of a resampled
    recent week, and their level drifts as far from the recent average as it did earlier within
    ``fit_weeks``, up as easily as down.
    """
    stages, weekly = list(stages), snapshots.weekly
    found = list(range(int(weekly["week"].min()), 1)) if len(weekly) else []
    if at - 3 not in found:
        return None
    states = [f"{band} {stage}" for band in range(snapshots.bands) for stage in stages]
    levels = {"week": found, "origin": [*states, NEW], "target": [*states, GONE]}
    total = bucket_array(_stated(weekly).assign(bucket=0), list(levels), "n", levels=levels)[0]
    there = total[..., :-1].sum(axis=1)  # (weeks, states)
    place = found.index
    first = max(at - fit_weeks + 1, found[0] + 1)
    recent = max(at - arrival_weeks + 1, found[0] + 1)
    span = total[place(first) : place(at) + 1, -1, :-1]
    arrivals = total[place(recent) : place(at) + 1, -1, :-1]
    del levels["week"]
    moved = _stated(snapshots.by_bucket(first, at))
    by_bucket = bucket_array(moved, list(levels), "n", levels=levels)[:, :-1]
    now = there[place(at)]

    def by_stage(states: np.ndarray) -> np.ndarray:
        return states.reshape(*states.shape[:-1], snapshots.bands, len(stages)).sum(axis=-2)

    expected = _expected(now, _rows(by_bucket.sum(axis=0)), arrivals.mean(axis=0), horizon)
    drift = _drift(by_stage(span).sum(axis=-1, keepdims=True), len(arrivals), horizon)
    draws = by_stage(_draws(now, by_bucket, arrivals, drift, horizon, seed))
    lower, upper = np.quantile(draws, [0.025, 0.975], axis=0)
    ahead = np.arange(at + 1, at + horizon + 1)
    observed = np.full((horizon, len(stages)), np.nan)
    scored = ahead <= 0
    observed[scored] = by_stage(there[[place(week) for week in ahead[scored]]])
    weeks = np.repeat(ahead, len(stages))
    days = pd.to_timedelta(weeks * 7, unit="D")
    table = pd.DataFrame(
        {
            "period": (snapshots.as_of + days).normalize(),
            "stage": np.tile(np.array(stages, dtype=object), horizon),
            "expected": by_stage(expected).ravel(),
            "lower": lower.ravel(),
            "upper": upper.ravel(),
            "observed": observed.ravel(),
            "naive": np.tile(by_stage(now), horizon),
            "kind": np.where(weeks <= 0, "back-test", "forecast"),
        }
    )
    mean = pd.Series(by_stage(arrivals).mean(axis=0), index=stages)
    return Forecast(table, mean, fit_weeks=len(span), arrival_weeks=len(arrivals))


def _stated(moves: pd.DataFrame) -> pd.DataFrame:
    """Name the states of moves in one column each: ``origin`` and ``target``."""
    ends = {}
    for name, side, outside in (("origin", "from", NEW), ("target", "to", GONE)):
        stage = moves[f"{side}_stage"]
        state = moves[f"{side}_band"].astype(str) + " " + stage
        ends[name] = state.where(stage != outside, outside)
    return moves.assign(**ends)


def forecast_and_backtest(
    snapshots: Snapshots, stages: Sequence[str], horizon: int, seed: int = 0
) -> list[Forecast]:
    """Forecast from one horizon ago, to be scored, and from now.

    Parameters
    ----------
    snapshots, stages, horizon, seed
        Of :func:`forecast`.

    Returns
    -------
    list of Forecast
        Back-test and forecast, or the latter alone, or none, as far as the log is long enough. A
        forecast is withheld for the stages in which its back-test failed.
    """
    made = [forecast(snapshots, stages, horizon=horizon, at=at, seed=seed) for at in (-horizon, 0)]
    made = [one for one in made if one is not None]
    if len(made) < 2:
        return made
    back, ahead = made
    kept = ahead.table[~ahead.table["stage"].isin(failed_stages(back.table))]
    return [back, replace(ahead, table=kept)] if len(kept) else [back]


def naive_wins(table: pd.DataFrame) -> bool:
    """Return whether "as many as today" did as well as a back-test, or better."""
    off = table[["expected", "naive"]].sub(table["observed"], axis=0).abs().sum()
    return bool(off["expected"] >= off["naive"])


def failed(table: pd.DataFrame) -> bool:
    """Return whether a back-test is no better than today's numbers and its bands hold little."""
    inside = table["observed"].between(table["lower"], table["upper"]).mean()
    return naive_wins(table) and inside <= FAR_OFF


def failed_stages(table: pd.DataFrame) -> list[str]:
    """Return the stages in which a back-test failed: all of them where it failed as a whole."""
    whole, by_stage = failed(table), table.groupby("stage", sort=False)
    return [stage for stage, part in by_stage if whole or failed(part)]


def joined(made: Sequence[Forecast]) -> pd.DataFrame:
    """Return the published table ``stage_forecast``, empty when nothing could be forecast."""
    if not made:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat([one.table for one in made], ignore_index=True)


def backtest_score(table: pd.DataFrame) -> dict[str, float]:
    """Score a back-test against what happened and against the naive forecast.

    Parameters
    ----------
    table : DataFrame
        Of a :class:`Forecast` whose weeks have been observed.

    Returns
    -------
    dict
        ``cells`` (weeks times stages), ``coverage`` (share of cells inside their band), ``error``
        and ``naive_error`` (sum of absolute errors over the sum observed).
    """
    seen = table[table["observed"].notna()]
    total = seen["observed"].sum()
    return {
        "cells": len(seen),
        "coverage": float(seen["observed"].between(seen["lower"], seen["upper"]).mean()),
        "error": float((seen["expected"] - seen["observed"]).abs().sum() / total),
        "naive_error": float((seen["naive"] - seen["observed"]).abs().sum() / total),
    }


def _rows(counts: np.ndarray) -> np.ndarray:
    """Return probabilities from counts (..., S, S + 1), a little of the prior in every cell."""
    counts = counts + PRIOR / counts.shape[-1]
    return counts / counts.sum(axis=-1, keepdims=True)


def _expected(
    now: np.ndarray, matrix: np.ndarray, arrivals: np.ndarray, horizon: int
) -> np.ndarray:
    """Return expected customers, shape (horizon, S)."""
    path = []
    for _ in range(horizon):
        now = now @ matrix[:, :-1] + arrivals
        path.append(now)
    return np.array(path)


def _drift(arrivals: np.ndarray, recent: int, horizon: int) -> np.ndarray:
    """Return by how much arrivals of ``horizon`` weeks differed from the average before them.

    Parameters
    ----------
    arrivals : ndarray, shape (W, S)
        By week, oldest first.

    Returns
    -------
    ndarray, shape (2 * moments, S)
        Factors, each with its inverse; a single row of ones where the weeks are too few.
    """
    sums = np.concatenate([np.zeros((1, arrivals.shape[1])), arrivals.cumsum(axis=0)])
    moments = np.arange(recent, len(arrivals) - horizon + 1)
    if not len(moments):
        return np.ones((1, arrivals.shape[1]))
    before = (sums[moments] - sums[moments - recent]) / recent
    after = (sums[moments + horizon] - sums[moments]) / horizon
    factor = (after + PRIOR) / (before + PRIOR)
    return np.concatenate([factor, 1 / factor])


def _draws(
    now: np.ndarray,
    by_bucket: np.ndarray,
    arrivals: np.ndarray,
    drift: np.ndarray,
    horizon: int,
    seed: int,
) -> np.ndarray:
    """Draw possible futures, shape (DRAWS, horizon, S)."""
    rng = np.random.default_rng(seed)
    size = len(by_bucket)
    weights = rng.multinomial(size, np.full(size, 1 / size), DRAWS)
    matrices = _rows(np.tensordot(weights, by_bucket, axes=1))
    # resampling the recent weeks carries how unsure their mean is; drawing from them, their noise
    weeks = rng.integers(len(arrivals), size=(DRAWS, len(arrivals)))
    drawn = np.take_along_axis(weeks, rng.integers(len(arrivals), size=(DRAWS, horizon)), axis=1)
    coming = arrivals[drawn] * drift[rng.integers(len(drift), size=DRAWS)][:, None]
    coming = np.rint(coming).astype(np.int64)
    there = np.broadcast_to(now.astype(np.int64), (DRAWS, len(now)))
    path = np.empty((DRAWS, horizon, len(now)))
    for step in range(horizon):
        moved = rng.multinomial(there, matrices).sum(axis=1)
        there = moved[:, :-1] + coming[:, step]
        path[:, step] = there
    return path
