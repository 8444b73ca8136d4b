"""How many customers will be in each stage, week by week, and how well that was foreseen before.

A snapshot places each active customer in the stage of the last event; a customer silent for longer
than the journey's ``inactivity`` is gone. How long the silence has lasted is kept too, in the bands
of `cjlib.markov.next_stage`: who has been silent for most of the inactivity is about to be gone.

The customers of a snapshot move on by the weekly moves of the weeks before it, between states made
of the stage and of the silence so far; arrivals come as `arrivals_ahead` expects them. A snapshot
knows no more than was known at its moment, so the back-test is the same forecast from an earlier
one.
"""

import datetime as dt
from collections.abc import Sequence

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from cjlib.errors import Unanswerable
from cjlib.journeys import DAY
from cjlib.markov.next_stage import SILENCE_BANDS, silence_band
from cjlib.uncertainty import bucket_array

ALL, BACK_TEST = "all", "back-test"
NEW, GONE = "(new)", "(gone)"
STATES = ["from_stage", "from_band", "to_stage", "to_band"]
WEEK = 7 * DAY  # seconds
WEEKS = 104  # snapshots to look back at most
FIT_WEEKS, ARRIVAL_WEEKS = 26, 8
"""How far the moves and the arrivals look back; fewer where the log is shorter."""
TREND_WEEKS, DAMPING = 13, 0.97
"""A trend of arrivals is that of a quarter of a year, and fades by so much each week ahead."""
YEAR_WEEKS = 52
FEWEST_MOMENTS, MOST_MOMENTS = 13, 39
"""Earlier moments, the last ones, by which ways to foresee arrivals are compared: a log's first
weeks are unlike those that follow. A year before takes 26. Errors are those of the last 26, with
two years those of a year, all its seasons.
"""
WORSE = 2.0
"""As many times the squared error of the best way another may have had to be followed still: growth
and season are seldom absent, and what is lost where they are is little.
"""
FEWEST_WEEKS = 4
PRIOR = 0.5  # pseudo-customers per row, spread over the cells seen, so that no row is empty
DRAWS = 1_000
FAR_OFF = 0.5  # a band that holds no more than this share of the figures is no band


def forecast_stages(
    log, stages: Sequence[str], *, weeks: int = 8, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
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
    table : DataFrame
        The published table ``stage_forecast``: period (end of the week), stage, expected, lower,
        upper, observed (NaN where not yet known), naive (as many as at the moment of the forecast),
        kind (``back-test`` or ``forecast``); customers. Stages whose back-test failed have no
        forecast, a log too short for a back-test none of these.
    seen : DataFrame
        period, stage, customers at the last snapshots, four times as many as ``weeks``.
    arrivals : Series
        Customers newly active or active again, expected per week by the stage they are found in.

    Raises
    ------
    Unanswerable
        With fewer than four weeks to learn from.
    """
    moves = weekly_moves(log.events, log.as_of, log.dataset.journey.inactivity)
    options = {"weeks": weeks, "seed": seed}
    ahead, arrivals = forecast_from(moves, log.as_of, stages, **options)
    seen = customers_seen(moves, log.as_of, 4 * weeks)
    try:
        past, _ = forecast_from(moves, log.as_of, stages, at=-weeks, **options)
    except Unanswerable:
        return ahead, seen, arrivals
    score = backtest_score(past).set_index("stage")["verdict"]
    ahead = ahead[ahead["stage"].map(score) != "failed"]
    return pd.concat([past, ahead], ignore_index=True), seen, arrivals


def backtest_score(table: pd.DataFrame) -> pd.DataFrame:
    """Score a back-test against what happened and against "as many as today".

    Parameters
    ----------
    table : DataFrame
        Of `forecast_stages`.

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


def weekly_moves(events: ir.Table, as_of: pd.Timestamp, inactivity: dt.timedelta) -> ir.Table:
    """Pair each active customer's state with that of one week later, on the engine.

    Parameters
    ----------
    events : Table
        ``customer_id, bucket, timestamp, line, stage``.
    as_of : Timestamp
        The last snapshot; the others lie whole weeks before it. Later events are left out.
    inactivity : timedelta
        The silence after which a customer is gone.

    Returns
    -------
    Table
        ``bucket, week, from_stage, from_band, to_stage, to_band``, a row per customer and week:
        ``to`` is the state at snapshot ``week`` (0 for ``as_of``, -1 a week earlier), ``from`` the
        one a week before. ``(new)`` in ``from_stage`` is who was not active then, ``(gone)`` in
        ``to_stage`` who is no longer. Bands of silence count from 0.
    """
    patience = int(inactivity.total_seconds())
    now = int(as_of.timestamp())
    age = ibis.literal(now) - events.timestamp.epoch_seconds()
    seen = events.filter(events.timestamp <= ibis.timestamp(as_of)).select(
        "customer_id",
        "bucket",
        "timestamp",
        "line",
        "stage",
        age=age,
        first=-(age / WEEK).floor().cast("int64"),
        last=((patience - age) / WEEK).floor().cast("int64"),
        over=events.ending.notnull(),
    )
    in_order = ibis.window(group_by="customer_id", order_by=["timestamp", "line"])
    seen = seen.mutate(following=seen.first.lead().over(in_order))
    # of several events between two snapshots the last one counts, until the next event's snapshot
    seen = seen.filter(seen.following.isnull() | (seen.following > seen.first))
    seen = seen.mutate(
        first=ibis.greatest(seen.first, -WEEKS),
        # who has come to a declared ending is in no stage any more
        last=seen.over.ifelse(
            -WEEKS - 1, ibis.least(seen.last, 0, ibis.coalesce(seen.following - 1, 0))
        ),
    )
    seen = seen.filter(seen.last >= seen.first)
    placed = seen.select(
        "customer_id",
        "bucket",
        "stage",
        "age",
        week=ibis.range(seen.first, seen.last + 1).unnest(),
    )
    silence = placed.age + placed.week * WEEK
    placed = placed.mutate(band=ibis.least(silence_band(silence, inactivity), SILENCE_BANDS - 1))
    by_week = ibis.window(group_by="customer_id", order_by="week")
    placed = placed.mutate(
        next_week=placed.week.lead().over(by_week),
        next_stage=placed.stage.lead().over(by_week),
        next_band=placed.band.lead().over(by_week),
        last_week=placed.week.lag().over(by_week),
    )
    stays = (placed.next_week == placed.week + 1).fill_null(False)
    known = (placed.last_week == placed.week - 1).fill_null(False)
    moves = placed.filter(placed.week < 0).select(
        "bucket",
        week=placed.week + 1,
        from_stage=placed.stage,
        from_band=placed.band,
        to_stage=stays.ifelse(placed.next_stage, GONE),
        to_band=stays.ifelse(placed.next_band, 0),
    )
    arrivals = placed.filter((placed.week > -WEEKS) & ~known).select(
        "bucket",
        "week",
        from_stage=ibis.literal(NEW),
        from_band=ibis.literal(0, "int64"),
        to_stage=placed.stage,
        to_band=placed.band,
    )
    return moves.union(arrivals).cache()


def counted(moves: ir.Table, *by: str) -> pd.DataFrame:
    """Count `weekly_moves` by further columns: these, the states, ``n``."""
    return moves.group_by([*by, *STATES]).agg(n=moves.count()).to_pandas()


def customers_seen(moves: ir.Table, as_of: pd.Timestamp, weeks: int) -> pd.DataFrame:
    """Return the customers in each stage at the last snapshots: ``period, stage, customers``."""
    there = moves.filter((moves.to_stage != GONE) & (moves.week > -weeks))
    seen = there.group_by("week", stage=there.to_stage).agg(customers=there.count())
    seen = seen.order_by("week", "stage").to_pandas()
    seen.insert(0, "period", _day(as_of, seen.pop("week")))
    return seen


def forecast_from(
    moves: ir.Table,
    as_of: pd.Timestamp,
    stages: Sequence[str],
    *,
    weeks: int = 8,
    at: int = 0,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.Series]:
    """Forecast the weeks after snapshot `at` (0, or negative: later ones are used to score alone).

    Parameters
    ----------
    moves : Table
        Of `weekly_moves`.
    as_of : Timestamp
        Of its last snapshot.
    stages, weeks, seed
        As in `forecast_stages`, and so are the table and the arrivals returned.

    Raises
    ------
    Unanswerable
        With fewer than four weeks before ``at``.

    Notes
    -----
    Expected counts are :math:`x_{t+1} = x_t P + a_t`, over states of stage and silence. The band
    holds 95 % of draws in which the matrix comes from resampled buckets of customers, every
    customer moves by chance (multinomial), each coming week's arrivals are those of a resampled
    recent week at the level expected, and that level is missed as far as it was from earlier
    moments, up as easily as down.
    """
    stages, weekly = list(stages), counted(moves, "week")
    found = list(range(int(weekly["week"].min()), 1)) if len(weekly) else []
    if at - FEWEST_WEEKS + 1 not in found:
        raise Unanswerable(f"a forecast needs {FEWEST_WEEKS} weeks to learn from")
    states = [f"{band} {stage}" for band in range(SILENCE_BANDS) for stage in stages]
    levels = {"origin": [*states, NEW], "target": [*states, GONE]}
    by_week = _stated(weekly).rename(columns={"week": "bucket"})
    total = bucket_array(by_week, list(levels), "n", found, levels)
    there = total[..., :-1].sum(axis=1)  # (weeks, states)
    place = found.index
    first = max(at - FIT_WEEKS + 1, found[0] + 1)
    recent = max(at - ARRIVAL_WEEKS + 1, found[0] + 1)
    span = total[1 : place(at) + 1, -1, :-1]
    arrivals = total[place(recent) : place(at) + 1, -1, :-1]
    learned = counted(moves.filter(moves.week.between(first, at)), "bucket")
    by_bucket = bucket_array(_stated(learned), list(levels), "n", levels=levels)[:, :-1]
    now = there[place(at)]

    def by_stage(states: np.ndarray) -> np.ndarray:
        return states.reshape(*states.shape[:-1], SILENCE_BANDS, len(stages)).sum(axis=-2)

    total_moves = by_bucket.sum(axis=0)
    expected, matrix = [now], _rows(total_moves, _possible(total_moves))[:, :-1]
    ahead, missed = arrivals_ahead(span.sum(axis=-1), weeks)
    level = ahead / max(arrivals.sum(axis=-1).mean(), PRIOR)
    for week in range(weeks):
        expected.append(expected[-1] @ matrix + level[week] * arrivals.mean(axis=0))
    draws = by_stage(_draws(now, by_bucket, arrivals, level, missed, seed))
    lower, upper = np.quantile(draws, [0.025, 0.975], axis=0)
    ahead = np.arange(at + 1, at + weeks + 1)
    observed = np.full((weeks, len(stages)), np.nan)
    observed[ahead <= 0] = by_stage(there[[place(week) for week in ahead[ahead <= 0]]])
    week = np.repeat(ahead, len(stages))
    table = pd.DataFrame(
        {
            "period": _day(as_of, week),
            "stage": np.tile(np.array(stages, dtype=object), weeks),
            "expected": by_stage(np.array(expected[1:])).ravel(),
            "lower": lower.ravel(),
            "upper": upper.ravel(),
            "observed": observed.ravel(),
            "naive": np.tile(by_stage(now), weeks),
            "kind": np.where(week <= 0, BACK_TEST, "forecast"),
        }
    )
    return table, pd.Series(level.mean() * by_stage(arrivals).mean(axis=0), index=stages)


def _day(as_of: pd.Timestamp, week) -> pd.DatetimeIndex:
    """Return the days of snapshots given by their weeks, 0 or less before `as_of`."""
    return (as_of + pd.to_timedelta(np.asarray(week) * 7, unit="D")).normalize()


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


def arrivals_ahead(seen: np.ndarray, weeks: int) -> tuple[np.ndarray, np.ndarray]:
    """Foresee the arrivals of the weeks ahead in the way that has foreseen them best so far.

    Parameters
    ----------
    seen : array, shape (T,)
        Arrivals per week.
    weeks : int
        How far ahead.

    Returns
    -------
    expected : array, shape (weeks,)
        Half by how the year before went on from here and half by the trend, where there are two
        years; else by the trend; else by the recent average. The first of these that has not
        missed by far more (``WORSE``) than another at earlier moments.
    missed : array
        By which factors that way missed the mean of as many weeks from earlier moments, each with
        its inverse; 1 alone where the weeks are too few to say.
    """
    ways = {"year": _year, "trend": _trend, "average": _average}
    moments = np.arange(ARRIVAL_WEEKS, len(seen) - weeks + 1)[-YEAR_WEEKS:]
    compared, errors = moments >= YEAR_WEEKS + ARRIVAL_WEEKS, YEAR_WEEKS
    if compared.sum() < FIT_WEEKS:
        del ways["year"]
        moments, errors = moments[-MOST_MOMENTS:], FIT_WEEKS
        compared = np.ones(len(moments), dtype=bool)
    if not len(moments):
        return _average(seen, weeks), np.ones(1)
    if len(moments) < FEWEST_MOMENTS:
        del ways["trend"]
    after = np.array([seen[moment : moment + weeks].mean() for moment in moments]) + PRIOR
    missed = {}
    for way, ahead in ways.items():
        foreseen = [ahead(seen[:moment], weeks).mean() + PRIOR for moment in moments]
        missed[way] = np.log(after / foreseen)
    square = {way: (missed[way][compared] ** 2).mean() for way in ways}
    way = next(way for way in ways if square[way] <= WORSE * min(square.values()))
    missed = missed[way][-errors:]
    return ways[way](seen, weeks), np.exp(np.r_[missed, -missed])


def _average(seen: np.ndarray, weeks: int) -> np.ndarray:
    return np.full(weeks, seen[-ARRIVAL_WEEKS:].mean())


def _trend(seen: np.ndarray, weeks: int) -> np.ndarray:
    """Return a log-linear trend, the flatter the more of its slope the weeks' noise explains.

    Damped as by E. S. Gardner and E. McKenzie (Management Science 31, 1985); shrunk as by W. James
    and C. Stein (Fourth Berkeley Symposium, 1961), the positive part.
    """
    recent = seen[-TREND_WEEKS:]
    week = np.arange(len(recent)) - (len(recent) - 1) / 2
    logs = np.log(recent + PRIOR)
    slope = week @ logs / (week @ week)
    noise = ((logs - logs.mean() - slope * week) ** 2).sum() / (len(recent) - 2) / (week @ week)
    slope *= max(0.0, 1 - noise / max(slope**2, 1e-12))
    ahead = week[-1] + (DAMPING ** np.arange(1, weeks + 1)).cumsum()
    return recent.mean() / np.exp(slope * week).mean() * np.exp(slope * ahead)


def _year(seen: np.ndarray, weeks: int) -> np.ndarray:
    before = seen[-YEAR_WEEKS - ARRIVAL_WEEKS : -YEAR_WEEKS]
    if len(before) < ARRIVAL_WEEKS:
        return _trend(seen, weeks)
    factor = (seen[-YEAR_WEEKS:][:weeks].mean() + PRIOR) / (before.mean() + PRIOR)
    return np.sqrt(_average(seen, weeks) * factor * _trend(seen, weeks))


def _draws(
    now: np.ndarray,
    by_bucket: np.ndarray,
    arrivals: np.ndarray,
    level: np.ndarray,
    missed: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Draw possible futures, shape (DRAWS, weeks, S)."""
    rng = np.random.default_rng(seed)
    size, weeks = len(by_bucket), len(level)
    weights = rng.multinomial(size, np.full(size, 1 / size), DRAWS)
    possible = _possible(by_bucket.sum(axis=0))
    matrices = _rows(np.tensordot(weights, by_bucket, axes=1), possible)
    rows = [(cells, matrices[:, state, cells]) for state, cells in enumerate(possible)]
    # resampling the recent weeks carries how unsure their mean is; drawing from them, their noise
    resampled = rng.integers(len(arrivals), size=(DRAWS, len(arrivals)))
    drawn = np.take_along_axis(resampled, rng.integers(len(arrivals), size=(DRAWS, weeks)), axis=1)
    coming = arrivals[drawn] * level[:, None]
    coming *= missed[rng.integers(len(missed), size=DRAWS)][:, None, None]
    coming = np.rint(coming).astype(np.int64)
    there, path = np.tile(now.astype(np.int64), (DRAWS, 1)), []
    for step in range(weeks):
        moved = np.zeros((DRAWS, len(now) + 1), np.int64)
        for state, (cells, row) in enumerate(rows):
            moved[:, cells] += rng.multinomial(there[:, state], row)
        there = moved[:, :-1] + coming[:, step]
        path.append(there)
    return np.stack(path, axis=1)
