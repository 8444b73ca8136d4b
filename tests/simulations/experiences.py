"""One bad experience, lost time: the demo's own effects are met, and nothing where nothing is."""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from cjlib.dataset import load_dataset
from cjlib.journey_map import fluidity, one_bad_experience, won_back
from cjlib.log import Log, open_log
from cjlib.yaml_files import read_yaml
from data.demo import behaviour as b, files, truth
from data.demo.generate import generate
from tests.simulations import Simulation
from tests.simulations.worlds import World, log_of

HEAVY = {"longer_visits": 1.0, "buys_more": 1.0}
"""Heavy users meet everything more often, and buy more."""
AFTER, BEFORE = "support", "terms"


def harmless(seed: int, *, customers: int, **world) -> dict[str, float]:
    """Count reports in which a harmless touchpoint goes with never buying again."""
    with tempfile.TemporaryDirectory() as folder:
        log = log_of(World(seed, customers=customers, **world), Path(folder))
        table = one_bad_experience(log, [AFTER, BEFORE]).set_index("experience")
        found = table["verdict"].reindex([AFTER, BEFORE]) == "found"
        covered = (table["difference_lower"] < 0) & (table["difference_upper"] > 0)
        covered = covered[table["difference"].notna()].reindex([AFTER, BEFORE])
        return {
            "false after the purchase": float(found[AFTER]),
            "false before it": float(found[BEFORE]),
            "covered": float(covered.mean()) if covered.notna().all() else np.nan,
        }


def demo_log(seed: int, folder: Path, *, customers: int, **options) -> tuple:
    """Return a demo of one seed and its log."""
    demo = generate(customers, seed, dirt=False, **options)
    files.write_rows(demo, folder / "events.csv")
    described = read_yaml(load_dataset("demo").path) | {"source": "events.csv", "name": "seed"}
    described.pop("customers")
    (folder / "seed.yml").write_text(yaml.safe_dump(described, default_flow_style=False))
    return demo, open_log(folder / "seed.yml")


def planted(demo) -> dict[str, float]:
    """Return what the demo's own machine says one experience adds to never buying again."""
    options = demo.options
    _, purchase = truth.waits(options["kinds"], options["change"], options["effects"])
    none = (
        (purchase >= b.HORIZON).mean(axis=1).reshape(len(demo.behaviour.names), 6, len(truth.HURTS))
    )
    after, error = none[:, b.POST_SALE + 1], none[:, b.DECISION + 1, 0] - none[:, b.DECISION, 0]
    visit = demo.visit
    early = visit["started"] < b.END - b.HORIZON

    def mean(of_kinds: np.ndarray, among: np.ndarray) -> float:
        counts = np.bincount(demo.kind[visit["customer"][among & early]], minlength=len(of_kinds))
        return float(counts @ of_kinds / counts.sum())

    resolved = b.SUPPORT_AFTER_LATE * b.RESOLVED_RATE
    late = resolved * after[:, 1] + (1 - resolved) * after[:, 2] - after[:, 0]
    return {
        "delivery_late": mean(late, visit["stage"] == b.POST_SALE),
        "payment_error": mean(error, visit["error"] & (visit["stage"] == b.DECISION)),
        "resolved": mean(after[:, 1] - after[:, 2], visit["stage"] == b.POST_SALE),
    }


def demo(seed: int, *, customers: int, **options) -> dict[str, float]:
    """Say whether the demo's own effects are found, and covered."""
    with tempfile.TemporaryDirectory() as folder:
        made, log = demo_log(seed, Path(folder), customers=customers, **options)
        stated = planted(made)
        names = ["delivery_late", "payment_error"]
        table = one_bad_experience(log, names).set_index("experience").loc[names]
        back = won_back(log, names[:1]).assign(experience="resolved").set_index("experience")
        table = pd.concat([table, back])
        own = pd.Series(stated).reindex(table.index)
        covered = table["difference_lower"].le(own) & table["difference_upper"].ge(own)
        found = table["verdict"] == "found"
        return {
            **{f"{name} covered": float(covered[name]) for name in stated},
            **{f"{name} found": float(found[name]) for name in stated},
            "the planted loop leads": leads(log),
        }


def leads(log: Log) -> float:
    """Say whether the two planted loops are those at which most time is lost."""
    stages = fluidity(log, by="stage").head(2)
    pairs = set(zip(stages["from_stage"], stages["to_stage"], strict=True))
    first = fluidity(log).iloc[0]
    loops = {("consideration", "awareness"), ("decision", "consideration")}
    at = (first["from_touchpoint"], first["to_touchpoint"]) == ("checkout", "product_view")
    return float(pairs == loops and at)


COVERED, FALSE = (0.93, 0.97), (0.0, 0.05)
SIMULATIONS = [
    Simulation(
        "experiences, 1,500 customers, harmless, heavy users meet everything more often",
        partial(harmless, customers=1_500, **HEAVY),
        {"false after the purchase": FALSE, "false before it": FALSE, "covered": COVERED},
    ),
    Simulation(
        "experiences, the demo",
        partial(demo, customers=3_000),
        {
            "delivery_late covered": COVERED,
            "payment_error covered": COVERED,
            "delivery_late found": (0.95, 1.0),
            "resolved found": (0.8, 1.0),
            "the planted loop leads": (0.95, 1.0),
        },
        seeds=20,
    ),
    Simulation(
        "experiences, the demo without effects",
        partial(demo, customers=3_000, effects=False),
        {"delivery_late found": FALSE, "payment_error found": FALSE, "resolved found": FALSE},
        seeds=20,
    ),
]
