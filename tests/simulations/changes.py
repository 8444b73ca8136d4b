"""A change of the journey: found where it is planted, and not where only the customers change."""

import math
from types import SimpleNamespace

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from cjlib import journeys, markov
from tests.simulations import Simulation
from tests.simulations.worlds import (
    BEGIN,
    CHAIN,
    INACTIVITY,
    LOST,
    STAGES,
    World,
    births,
)

POINTS, SINCE = 0.05, pd.Timestamp("2024-09-01")
STAGE = "decision"
UNLIKE = {"activity": 0.5, "own_chains": 5.0, "journeys": 6.0}  # customers, and very


def events_of(world: World) -> ir.Table:
    """Return the events of all customers at once, one per visit: the laws of `worlds`, faster.

    Touchpoints and lengths of visits play no part in moves here.
    """
    rng = np.random.default_rng(world.seed)
    number, chain, loss = world.customers, CHAIN.to_numpy(), np.array([LOST[s] for s in STAGES])
    activity = np.ones(number)
    if not math.isinf(world.activity):
        activity = rng.gamma(world.activity, 1 / world.activity, number).clip(0.02)
    day = births(world, rng)
    until = np.full(number, float(world.days))
    if not math.isinf(world.staying):
        until = np.minimum(until, day + rng.exponential(world.staying, number))
    chains = np.broadcast_to(chain, (number, *chain.shape))
    if not math.isinf(world.own_chains):
        chains = rng.gamma(np.maximum(chains, 1e-9) * world.own_chains) * (chains > 0)
        chains = chains / np.maximum(chains.sum(-1, keepdims=True), 1e-12)
    reached = chains.cumsum(-1)
    journey, met = 0, []
    there = np.flatnonzero(day < until)
    while len(there):
        who, stage = there, rng.choice(3, len(there), p=[0.6, 0.3, 0.1])
        while len(who):
            met.append((who, day[who], stage))
            day[who] += np.minimum(rng.lognormal(-1.5, 1.5, len(who)), INACTIVITY - 1)
            odds = loss[stage] / (1 - loss[stage])
            odds = odds / np.where(stage < 3, activity[who] ** world.buys_more, 1)
            risk = odds / (1 + odds) + world.later_loss * (journey > 0)
            if world.change:
                changed = (day[who] >= world.change[0]) & (stage == STAGES.index(world.change[1]))
                risk = risk + world.change[2] * changed
            on = (rng.random(len(who)) >= risk) & (day[who] < until[who])
            who, stage = who[on], stage[on]
            stage = (rng.random(len(who))[:, None] > reached[who, stage]).sum(-1).clip(0, 4)
        day[there] += INACTIVITY + 1 + rng.exponential(365 / (world.journeys * activity[there]))
        there, journey = there[day[there] < until[there]], journey + 1
    who, day, stage = (np.concatenate(parts) for parts in zip(*met, strict=True))
    inside = (day >= 0) & (day < world.days)
    rows = pd.DataFrame({"day": day, "position": stage, "customer_id": who})[inside]
    rows = rows.sort_values(["day", "customer_id"], kind="stable", ignore_index=True)
    rows = rows.assign(
        customer_id="c" + rows["customer_id"].astype(str),
        timestamp=(BEGIN + pd.to_timedelta(rows.pop("day"), unit="D")).dt.floor("s"),
        line=rows.index,
        stage=np.array(STAGES)[rows["position"]],
        role="",
        purchase=rows["position"] == STAGES.index("purchase"),
        value=np.nan,
        sentiment=np.nan,
    )
    return journeys.with_buckets(ibis.duckdb.connect().create_table("events", rows)).cache()


def moves_of(world: World) -> pd.DataFrame:
    """Return the moves of a world by month, as the page counts them."""
    silence, as_of = pd.Timedelta(days=INACTIVITY), BEGIN + pd.Timedelta(days=world.days)
    events = journeys.with_journeys(events_of(world), silence).cache()
    log = SimpleNamespace(
        events=events,
        visits=journeys.stage_visits(events, as_of, silence).cache(),
        as_of=as_of,
        dataset=SimpleNamespace(journey=SimpleNamespace(inactivity=silence)),
    )
    return markov.transitions(log, by_month=True)


def found_in(moves: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the change that the page would state, and what moved since."""
    tests = markov.corrected_together(lambda: markov.stationarity_test(moves, seed=seed))
    change = markov.dated_change(markov.change_points(moves, seed=seed), tests)
    return change, tests.set_index("test")["p_value"]


def nothing_changes(**options):
    """Return the trial of a world whose customers move as ever, whoever they are."""

    def trial(seed: int) -> dict[str, float]:
        change, p_values = found_in(moves_of(World(seed, **options)), seed)
        return {
            "a false date": len(change),
            "false: months differ": p_values["stationarity"] <= 0.05,
        }

    return trial


def something_changes(**options):
    """Return the trial of a world in which a stage loses five points more since a date."""
    at = (SINCE - BEGIN).days
    on = CHAIN.loc[STAGE]

    def trial(seed: int) -> dict[str, float]:
        moves = moves_of(World(seed, change=(at, STAGE, POINTS), **options))
        change, _ = found_in(moves, seed)
        figures = {"found": len(change)}
        for one in change.query("from_stage == @STAGE").itertuples():
            truth = POINTS * (1.0 if one.to_stage == "lost" else -on[one.to_stage])
            figures |= {
                "covered": one.difference_lower <= truth <= one.difference_upper,
                "stated over true": one.difference / truth,
                "its month within a month": abs((one.period - SINCE).days) <= 31,
                "date held": one.first <= SINCE <= one.last,
            }
        return figures

    return trial


FALSE = {"a false date": (0.0, 0.05), "false: months differ": (0.0, 0.05)}
FOUND = {
    "found": (0.75, 1.0),
    "covered": (0.93, 0.97),
    "stated over true": (0.9, 1.1),
    "date held": (0.9, 1.0),
}
SIMULATIONS = [
    Simulation("change: only who comes", nothing_changes(later_loss=0.2, **UNLIKE), FALSE),
    Simulation(
        "change: only who comes, growth and season",
        nothing_changes(later_loss=0.2, growth=1.0, season=0.3, **UNLIKE),
        FALSE,
    ),
    Simulation(
        "change: heavy users buy more, growth",
        nothing_changes(buys_more=1.0, growth=1.0, **UNLIKE),
        FALSE,
    ),
    Simulation(
        "change: a log that begins in the middle of lives",
        nothing_changes(later_loss=0.2, born_before=400, staying=300.0, customers=2_500, **UNLIKE),
        FALSE,
    ),
    Simulation(
        "change: five points more lost, while who comes changes",
        something_changes(
            customers=15_000, journeys=4.0, activity=1.0, own_chains=20.0, later_loss=0.1
        ),
        FOUND,
    ),
]
