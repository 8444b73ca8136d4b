"""Three views of the same customers: what they bought, what they did, how their journeys run."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency

from cjlib.errors import Unanswerable
from cjlib.segments.cluster_names import ALL, BehaviourClusters, group_names
from cjlib.segments.journey_types import JourneyTypes
from cjlib.segments.rfm import NOT_YET, RuleTable, rfm_scores, rfm_stability

VIEWS = {"rfm_segment": "rfm", "cluster": "cluster", "journey_type": "journey_type"}
"""The column of each view, and its name in ``segment_profiles.segmentation``."""


@dataclass(frozen=True)
class Views:
    """The ways in which customers are told apart, at any moment.

    Attributes
    ----------
    rules : RuleTable
    clusters : BehaviourClusters
    types : JourneyTypes
    """

    rules: RuleTable
    clusters: BehaviourClusters
    types: JourneyTypes

    def at(self, log, until: pd.Timestamp | None = None) -> pd.DataFrame:
        """Return the groups that everyone is in, by what was known at a moment.

        Parameters
        ----------
        log : Log
        until : Timestamp, optional
            ``log.as_of`` by default.

        Returns
        -------
        DataFrame
            ``customer_id`` (sorted), ``bucket``, ``rfm_segment``, ``cluster``, ``journey_type``
            (categorical) and ``type_probability``; no rows when nobody was known.
        """
        customers = self.clusters.assign(log, until=until)
        ids = customers["customer_id"]
        scored = rfm_scores(log, self.rules, as_of=until).set_index("customer_id")
        bought = pd.Categorical(
            scored["rfm_segment"].reindex(ids).array, categories=[*self.rules.names, NOT_YET]
        )
        customers["rfm_segment"] = bought.fillna(NOT_YET)
        types = self.types.assign(log, until=until).set_index("customer_id").reindex(ids)
        for column in types:
            customers[column] = types[column].array
        return customers[["customer_id", "bucket", *VIEWS, "type_probability"]]

    @property
    def names(self) -> dict[str, str]:
        """What the groups of each view are called, by its name in ``segment_profiles``."""
        phrases = group_names()["views"]
        if self.rules.bands:
            phrases = phrases | {"rfm_segment": phrases["recency_bands"]}
        return {name: phrases[view] for view, name in VIEWS.items()}

    def segments(self, customers: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Return everybody, and the groups of every view that tells customers apart.

        Recency bands are left out: a band by the calendar is nobody to speak of or to write to.

        Parameters
        ----------
        customers : DataFrame
            Of `at`.

        Returns
        -------
        dict of str to DataFrame
            ``customer_id`` and ``segment``, by what the view's groups are called.
        """
        ids = customers[["customer_id"]]
        found = {ALL: ids.assign(segment=ALL)}
        for view, name in VIEWS.items():
            bands = view == "rfm_segment" and self.rules.bands
            if len(customers[view].unique()) > 1 and not bands:
                found[self.names[name]] = ids.assign(segment=customers[view])
        return found

    def stability(self, scored: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
        """Return how well each group is found again: ``segmentation``, ``segment``, ``stability``.

        That of RFM segments says how many of a segment's buyers stay in it when the borders are
        drawn anew: of the borders alone, since fifths are found again whether or not the buyers on
        either side differ.

        Parameters
        ----------
        scored : DataFrame
            Result of `cjlib.segments.rfm.rfm_scores`.
        seed : int
            Of the draws of buyers.
        """
        found = {
            "rfm": rfm_stability(scored, self.rules, seed=seed),
            "cluster": pd.Series(self.clusters.model.stability_, self.clusters.names),
            "journey_type": pd.Series(self.types.stability, self.types.names),
        }
        table = pd.concat(found, names=["segmentation", "segment"])
        return table.rename("stability").reset_index()

    def cross_tables(self, customers: pd.DataFrame) -> list[pd.DataFrame]:
        """Count customers by each two views that tell them apart, see `segments`.

        Returns
        -------
        list of DataFrame
            One view in rows, the other in columns, each axis named for its view; groups that nobody
            is in are left out.
        """
        groups = self.segments(customers)
        labels = [part["segment"].rename(name) for name, part in groups.items() if name != ALL]
        if len(labels) < 2:
            raise Unanswerable("fewer than two views tell the customers apart")
        return [pd.crosstab(one, other) for one, other in combinations(labels, 2)]


def association(table: pd.DataFrame) -> float:
    """Return how far two groupings of the same customers go together.

    Cramér's V with the bias correction of W. Bergsma (Journal of the Korean Statistical Society 42,
    2013): 0 is no more than chance, 1 is that every group of the finer grouping lies within one of
    the coarser. The Rand index would call such nested groupings different.

    Parameters
    ----------
    table : DataFrame
        Counts by two groupings, with two rows and two columns at least.
    """
    n = table.to_numpy().sum()
    sizes = np.array(table.shape)
    beyond = chi2_contingency(table, correction=False).statistic / n - (sizes - 1).prod() / (n - 1)
    corrected = sizes - (sizes - 1) ** 2 / (n - 1)
    return float(np.sqrt(max(beyond, 0) / (corrected.min() - 1)))


def agreement(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return how far each two views go together.

    Parameters
    ----------
    tables : list of DataFrame
        Of `Views.cross_tables`.

    Returns
    -------
    DataFrame
        ``view``, ``other``, ``cramers_v`` and ``customers``.
    """
    rows = [(t.index.name, t.columns.name, association(t), t.to_numpy().sum()) for t in tables]
    return pd.DataFrame(rows, columns=["view", "other", "cramers_v", "customers"])
