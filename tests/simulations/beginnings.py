"""Where a log begins and ends: in the middle of lives or not, thinning out or not."""

import tempfile
from dataclasses import replace
from pathlib import Path

import ibis
import numpy as np
import pandas as pd

from cjlib import beginnings, log_profile, survival
from tests.simulations import Simulation
from tests.simulations.worlds import BEGIN, INACTIVITY, World, log_of, rows_of

DAYS = 90  # within which a second purchase follows, or not
MANY = 40_000  # customers of whom the truth is taken
LATE = World(0, customers=1_500, born_before=400, journeys=10)
OTHERS = [  # logs that begin late, of customers all alike, who leave, who become more
    replace(LATE, activity=np.inf),
    replace(LATE, staying=300),
    replace(LATE, growth=1.0),
]
TRUTH = {400: 0.3021, 0: 0.3017}
"""`truth` by ``born_before``, which takes a minute."""
WEEKS = 60


def truth(born_before: int) -> float:
    """Return the share of all first purchases in the log that another follows within 90 days."""
    world = replace(LATE, customers=MANY, born_before=born_before)
    rows = rows_of(world, since=-np.inf)
    bought = rows[rows["touchpoint"] == "buy"]
    days = bought.assign(day=bought["timestamp"].dt.floor("D"))[["customer_id", "day"]]
    days = days.drop_duplicates().sort_values(["customer_id", "day"])
    days["then"] = days.groupby("customer_id")["day"].shift(-1)
    first = days.drop_duplicates("customer_id")
    first = first[first["day"] >= BEGIN]
    watched = BEGIN + pd.Timedelta(days=world.days) - first["day"]
    passed = (first["then"] - first["day"]).fillna(watched) / pd.Timedelta(days=1)
    counts = pd.DataFrame({"days": passed // 1, "bucket": np.arange(len(first)) % 256})
    counts["exit"] = np.where(first["then"].isna(), "open", "purchase")
    curve = survival.incidence(counts.assign(group="first", n=1))
    return float(survival.within(curve, DAYS)["share"].item())


def second_purchase(log, world: World) -> dict[str, float]:
    """Say what is stated of second purchases, beside the truth."""
    counts = survival.next_purchase_counts(log, {"first": 1, "later": 2})
    stated = survival.within(survival.incidence(counts), DAYS).set_index("group").loc["first"]
    true = TRUTH[world.born_before]
    return {
        "second purchase covered": float(stated["lower"] <= true <= stated["upper"]),
        "second purchase over the truth": float(stated["share"] / true),
    }


def opened(world: World) -> tuple:
    """Open the log of a world; it is read before its folder goes."""
    with tempfile.TemporaryDirectory() as folder:
        log = log_of(world, Path(folder))
        found = float(not log.run_in.empty)
        return found, second_purchase(log, world)


def late(seed: int) -> dict[str, float]:
    """Look for the begin of logs that begin in the middle of lives, steady ones and others."""
    found, stated = opened(replace(LATE, seed=seed))
    other = replace(OTHERS[seed % len(OTHERS)], seed=seed)
    return {"found": found, "found, others": begins_late(rows_of(other))} | stated


def begins_late(rows: pd.DataFrame) -> float:
    """Say whether a log is taken to begin late."""
    weeks = beginnings.weekly(ibis.memtable(rows[["customer_id", "timestamp"]]))
    return float(not beginnings.run_in(weeks, pd.Timedelta(days=INACTIVITY)).empty)


def young(seed: int) -> dict[str, float]:
    """Look for the begin of logs that begin with the company's life."""
    rng = np.random.default_rng(seed)
    world = World(seed, customers=int(rng.integers(500, 1_500)), journeys=rng.uniform(2, 10))
    phase = int(rng.integers(365))
    shapes = {
        "steady": world,
        "growing": replace(world, growth=rng.uniform(0.5, 3)),
        "shrinking": replace(world, growth=-rng.uniform(0.5, 1.5)),
        "seasonal": replace(world, season=0.6, season_from=phase),
        "after a launch": replace(world, launch=rng.uniform(0.1, 0.4)),
    }
    rows = {name: rows_of(one) for name, one in shapes.items()}
    rows["orders alone"] = rows["seasonal"].query("touchpoint == 'buy'")
    figures = {f"false, {name}": begins_late(log) for name, log in rows.items()}
    _, stated = opened(replace(LATE, seed=seed, born_before=0))
    return figures | stated


def weekly_counts(rng: np.random.Generator) -> np.ndarray:
    """Draw counts a week around a level that grows, swings with the year and has bursts."""
    week = np.arange(WEEKS)
    level = np.log(rng.uniform(40, 1_000)) + rng.uniform(-0.5, 1.5) * week / WEEKS
    level += rng.uniform(0, 0.4) * np.sin(2 * np.pi * (week / 52 + rng.random()))
    level += rng.normal(0, rng.uniform(0.05, 0.2), WEEKS)
    level[rng.choice(WEEKS, 3)] += 0.7
    return rng.poisson(np.exp(level))


def ends(seed: int) -> dict[str, float]:
    """Look for an end at which less is recorded, and for arrivals that stop."""
    rng = np.random.default_rng(seed)
    periods = pd.date_range(BEGIN, periods=WEEKS, freq="W-MON")
    table = pd.DataFrame({"period": periods, "events": weekly_counts(rng)})
    table["new"] = weekly_counts(rng)
    thin = table.copy()
    thin.loc[WEEKS - 2 :, "events"] = rng.binomial(thin["events"].iloc[-2:], 0.3)
    thin.loc[WEEKS - 1 :, "new"] = 0
    return {
        "false, events": len(log_profile.thin_end(table)),
        "false, new customers": len(log_profile.thin_end(table, "new", longest=WEEKS)),
        "found, a third of the events": len(log_profile.thin_end(thin)),
        "found, no new customer": len(log_profile.thin_end(thin, "new", longest=WEEKS)),
    }


_COVERED = {
    "second purchase covered": (0.93, 0.97),
    "second purchase over the truth": (0.9, 1.1),
}
_SHAPES = ("steady", "growing", "shrinking", "seasonal", "after a launch", "orders alone")
SIMULATIONS = [
    Simulation(
        "beginnings: a log that begins 400 days into lives",
        late,
        {"found": (0.9, 1), "found, others": (0.9, 1), **_COVERED},
    ),
    Simulation(
        "beginnings: a log that begins with the company",
        young,
        {**{f"false, {name}": (0, 0.05) for name in _SHAPES}, **_COVERED},
    ),
    Simulation(
        "beginnings: the end of a log",
        ends,
        {
            "false, events": (0, 0.05),
            "false, new customers": (0, 0.05),
            "found, a third of the events": (0.9, 1),
            "found, no new customer": (0.9, 1),
        },
    ),
]
