"""Customers flowing through the stages, and what of it a changed chain would make.

A change alters a row of the transition matrix. What it brings is the present flow of visits to that
stage, times what the altered moves lead to in the *changed* chain: purchases within the churn
horizon. Two things keep that from being too much. Who is lost may come back: the end of a journey
is a state, left again by those who return, so that an order postponed is not an order lost. And
every move takes its days: what would come after the horizon does not count.

With ``P`` the chain, ``W`` the chance that a move of so many days is over within a horizon of
exponential length, ``v`` the visits a month and ``r`` 1 at a purchase, the purchases ahead of each
state solve ``h = (P W)(r + h)``; a change to ``P'`` brings ``v ((P' - P) W) (r + h')``. That is
exact for a stationary flow: the visits that follow from the change are in ``h'``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ibis
import numpy as np
import pandas as pd

from cjlib.errors import ParameterError, Unanswerable
from cjlib.journeys import DAY, purchase_days
from cjlib.markov.absorption import solve_walk
from cjlib.markov.transitions import transitions, without_idle
from cjlib.uncertainty import bucket_array, resample

GONE = "gone"
MONTH = 365.25 / 12
"""Days."""
DRAWS = 1000


@dataclass(frozen=True)
class Flow:
    """What moves, by bucket of customers.

    Attributes
    ----------
    states : list of str
        Stages (and, of a purchase stage, its visits without a purchase), how journeys end, gone.
    buying : ndarray of bool, shape (S,)
        Which of them are purchases.
    ends : ndarray of bool, shape (S,)
        Which are no stages.
    buckets : ndarray of int, shape (B,)
    moves : ndarray, shape (B, S, S)
        Moves seen; from an end to the first stage of the next journey, or to ``gone``.
    within : ndarray, shape (S, S)
        The chance of a move to be over within the horizon, given that it comes.
    visits : ndarray, shape (B, S)
        Recent visits.
    sales : ndarray, shape (B, 2)
        Purchases and their value, of the whole log.
    again : ndarray, shape (B, 2)
        Purchases that another one followed within the horizon, and how many did.
    since : Timestamp
        From when on visits are recent.
    months : float
        How long that is.
    """

    states: list[str]
    buying: np.ndarray
    ends: np.ndarray
    buckets: np.ndarray
    moves: np.ndarray
    within: np.ndarray
    visits: np.ndarray
    sales: np.ndarray
    again: np.ndarray
    since: pd.Timestamp
    months: float


@dataclass(frozen=True)
class Draws:
    """The flow as it is and as resampling the buckets makes it, ``R`` times in all, itself first.

    Attributes
    ----------
    matrix : ndarray, shape (R, S, S)
    visits : ndarray, shape (R, S)
        A month; to the ends of journeys as many as the visits to stages lead to.
    value : ndarray, shape (R,)
        Of a purchase; NaN in a log without values.
    bought : ndarray, shape (R,)
        Purchases within the horizon by a customer who makes one at all.
    others : ndarray, shape (R, C)
        What else was counted by bucket.
    """

    matrix: np.ndarray
    visits: np.ndarray
    value: np.ndarray
    bought: np.ndarray
    others: np.ndarray


def customer_flow(log, *, recent_days: float = 90.0) -> Flow:
    """Count how customers move, and how many come to each stage at present.

    Parameters
    ----------
    log : Log
    recent_days : float
        How far back visits are of the present.

    Returns
    -------
    Flow

    Raises
    ------
    Unanswerable
        Where no visit is old enough to know what followed it.
    """
    moves = transitions(log, purchases=True)
    visits, horizon = without_idle(log.visits), log.dataset.churn.horizon
    own = [*dict.fromkeys([*moves["from_stage"], *log.stages.names])]
    in_order = ibis.window(group_by="customer_id", order_by=["journey", "visit"])
    following = visits.mutate(
        then=visits.stage.lead().over(in_order), again=visits.started.lead().over(in_order)
    )
    known = following.left <= ibis.timestamp(str(log.as_of - horizon))
    ended = following.filter(known & ~following.next_stage.isin(own))
    wait = (ended.again.epoch_seconds() - ended.left.epoch_seconds()) / DAY
    returns = ended.group_by("bucket", from_stage="next_stage", to_stage=ended.then.fill_null(GONE))
    returns = returns.agg(n=ended.count(), days=ibis.greatest(wait, 0).sum()).to_pandas()
    ends = sorted({*moves["to_stage"], *returns["from_stage"]} - set(own))
    states = [*own, *ends, GONE]

    first = log.events.timestamp.min().execute()
    since = max(pd.Timestamp(first), log.as_of - pd.Timedelta(days=recent_days))
    recent = visits.filter(visits.started > ibis.timestamp(str(since)))
    recent = recent.group_by(["bucket", "stage"]).agg(n=recent.count()).to_pandas()
    buckets = np.unique(log.journeys.select("bucket").distinct().to_pandas()["bucket"])
    pairs = ["from_stage", "to_stage"]
    counts = bucket_array(
        pd.concat([moves, returns]),
        pairs,
        ["n", "days"],
        buckets=buckets,
        levels=dict.fromkeys(pairs, states),
    )
    n, days = np.moveaxis(counts.sum(axis=0), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        within = np.exp(-np.nan_to_num(days / n) * DAY / horizon.total_seconds())
    return Flow(
        states,
        np.isin(states, log.stages.purchase),
        ~np.isin(states, own),
        buckets,
        counts[..., 0],
        within,
        bucket_array(recent, ["stage"], "n", buckets=buckets, levels={"stage": states}),
        *_purchases(log, buckets),
        since,
        (log.as_of - since) / pd.Timedelta(days=MONTH),
    )


def _purchases(log, buckets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return purchases with their value, and those followed with how many followed, by bucket."""
    horizon = int(log.dataset.churn.horizon.total_seconds())
    days = purchase_days(log.events)
    days = days.mutate(at=days.day.epoch_seconds().cast("int64"))
    ahead = ibis.window(range=(0, horizon), group_by="customer_id", order_by=days.at)
    days = days.mutate(later=days.at.count().over(ahead) - 1)
    known = days.day + ibis.interval(seconds=horizon) <= ibis.timestamp(str(log.as_of))
    followed = (known & (days.later > 0)).fill_null(False)
    table = days.group_by("bucket").agg(
        n=days.count(),
        value=days.value.sum(),
        followed=followed.cast("int64").sum(),
        later=followed.ifelse(days.later, 0).sum(),
    )
    names = ["n", "value", "followed", "later"]
    counts = bucket_array(table.to_pandas().astype(float), [], names, buckets=buckets)
    if not log.has("value"):
        counts[:, 1] = np.nan
    return counts[:, :2], counts[:, 2:]


def resampled(flow: Flow, others: np.ndarray | None = None, *, seed: int = 0) -> Draws:
    """Resample the buckets once for all that is counted by them.

    Parameters
    ----------
    flow : Flow
    others : ndarray, shape (B, C), optional
        Further counts, resampled with the rest.
    seed : int
    """
    size = len(flow.buckets)
    others = np.empty((size, 0)) if others is None else others
    parts = [flow.moves, flow.visits, flow.sales, flow.again, others]
    ends = np.cumsum([part[0].size for part in parts])
    counts = np.concatenate([part.reshape(size, -1) for part in parts], axis=1)
    found = resample(np.nan_to_num(counts), lambda totals: totals, seed=seed, n_resamples=DRAWS)
    totals = np.concatenate([found.estimate[None], found.replicates])
    moves, visits, sales, again, more = np.split(totals, ends[:-1], axis=1)
    moves = moves.reshape(-1, *flow.moves.shape[1:])
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix = np.nan_to_num(moves / moves.sum(axis=-1, keepdims=True))
        value = sales[:, 1] / sales[:, 0]
        bought = again[:, 1] / again[:, 0]
    value = np.where(np.isnan(flow.sales).any(), np.nan, value)
    led = (visits[:, None] @ matrix)[:, 0]
    visits = np.where(flow.ends, led, visits) / flow.months
    return Draws(matrix, visits, value, bought, more)


def shifted(matrix: np.ndarray, origin: int, target: int, change: np.ndarray) -> np.ndarray:
    """Return matrices with one cell changed and the rest of its row in proportion.

    Parameters
    ----------
    matrix : ndarray, shape (R, S, S)
    origin, target : int
    change : ndarray, shape (R,)
        Added to the cell, as far as it stays between 0 and 1.
    """
    row = matrix[:, origin]
    new = np.clip(row[:, target] + change, 0.0, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = np.nan_to_num((1 - new) / (1 - row[:, target]))
    result = matrix.copy()
    result[:, origin] = row * rest[:, None]
    result[:, origin, target] = new
    return result


def ahead(matrix: np.ndarray, within: np.ndarray, buying: np.ndarray) -> np.ndarray:
    """Return the purchases within the horizon that lie ahead of each state, shape (R, S)."""
    moves = matrix * within
    into = moves[..., buying].sum(axis=-1, keepdims=True)
    return solve_walk(moves, 1 - moves.sum(axis=-1), into)[..., 0]


def extra(flow: Flow, draws: Draws, changed: np.ndarray) -> np.ndarray:
    """Return the purchases that a month's visits would bring in changed chains, shape (R,)."""
    worth = flow.buying + ahead(changed, flow.within, flow.buying)
    altered = ((changed - draws.matrix) * flow.within) @ worth[..., None]
    return (draws.visits * altered[..., 0]).sum(axis=-1)


def limits(draws: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Return a figure, the first of its draws, and the percentile limits of the others."""
    tail = 100 * (1 - level) / 2
    if not np.isfinite(draws[0]):
        return np.nan, np.nan, np.nan
    return float(draws[0]), *map(float, np.nanpercentile(draws[1:], [tail, 100 - tail]))


def what_if(flow: Flow, changes: Sequence[Mapping], *, seed: int = 0) -> pd.DataFrame:
    """Say what changes of the chain would bring a month, all of them together.

    Parameters
    ----------
    flow : Flow
    changes : sequence of mapping
        ``from`` and ``to`` (states), and ``change``: what is added to the share of the visits to
        the one that go on to the other; the rest of the row shrinks or grows in proportion.
    seed : int

    Returns
    -------
    DataFrame
        One row: extra_purchases a month with lower and upper, extra_value with extra_value_lower
        and extra_value_upper (NaN in a log without values), and visits (a month, to these stages).

    Raises
    ------
    ParameterError
        Where a state is not known.
    Unanswerable
        Where none was seen to be left.
    """
    draws, places = resampled(flow, seed=seed), {name: i for i, name in enumerate(flow.states)}
    changed, touched = draws.matrix, set()
    for one in changes:
        unknown = {one["from"], one["to"]} - set(places)
        if unknown:
            raise ParameterError(f"what_if: {', '.join(unknown)} is not among {flow.states}")
        origin, target = places[one["from"]], places[one["to"]]
        if not draws.matrix[0, origin].any():
            raise Unanswerable(f"nobody was seen to go on from {one['from']}")
        changed = shifted(changed, origin, target, np.full(len(changed), one["change"]))
        touched.add(origin)
    purchases = extra(flow, draws, changed)
    visits = float(draws.visits[0, sorted(touched)].sum())
    return pd.DataFrame([figures(purchases, draws.value) | {"visits": visits}])


def figures(purchases: np.ndarray, value: np.ndarray) -> dict[str, float]:
    """Return draws of extra purchases, and of the value of one, as a row of a table."""
    names = ("extra_purchases", "lower", "upper")
    money = ("extra_value", "extra_value_lower", "extra_value_upper")
    return dict(
        zip((*names, *money), (*limits(purchases), *limits(purchases * value)), strict=True)
    )
