"""Clusters of customers that hold: how many there are, and how stable each of them is."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestCentroid
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

HOLDS = 0.6  # stability from which a cluster holds
SMALLEST = 0.02  # share of the customers that a cluster has at least
COMPONENTS = 8  # principal components at most
BANDS = {"highly stable": 0.85, "valid": 0.75, "a pattern": HOLDS, "not to be trusted": 0.0}
"""Readings of a cluster's stability, from its lower limit (C. Hennig, R package fpc)."""
NUMBERS = ("n_clusters", "n_components")
"""What clusterers call the number of clusters that they are told."""


def stability_band(stability: float) -> str:
    """Return the reading of a cluster's stability, such as ``"valid"``."""
    return next((band for band, low in BANDS.items() if stability >= low), "unknown")


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


class StableClusters(ClusterMixin, BaseEstimator):
    """Any clusterers over a range of numbers, the clustering chosen by stability first.

    The features are scaled robustly (median, quartiles, limited to three of them), every kind of
    feature is given the same weight, and the principal components that carry most of the variance
    are clustered. Each clustering is then repeated on bootstrap samples, and each cluster's Jaccard
    index with its best match averaged (Hennig 2007).

    A split of structureless data can be stable too: halves of a long cloud are. The index is
    therefore set against the mean index J0 of the same method in data without structure, drawn
    uniformly over the ranges of the features and over those of the components (the references of
    the gap statistic; Tibshirani, Walther & Hastie 2001); the larger J0 counts::

        stability = (J - J0) / (1 - J0), at least 0

    On uniform noise it is near 0; for clusters always found again it is 1. A clustering *holds*
    when every cluster reaches 0.6 and has at least 2 % of the customers. Among
    those that hold, the best band of the weakest cluster's stability wins, then the silhouette,
    then (of mixtures) the BIC; when none holds, the answer is one cluster. A cluster that holds is
    found again; whether there is a gap around it, or only fewer customers, the silhouette says.

    Parameters
    ----------
    methods : clusterer, or dict of str to clusterer, optional
        Of scikit-learn's kind; k-means by default. One that is told a number (``n_clusters`` or
        ``n_components``) is tried with each `k`. Another, such as ``HDBSCAN``, is tried once: as
        its settings count customers, it learns from as many as it is compared on, twice `n_rows`
        at most. Customers whom a method calls noise belong to the nearest centre.
    k : sequence of int
        Numbers of clusters to try, each at least 2.
    n_bootstraps : int
        Bootstrap samples per clustering; a fifth where a cluster is soon seen not to hold.
    n_rows : int
        Rows at most in a bootstrap sample and in the silhouette.
    seed : int
        Of the samples and, where they take one, of the methods.

    Attributes
    ----------
    trials_ : DataFrame
        One row per clustering tried: ``method``, ``k``, ``found_again`` (lowest mean Jaccard index
        of a cluster), ``weakest`` (lowest stability), ``silhouette``, ``bic``, ``smallest`` share,
        ``holds``, ``chosen``.
    n_clusters_ : int
    labels_ : array of shape (n_samples,)
        Clusters from the largest to the smallest.
    stability_ : array of shape (n_clusters_,)
        Of each cluster; NaN when there is one only.

    Notes
    -----
    Columns of a DataFrame are of one kind when their names begin alike before a colon, such as
    ``stage: purchase`` and ``stage: loyalty``; other columns are a kind each.
    """

    def __init__(
        self,
        methods: Mapping[str, BaseEstimator] | BaseEstimator | None = None,
        *,
        k: Sequence[int] = (2, 3, 4, 5, 6),
        n_bootstraps: int = 20,
        n_rows: int = 600,
        seed: int = 0,
    ):
        self.methods = methods
        self.k = k
        self.n_bootstraps = n_bootstraps
        self.n_rows = n_rows
        self.seed = seed

    def fit(self, X, y=None) -> "StableClusters":
        """Try all clusterings and keep the one that holds best.

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

    # -- the space that is clustered ---------------------------------------------------------------

    def _learn_scale(self, X: np.ndarray) -> None:
        """Learn medians, spreads, the weight of each kind of feature, and components."""
        low, self.median_, high = np.quantile(X, [0.25, 0.5, 0.75], axis=0)
        # Most customers lack most touchpoints: quartiles of 0 say nothing of those who have them.
        spread = np.maximum((high - low) / 1.349, X.std(axis=0) / 2)
        varies = X.std(axis=0) > 1e-9
        self.spread_ = np.where(varies, spread, 1.0)
        names = getattr(self, "feature_names_in_", np.arange(X.shape[1]).astype(str))
        kinds = pd.Series([name.partition(": ")[0] for name in names])
        sizes = kinds.map(kinds[varies].value_counts()).to_numpy()
        self.weight_ = np.where(varies, 1 / np.sqrt(sizes), 0.0)
        scaled = self._scale(X)
        variance = np.linalg.eigvalsh(np.cov(scaled.T).reshape(X.shape[1], -1))[::-1]
        enough = np.searchsorted(np.cumsum(variance), 0.9 * variance.sum()) + 1
        with np.errstate(invalid="ignore"):  # no variance at all: one component of zeros
            self.pca_ = PCA(int(min(enough, COMPONENTS, *X.shape))).fit(scaled)

    def _scale(self, X: np.ndarray) -> np.ndarray:
        return np.clip((X - self.median_) / self.spread_, -3, 3) * self.weight_

    def _project(self, X: np.ndarray) -> np.ndarray:
        return self.pca_.transform(self._scale(X))

    # -- the choice --------------------------------------------------------------------------------

    def _choose(self, X: np.ndarray, Z: np.ndarray) -> None:
        """Try every clustering; set ``trials_``, ``model_``, ``order_`` and ``stability_``."""
        rng = np.random.default_rng(self.seed)
        rows = rng.permutation(len(Z))[: 2 * self.n_rows]  # where clusterings are compared
        seen = Z[rows]
        scaled = self._scale(X[rows])
        noise = [
            [self.pca_.transform(_uniform(scaled, rng)) for _ in range(2)],
            [_uniform(seen, rng) for _ in range(2)],
        ]
        most = min(len(np.unique(seen.round(6), axis=0)), len(Z) / 2)
        trials, kept = [], []
        for name, method in self._candidates(most):
            model = _fitted(method, Z if _number(method) else seen)
            labels = model.predict(seen)
            stability, again = self._stability(method, seen, labels, noise, rng)
            smallest = np.bincount(labels, minlength=len(stability)).min() / len(labels)
            weakest, several = float(stability.min()), len(stability) > 1
            trials.append(
                {
                    "method": name,
                    "k": len(stability),
                    "found_again": again,
                    "weakest": weakest,
                    "silhouette": _silhouette(seen[: self.n_rows], labels[: self.n_rows]),
                    "bic": model.bic(seen) if hasattr(model, "bic") else np.nan,
                    "smallest": smallest,
                    "holds": several and weakest >= HOLDS and smallest >= SMALLEST,
                }
            )
            kept.append((model, stability))
        columns = "method k found_again weakest silhouette bic smallest holds"
        self.trials_ = pd.DataFrame(trials, columns=columns.split()).assign(chosen=False)
        self.model_, stability = DummyClassifier(strategy="prior"), np.array([np.nan])
        self.model_.fit(Z, np.zeros(len(Z), dtype=int))
        if self.trials_["holds"].any():
            best = self._best()
            self.trials_.loc[best, "chosen"] = True
            self.model_, stability = kept[best]
        self.n_clusters_ = len(stability)
        sizes = np.bincount(self.model_.predict(Z), minlength=self.n_clusters_)
        largest_first = np.argsort(-sizes, kind="stable")
        self.order_ = np.argsort(largest_first)
        self.stability_ = stability[largest_first]

    def _candidates(self, most: float):
        """Yield the name and the clusterer of every trial, below `most` clusters."""
        methods = KMeans(n_init=5) if self.methods is None else self.methods
        if not isinstance(methods, Mapping):
            methods = {type(methods).__name__: methods}
        for name, method in methods.items():
            told = [number for number in NUMBERS if number in method.get_params()]
            for k in self.k if told else [0]:
                if k < most:
                    numbers = dict.fromkeys(told, k)
                    yield name, _seeded(clone(method).set_params(**numbers), self.seed)

    def _best(self) -> int:
        """Return the row of ``trials_`` to keep."""
        held = self.trials_[self.trials_["holds"]]
        band = held["weakest"].map(lambda value: sum(value >= low for low in BANDS.values()))
        ranked = held.assign(band=band, silhouette=held["silhouette"].round(2))
        ranked = ranked.sort_values(
            ["band", "silhouette", "bic", "k"],
            ascending=[False, False, True, True],
            na_position="first",  # what has no BIC, the simpler one, unless a mixture is clearer
            kind="stable",
        )
        return int(ranked.index[0])

    def _stability(self, method, seen, labels, noise, rng) -> tuple[np.ndarray, float]:
        """Return each cluster's stability, and the lowest mean Jaccard index of any."""
        few = max(self.n_bootstraps // 5, 2)
        found = self._found_again(method, seen, labels, few, rng)
        if found.min() >= HOLDS - 0.1:
            found = self._found_again(method, seen, labels, self.n_bootstraps, rng)
        chance = 0.0
        for alike in noise:
            means = []
            for data in alike:
                of_noise = _fitted(method, data).predict(data)
                means.append(self._found_again(method, data, of_noise, few, rng).mean())
            chance = max(chance, float(np.mean(means)))
        return np.clip((found - chance) / max(1 - chance, 1e-2), 0, 1), float(found.min())

    def _found_again(self, method, seen, labels, times, rng) -> np.ndarray:
        """Return each cluster's mean Jaccard index over bootstraps; 0 where there is but one."""
        k = _number(method) or int(labels.max()) + 1
        if k < 2:
            return np.zeros(1)
        size = min(len(seen), self.n_rows) if _number(method) else len(seen)
        overlaps = []
        for _ in range(times):
            drawn = seen[rng.integers(len(seen), size=size)]
            if len(np.unique(drawn, axis=0)) > k:
                again = _seeded(_with_fewer_starts(method), int(rng.integers(2**31)))
                overlaps.append(jaccard(labels, _fitted(again, drawn).predict(seen), k))
        return np.nan_to_num(np.sum(overlaps, axis=0)) / max(len(overlaps), 1) + np.zeros(k)

    def _labels(self, Z: np.ndarray) -> np.ndarray:
        return self.order_[self.model_.predict(Z)]


def _fitted(method: BaseEstimator, Z: np.ndarray):
    """Return a fitted model that can label any customer, also noise and who comes later."""
    method = clone(method)
    if hasattr(method, "predict"):
        return method.fit(Z)
    labels = method.fit_predict(Z)
    member = labels >= 0
    if len(np.unique(labels[member])) < 2:
        return DummyClassifier(strategy="prior").fit(Z, np.zeros(len(Z), dtype=int))
    return NearestCentroid().fit(Z[member], labels[member])


def _number(method: BaseEstimator) -> int:
    """Return the number of clusters that a method is told; 0 where it finds it."""
    params = method.get_params()
    return next((params[name] for name in NUMBERS if name in params), 0)


def _seeded(method: BaseEstimator, seed: int) -> BaseEstimator:
    return method.set_params(random_state=seed) if "random_state" in method.get_params() else method


def _with_fewer_starts(method: BaseEstimator) -> BaseEstimator:
    """Return a copy with half the starts: a bootstrap is repeated often."""
    starts = method.get_params().get("n_init")
    fewer = {"n_init": max(1, starts // 2)} if isinstance(starts, int) else {}
    return clone(method).set_params(**fewer)


def _uniform(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return data of the same shape and ranges, without any structure."""
    return rng.uniform(data.min(axis=0), data.max(axis=0), data.shape)


def _silhouette(data: np.ndarray, labels: np.ndarray) -> float:
    several = 1 < len(np.unique(labels)) < len(labels)
    return float(silhouette_score(data, labels)) if several else np.nan
