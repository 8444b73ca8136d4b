"""Clusters of customers that hold: how many there are, and how stable each of them is."""

from collections.abc import Callable, Mapping, Sequence
from zlib import crc32

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
HELD, UNDECIDED, BELOW = "holds", "undecided", "below"
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

    The features are scaled robustly (median, quartiles, limited to three of them), no kind of
    feature counts for more than another along its longest axis (multiple factor analysis; B.
    Escofier and J. Pagès, Computational Statistics & Data Analysis 18, 1994), and the principal
    components that carry most of the variance are clustered. Each clustering is then repeated on
    bootstrap samples, and each cluster's Jaccard index with its best match averaged (Hennig 2007).

    A split of customers without groups can be stable too: halves of a long cloud are, and so are
    those who bought and those who did not. So the same method is tried on several draws of a
    *reference* without groups, and the index J is set against J0, the most that the mean index of
    the clusters came to in any of them::

        stability = (J - J0) / (1 - J0), at least 0

    Without groups it is near 0; for clusters always found again it is 1. A clustering *holds* when
    the interval of its weakest cluster's stability (95 %, of the mean over the bootstrap samples)
    lies above 0.6 and every cluster has at least 2 % of the customers; where the interval reaches
    0.6 it is undecided. Among those that hold, the best band of the weakest cluster's stability
    wins, then the most clusters (fewer may hold because two groups are held together), then the
    silhouette, then (of mixtures) the BIC; when none holds, the answer is one cluster. A cluster
    that holds is found again; whether there is a gap around it, or only fewer customers, the
    silhouette says.

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
    reference : callable, optional
        From a random generator to customers without groups, in the form of ``X``, such as a
        `cjlib.segments.no_groups.NoGroups`. By default data uniform over the ranges of the features
        and over those of the components (those of the gap statistic; Tibshirani, Walther & Hastie
        2001), two draws of each and their mean; it knows of no skewness and no dependence.
    n_references : int
        Draws of it; two where a clustering is found again too seldom to hold anyway.
    seed : int
        Of the samples and, where they take one, of the methods.

    Attributes
    ----------
    trials_ : DataFrame
        One row per clustering tried: ``method``, ``k``, ``found_again`` (lowest mean Jaccard index
        of a cluster), ``without_groups`` (J0), ``weakest`` (lowest stability) with ``lower`` and
        ``upper``, ``verdict`` (holds, undecided, below), ``silhouette``, ``bic``, ``smallest``
        share, ``chosen``.
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
        reference: Callable[[np.random.Generator], np.ndarray] | None = None,
        n_references: int = 6,
        seed: int = 0,
    ):
        self.methods = methods
        self.k = k
        self.n_bootstraps = n_bootstraps
        self.n_rows = n_rows
        self.reference = reference
        self.n_references = n_references
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
        kinds = pd.Series(range(len(names))).groupby([name.partition(": ")[0] for name in names])
        self.weight_ = varies.astype(float)
        scaled = self._scale(X)
        for columns in kinds.groups.values():
            longest = np.linalg.eigvalsh(np.cov(scaled[:, columns].T).reshape(len(columns), -1))
            self.weight_[columns] /= np.sqrt(max(longest[-1], 1.0))
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
        rows = self._rng().permutation(len(Z))[: 2 * self.n_rows]  # where clusterings are compared
        seen = Z[rows]
        references = self._references(X, Z, rows)
        most = min(len(np.unique(seen.round(6), axis=0)), len(Z) / 2)
        trials, kept = [], []
        for name, method in self._candidates(most):
            model = _fitted(method, Z if _number(method) else seen)
            labels = model.predict(seen)
            found = self._found_again(method, seen, labels, (name,))
            smallest = np.bincount(labels, minlength=len(found.T)).min() / len(labels)
            chance = self._without_groups(name, method, found.mean(axis=0).min(), references)
            stability, lower, upper = _beyond(found, chance)
            possible = len(stability) > 1 and smallest >= SMALLEST
            trials.append(
                {
                    "method": name,
                    "k": len(stability),
                    "found_again": found.mean(axis=0).min(),
                    "without_groups": chance,
                    "weakest": stability.min(),
                    "lower": lower,
                    "upper": upper,
                    "silhouette": _silhouette(seen[: self.n_rows], labels[: self.n_rows]),
                    "bic": model.bic(seen) if hasattr(model, "bic") else np.nan,
                    "smallest": smallest,
                    "verdict": _verdict(lower, upper) if possible else BELOW,
                }
            )
            kept.append((model, stability))
        columns = "method k found_again without_groups weakest lower upper silhouette bic smallest"
        columns = [*columns.split(), "verdict"]
        self.trials_ = pd.DataFrame(trials, columns=columns).assign(chosen=False)
        self.model_, stability = DummyClassifier(strategy="prior"), np.array([np.nan])
        self.model_.fit(Z, np.zeros(len(Z), dtype=int))
        if (self.trials_["verdict"] == HELD).any():
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
                    chosen = dict.fromkeys(told, k)
                    if "copy" in method.get_params():  # else HDBSCAN warns of a default to come
                        chosen["copy"] = True
                    yield name, _seeded(clone(method).set_params(**chosen), self.seed)

    def _best(self) -> int:
        """Return the row of ``trials_`` to keep."""
        held = self.trials_[self.trials_["verdict"] == HELD]
        band = held["weakest"].map(lambda value: sum(value >= low for low in BANDS.values()))
        ranked = held.assign(band=band, silhouette=held["silhouette"].round(2))
        ranked = ranked.sort_values(
            ["band", "k", "silhouette", "bic"],
            ascending=[False, False, False, True],
            na_position="first",  # what has no BIC, the simpler one, unless a mixture is clearer
            kind="stable",
        )
        return int(ranked.index[0])

    def _without_groups(self, name, method, found_again, references) -> float:
        """Return the most that a mean Jaccard index comes to in a draw without groups."""
        chance = []
        for draw, alike in enumerate(references if found_again >= HOLDS else references[:2]):
            means = []
            for number, data in enumerate(alike):
                labels = _fitted(method, data).predict(data)
                stream = (name, draw, number)
                means.append(self._found_again(method, data, labels, stream, self._few).mean())
            chance.append(np.mean(means))
        return float(max(chance))

    @property
    def _few(self) -> int:
        return max(self.n_bootstraps // 5, 2)

    def _found_again(self, method, seen, labels, stream, times: int = 0) -> np.ndarray:
        """Return each cluster's Jaccard index by bootstrap; 0 where there is but one.

        Unless told how many times: a few, and all where the clusters may hold.
        """
        k = _number(method) or int(labels.max()) + 1
        if k < 2:
            return np.zeros((2, 1))
        rng = self._rng(*stream, k)
        size = min(len(seen), self.n_rows) if _number(method) else len(seen)
        overlaps = []
        for _ in range(times or self.n_bootstraps):
            drawn = seen[rng.integers(len(seen), size=size)]
            if len(np.unique(drawn, axis=0)) > k:
                again = _seeded(clone(method), int(rng.integers(2**31)))
                overlaps.append(jaccard(labels, _fitted(again, drawn).predict(seen), k))
            if len(overlaps) == self._few and np.nanmean(overlaps, axis=0).min() < HOLDS - 0.1:
                break
        return np.nan_to_num(np.array(overlaps)) if len(overlaps) > 1 else np.zeros((2, k))

    def _references(self, X, Z, rows) -> list[list[np.ndarray]]:
        """Return customers without groups, in the space that is clustered; lists count as one."""
        rng = self._rng("reference")
        if self.reference is not None:
            drawn = (np.asarray(self.reference(rng), float) for _ in range(self.n_references))
            return [[self._project(one)[rows]] for one in drawn]
        scaled, few = self._scale(X[rows]), range(2)
        return [
            [self.pca_.transform(_uniform(scaled, rng)) for _ in few],
            [_uniform(Z[rows], rng) for _ in few],
        ]

    def _rng(self, *stream) -> np.random.Generator:
        """Return random numbers of a stream's own: none hangs on what else is tried."""
        return np.random.default_rng([self.seed, crc32(repr(stream).encode())])

    def _labels(self, Z: np.ndarray) -> np.ndarray:
        return self.order_[self.model_.predict(Z)]


def _beyond(found: np.ndarray, chance: float) -> tuple[np.ndarray, float, float]:
    """Return the stability of clusters, and the interval of the weakest's, from Jaccard indices."""
    mean = found.mean(axis=0)
    weakest = mean.argmin()
    error = 1.96 * found[:, weakest].std(ddof=1) / np.sqrt(len(found))
    values = np.r_[mean, mean[weakest] - error, mean[weakest] + error]
    values = np.clip((values - chance) / max(1 - chance, 1e-2), 0, 1)
    return values[:-2], float(values[-2]), float(values[-1])


def _verdict(lower: float, upper: float) -> str:
    return HELD if lower >= HOLDS else UNDECIDED if upper >= HOLDS else BELOW


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


def _uniform(data: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return data of the same shape and ranges, without any structure."""
    return rng.uniform(data.min(axis=0), data.max(axis=0), data.shape)


def _silhouette(data: np.ndarray, labels: np.ndarray) -> float:
    several = 1 < len(np.unique(labels)) < len(labels)
    return float(silhouette_score(data, labels)) if several else np.nan
