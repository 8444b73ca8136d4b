"""What initiatives promise: the gain that the generator yields, and none where there is none."""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from cjlib import initiatives, markov
from cjlib.errors import Unanswerable
from cjlib.journey_map import touchpoint_table
from cjlib.log import open_log
from data.demo import behaviour as b
from data.demo.files import write_rows
from data.demo.generate import generate
from tests.conftest import ROOT
from tests.simulations import Simulation
from tests.simulations.worlds import World, described, log_of

TRUE = {"payment_error": 0.154, "delivery_late": 0.197}
"""Purchases within the horizon for each visit relieved: the means of `yielded` over three seeds."""
IDLE = ("newsletter_open", "affiliate")
COMPANY = ("ad", "review", "demo", "voucher", "call", "manual")


def found(log, segment_by: str = "first_channel", seed: int = 1, **shares) -> pd.DataFrame:
    """Return a log's initiatives as notebook 06 finds them, but for those about to leave."""
    touchpoints, kinds = touchpoint_table(log), []
    moves = markov.transitions(log, segment_by=segment_by)
    for kind in (
        lambda: initiatives.hurting(log, touchpoints),
        lambda: initiatives.deciding(touchpoints),
        lambda: initiatives.unreached(log),
        lambda: initiatives.below_best(moves, log.stages.before),
    ):
        try:
            kinds.append(kind())
        except Unanswerable:
            continue
    flow, causal = initiatives.customer_flow(log), shares or {"same customers": 1.0}
    try:
        candidates = initiatives.gathered(*kinds)
    except Unanswerable:
        return pd.DataFrame(columns=["initiative", "touchpoint", "segment", "lower", "upper"])
    return initiatives.gains(log, flow, candidates, causal, segment_by=segment_by, seed=seed)


def demo_log(seed: int, folder: Path, **options):
    """Return the log of a demo of another seed."""
    write_rows(generate(3000, seed, dirt=False, **options), folder / "rows.parquet")
    dataset = yaml.safe_load((ROOT / "data" / "demo.yml").read_text())
    dataset = {name: what for name, what in dataset.items() if name != "customers"}
    dataset["source"] = "rows.parquet"
    (folder / "demo.yml").write_text(yaml.safe_dump(dataset))
    return open_log(folder / "demo.yml")


def demo(seed: int) -> dict[str, float]:
    """Say whether what is planted comes first, and whether its gain is what the machine yields."""
    with tempfile.TemporaryDirectory() as folder:
        table = found(demo_log(seed, Path(folder)))
    first = table.head(5)
    figures = {"planted come first": float(set(table["touchpoint"][:2]) == set(TRUE))}
    figures["idle among the first five"] = float(
        first["touchpoint"].isin(IDLE).any() or first["segment"].isin(IDLE).any()
    )
    for name, each in TRUE.items():
        row = table[table["touchpoint"] == name]
        figures[f"covered, {name}"] = figures[f"promised, {name}"] = np.nan
        if len(row):
            (row,), came = row.to_dict("records"), each * row["visits"].item()
            figures[f"covered, {name}"] = float(row["lower"] <= came <= row["upper"])
            figures[f"promised, {name}"] = row["extra_purchases"] / came
    return figures


def nothing(seed: int, **world) -> dict[str, float]:
    """Count reports that promise a gain although nothing is planted."""
    touchpoints = described()["touchpoints"]
    for name in COMPANY:
        touchpoints[name] |= {"initiator": "company"}
    with tempfile.TemporaryDirectory() as folder:
        log = log_of(World(seed, **world), Path(folder), touchpoints=touchpoints)
        table = found(log, **{"same customers": 1.0, "other customers": 1.0})
    return {"promised": float((table["lower"] > 0).any())}


def yielded(relieved: str, seed: int, customers: int = 20_000, times: int = 5) -> float:
    """Return the purchases within the horizon that come of each visit relieved.

    All visits of a demo that were hurt go on twice by the machine: as hurt, and as if they were
    not.
    """
    demo = generate(customers, seed, dirt=False)
    visits, machine = demo.visit, demo.behaviour
    hurt = visits["error"] if relieved == "payment_error" else visits["hurt"] > 0
    stage = b.DECISION if relieved == "payment_error" else b.POST_SALE
    chosen = np.tile(np.flatnonzero(hurt & (visits["stage"] == stage)), times)
    kind, started, ended = (
        demo.kind[visits["customer"][chosen]],
        visits["started"][chosen],
        visits["ended"][chosen],
    )
    carried = visits["hurt"][chosen]

    def bought(strain: np.ndarray, carried: np.ndarray) -> float:
        rng, until, k = np.random.default_rng(seed), started + b.HORIZON, kind
        here, number = np.full(len(chosen), stage, np.int8), 0
        _, here, then = b.onward(rng, machine, k, here, ended, strain, carried)
        while (on := then < until).any():
            k, here, then, until, carried = (each[on] for each in (k, here, then, until, carried))
            number += (here == b.PURCHASE).sum()
            now = b.visit(rng, machine, k, here, then, carried)
            carried = now.hurt
            _, here, then = b.onward(rng, machine, k, here, now.ended, now.strain, carried)
        return number / len(chosen)

    none, one = np.zeros(len(chosen)), np.ones(len(chosen))
    if relieved == "payment_error":
        return bought(one, carried) - bought(machine.error_drop_off * one, carried)
    return bought(one, none) - bought(1 + (machine.late_drop_off - 1) * carried, carried)


PROMISES = {
    "covered, payment_error": (0.93, 1.0),
    "promised, payment_error": (0.85, 1.15),
    # customers won are counted, not how much oftener those buy who would have bought anyway
    "covered, delivery_late": (0.8, 1.0),
    "promised, delivery_late": (0.75, 1.1),
}
WORLDS = {
    "heavy users have longer visits and buy more": {"longer_visits": 1.0, "buys_more": 1.0},
    "loss grows with the length of a visit": {"loss_by_length": 0.08},
}
SIMULATIONS = [
    Simulation(
        "initiatives, the demo",
        demo,
        {"planted come first": (0.9, 1.0), "idle among the first five": (0.0, 0.05)} | PROMISES,
        seeds=20,
    )
] + [
    Simulation(
        f"initiatives, {name}", partial(nothing, **world), {"promised": (0.0, 0.1)}, seeds=20
    )
    for name, world in WORLDS.items()
]
