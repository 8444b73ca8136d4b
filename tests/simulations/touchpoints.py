"""Touchpoints that hurt, decide or stand out: none where nothing is planted, whoever meets them."""

import tempfile
from functools import partial
from pathlib import Path

import pandas as pd

from cjlib.journey_map import touchpoint_table
from tests.simulations import Simulation
from tests.simulations.worlds import World, log_of

LENGTH = {"loss_by_length": 0.08}
HEAVY = {"longer_visits": 1.0, "buys_more": 1.0}
PREFERRED = {"buys_more": 1.0, "preferred": {"review": 1.0}}
ALL = {"loss_by_length": 0.05, "longer_visits": 0.5, **PREFERRED}
PLANTED, LOSS = "page", 0.08


def touchpoints(seed: int, customers: int, **planted) -> pd.DataFrame:
    """Return the touchpoints of everybody, and of thirds that are drawn at random."""
    with tempfile.TemporaryDirectory() as folder:
        log = log_of(World(seed, customers=customers, **planted), Path(folder))
        ids = log.events.select("customer_id", "bucket").distinct().to_pandas()
        thirds = ids.assign(view="thirds", segment=(ids["bucket"] % 3).astype(str))
        segments = pd.concat([ids.assign(view="all", segment="all"), thirds])
        return touchpoint_table(log, segments[["customer_id", "view", "segment"]])


def nothing(seed: int, *, customers: int, **world) -> dict[str, float]:
    """Count reports in which something is found although nothing is planted."""
    table = touchpoints(seed, customers, **world)
    everybody, real = table["view"] == "all", ~table["placebo"]
    found = table["pain_point"] | table["moment_of_truth"]
    here = table["stage"] == "consideration"
    cards = real & ~everybody & (table["role"] == "before") & table["moment_of_truth"]
    return {
        "false pain points": float((table["pain_point"] & real & everybody).any()),
        "false moments of truth": float((table["moment_of_truth"] & real & everybody).any()),
        "false on cards": float(cards.any()),
        "false placebo": float(found[everybody & here & ~real].any()),
    }


def one_loses(seed: int, *, customers: int) -> dict[str, float]:
    """Say whether a touchpoint that loses customers is found, how large, and how surely."""
    table = touchpoints(seed, customers, loss={PLANTED: LOSS}, **ALL)
    everybody = table[(table["view"] == "all") & ~table["placebo"]].set_index("touchpoint")
    row = everybody.loc[PLANTED]
    others = everybody["pain_point"].drop(PLANTED)
    return {
        "found": float(row["pain_point"]),
        "stated": row["pain"] / LOSS,
        "covered": float(row["pain_lower"] <= LOSS <= row["pain_upper"]),
        "false beside it": float(others.any()),
    }


FALSE = (0.0, 0.05)
NOTHING = dict.fromkeys(
    ("false pain points", "false moments of truth", "false on cards", "false placebo"), FALSE
)
SOMETHING = {"stated": (0.9, 1.1), "covered": (0.93, 0.97), "false beside it": FALSE}
WORLDS = {
    "loss grows with the length of a visit": LENGTH,
    "heavy users have longer visits and buy more": HEAVY,
    "heavy users prefer a harmless touchpoint": PREFERRED,
}
SIMULATIONS = [
    Simulation(
        f"touchpoints, {size:,} customers, {name}",
        partial(nothing, customers=size, **world),
        NOTHING,
    )
    for name, world in WORLDS.items()
    for size in (1_500, 3_000)
    if size == 1_500 or world is PREFERRED  # the hardest, at twice the size as well
] + [
    Simulation(
        f"touchpoints, {size:,} customers, one that loses 8 points among all of these",
        partial(one_loses, customers=size),
        SOMETHING | {"found": (least, 1.0)},
    )
    for size, least in ((1_500, 0.3), (3_000, 0.9))
]
