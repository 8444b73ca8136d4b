"""What changed between two reports: found where planted, not where only customers differ."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from cjlib import comparison
from cjlib.log import Log
from tests.simulations import Simulation
from tests.simulations.changes import UNLIKE
from tests.simulations.worlds import BEGIN, World, log_of

DAYS = 90
EARLY, LATE = (BEGIN + pd.Timedelta(days=days) for days in (200, 360))
SINCE, STAGE, POINTS = 205, "decision", 0.15


def verdicts_of(world: World) -> pd.DataFrame:
    """Return the changes between two reports of a world."""
    with tempfile.TemporaryDirectory() as folder:
        log = log_of(world, Path(folder))
        return comparison.changes(*windows(log))


def windows(log: Log) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what an early and a late report measure."""
    return comparison.measures(log, DAYS, EARLY), comparison.measures(log, DAYS, LATE)


def nothing_changes(**options):
    """Return the trial of a world in which customers act as ever, whoever comes."""

    def trial(seed: int) -> dict[str, float]:
        table = verdicts_of(World(seed, **options))
        return {"a false change": float((table["verdict"] != "same").any())}

    return trial


def random_halves(seed: int) -> dict[str, float]:
    """Compare two random halves of the customers over one window."""
    with tempfile.TemporaryDirectory() as folder:
        log = log_of(World(seed, **UNLIKE), Path(folder))
        table = comparison.measures(log, DAYS, LATE)
    buckets = np.array(sorted(table["bucket"].unique()))
    half = table["bucket"].isin(np.random.default_rng(seed).permutation(buckets)[::2])
    found = comparison.changes(table[half], table[~half])
    return {"a false change": float((found["verdict"] != "same").any())}


def a_stage_loses_more(seed: int) -> dict[str, float]:
    """Plant a loss between two reports."""
    world = World(seed, change=(SINCE, STAGE, POINTS), journeys=6.0, customers=2_500)
    table = verdicts_of(world)
    row = table.query("measure == 'move' and segment == 'all' and item == 'lost' and of == @STAGE")
    found = table[table["verdict"] != "same"]
    beside = found[(found["of"] != STAGE) & ~found["measure"].isin(["purchase", "again"])]
    return {
        "found": float((row["verdict"] == "moved").any()),
        "covered": float(row["lower"].item() <= POINTS <= row["upper"].item()),
        "a false change beside": float(len(beside) > 0),
    }


FALSE = {"a false change": (0.0, 0.05)}
SIMULATIONS = [
    Simulation("what changed: random halves", random_halves, FALSE),
    Simulation(
        "what changed: only who comes, growth and season",
        nothing_changes(later_loss=0.2, growth=1.0, season=0.3, **UNLIKE),
        FALSE,
    ),
    Simulation(
        "what changed: a stage loses more",
        a_stage_loses_more,
        {"found": (0.9, 1.0), "covered": (0.9, 1.0), "a false change beside": (0.0, 0.05)},
    ),
]
