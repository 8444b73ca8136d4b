"""Credit by rule: how simple attribution models share one purchase among the touches before it.

A rule is a function from touches to weights. It is given one row per touch of all paths: ``path``
(a number), ``level`` (a channel or touchpoint), ``place`` (0 for the first touch of the path) and
``length`` (of the path); it returns one weight per row. Only the proportions within a path matter.
A path that gets no weight at all is shared equally. Unlike the removal effect, rules learn nothing
from paths that ended without a purchase.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd


def first_touch(touches: pd.DataFrame) -> pd.Series:
    """Give all to the first touch."""
    return touches["place"] == 0


def last_touch(touches: pd.DataFrame) -> pd.Series:
    """Give all to the last touch."""
    return touches["place"] == touches["length"] - 1


def linear(touches: pd.DataFrame) -> np.ndarray:
    """Give every touch the same."""
    return np.ones(len(touches))


def shapley(touches: pd.DataFrame) -> pd.Series:
    """Give every level of a path the same, however often it was touched.

    Notes
    -----
    This is the Shapley value of the game in which a set of levels is worth the purchases of the
    paths that need no other level. The game is a sum of unanimity games, one per path, so its value
    is known in closed form (L. S. Shapley, A value for n-person games, 1953; K. Zhao et al.,
    Shapley value methods for attribution modeling in online advertising, arXiv 1804.05327).
    """
    return ~touches.duplicated(["path", "level"])


@dataclass(frozen=True)
class TimeDecay:
    """Halve the credit with every `half_life` touches that lie between a touch and the purchase.

    Paths carry the order of the touches, not their days.
    """

    half_life: float = 2.0

    def __call__(self, touches: pd.DataFrame) -> pd.Series:
        """Return the weight of each touch."""
        later = touches["length"] - 1 - touches["place"]
        return 0.5 ** (later / self.half_life)


@dataclass(frozen=True)
class Position:
    """Give the share `ends` to the first and to the last touch each, the rest to those between."""

    ends: float = 0.4

    def __call__(self, touches: pd.DataFrame) -> np.ndarray:
        """Return the weight of each touch."""
        outer = first_touch(touches) | last_touch(touches)
        between = (1 - 2 * self.ends) / (touches["length"] - 2).clip(lower=1)
        weights = np.where(outer, self.ends, between)
        return np.where(touches["length"] <= 2, 1.0, weights)
