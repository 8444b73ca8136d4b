"""How many customers will be in each stage, week by week, and how well that was foreseen before.

A snapshot at the end of each week places every active customer in the stage of the last event; a
customer silent for longer than the journey's ``inactivity`` is gone. Everything a snapshot says was
known at its own moment, so the back-test needs no second reading of the log: it is the same
forecast from the snapshots that existed then.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from cjlib.uncertainty import bucket_array

WEEK = 7 * 86_400
NEW, GONE = "(new)", "(gone)"
PRIOR = 0.5  # pseudo-customers per row, spread over all cells, so that no row is empty
DRAWS = 2_000
COLUMNS = ["period", "stage", "expected", "lower", "upper", "observed", "naive", "kind"]


def weekly_moves(
    events: ir.Table, as_of: pd.Timestamp, inactivity: dt.timedelta, weeks: int = 104
) -> ir.Table:
    """Count the moves between weekly snapshots, on the engine.

    Parameters
    ----------
    events : Table
        ``customer_id, bucket, timestamp, line, stage``.
    as_of : Timestamp
        The last snapshot; the others lie whole weeks before it. Later events are left out.
    inactivity : timedelta
        The silence after which a customer is gone.
    weeks : int
        How many snapshots to look back.

    Returns
    -------
    Table
        ``bucket, week, from_stage, to_stage, n``: ``n`` customers were in ``from_stage`` one week
        before snapshot ``week`` (0 for ``as_of``, -1 a week earlier) and in ``to_stage`` at it.
        ``(new)`` in ``from_stage`` is who was not active a week before, ``(gone)`` in ``to_stage``
        who is no longer.
    """
    age = ibis.literal(int(as_of.timestamp())) - events.timestamp.epoch_seconds()
    seen = events.filter(events.timestamp <= ibis.timestamp(as_of))
    patience = int(inactivity.total_seconds())
    seen = seen.select(
        "customer_id",
        "bucket",
        "timestamp",
        "line",
        "stage",
        first=-(age / WEEK).floor().cast("int64"),
        last=((patience - age) / WEEK).floor().cast("int64"),
    )
    in_order = ibis.window(group_by="customer_id", order_by=["timestamp", "line"])
    seen = seen.mutate(following=seen.first.lead().over(in_order))
    # of several events between two snapshots the last one counts, until the next event's snapshot
    seen = seen.filter(seen.following.isnull() | (seen.following > seen.first))
    seen = seen.mutate(
        first=ibis.greatest(seen.first, -weeks),
        last=ibis.least(seen.last, 0, ibis.coalesce(seen.following - 1, 0)),
    )
    seen = seen.filter(seen.last >= seen.first)
    placed = seen.select(
        "customer_id", "bucket", "stage", week=ibis.range(seen.first, seen.last + 1).unnest()
    )
    by_week = ibis.window(group_by="customer_id", order_by="week")
    placed = placed.mutate(
        next_week=placed.week.lead().over(by_week),
        next_stage=placed.stage.lead().over(by_week),
        last_week=placed.week.lag().over(by_week),
    )
    stays = (placed.next_week == placed.week + 1).fill_null(False)
    known = (placed.last_week == placed.week - 1).fill_null(False)
    moves = placed.filter(placed.week < 0).select(
        "bucket",
        week=placed.week + 1,
        from_stage=placed.stage,
        to_stage=stays.ifelse(placed.next_stage, GONE),
    )
    arrivals = placed.filter((placed.week > -weeks) & ~known).select(
        "bucket", "week", from_stage=ibis.literal(NEW), to_stage=placed.stage
    )
    both = moves.union(arrivals)
    return both.group_by(["bucket", "week", "from_stage", "to_stage"]).agg(n=both.count())


@dataclass(frozen=True)
class Forecast:
    """Weeks ahead of one moment.

    Attributes
    ----------
    table : DataFrame
        ``period`` (end of the week), ``stage, expected, lower, upper, observed`` (NaN where not
        yet known), ``naive`` (as many as at the moment of the forecast), ``kind``
        (``"back-test"`` where observed, else ``"forecast"``); customers.
    matrix : DataFrame
        Weekly probabilities from each stage (rows) to each stage or ``(gone)``.
    arrivals : Series
        Customers newly active or active again per week, by the stage they are found in.
    fit_weeks, arrival_weeks : int
        How many weeks the matrix and the arrivals were learned from.
    """

    table: pd.DataFrame
    matrix: pd.DataFrame
    arrivals: pd.Series
    fit_weeks: int
    arrival_weeks: int


def forecast(
    moves: pd.DataFrame,
    stages: Sequence[str],
    as_of: pd.Timestamp,
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
    moves : DataFrame
        Of :func:`weekly_moves`, collected.
    stages : sequence of str
        In order.
    as_of : Timestamp
        Snapshot 0.
    horizon : int
        Weeks ahead.
    at : int
        The snapshot to forecast from, 0 or negative; later ones are used to score alone.
    fit_weeks, arrival_weeks : int
        How far the matrix and the arrivals look back; fewer where the log is shorter.
    seed : int
        Of the draws.

    Returns
    -------
    Forecast or None
        None when fewer than four weeks lie before ``at``: too little to learn a week from.

    Notes
    -----
    Expected counts are :math:`x_{t+1} = x_t P + a`. The band holds 95 % of draws in which the
    matrix comes from resampled buckets of customers, every customer moves by chance (multinomial),
    each coming week's arrivals are those of a resampled recent week, and their level drifts as far
    from the recent average as it did earlier within ``fit_weeks``, up as easily as down.
    """
    stages = list(stages)
    found = range(int(moves["week"].min()), 1)
    levels = {"week": list(found), "from_stage": [*stages, NEW], "to_stage": [*stages, GONE]}
    known = [week for week in found if week <= at]
    if len(known) < 4:
        return None
    counts = bucket_array(moves, ["week", "from_stage", "to_stage"], "n", levels=levels)
    total = counts.sum(axis=0)
    place = levels["week"].index
    now = total[place(at), :, :-1].sum(axis=0)
    learned = slice(place(max(at - fit_weeks + 1, found[0] + 1)), place(at) + 1)
    recent = slice(place(max(at - arrival_weeks + 1, found[0] + 1)), place(at) + 1)
    arrivals = total[recent, -1, :-1]
    by_bucket = counts[:, learned, :-1].sum(axis=1)
    expected = _expected(now, _rows(by_bucket.sum(axis=0)), arrivals.mean(axis=0), horizon)
    drift = _drift(total[learned, -1, :-1], len(arrivals), horizon)
    draws = _draws(now, by_bucket, arrivals, drift, horizon, seed)
    lower, upper = np.quantile(draws, [0.025, 0.975], axis=0)
    ahead = np.arange(at + 1, at + horizon + 1)
    observed = np.full((horizon, len(stages)), np.nan)
    scored = ahead <= 0
    observed[scored] = total[[place(week) for week in ahead[scored]], :, :-1].sum(axis=1)
    weeks, columns = np.meshgrid(ahead, np.arange(len(stages)), indexing="ij")
    table = pd.DataFrame(
        {
            "period": (as_of + pd.to_timedelta(weeks.ravel() * 7, unit="D")).normalize(),
            "stage": np.array(stages, dtype=object)[columns.ravel()],
            "expected": expected.ravel(),
            "lower": lower.ravel(),
            "upper": upper.ravel(),
            "observed": observed.ravel(),
            "naive": np.tile(now, horizon),
            "kind": np.where(weeks.ravel() <= 0, "back-test", "forecast"),
        }
    )
    matrix = pd.DataFrame(_rows(by_bucket.sum(axis=0)), index=stages, columns=[*stages, GONE])
    mean = pd.Series(arrivals.mean(axis=0), index=stages)
    return Forecast(table, matrix, mean, learned.stop - learned.start, recent.stop - recent.start)


def forecast_and_backtest(
    moves: pd.DataFrame, stages: Sequence[str], as_of: pd.Timestamp, horizon: int, seed: int = 0
) -> list[Forecast]:
    """Forecast from one horizon ago, to be scored, and from now.

    Parameters
    ----------
    moves, stages, as_of, horizon, seed
        Of :func:`forecast`.

    Returns
    -------
    list of Forecast
        Back-test and forecast, or the latter alone, or none, as far as the log is long enough.
    """
    made = [
        forecast(moves, stages, as_of, horizon=horizon, at=at, seed=seed) for at in (-horizon, 0)
    ]
    return [one for one in made if one is not None]


def joined(made: Sequence[Forecast]) -> pd.DataFrame:
    """Return the published table ``stage_forecast``, empty when nothing could be forecast."""
    if not made:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat([one.table for one in made], ignore_index=True)


def occupancy(moves: pd.DataFrame, as_of: pd.Timestamp, weeks: int = 104) -> pd.DataFrame:
    """Return the customers seen in each stage at each snapshot.

    Parameters
    ----------
    moves : DataFrame
        Of :func:`weekly_moves`, collected.
    as_of : Timestamp
        Snapshot 0.
    weeks : int
        How many snapshots, the last ones.

    Returns
    -------
    DataFrame
        ``period, stage, customers``, by both.
    """
    there = moves[(moves["to_stage"] != GONE) & (moves["week"] > -weeks)]
    seen = there.groupby(["week", "to_stage"], as_index=False)["n"].sum()
    seen["period"] = (as_of + pd.to_timedelta(seen.pop("week") * 7, unit="D")).dt.normalize()
    seen = seen.rename(columns={"to_stage": "stage", "n": "customers"})
    return seen[["period", "stage", "customers"]].sort_values(["period", "stage"])


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
