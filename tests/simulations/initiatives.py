"""What initiatives promise: the gain that the generator yields, and none where there is none."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

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

TRUE = {"payment_error": 0.137, "delivery_late": 0.2}
"""Purchases within the horizon for each visit relieved: the means of `yielded`, 150,000 customers
over twelve seeds."""
IDLE = ("newsletter_open", "affiliate")
COMPANY = ("ad", "review", "demo", "voucher", "call", "manual")


def found(log, segment_by: str = "first_channel", seed: int = 1, **shares) -> pd.DataFrame:
    """Return a log's initiatives as notebook 06 finds them, but for those about to leave."""
    touchpoints, kinds = touchpoint_table(log), []
    moves = markov.transitions(log, segment_by=segment_by)
    for kind in (
        lambda: initiatives.hurting(touchpoints),
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


def yielded(relieved: str, seed: int, customers: int = 150_000) -> float:
    """Return the purchases that come of each visit relieved, of a demo with it and one without.

    For a month a touchpoint is without consequences; what is bought more than otherwise is counted
    from its begin until, on average, a horizon after.
    """
    begin, end = b.END - b.HORIZON - 15 * b.DAY, b.END - b.HORIZON + 15 * b.DAY
    buys = np.array([stage == b.PURCHASE for stage, *_ in b.TOUCHPOINTS.values()])

    def purchases(demo) -> int:
        return int((buys[demo.event["code"]] & (demo.event["time"] >= begin)).sum())

    before = generate(customers, seed, dirt=False)
    with _without_consequences(relieved, begin, end):
        after = generate(customers, seed, dirt=False)
    event = before.event
    met = (event["code"] == b.CODE[relieved]) & (event["time"] >= begin) & (event["time"] < end)
    return (purchases(after) - purchases(before)) / met.sum()


@contextmanager
def _without_consequences(relieved: str, begin: int, end: int) -> Iterator[None]:
    visit = b.visit

    def relieving(rng, machine, kind, stage, started, hurt):
        now = visit(rng, machine, kind, stage, started, hurt)
        here = (started >= begin) & (started < end)
        if relieved == "payment_error":
            now.strain[here & now.error] = 1.0
        else:
            after = here & (stage == b.POST_SALE)
            now.hurt, now.strain = np.where(after, 0.0, now.hurt), np.where(after, 1.0, now.strain)
        return now

    with patch.object(b, "visit", relieving):
        yield


COVERED, EVEN = (0.93, 1.0), (0.85, 1.15)
WORLDS = {
    "heavy users have longer visits and buy more": {"longer_visits": 1.0, "buys_more": 1.0},
    "loss grows with the length of a visit": {"loss_by_length": 0.08},
}
SIMULATIONS = [
    Simulation(
        "initiatives, the demo",
        demo,
        {"planted come first": (0.9, 1.0), "idle among the first five": (0.0, 0.05)}
        | {f"covered, {name}": COVERED for name in TRUE}
        | {f"promised, {name}": EVEN for name in TRUE},
        seeds=20,
    )
] + [
    Simulation(
        f"initiatives, {name}", partial(nothing, **world), {"promised": (0.0, 0.1)}, seeds=20
    )
    for name, world in WORLDS.items()
]
