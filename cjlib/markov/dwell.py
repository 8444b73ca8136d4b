"""How long customers stay in a stage, and by which way they leave it.

A visit still open at the moment of the report has lasted *at least* so long: it stays at risk up
to then and is censored, neither dropped nor counted as an exit. The engine returns visits counted
by stage, exit and rounded days (`dwell_counts`), which is all that the curves need.
"""

from collections.abc import Hashable, Sequence

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
from scipy.stats import norm

from cjlib.errors import ParameterError
from cjlib.uncertainty import bucket_array, ratio, resample

OPEN, LOST, MOVED = "open", "lost", "moved"
DAY = 86_400


def _seconds(until: ir.Value, since: ir.Value) -> ir.Value:
    return until.epoch_seconds() - since.epoch_seconds()


def dwell_counts(
    visits: ir.Table, as_of: pd.Timestamp, *, by: Sequence[str] = (), hours: float = 24
) -> ir.Table:
    """Count visits by stage, exit and days spent.

    Parameters
    ----------
    visits : Table
        Stage visits with stage, next_stage, started and left.
    as_of : Timestamp
        The moment of the report, where open visits are censored.
    by : sequence of str
        Further columns, such as ``bucket``.
    hours : float
        Days are rounded to multiples of so many hours.

    Returns
    -------
    Table
        [*by, stage, exit, days, n]; exit is the next stage, "lost", or "open" when censored.
    """
    until = ibis.coalesce(visits.left, ibis.timestamp(as_of))
    steps = (_seconds(until, visits.started) / (hours * 3600)).round().cast("float64")
    timed = visits.mutate(
        exit=visits.next_stage.fill_null(OPEN),
        days=ibis.greatest(steps, 0.0) * (hours / 24),
    )
    return timed.group_by([*by, "stage", "exit", "days"]).agg(n=timed.count())


def move_days(visits: ir.Table, by: Sequence[str] = ()) -> ir.Table:
    """Add up the days between entering a stage and entering the next, by move.

    Parameters
    ----------
    visits : Table
        Stage visits.
    by : sequence of str

    Returns
    -------
    Table
        [*by, from_stage, to_stage, n, days (sum)]. Open visits made no move.
    """
    moved = visits.filter(visits.settled)
    moved = moved.mutate(days=_seconds(moved.left, moved.started) / DAY)
    moved = moved.rename(from_stage="stage", to_stage="next_stage")
    return moved.group_by([*by, "from_stage", "to_stage"]).agg(
        n=moved.count(), days=moved.days.sum()
    )


def mean_days(moves: pd.DataFrame, states: Sequence[Hashable]) -> np.ndarray:
    """Return the mean days of each move, for `MarkovChain.absorption`.

    Parameters
    ----------
    moves : DataFrame
        from_stage, to_stage, n, days (sum), as `move_days` gives.
    states : sequence of length S

    Returns
    -------
    array, shape (S, S)
        A move never seen takes the mean of its stage, a stage never left 0. Means are over
        finished visits: where long visits are still open they are too short, as any mean from
        a young log is; `survival` is not.
    """
    levels = {"from_stage": list(states), "to_stage": list(states)}
    totals = bucket_array(moves.assign(bucket=0), list(levels), ["n", "days"], [0], levels)[0]
    n, days = totals[..., 0], totals[..., 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        row = np.nan_to_num(days.sum(1) / n.sum(1))
        return np.where(n > 0, days / n, row[:, None])


def _counts(frame: pd.DataFrame, stage: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    part = frame[frame["stage"] == stage]
    if part.empty:
        raise ParameterError(f"stage: no visits to {stage!r}; write one of {set(frame['stage'])}")
    exits = sorted(set(part["exit"]) - {OPEN})
    days = np.sort(part["days"].unique())
    if "bucket" not in part.columns:
        part = part.assign(bucket=0)
    levels = {"days": days, "exit": [*exits, OPEN]}
    return bucket_array(part, ["days", "exit"], "n", levels=levels), days, exits


def _steps(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return visits at risk (..., T) and the survival after each time (..., T)."""
    at_risk = counts.sum(-1)[..., ::-1].cumsum(-1)[..., ::-1]
    left = counts[..., :-1].sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        stay = np.where(at_risk > 0, 1 - left / at_risk, 1.0)
    return at_risk, stay.cumprod(-1)


def survival(
    frame: pd.DataFrame, stage: str, *, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Return the Kaplan-Meier curve of the time in a stage.

    Parameters
    ----------
    frame : DataFrame
        Of `dwell_counts`: stage, exit, days, n and where wanted bucket.
    stage : str
    level : float
    seed : int
        Of the resampling.

    Returns
    -------
    DataFrame
        stage, days, at_risk, exits, censored, survival (share still there *after* so many days),
        lower, upper: by buckets of customers where the frame has them, else Greenwood's on the
        log-log scale, which takes visits as independent.

    Notes
    -----
    Exits and censorings at the same time: exits come first.
    """
    counts, days, _ = _counts(frame, stage)
    total = counts.sum(0)
    at_risk, curve = _steps(total)
    left = total[:, :-1].sum(-1)
    if len(counts) > 1:
        found = resample(counts, lambda sums: _steps(sums)[1], seed=seed, level=level)
        lower, upper = found.lower, found.upper
    else:
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = (left / (at_risk * (at_risk - left))).cumsum() / np.log(curve) ** 2
            width = norm.isf((1 - level) / 2) * np.sqrt(variance)
            lower, upper = curve ** np.exp(width), curve ** np.exp(-width)
    return pd.DataFrame(
        {
            "stage": stage,
            "days": days,
            "at_risk": at_risk.astype(int),
            "exits": left.astype(int),
            "censored": total[:, -1].astype(int),
            "survival": curve,
            "lower": lower,
            "upper": upper,
        }
    )


def cumulative_incidence(
    frame: pd.DataFrame, stage: str, *, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Return, for each way out of a stage, the share that has taken it after so many days.

    Parameters
    ----------
    frame, stage, level, seed
        As in `survival`.

    Returns
    -------
    DataFrame
        stage, exit, days, probability, lower, upper (NaN when the frame has no buckets). At any
        day the probabilities of all exits and the survival add up to 1.

    Notes
    -----
    Aalen & Johansen, Scandinavian Journal of Statistics 5 (1978): an exit competes with the
    others, so one minus its own Kaplan-Meier curve would overstate it.
    """
    counts, days, exits = _counts(frame, stage)

    def incidence(sums: np.ndarray) -> np.ndarray:
        at_risk, curve = _steps(sums)
        before = np.concatenate([np.ones_like(curve[..., :1]), curve[..., :-1]], -1)
        with np.errstate(invalid="ignore", divide="ignore"):
            hazard = np.where(at_risk[..., None] > 0, sums[..., :-1] / at_risk[..., None], 0.0)
        return (before[..., None] * hazard).cumsum(-2)

    share = incidence(counts.sum(0))
    lower = upper = np.full_like(share, np.nan)
    if len(counts) > 1:
        found = resample(counts, incidence, seed=seed, level=level)
        lower, upper = found.lower, found.upper
    return pd.DataFrame(
        {
            "stage": stage,
            "exit": np.tile(np.array(exits, object), len(days)),
            "days": np.repeat(days, len(exits)),
            "probability": share.ravel(),
            "lower": lower.ravel(),
            "upper": upper.ravel(),
        }
    ).sort_values(["exit", "days"], ignore_index=True)


def moving_on(
    frame: pd.DataFrame, stage: str, *, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Return the share of visits that have moved to another stage after so many days.

    A silence ends a visit when the declared inactivity is over, which says nothing of what the
    customer did: it is no move, and competes with moving.

    Parameters
    ----------
    frame, stage, level, seed
        As in `survival`.

    Returns
    -------
    DataFrame
        stage, days, probability, lower, upper; empty when no visit moved on.
    """
    left = frame["exit"].where(frame["exit"].isin([OPEN, LOST]), MOVED)
    ways = cumulative_incidence(frame.assign(exit=left), stage, level=level, seed=seed)
    return ways[ways["exit"] == MOVED].drop(columns="exit").reset_index(drop=True)


def days_to_move(moving: pd.DataFrame, share: float = 0.5) -> float:
    """Return when a share of those who move on have done so, NaN when nobody did."""
    if moving.empty:
        return np.nan
    done = moving["probability"] >= share * moving["probability"].iloc[-1]
    return float(moving.loc[done, "days"].iloc[0])


def exit_rates(frame: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Return how often customers leave each stage by each way, per day spent there.

    Parameters
    ----------
    frame : DataFrame
        Of `dwell_counts`.
    level : float

    Returns
    -------
    DataFrame
        stage, exit, exits, exposure (days in the stage, open visits included), rate (exits over
        exposure, per day: the maximum-likelihood rate of a continuous-time chain), lower, upper
        (NaN when the frame has no buckets).
    """
    if "bucket" not in frame.columns:
        frame = frame.assign(bucket=0)
    timed = frame.assign(exposure=frame["days"] * frame["n"])
    stages = list(dict.fromkeys(timed["stage"]))
    exits = sorted(set(timed["exit"]) - {OPEN})
    left = bucket_array(timed, ["stage", "exit"], "n", levels={"stage": stages, "exit": exits})
    exposure = bucket_array(timed, ["stage"], "exposure", levels={"stage": stages})
    found = ratio(left, exposure[..., None], level=level)
    shape = left.shape[1:]
    table = pd.DataFrame(
        {
            "stage": np.repeat(np.array(stages, object), len(exits)),
            "exit": np.tile(np.array(exits, object), len(stages)),
            "exits": left.sum(0).ravel().astype(int),
            "exposure": np.broadcast_to(exposure.sum(0)[:, None], shape).ravel(),
            "rate": found.estimate.ravel(),
            "lower": np.maximum(found.lower, 0.0).ravel(),
            "upper": found.upper.ravel(),
        }
    )
    return table[table["exits"] > 0].reset_index(drop=True)


def generator(rates: pd.DataFrame, states: Sequence[Hashable]) -> np.ndarray:
    """Return the matrix of rates of a continuous-time chain.

    Parameters
    ----------
    rates : DataFrame
        Of `exit_rates`.
    states : sequence of length S

    Returns
    -------
    array, shape (S, S)
        Per day; rows sum to 0. ``scipy.linalg.expm(days * generator)`` gives the probabilities
        after so many days.
    """
    levels = {"stage": list(states), "exit": list(states)}
    matrix = bucket_array(rates.assign(bucket=0), list(levels), "rate", [0], levels)[0]
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, 0.0 - matrix.sum(1))
    return matrix
