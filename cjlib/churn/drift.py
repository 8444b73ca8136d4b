"""How many will leave: what is promised, and how far such promises were off before.

The level of churn moves from one horizon to the next (a price, a season, a rival), under any score
and all customers together; no interval over customers knows of it. What does is the record: how far
off, in log-odds, the churn promised at each past cut-off was.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cjlib.churn.selection import Choice, level_shift, shifted, turn_shifts

FEWEST_ERRORS = 3
"""Past promises, each with one before it, from which an interval is made."""
CARRIED = 0.5
"""Share of the last promise's error that the next promise is moved by: where the level wanders all
of it would be right, where it comes back none; half keeps the interval true in both cases."""


@dataclass(frozen=True)
class Level:
    """What is known of how the level of churn moves.

    Attributes
    ----------
    errors : ndarray
        How far the level promised at each past cut-off was off, in log-odds; oldest first, the test
        last. Above 0 where more churned than was promised.
    by_chance : float
        Standard error of the last of them, from the customers' chance alone.
    """

    errors: np.ndarray
    by_chance: float


def churn_level(choice: Choice, churned, probability) -> Level:
    """Return how far the chosen score's level was off, at past cut-offs and on the test.

    Parameters
    ----------
    choice : Choice
    churned : array of bool, shape (n,)
        Of the customers of the test.
    probability : array, shape (n,)
        Promised to them.
    """
    p = np.asarray(probability, dtype=float)
    past = turn_shifts(choice.foretold, choice.chosen).to_numpy()
    errors = np.append(past, level_shift(churned, p))
    return Level(errors, float(1 / np.sqrt(max((p * (1 - p)).sum(), 1e-9))))


def expected_churners(probability, level: Level) -> pd.DataFrame:
    """Return how many of some customers will churn, with an interval that knows of drift.

    A score fitted to all cut-offs until now is off by what the level has moved since their mean.
    The last error tells half of that (``CARRIED``); what such forecasts of the level were off by,
    at every past cut-off but the first, gives the interval (a t distribution of log-odds).

    Parameters
    ----------
    probability : array, shape (n,)
        Of churn, by the score fitted to all that is known.
    level : Level

    Returns
    -------
    DataFrame
        One row: churners, churners_lower, churners_upper, past (promises judged). With fewer than
        ``FEWEST_ERRORS`` of these the limits hold the customers' chance, and no drift.
    """
    errors = level.errors
    # Fitted to k cut-offs, the last error says where the last of them stood against the k - 1
    # before it: (k - 1) / k of it is where it stands against them all.
    known = np.arange(1, len(errors) + 1)
    carried = CARRIED * errors * known / (known + 1)
    off = errors[1:] - carried[:-1]
    p = np.asarray(probability, dtype=float)
    half = stats.norm.ppf(0.975) * np.hypot(level.by_chance, 1 / np.sqrt((p * (1 - p)).sum()))
    if len(off) >= FEWEST_ERRORS:
        half = stats.t.ppf(0.975, len(off)) * np.sqrt(np.mean(off**2))
    names = {"churners": 0.0, "churners_lower": -half, "churners_upper": half}
    row = {name: shifted(p, carried[-1] + by).sum() for name, by in names.items()}
    return pd.DataFrame([row | {"past": len(off)}])
