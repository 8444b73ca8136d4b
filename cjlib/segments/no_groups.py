"""Customers without groups: their journeys dealt out anew, as a reference for clusters."""

import numpy as np
import pandas as pd

from cjlib.journeys import DAY
from cjlib.segments.behaviour import behaviour_sums, from_sums, is_attribute

DRAWS = 19
STRATA = 5  # of customers by their number of journeys
LEAST_OWN = 2.0
"""Concentration of customers' preferences from which an even choice of two is no choice of sides: a
Dirichlet law with less has two heads."""


class NoGroups:
    """Draw customers who differ by degrees or not at all, and otherwise are as those of a log.

    Every customer keeps how many journeys there were and the pauses between them, and gets journeys
    of customers who had about as many, first ones for the first: so "bought or not", skewed counts,
    what heavy users do more and all that one journey brings about stay as they are, and nothing
    else that lasts sets customers apart. Where it does in the log, a customer repeats an own
    journey now and then (a Polya urn: each customer has preferences drawn from a Dirichlet law),
    as often as makes journeys of one customer as alike as they are in the log. Of a log of single
    journeys every draw is the log itself: it shows nothing that lasts.

    Parameters
    ----------
    log : Log
    sample : DataFrame
        Of `cjlib.segments.behaviour.behaviour_sample`; its customers are drawn.

    Attributes
    ----------
    lasting : float
        Share of the differences between journeys that lie between customers (intraclass
        correlation, averaged over the features), at most 1 and below 0 by chance.
    by_degrees : bool
        Whether that is more than in each of 19 logs dealt anew, as by chance in 1 of 20.
    """

    def __init__(self, log, sample: pd.DataFrame):
        self._who = sample[[name for name in sample if is_attribute(name)]].to_numpy()
        self._all = list(sample.columns)
        self.features = [name for name in self._all if not is_attribute(name)]
        sums = behaviour_sums(log, self.features, by=("customer_id", "journey"))
        sums = sums[sums["customer_id"].isin(sample.index)].reset_index(drop=True)
        self._place = sums.groupby("customer_id").cumcount().to_numpy()
        self._begin = np.flatnonzero(self._place == 0)
        sizes = np.diff([*self._begin, len(sums)])
        self._owner = np.repeat(np.arange(len(sizes)), sizes)
        edges = np.quantile(sizes, np.arange(1, STRATA) / STRATA)
        active = np.searchsorted(edges, sizes, side="right")[self._owner]
        self._stratum = 2 * active + (self._place > 0)
        whole = sums.groupby("customer_id").agg(first=("first", "min"), last=("last", "max"))
        days = (whole["last"] - whole["first"]).to_numpy() / DAY
        self._sums = sums.drop(columns=["customer_id", "journey", "bucket", "first", "last"])
        self._sums = self._sums.astype(float).fillna(0.0)
        self._pauses = days - np.add.reduceat(self._sums["days"].to_numpy(), self._begin)
        self._fill = sample[self.features].median()
        of_journeys = from_sums(self._sums, self.features).fillna(self._fill).to_numpy(float)
        of_journeys = pd.DataFrame(of_journeys)
        of_journeys -= of_journeys.groupby(self._stratum).transform("mean")
        of_journeys, rng = of_journeys.to_numpy(), np.random.default_rng(0)
        self.lasting = intraclass(of_journeys, self._owner)
        dealt = [intraclass(of_journeys[self._dealt(rng)], self._owner) for _ in range(DRAWS)]
        self.by_degrees = self.lasting > max(dealt)

    def __call__(self, rng: np.random.Generator, *, alike: bool = False) -> pd.DataFrame:
        """Draw as many customers: a row each, a column per feature."""
        source = self._dealt(rng)
        own = 0.0 if alike else np.clip(self.lasting, 0, 1 / (1 + LEAST_OWN))
        if own > 0:
            for place in range(1, self._place.max(initial=0) + 1):
                now = np.flatnonzero(self._place == place)
                again = now[rng.random(len(now)) < place / (place + 1 / own - 1)]
                source[again] = source[again - 1 - rng.integers(place, size=len(again))]
        sums = np.add.reduceat(self._sums.to_numpy()[source], self._begin)
        sums = pd.DataFrame(sums, columns=self._sums.columns)
        sums["days"] += self._pauses
        drawn = from_sums(sums, self.features).astype(float).fillna(self._fill)
        drawn[[name for name in self._all if is_attribute(name)]] = self._who
        return drawn[self._all]

    def _dealt(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random order of the journeys within their strata."""
        source = np.empty(len(self._stratum), dtype=int)
        places = np.argsort(self._stratum, kind="stable")
        source[places] = np.lexsort((rng.random(len(source)), self._stratum))
        return source


def intraclass(values: np.ndarray, group: np.ndarray) -> float:
    """Return the mean intraclass correlation of columns (one-way analysis of variance)."""
    sizes = np.bincount(group)
    kept = sizes[group] > 1
    values, group = values[kept], np.unique(group[kept], return_inverse=True)[1]
    if len(values) < 3:
        return 0.0
    sizes = np.bincount(group)
    n, groups = len(values), len(sizes)
    means = np.stack([np.bincount(group, column) / sizes for column in values.T], axis=1)
    within = ((values - means[group]) ** 2).sum(axis=0) / (n - groups)
    between = (sizes[:, None] * (means - values.mean(axis=0)) ** 2).sum(axis=0) / (groups - 1)
    typical = (n - (sizes**2).sum() / n) / (groups - 1)
    extra = (between - within) / typical
    total = extra + within
    return float((extra[total > 0] / total[total > 0]).mean())
