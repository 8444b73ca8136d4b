"""Three views of the same customers, joined: RFM segments, behaviour clusters, journey types."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency

from cjlib.errors import ParameterError
from cjlib.segments.behaviour import (
    Feature,
    behaviour_features,
    behaviour_table,
    bucket_chunks,
    sample_buckets,
)
from cjlib.segments.clusters import BehaviourClusters, jaccard, match_clusters
from cjlib.segments.journey_types import ALL, JourneyTypes, find_journey_types
from cjlib.segments.rfm import (
    COLUMNS as RFM_COLUMNS,
    MEASURES,
    NOT_YET,
    RECENCY_BANDS,
    RuleTable,
    quantile_scores,
    rfm,
    rules_for,
)
from cjlib.uncertainty import Interval, proportion

VIEWS = {"rfm_segment": "rfm", "cluster": "cluster", "journey_type": "journey_type"}
"""The column of each view, and its name in ``segment_profiles.segmentation``."""
CLEAR = 0.25  # spreads between a cluster and the others from which a name speaks of it


@dataclass(frozen=True)
class Clusters:
    """Behaviour clusters learned from a log, with their names.

    Attributes
    ----------
    features : list of Feature
    model : BehaviourClusters
    fill : Series
        What stands for a number that a customer lacks: the median.
    names : list of str
        One per cluster, from the largest to the smallest; ``["all"]`` when none holds.
    centers : DataFrame
        Mean of each feature, by name of the cluster.
    spread : Series
        Standard deviation of each feature among all customers learned from.
    kept : dict
        Names taken over from an earlier run.
    """

    features: list[Feature]
    model: BehaviourClusters
    fill: pd.Series
    names: list[str]
    centers: pd.DataFrame
    spread: pd.Series
    kept: dict

    def assign(self, log, *, until: pd.Timestamp | None = None) -> pd.DataFrame:
        """Return ``customer_id``, ``bucket`` and ``cluster`` of everyone, sorted by id.

        Parameters
        ----------
        log : Log
        until : Timestamp, optional
            Use only what was known at that moment; ``log.as_of`` by default.
        """
        customers, buckets = _size(log)
        parts = []
        for chunk in bucket_chunks(customers, buckets):
            table = behaviour_table(log, self.features, until=until, buckets=chunk)
            if table.empty:
                continue
            numbers = table[list(self.fill.index)].fillna(self.fill).to_numpy(dtype=float)
            names = pd.Categorical.from_codes(self.model.predict(numbers), self.names)
            parts.append(table[["customer_id", "bucket"]].assign(cluster=names))
        if not parts:
            raise ParameterError("No customer is known at this moment; choose a later date.")
        return pd.concat(parts).sort_values("customer_id", ignore_index=True)


def _size(log) -> tuple[int, int]:
    """Return how many customers and how many buckets a log has."""
    events = log.events
    found = events.aggregate(n=events.customer_id.nunique(), last=events.bucket.max()).to_pandas()
    return int(found["n"].iloc[0]), int(found["last"].iloc[0]) + 1


def find_clusters(
    log,
    *,
    most: int = 6,
    seed: int = 0,
    attributes: Sequence[str] = (),
    previous: str | Path = "",
) -> Clusters:
    """Learn behaviour clusters from a sample of a log and name them.

    Parameters
    ----------
    log : Log
    most : int
        The largest number of clusters to try.
    seed : int
    attributes : sequence of str
        Columns of the customers table that take part; none by default.
    previous : path, optional
        Folder with the tables of an earlier run: clusters matched to its clusters keep their names.

    Returns
    -------
    Clusters
    """
    features = behaviour_features(log, attributes=attributes)
    names = [feature.name for feature in features]
    drawn = sample_buckets(*_size(log), seed=seed)
    table = behaviour_table(log, features, buckets=drawn)[names].astype(float)
    fill = table.median().fillna(0.0)
    table = table.fillna(fill)
    groups = [feature.group for feature in features]
    model = BehaviourClusters(groups, k_range=range(2, most + 1), random_state=seed)
    model.fit(table.to_numpy())
    groups = table.groupby(model.labels_)
    centers, sizes = groups.mean(), groups.size()
    spread = table.std().fillna(0.0)
    if model.n_clusters_ == 1:
        return Clusters(features, model, fill, [ALL], centers.set_axis([ALL]), spread, {})
    kept = match_clusters(centers, read_centers(previous), spread) if str(previous) else {}
    called = cluster_names(centers, sizes, spread, features, kept)
    return Clusters(features, model, fill, called, centers.set_axis(called), spread, kept)


def cluster_names(
    centers: pd.DataFrame,
    sizes: pd.Series,
    spread: pd.Series,
    features: Sequence[Feature],
    kept: dict | None = None,
) -> list[str]:
    """Name clusters by the two kinds of feature that set each apart most, where any does clearly.

    A cluster is named for what it does `CLEAR` spreads more, or less, than all other customers
    together, unless some other cluster does so clearly more: the second of three is not the one of
    "higher value".

    Parameters
    ----------
    centers : DataFrame
        Mean of each feature (column) by cluster (row, from 0).
    sizes : Series
        Customers of each cluster.
    spread : Series
        Standard deviation of each feature among all customers.
    features : sequence of Feature
    kept : dict, optional
        Names that clusters keep from an earlier run.

    Returns
    -------
    list of str
        Different from each other, such as ``"more purchase, mostly by mobile"``.
    """
    names = dict(kept or {})
    told = _clear_deviations(centers, sizes, spread)
    known = {feature.name: feature for feature in features}
    for cluster, row in told.iterrows():
        if cluster in names:
            continue
        words, groups = [], set()
        # What a cluster has says more than what it lacks.
        ranked = row.where(row > 0, -0.8 * row).round(6).sort_values(ascending=False, kind="stable")
        for name in ranked.dropna().index:
            if known[name].group in groups:
                continue
            groups.add(known[name].group)
            words.append(known[name].words(centers.loc[cluster, name], row[name] > 0))
            said = ", ".join(words)
            if len(words) >= 2 and said not in names.values():
                break
        said = ", ".join(words) or "average"
        names[cluster] = said if said not in names.values() else f"{said} ({cluster + 1})"
    return [names[cluster] for cluster in centers.index]


def _clear_deviations(centers: pd.DataFrame, sizes: pd.Series, spread: pd.Series) -> pd.DataFrame:
    """Return how many spreads each cluster lies from all others together, NaN where not clear."""
    share = (sizes / sizes.sum()).reindex(centers.index)
    everybody = centers.mul(share, axis=0).sum()
    away = (centers - everybody).div(1 - share, axis=0) / spread.where(spread > 0)
    reach = CLEAR * spread
    most = (centers >= centers.max() - reach) & (away >= CLEAR)
    least = (centers <= centers.min() + reach) & (away <= -CLEAR)
    return away.where(most | least)


def read_centers(folder: str | Path) -> pd.DataFrame:
    """Read the clusters of an earlier run from its table ``segment_profiles``.

    Raises
    ------
    ParameterError
        When the folder holds no such table.
    """
    path = Path(folder) / "segment_profiles.parquet"
    if not path.is_file():
        raise ParameterError(
            f"previous: {folder}: no segment_profiles.parquet there; name the folder `tables` of "
            "an earlier report, or leave it empty."
        )
    rows = pd.read_parquet(path)
    rows = rows[(rows["segmentation"] == "cluster") & (rows["segment"] != ALL)]
    if "behaviour" not in rows.columns:
        return pd.DataFrame()
    rows = rows[rows["behaviour"].notna()]
    return pd.DataFrame([json.loads(text) for text in rows["behaviour"]], index=rows["segment"])


@dataclass(frozen=True)
class Segments:
    """Three views of the customers of a log.

    Attributes
    ----------
    customers : DataFrame
        ``customer_id`` (sorted), ``bucket``, ``rfm_segment``, ``cluster``, ``journey_type``
        (categorical) and ``type_probability``.
    scored : DataFrame
        The buyers with their scores, see `cjlib.segments.rfm.score`.
    rules : RuleTable
    clusters : Clusters
    types : JourneyTypes
    stability : dict
        (column of the view, segment) to how well it is found again, 0 to 1.
    """

    customers: pd.DataFrame
    scored: pd.DataFrame
    rules: RuleTable
    clusters: Clusters
    types: JourneyTypes
    stability: dict

    @property
    def views(self) -> list[str]:
        """The views (columns of ``customers``) that tell customers apart."""
        return [view for view in VIEWS if len(self.customers[view].unique()) > 1]

    @property
    def banded(self) -> bool:
        """Whether hardly anybody bought twice, so that buyers are told apart by recency alone."""
        return self.rules is RECENCY_BANDS


def find_segments(
    log,
    *,
    most_clusters: int = 6,
    most_types: int = 6,
    attributes: Sequence[str] = (),
    previous: str | Path = "",
    seed: int = 0,
) -> Segments:
    """See the customers of a log in the three ways.

    Parameters
    ----------
    log : Log
    most_clusters, most_types : int
        The largest numbers to try.
    attributes, previous
        See `find_clusters`.
    seed : int

    Returns
    -------
    Segments
    """
    rules = rules_for(log)
    scored = rfm(log, rules=rules)
    clusters = find_clusters(
        log, most=most_clusters, seed=seed, attributes=attributes, previous=previous
    )
    types, members = find_journey_types(log, most=most_types, seed=seed)
    customers = clusters.assign(log)
    customers["rfm_segment"] = _with_buyers(customers, scored, rules)
    members = members.set_index("customer_id").reindex(customers["customer_id"])
    for column in ("journey_type", "type_probability"):
        customers[column] = members[column].array
    stability = {("rfm_segment", name): value for name, value in rfm_stability(scored, rules, seed)}
    for view, names, values in (
        ("cluster", clusters.names, clusters.model.stability_),
        ("journey_type", types.names, types.stability),
    ):
        stability |= {(view, name): float(v) for name, v in zip(names, values, strict=True)}
    order = ["customer_id", "bucket", *VIEWS, "type_probability"]
    return Segments(customers[order], scored, rules, clusters, types, stability)


def _with_buyers(customers: pd.DataFrame, scored: pd.DataFrame, rules: RuleTable) -> pd.Categorical:
    """Return the RFM segment of everyone; those who have not bought are told as such."""
    found = scored.set_index("customer_id")["rfm_segment"].reindex(customers["customer_id"])
    names = pd.Categorical(found.array, categories=[*rules.names, NOT_YET])
    return names.fillna(NOT_YET)


def rfm_stability(
    scored: pd.DataFrame, rules: RuleTable, seed: int = 0, times: int = 20
) -> list[tuple[str, float]]:
    """Return how well each RFM segment is found again when the cut points are learned anew.

    The buyers are drawn again with replacement (20,000 of them at most), cut points taken from the
    drawn ones, and the same buyers named by those; the mean Jaccard index over the draws.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(scored))[:20_000])
    buyers = scored.iloc[rows].reset_index(drop=True)
    labels = buyers["rfm_segment"].cat.codes.to_numpy()
    measures = [name for name in MEASURES if f"{name}_score" in scored]
    found = []
    for _ in range(times if len(buyers) else 0):
        drawn = rng.integers(len(buyers), size=len(buyers))
        again = pd.DataFrame(
            {
                f"{name}_score": quantile_scores(
                    buyers[RFM_COLUMNS[name]].fillna(0).to_numpy(),
                    low_is_good=name == "recency",
                    learned_from=drawn,
                )
                for name in measures
            }
        )
        found.append(jaccard(labels, rules.assign(again).codes, len(rules.names)))
    if not found:
        return []
    return list(zip(rules.names, np.mean(found, axis=0).tolist(), strict=True))


def cross_table(customers: pd.DataFrame, rows: str, columns: str) -> pd.DataFrame:
    """Count customers by two views; segments that nobody is in are left out."""
    table = pd.crosstab(customers[rows], customers[columns])
    order = [name for name in customers[rows].cat.categories if name in table.index]
    across = [name for name in customers[columns].cat.categories if name in table.columns]
    return table.loc[order, across]


def association(table: pd.DataFrame) -> float:
    """Return how far two groupings of the same customers go together.

    Cramér's V with the bias correction of W. Bergsma (Journal of the Korean Statistical Society 42,
    2013): 0 is no more than chance, 1 is that every group of the finer grouping lies within one of
    the coarser. The Rand index would call such nested groupings different.

    Parameters
    ----------
    table : DataFrame
        Result of `cross_table`, with two rows and two columns at least.
    """
    n = table.to_numpy().sum()
    sizes = np.array(table.shape)
    beyond = chi2_contingency(table, correction=False).statistic / n - (sizes - 1).prod() / (n - 1)
    corrected = sizes - (sizes - 1) ** 2 / (n - 1)
    return float(np.sqrt(max(beyond, 0) / (corrected.min() - 1)))


def migration(log, segments: Segments, earlier: pd.Timestamp) -> tuple[pd.DataFrame, Interval]:
    """Count buyers by their RFM segment at an earlier moment and now.

    Each moment's scores come from the cut points of the buyers known by then, so who stands still
    while others buy moves down.

    Returns
    -------
    moved : DataFrame
        Buyers of the earlier moment, ``then`` in rows and ``now`` in columns, in the rules' order.
    stayed : Interval
        The share of them in the segment they were in.
    """
    then = rfm(log, as_of=earlier, rules=segments.rules).set_index("customer_id")
    now = segments.scored.set_index("customer_id")["rfm_segment"].reindex(then.index)
    moved = pd.crosstab(then["rfm_segment"].rename("then"), now.rename("now"))
    moved = moved.reindex(index=segments.rules.names, columns=segments.rules.names, fill_value=0)
    same = (then["rfm_segment"].cat.codes == now.cat.codes).to_numpy()
    size = int(then["bucket"].max()) + 1 if len(then) else 1
    stayed = np.bincount(then["bucket"], weights=same, minlength=size)
    return moved, proportion(stayed, np.bincount(then["bucket"], minlength=size), alike=1.0)
