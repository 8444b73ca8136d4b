"""Exact attribution against the simulation of ChannelAttribution 2.2.5, in one run.

ChannelAttribution is not among the project's dependencies. To compare, make an environment aside:

    uv venv ca && uv pip install --python ca/bin/python -e . ChannelAttribution==2.2.5
    ca/bin/python tests/benchmarks/bench_attribution.py path/to/PathData.csv
"""

import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import pandas as pd

from cjlib.removal_effect import removal_effect
from cjlib.touch_paths import TouchPaths

ROUNDS = 15
SHARED = Path(__file__).resolve().parents[2].parent / "shared/data/attribution/PathData.csv"


def main(source: Path) -> None:
    try:
        import ChannelAttribution
    except ImportError:
        ChannelAttribution = None
        print(f"ChannelAttribution is not installed; timing ours alone.\n{__doc__}")
    data = pd.read_csv(source)
    ours = data.rename(columns={"total_conversions": "conversions", "total_null": "nulls"})

    def exact(order):
        touches = TouchPaths.from_frame(ours)
        effect = removal_effect(touches, order).effect
        share = effect / effect.sum()
        return touches.levels, share * touches.conversions.sum()

    def simulated(order):
        return ChannelAttribution.markov_model(
            data,
            "path",
            "total_conversions",
            var_null="total_null",
            order=order,
            verbose=False,
            flg_pro=False,
        )

    print(f"{len(data):,} paths; median of {ROUNDS} rounds, taking turns; text to conversions")
    for order in (1, 2, 3):
        timed = {"exact": exact} | ({"simulated": simulated} if ChannelAttribution else {})
        seconds = {name: [] for name in timed}
        for function in timed.values():
            function(order)  # warm up
        for _ in range(ROUNDS):
            for name, function in timed.items():
                start = perf_counter()
                function(order)
                seconds[name].append(perf_counter() - start)
        line = f"order {order}: exact {median(seconds['exact']) * 1e3:7.2f} ms"
        if ChannelAttribution:
            ratio = median(seconds["simulated"]) / median(seconds["exact"])
            levels, conversions = exact(order)
            found = simulated(order).set_index("channel_name").total_conversions
            gap = abs(found.reindex(levels).to_numpy() / conversions - 1).max()
            line += f", simulated {median(seconds['simulated']) * 1e3:7.2f} ms, {ratio:5.1f} times"
            line += f"; the simulation is off by up to {gap:.1%} (a level's conversions)"
        print(line)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED)
