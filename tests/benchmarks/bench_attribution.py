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

from cjlib.attribution.removal_effect import purchase_probabilities, removal_effects
from cjlib.attribution.touch_paths import touches_of

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
    ours = ours.rename(columns={"total_conversion_value": "value"}).assign(bucket=0)

    def exact(order):
        paths = ours.assign(path=ours["path"].str.split(" > "))
        touches = touches_of(paths)
        effect = removal_effects(purchase_probabilities(paths, touches, order))[0]
        share = effect / effect.sum()
        levels = touches["level"].cat.categories
        return levels, share * paths["conversions"].sum(), share * paths["value"].sum()

    def simulated(order, value="total_conversion_value"):
        return ChannelAttribution.markov_model(
            data,
            "path",
            "total_conversions",
            var_value=value,
            var_null="total_null",
            order=order,
            verbose=False,
            flg_pro=False,
        )

    def without_value(order):
        return simulated(order, value=None)

    print(f"{len(data):,} paths, from their text to conversions and value by level")
    print(f"median of {ROUNDS} rounds, taking turns")
    for order in (1, 2, 3):
        timed = {"exact": exact}
        if ChannelAttribution:
            timed |= {"simulated": simulated, "without value": without_value}
        seconds = {name: [] for name in timed}
        for function in timed.values():
            function(order)  # warm up
        for _ in range(ROUNDS):
            for name, function in timed.items():
                start = perf_counter()
                function(order)
                seconds[name].append(perf_counter() - start)
        ours_took = median(seconds.pop("exact"))
        line = f"order {order}: exact {ours_took * 1e3:7.2f} ms"
        for name, taken in seconds.items():
            line += (
                f"; {name} {median(taken) * 1e3:7.2f} ms, {median(taken) / ours_took:4.1f} times"
            )
        if ChannelAttribution:
            levels, conversions, _ = exact(order)
            found = simulated(order).set_index("channel_name").total_conversions
            gap = abs(found.reindex(levels).to_numpy() - conversions).max()
            line += f"; simulated conversions are off by up to {gap:.0f}"
        print(line)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED)
