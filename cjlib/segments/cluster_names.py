"""What behaviour clusters are called, from run to run, and which of them everybody is in."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from scipy.optimize import linear_sum_assignment

from cjlib.errors import ParameterError, Unanswerable
from cjlib.markov.continuum import DEGREES
from cjlib.segments.behaviour import LOGARITHMS, OF_EVENTS, behaviour_chunks
from cjlib.segments.clusters import HOLDS, UNDECIDED, StableClusters, stability_band

CLUSTERS, NOT_LASTING = "of clusters", "without lasting differences"
ALL = "all"
"""The name of the one group that holds everybody."""
FEATURES = 14  # drawn, those that set the clusters apart most
CLEAR = 0.25  # spreads between a cluster and the others from which a name speaks of it


@cache
def group_names() -> dict:
    """Return the phrases of ``templates/segment_names.yml``."""
    text = (files("cjlib") / "templates" / "segment_names.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


@dataclass(frozen=True)
class BehaviourClusters:
    """Clusters learned from a sample of customers, with their names.

    Attributes
    ----------
    model : StableClusters
        Fitted on `sample`.
    sample : DataFrame
        Of `cjlib.segments.behaviour.behaviour_sample`.
    names : list of str
        One per cluster, from the largest to the smallest; ``["all"]`` when none holds.
    kept : int
        How many names are taken over from an earlier run.
    """

    model: StableClusters
    sample: pd.DataFrame
    names: list[str]
    kept: int

    @property
    def centers(self) -> pd.DataFrame:
        """Mean of each feature (column) by name of the cluster (row)."""
        return self.sample.groupby(self.model.labels_).mean().set_axis(self.names)

    def summary(self) -> pd.DataFrame:
        """Return one row on what was chosen or, when no clusters hold, came nearest to it.

        Returns
        -------
        DataFrame
            ``clusters`` (0 when none holds), ``method``, ``k``, ``found_again``,
            ``without_groups`` (see `StableClusters.trials_`), ``weakest`` with its limits
            ``weakest_lower`` and ``weakest_upper``, ``silhouette``, ``verdict`` (the reading of the
            weakest cluster's stability), ``most`` (largest number tried), ``holds``, ``kept`` (how
            many names come from an earlier report) and ``customers_are``: of clusters,
            ``undecided`` where one may hold; without, ``different by degrees`` where the reference
            says ``by_degrees``, or ``without lasting differences``.
        """
        trials = self.model.trials_.query("k > 1")
        if trials.empty:
            raise Unanswerable("too few customers differ to look for clusters")
        order = ["chosen", "weakest", "found_again"]
        best = trials.sort_values(order, ascending=False, kind="stable").head(1)
        are = DEGREES if getattr(self.model.reference, "by_degrees", False) else NOT_LASTING
        if UNDECIDED in set(trials["verdict"]):
            are = UNDECIDED
        limits = {"lower": "weakest_lower", "upper": "weakest_upper"}
        return best.rename(columns=limits).assign(
            clusters=best["k"].where(best["chosen"], 0),
            customers_are=CLUSTERS if trials["chosen"].any() else are,
            verdict=best["weakest"].map(stability_band),
            most=trials["k"].max(),
            holds=HOLDS,
            kept=self.kept,
        )

    def deviations(self) -> pd.DataFrame:
        """Return how many standard deviations clusters lie from their mean.

        Returns
        -------
        DataFrame
            Features in rows, those at most that set the clusters apart most; clusters in columns.
        """
        if len(self.names) < 2:
            raise Unanswerable("no clusters hold, so nothing sets them apart")
        centers, spread = self.centers, self.sample.std()
        distance = (centers - centers.mean()).loc[:, spread > 0] / spread[spread > 0]
        ranked = distance.abs().max().sort_values(ascending=False, kind="stable").index[:FEATURES]
        table = distance[[name for name in distance if name in set(ranked)]].T
        return table.rename(lambda name: f"{name} (log)" if name in LOGARITHMS else name)

    def assign(self, log, *, until: pd.Timestamp | None = None) -> pd.DataFrame:
        """Return ``customer_id``, ``bucket`` and ``cluster`` of everyone, sorted by id.

        Parameters
        ----------
        log : Log
        until : Timestamp, optional
            Use only what was known at that moment; ``log.as_of`` by default.
        """
        fill = self.sample.median()
        parts = []
        for table in behaviour_chunks(log, list(fill.index), until=until):
            numbers = table[fill.index].astype(float).fillna(fill)
            codes = self.model.predict(numbers) if len(numbers) else []
            names = pd.Categorical.from_codes(codes, self.names)
            parts.append(table[["customer_id", "bucket"]].assign(cluster=names))
        return pd.concat(parts).sort_values("customer_id", ignore_index=True)


def name_clusters(
    log, sample: pd.DataFrame, model: StableClusters, *, previous: str | Path = ""
) -> BehaviourClusters:
    """Name clusters by what sets them apart, or as an earlier report did.

    Parameters
    ----------
    log : Log
    sample : DataFrame
        What the clusters were learned from.
    model : StableClusters
    previous : path, optional
        Folder of an earlier report: clusters matched to its clusters keep their names.
    """
    if model.n_clusters_ == 1:
        return BehaviourClusters(model, sample, [ALL], 0)
    groups = sample.groupby(model.labels_)
    centers, spread = groups.mean(), sample.std()
    kept = match_clusters(centers, read_centers(previous), spread) if str(previous) else {}
    names = cluster_names(centers, groups.size(), spread, log.label, kept)
    return BehaviourClusters(model, sample, names, len(kept))


def cluster_names(
    centers: pd.DataFrame,
    sizes: pd.Series,
    spread: pd.Series,
    label: Callable[[str], str],
    kept: Mapping[int, str],
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
    label : callable
        From a stage to what it is called.
    kept : mapping of int to str
        Names that clusters keep from an earlier run.

    Returns
    -------
    list of str
        Different from each other, such as ``"more purchase, mostly by mobile"``.
    """
    names = dict(kept)
    for cluster, row in _clear_deviations(centers, sizes, spread).iterrows():
        if cluster in names:
            continue
        words: dict[str, str] = {}
        # What a cluster has says more than what it lacks.
        ranked = row.where(row > 0, -0.8 * row).round(6).sort_values(ascending=False, kind="stable")
        for name in ranked.dropna().index:
            level = centers.loc[cluster, name]
            words.setdefault(name.partition(": ")[0], _words(name, level, row[name] > 0, label))
            if len(words) >= 2 and ", ".join(words.values()) not in names.values():
                break
        said = ", ".join(words.values()) or group_names()["nothing"]
        names[cluster] = said if said not in names.values() else f"{said} ({cluster + 1})"
    return [names[cluster] for cluster in centers.index]


def _words(feature: str, level: float, above: bool, label: Callable[[str], str]) -> str:
    """Describe a cluster of this mean that lies above, or below, the others."""
    kind, _, of = feature.partition(": ")
    phrases = group_names()["behaviour"]
    phrases = phrases.get(kind if kind in OF_EVENTS or not of else "attribute")
    high, low = (0.25, -0.25) if kind == "feeling" else (0.5, 0.05)
    if above:
        said = "mostly" if level >= high else "more"
    else:
        said = "hardly" if level <= low else "less"
    if kind == "stage":
        of = label(of).lower()
    elif kind == "touchpoint":
        of = of.replace("_", " ")
    return phrases.get(said, phrases["more" if above else "less"]).format(of=of, name=feature)


def _clear_deviations(centers: pd.DataFrame, sizes: pd.Series, spread: pd.Series) -> pd.DataFrame:
    """Return how many spreads each cluster lies from all others together, NaN where not clear."""
    share = (sizes / sizes.sum()).reindex(centers.index)
    everybody = centers.mul(share, axis=0).sum()
    away = (centers - everybody).div(1 - share, axis=0) / spread.where(spread > 0)
    reach = CLEAR * spread
    most = (centers >= centers.max() - reach) & (away >= CLEAR)
    least = (centers <= centers.min() + reach) & (away <= -CLEAR)
    return away.where(most | least)


def match_clusters(centers: pd.DataFrame, earlier: pd.DataFrame, scale: pd.Series) -> dict:
    """Match clusters to those of an earlier run by what their customers do on average.

    Parameters
    ----------
    centers, earlier : DataFrame
        One row per cluster (the index holds its name or number), one column per feature.
    scale : Series
        Spread of each feature among customers.

    Returns
    -------
    dict
        From the index of ``centers`` to the index of ``earlier``, for clusters whose distance (root
        mean square over shared features, in spreads) is below half a spread. Each is used once.
    """
    shared = [name for name in centers if name in earlier and scale.get(name, 0) > 0]
    if not shared:
        return {}
    spread = scale[shared].to_numpy(dtype=float)
    now = centers[shared].to_numpy(dtype=float) / spread
    then = earlier[shared].to_numpy(dtype=float) / spread
    distance = np.sqrt(np.nanmean((now[:, None] - then[None]) ** 2, axis=2))
    pairs = zip(*linear_sum_assignment(distance), strict=True)
    return {centers.index[i]: earlier.index[j] for i, j in pairs if distance[i, j] < 0.5}


def read_centers(folder: str | Path) -> pd.DataFrame:
    """Read the clusters of an earlier run from its table ``segment_profiles``.

    Raises
    ------
    ParameterError
        When the folder holds no such table.
    """
    path = Path(folder) / "tables" / "segment_profiles.parquet"
    if not path.is_file():
        raise ParameterError(
            f"previous: {folder}: no tables/segment_profiles.parquet there; name the folder of an "
            "earlier report, or leave it empty."
        )
    rows = pd.read_parquet(path)
    rows = rows[(rows["segmentation"] == "cluster") & (rows["segment"] != ALL)]
    return pd.DataFrame([json.loads(text) for text in rows["behaviour"]], index=rows["segment"])
