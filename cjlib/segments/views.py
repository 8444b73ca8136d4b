"""Three views of the same customers: what they bought, what they did, how their journeys run."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency

from cjlib.errors import Unanswerable
from cjlib.segments.cluster_names import BehaviourClusters, group_names
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

    def name(self, view: str) -> str:
        """Return what the groups of a view are called."""
        bands = view == "rfm_segment" and self.rules.bands
        return group_names()["views"]["recency_bands" if bands else view]

    def telling(self, customers: pd.DataFrame) -> list[str]:
        """Return the views (columns) in which customers are in more than one group."""
        found = [view for view in VIEWS if len(customers[view].unique()) > 1]
        if not found:
            raise Unanswerable("no view tells the customers apart")
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
        """Count customers by each two views that tell them apart by more than the calendar.

        Returns
        -------
        list of DataFrame
            One view in rows, the other in columns, each axis named for its view; groups that nobody
            is in are left out.
        """
        views = [
            v for v in self.telling(customers) if not (v == "rfm_segment" and self.rules.bands)
        ]
        if len(views) < 2:
            raise Unanswerable("only one view tells the customers apart")
        return [
            pd.crosstab(
                customers[one].rename(self.name(one)), customers[other].rename(self.name(other))
            )
            for one, other in combinations(views, 2)
        ]


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
        ``view``, ``other``, ``cramers_v``, ``customers`` and ``verdict``: "same" from 0.8,
        "related" from 0.1, else "unrelated".
    """
    rows = []
    for table in tables:
        both = association(table)
        rows.append(
            {
                "view": table.index.name,
                "other": table.columns.name,
                "cramers_v": both,
                "customers": int(table.to_numpy().sum()),
                "verdict": "same" if both >= 0.8 else "related" if both >= 0.1 else "unrelated",
            }
        )
    return pd.DataFrame(rows)
