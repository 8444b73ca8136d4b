"""Forecasts where arrivals grow and have seasons: bands that hold, middles that meet what came."""

import pandas as pd

from cjlib.journeys import with_journeys
from cjlib.markov.forecast import backtest_score, forecast_from, weekly_moves
from tests.simulations import Simulation
from tests.simulations.changes import events_of
from tests.simulations.worlds import BEGIN, INACTIVITY, STAGES, World

WEEKS = 8
OLD = {"born_before": 300, "staying": 250.0, "activity": 2.0, "journeys": 4.0}


def foreseen(years: int, **options):
    """Return the trial of a log of so many years, and of what came after it."""
    days = 365 * years + 7 * WEEKS
    size = {"customers": 1_500 * years, "days": days}

    def trial(seed: int) -> dict[str, float]:
        world = World(seed, **size | options)
        as_of = BEGIN + pd.Timedelta(days=days)
        silence = pd.Timedelta(days=INACTIVITY)
        moves = weekly_moves(with_journeys(events_of(world), silence), as_of, silence)
        made, _ = forecast_from(moves, as_of, STAGES, weeks=WEEKS, at=-WEEKS, seed=seed)
        sums = made.groupby("stage")[["expected", "observed"]].sum()
        middle = sums["expected"] / sums["observed"]
        figures = {"middle": sums["expected"].sum() / sums["observed"].sum()}
        figures |= {"middle of a stage": middle[list(STAGES)].mean()}
        return figures | {"covered": backtest_score(made)["coverage"].iloc[0]}

    return trial


STATED = {"middle": (0.95, 1.05), "middle of a stage": (0.95, 1.05), "covered": (0.93, 0.99)}
BOTH = {"growth": 1.0, "season": 0.3}
# Of customers who come as they always have, a single year cannot tell season from growth.
SIMULATIONS = [
    Simulation("forecast: growth, a year", foreseen(1, growth=1.0), STATED),
    Simulation("forecast: season, a year", foreseen(1, season=0.3), STATED),
    Simulation("forecast: growth and season, a year", foreseen(1, **BOTH), STATED),
    Simulation("forecast: growth and season, two years", foreseen(2, **BOTH), STATED),
    Simulation("forecast: the same among old customers", foreseen(2, **BOTH | OLD), STATED),
    Simulation("forecast: steady, two years", foreseen(2, **OLD), STATED),
]
