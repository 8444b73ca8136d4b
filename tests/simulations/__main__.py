"""Run the simulations over their seeds and write what they came to, as a table."""

import argparse
import importlib
import os
import pkgutil
import subprocess
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

import tests.simulations
from tests.simulations import Simulation, holds

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """# What findings survive

Hard nulls and their planted twins, over seeds of their own: `make simulate` writes this table, and
`python -m tests.simulations WORDS` the rows whose names hold one of the words. A *false* finding is
one where nothing is planted; *found* one where something is; *covered* says how often the interval
held the truth. What is stated of shares is held against the binomial law. *At* names the commit.

"""


FIRST_SEED = 1001
"""Methods were chosen while looking at lower ones."""
TITLES = [
    "| simulation | figure | seeds | counted | mean | stated | holds | at |",
    "|---" * 8 + "|",
]


def simulations() -> dict[str, Simulation]:
    """Return all simulations by name, in the order of the modules."""
    modules = sorted(module.name for module in pkgutil.iter_modules(tests.simulations.__path__))
    found = {}
    for name in modules:
        if not name.startswith("_"):
            module = importlib.import_module(f"tests.simulations.{name}")
            found |= {one.name: one for one in getattr(module, "SIMULATIONS", ())}
    return found


def trial_of(name: str, seed: int) -> dict[str, float]:
    """Return the figures of one seed."""
    return dict(simulations()[name].trial(seed))


def run(one: Simulation, seeds: int, jobs: int, level: float = 0.025) -> pd.DataFrame:
    """Return the figures of a simulation over seeds: figure, seeds, mean, least, most, holds."""
    with ProcessPoolExecutor(jobs) as pool:
        trials = pool.map(trial_of, [one.name] * seeds, range(FIRST_SEED, FIRST_SEED + seeds))
        values = pd.DataFrame(list(tqdm(trials, total=seeds, desc=one.name, disable=None)))
    rows = []
    for figure, (least, most) in one.stated.items():
        column = values[figure].to_numpy(dtype=float)
        counted = int((~np.isnan(column)).sum())
        row = [
            one.name,
            figure,
            f"{FIRST_SEED} on, {seeds}",
            counted,
            np.nanmean(column) if counted else np.nan,
        ]
        rows.append([*row, least, most, holds(column, least, most, level)])
    columns = ["simulation", "figure", "seeds", "counted", "mean", "least", "most", "holds"]
    return pd.DataFrame(rows, columns=columns)


def as_lines(table: pd.DataFrame) -> list[str]:
    """Return the rows of a simulation as a reader sees them."""
    command = ["git", "describe", "--always"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    lines = []
    for row in table.itertuples():
        stated = f"{row.least:.3g} to {row.most:.3g}"
        held = "yes" if row.holds else "**no**"
        cells = [row.simulation, row.figure, row.seeds, row.counted, f"{row.mean:.3f}", stated]
        lines.append("| " + " | ".join(map(str, [*cells, held, commit])) + " |")
    return lines


def write_down(name: str, lines: list[str]) -> None:
    """Put the rows of one simulation in the place of its earlier ones."""
    before = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    rows = {}
    for line in [row for row in before if row.startswith("| ")][1:]:
        rows.setdefault(line.split(" | ")[0].removeprefix("| "), []).append(line)
    rows[name] = lines
    kept = [line for one in simulations() for line in rows.get(one, ())]
    RESULTS.write_text(HEAD + "\n".join([*TITLES, *kept]) + "\n")


def main() -> None:
    """Run what is asked for; what ran over its own number of seeds is written down."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulations", description=__doc__)
    parser.add_argument("names", nargs="*", help="words of names; without any, all are run")
    parser.add_argument("--seeds", type=int, help="in place of each one's own number")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    given = parser.parse_args()
    chosen = {
        name: one
        for name, one in simulations().items()
        if not given.names or any(word in name for word in given.names)
    }
    for name, one in chosen.items():
        lines = as_lines(run(one, given.seeds or one.seeds, given.jobs))
        print(*lines, sep="\n")
        if not given.seeds:
            write_down(name, lines)


if __name__ == "__main__":
    main()
