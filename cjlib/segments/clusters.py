"""Clusters of customers that hold: how many there are, and how stable each of them is."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

HOLDS = 0.6
BANDS = ((0.85, "highly stable"), (0.75, "valid"), (HOLDS, "a pattern"), (0.0, "not to be trusted"))
"""Readings of a cluster's stability, from its lower limit (C. Hennig, R package fpc)."""


def stability_band(stability: float) -> str:
    """Return the reading of a cluster's stability, such as ``"valid"``."""
    return next((text for low, text in BANDS if stability >= low), BANDS[-1][1])


def jaccard(reference: np.ndarray, other: np.ndarray, n_clusters: int) -> np.ndarray:
    """Return how well each cluster of one clustering is found again in another.

    Parameters
    ----------
    reference, other : array of int, shape (n,)
        Labels of the same customers, from 0.
    n_clusters : int
        Number of clusters of ``reference``.

    Returns
    -------
    array of shape (n_clusters,)
        The largest Jaccard index (shared members over members of either) with any cluster of
        ``other``; NaN where ``reference`` has no member.
    """
    table = np.zeros((n_clusters, max(n_clusters, other.max(initial=0) + 1)))
    np.add.at(table, (reference, other), 1)
    sizes = table.sum(axis=1, keepdims=True)
    union = sizes + table.sum(axis=0, keepdims=True) - table
    best = (table / np.maximum(union, 1)).max(axis=1)
    return np.where(sizes[:, 0] > 0, best, np.nan)


class BehaviourClusters(ClusterMixin, BaseEstimator):
    """K-means and Gaussian mixtures over a range of k, the number chosen by stability first.

    The features are scaled robustly (median, quartiles, limited to three of them), every group of
    features is given the same weight, and the principal components that carry most of the variance
    are clustered. Each clustering is then repeated on bootstrap samples, and each cluster's Jaccard
    index with its best match averaged (Hennig 2007).

    A split of structureless data can be stable too: halves of a long cloud are. The index is
    therefore set against the mean index J0 of as many clusters in data without structure, drawn
    uniformly over the ranges of the features and over those of the components (the references of
    the gap statistic; Tibshirani, Walther & Hastie 2001); the larger J0 counts::

        stability = (J - J0) / (1 - J0), at least 0

    On uniform noise it is near 0; for clusters always found again it is 1. A clustering *holds*
    when every cluster reaches ``holds`` and has at least ``smallest_share`` of the customers. Among
    those that hold, the best band of the weakest cluster's stability wins, then the silhouette,
    then (of mixtures) the BIC; when none holds, the answer is one cluster. A cluster that holds is
    found again; whether there is a gap around it, or only fewer customers, the silhouette says.

    Parameters
    ----------
    groups : sequence of str, optional
        The group of each feature, e.g. ``"stage"`` for all shares of stages; one each by default.
    k_range : sequence of int
        Numbers of clusters to try, each at least 2.
    methods : sequence of {"kmeans", "mixture"}
    n_bootstraps : int
        Bootstrap samples per clustering; a fifth where a cluster is soon seen not to hold.
    n_rows : int
        Rows at most in a bootstrap sample and in the silhouette.
    holds : float
        Stability from which a cluster holds.
    smallest_share : float
        Share of the customers that a cluster has at least.
    n_components : int
        Principal components at most.
    random_state : int

    Attributes
    ----------
    trials_ : DataFrame
        One row per clustering tried: ``method``, ``k``, ``weakest`` and ``mean`` stability, ``ari``
        (mean adjusted Rand index of the bootstraps), ``silhouette``, ``bic``, ``smallest`` share,
        ``holds``, ``chosen``.
    n_clusters_ : int
    labels_ : array of shape (n_samples,)
        Clusters from the largest to the smallest.
    stability_ : array of shape (n_clusters_,)
        Of each cluster; NaN when there is one only.
    """

    def __init__(
        self,
        groups: Sequence[str] | None = None,
        k_range: Sequence[int] = (2, 3, 4, 5, 6),
        methods: Sequence[str] = ("kmeans", "mixture"),
        n_bootstraps: int = 20,
        n_rows: int = 600,
        holds: float = HOLDS,
        smallest_share: float = 0.02,
        n_components: int = 8,
        random_state: int = 0,
    ):
        self.groups = groups
        self.k_range = k_range
        self.methods = methods
        self.n_bootstraps = n_bootstraps
        self.n_rows = n_rows
        self.holds = holds
        self.smallest_share = smallest_share
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X, y=None):
        """Try all numbers of clusters and keep the one that holds best.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, n_features)
            Finite features; shares, counts and amounts as `cjlib.segments.behaviour` gives them.
        y : ignored
        """
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        with threadpool_limits(1):  # sums over threads differ in their last digits
            self._learn_scale(X)
            Z = self._project(X)
            self._choose(X, Z)
            self.labels_ = self._labels(Z)
        return self

    def predict(self, X) -> np.ndarray:
        """Return the cluster of each customer, 0 for the largest.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        array of int, shape (n_samples,)
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        with threadpool_limits(1):
            return self._labels(self._project(X))

    def _learn_scale(self, X: np.ndarray) -> None:
        """Learn medians, spreads, group weights and components."""
        low, self.median_, high = np.quantile(X, [0.25, 0.5, 0.75], axis=0)
        # Most customers lack most touchpoints: quartiles of 0 say nothing of those who have them.
        spread = np.maximum((high - low) / 1.349, X.std(axis=0) / 2)
        varies = X.std(axis=0) > 1e-9
        self.spread_ = np.where(varies, spread, 1.0)
        groups = np.arange(X.shape[1]) if self.groups is None else np.asarray(self.groups)
        sizes = pd.Series(groups[varies]).value_counts()
        weight = np.array([1 / np.sqrt(sizes.get(group, 1)) for group in groups])
        self.weight_ = np.where(varies, weight, 0.0)
        scaled = self._scale(X)
        variance = np.linalg.eigvalsh(np.cov(scaled.T).reshape(X.shape[1], -1))[::-1]
        enough = np.searchsorted(np.cumsum(variance), 0.9 * variance.sum()) + 1
        with np.errstate(invalid="ignore"):  # no variance at all: one component of zeros
            self.pca_ = PCA(int(min(enough, self.n_components, *X.shape))).fit(scaled)

    def _scale(self, X: np.ndarray) -> np.ndarray:
        return np.clip((X - self.median_) / self.spread_, -3, 3) * self.weight_

    def _project(self, X: np.ndarray) -> np.ndarray:
        return self.pca_.transform(self._scale(X))

    def _choose(self, X: np.ndarray, Z: np.ndarray) -> None:
        """Try every clustering; set ``trials_``, ``model_``, ``order_`` and ``stability_``."""
        rng = np.random.default_rng(self.random_state)
        rows = rng.permutation(len(Z))[: 2 * self.n_rows]  # where clusterings are compared
        seen = Z[rows]
        scaled = self._scale(X[rows])
        noise = [
            [self.pca_.transform(_uniform(scaled, rng)) for _ in range(2)],
            [_uniform(seen, rng) for _ in range(2)],
        ]
        distinct = len(np.unique(seen.round(6), axis=0))
        trials, kept = [], []
        for method, k in product(self.methods, self.k_range):
            if k >= min(distinct, len(Z) / 2):
                continue
            model = self._model(method, k, n_init=5).fit(Z)
            labels = model.predict(seen)
            stability, ari = self._stability(method, k, seen, labels, noise, rng)
            smallest = np.bincount(labels, minlength=k).min() / len(labels)
            weakest = float(stability.min())
            trials.append(
                {
                    "method": method,
                    "k": k,
                    "weakest": weakest,
                    "mean": float(stability.mean()),
                    "ari": ari,
                    "silhouette": _silhouette(seen[: self.n_rows], labels[: self.n_rows]),
                    "bic": model.bic(seen) if method == "mixture" else np.nan,
                    "smallest": smallest,
                    "holds": weakest >= self.holds and smallest >= self.smallest_share,
                }
            )
            kept.append((model, stability))
        columns = [
            "method",
            "k",
            "weakest",
            "mean",
            "ari",
            "silhouette",
            "bic",
            "smallest",
            "holds",
        ]
        self.trials_ = pd.DataFrame(trials, columns=columns).assign(chosen=False)
        best = self._best()
        if best is None:
            self.model_, self.n_clusters_ = None, 1
            self.order_, self.stability_ = np.zeros(1, dtype=int), np.array([np.nan])
            return
        self.trials_.loc[best, "chosen"] = True
        self.model_, stability = kept[best]
        self.n_clusters_ = len(stability)
        sizes = np.bincount(self.model_.predict(Z), minlength=self.n_clusters_)
        largest_first = np.argsort(-sizes, kind="stable")
        self.order_ = np.argsort(largest_first)
        self.stability_ = stability[largest_first]

    def _best(self) -> int | None:
        """Return the row of ``trials_`` to keep."""
        held = self.trials_[self.trials_["holds"]]
        if held.empty:
            return None
        band = held["weakest"].map(lambda value: sum(value >= low for low, _ in BANDS))
        ranked = held.assign(band=band, silhouette=held["silhouette"].round(2))
        ranked = ranked.sort_values(
            ["band", "silhouette", "bic", "k"],
            ascending=[False, False, True, True],
            na_position="first",  # k-means, the simpler one, unless a mixture separates better
            kind="stable",
        )
        return int(ranked.index[0])

    def _stability(self, method, k, seen, labels, noise, rng) -> tuple[np.ndarray, float]:
        """Return each cluster's stability, and the mean Rand index of the bootstraps."""
        few = max(self.n_bootstraps // 5, 2)
        found, ari = self._found_again(method, k, seen, labels, few, rng)
        if found.min() >= self.holds - 0.1:
            found, ari = self._found_again(method, k, seen, labels, self.n_bootstraps, rng)
        chance = 0.0
        for alike in noise:
            means = []
            for data in alike:
                labels = self._model(method, k, n_init=5).fit(data).predict(data)
                means.append(self._found_again(method, k, data, labels, few, rng)[0].mean())
            chance = max(chance, float(np.mean(means)))
        return np.clip((found - chance) / max(1 - chance, 1e-2), 0, 1), ari

    def _found_again(self, method, k, seen, labels, times, rng) -> tuple[np.ndarray, float]:
        """Return each cluster's mean Jaccard index over bootstraps, and the mean Rand index."""
        overlaps, agreements = [np.zeros(k)], [0.0]
        for _ in range(times):
            drawn = seen[rng.integers(len(seen), size=min(len(seen), self.n_rows))]
            if len(np.unique(drawn, axis=0)) > k:
                seed = int(rng.integers(2**31))
                again = self._model(method, k, seed=seed).fit(drawn).predict(seen)
                overlaps.append(jaccard(labels, again, k))
                agreements.append(adjusted_rand_score(labels, again))
        drawn_times = max(len(overlaps) - 1, 1)
        return np.nan_to_num(np.sum(overlaps, axis=0)) / drawn_times, sum(agreements) / drawn_times

    def _model(self, method: str, k: int, n_init: int = 2, seed: int | None = None):
        seed = self.random_state if seed is None else seed
        if method == "kmeans":
            return KMeans(k, n_init=n_init, random_state=seed)
        return GaussianMixture(
            k, n_init=n_init // 2, reg_covar=1e-3, tol=1e-2, max_iter=50, random_state=seed
        )

    def _labels(self, Z: np.ndarray) -> np.ndarray:
        if self.model_ is None:
            return np.zeros(len(Z), dtype=int)
        return self.order_[self.model_.predict(Z)]


def _uniform(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return data of the same shape and ranges, without any structure."""
    return rng.uniform(data.min(axis=0), data.max(axis=0), data.shape)


def _silhouette(data: np.ndarray, labels: np.ndarray) -> float:
    several = 1 < len(np.unique(labels)) < len(labels)
    return float(silhouette_score(data, labels)) if several else np.nan


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
    shared = [
        name for name in centers.columns if name in earlier.columns and scale.get(name, 0) > 0
    ]
    if not shared or earlier.empty:
        return {}
    spread = scale[shared].to_numpy(dtype=float)
    now = centers[shared].to_numpy(dtype=float) / spread
    then = earlier[shared].to_numpy(dtype=float) / spread
    distance = np.sqrt(np.nanmean((now[:, None] - then[None]) ** 2, axis=2))
    rows, columns = linear_sum_assignment(distance)
    return {
        centers.index[i]: earlier.index[j]
        for i, j in zip(rows, columns, strict=True)
        if distance[i, j] < 0.5
    }
