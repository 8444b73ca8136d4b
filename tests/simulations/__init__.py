"""Hard nulls and their planted twins: what findings must survive, counted over many seeds.

Each module holds the simulations of one kind of finding, in its ``SIMULATIONS``. ``make simulate``
runs them all over their seeds and writes `RESULTS.md`; a short form is part of every CI run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, t


@dataclass(frozen=True)
class Simulation:
    """What is counted in one kind of world, and what it may come to."""

    name: str  # what is looked for, and where
    trial: Callable[[int], Mapping[str, float]]  # of a seed: figures; NaN where there is none
    stated: Mapping[str, tuple[float, float]]  # figure: least and most that its mean may be
    seeds: int = 100


def holds(values: np.ndarray, least: float, most: float, level: float = 0.025) -> bool:
    """Say whether the mean of a figure over seeds agrees with what is stated of it.

    Shares of seeds (each 0 or 1) are held against the binomial law of the limit, means of other
    figures against Student's, at `level` on either side.
    """
    values = values[~np.isnan(values)]
    number = len(values)
    if not number:
        return False
    if np.isin(values, (0, 1)).all():
        count = int(values.sum())
        return bool(
            binom.sf(count - 1, number, most) > level and binom.cdf(count, number, least) > level
        )
    if number == 1:
        return True
    error = t.ppf(1 - level, number - 1) * values.std(ddof=1) / np.sqrt(number)
    return bool(least - error <= values.mean() <= most + error)
