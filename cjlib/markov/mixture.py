"""Journey types: a mixture of Markov chains over customers, fitted by EM.

A customer's journeys enter through what is sufficient for a chain: where they start and how often
each move is made. Customers with the same counts are counted once, so many short journeys cost
little.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import logsumexp, xlogy
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from cjlib.errors import ParameterError
from cjlib.markov.transitions import TransitionData

ENOUGH_TO_START = 20_000
"""Customers on whom the starts are compared; the last run is on all."""
FOLDS = 3
"""Parts of the customers for the held-out comparison."""


class MarkovMixture(ClusterMixin, BaseEstimator):
    """A mixture of Markov chains: each customer's journeys follow one of several chains.

    Parameters
    ----------
    n_components : int
        Number of chains.
    n_init : int
        Starts; each is run for a few steps, the likeliest goes on to the end.
    max_iter : int
        Steps of the last run at most.
    tol : float
        Stop when the log-likelihood per customer gains less.
    smoothing : float
        Pseudo-moves per chain and row, spread as everybody's moves are; keeps every move that
        happens at all possible in every chain.
    seed : int
        Of the starts.

    Attributes
    ----------
    states_ : tuple of length S
    weights_ : ndarray, shape (C,)
        Share of customers by chain, largest first.
    transition_matrices_ : ndarray, shape (C, S, S)
        NaN in rows that nobody leaves.
    responsibilities_ : ndarray, shape (N, C)
        Probability of each chain given each learned customer's journeys.
    labels_ : ndarray of int, shape (N,)
    log_likelihood_ : float
        Of all customers, in nats, at the penalised maximum.
    n_iter_ : int

    Notes
    -----
    Cadez, Heckerman, Meek, Smyth & White, Model-based clustering and visualization of navigation
    patterns on a web site, Data Mining and Knowledge Discovery 7 (2003).
    """

    def __init__(
        self,
        n_components: int = 4,
        *,
        n_init: int = 8,
        max_iter: int = 500,
        tol: float = 1e-5,
        smoothing: float = 1.0,
        seed: int = 0,
    ):
        self.n_components = n_components
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.smoothing = smoothing
        self.seed = seed

    def __sklearn_tags__(self):
        """Say that rows are sequences of categories."""
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    def _data(self, X, reset: bool = False) -> TransitionData:
        if isinstance(X, TransitionData):
            if not reset and X.states != self.states_:
                raise ParameterError("the data's states differ from those the mixture learned")
            return X
        if not (isinstance(X, list) and X and all(isinstance(x, (str, list, tuple)) for x in X)):
            X = validate_data(self, X, dtype=None, reset=reset)
        return TransitionData.from_sequences(X, None if reset else self.states_)

    def fit(self, X, y=None) -> "MarkovMixture":
        """Learn the chains.

        Parameters
        ----------
        X : TransitionData, list of sequences or array (n_sequences, length)
            One entry per customer.
        y : None
            Ignored.

        Returns
        -------
        MarkovMixture

        Raises
        ------
        ParameterError
            When there are fewer customers than chains, or the input has another form.
        """
        data = self._data(X, reset=True)
        if not 1 <= self.n_components <= max(1, len(data)):
            raise ParameterError(
                f"n_components: {self.n_components} chains cannot be learned from {len(data)} "
                "customers; write a smaller number"
            )
        self.states_ = data.states
        self._layout(data)
        rows, inverse, times = _distinct(data.counts)
        generator = np.random.default_rng(self.seed)
        few, few_times = rows, times
        if len(data) > ENOUGH_TO_START:
            some = generator.choice(len(data), ENOUGH_TO_START, replace=False)
            few_times = np.bincount(inverse[some], minlength=len(times)).astype(float)
            few, few_times = rows[few_times > 0], few_times[few_times > 0]
        runs = []
        for _ in range(1 if self.n_components == 1 else self.n_init):
            run = self._first_guess(few, few_times, generator)
            runs.append(self._climb(few, few_times, *run, steps=20)[:3])
        best = max(runs, key=lambda run: run[2])
        weights, logs, _, steps = self._climb(rows, times, *best[:2], steps=self.max_iter)
        if steps == self.max_iter:
            warnings.warn(
                f"the mixture still gained after {steps} steps; raise max_iter",
                ConvergenceWarning,
                stacklevel=2,
            )
        order = np.argsort(-weights, kind="stable")
        self.weights_, self._logs = weights[order], logs[:, order]
        self.n_iter_ = steps
        share, likelihood = _responsibilities(rows, self.weights_, self._logs)
        self.log_likelihood_ = float(times @ likelihood)
        self.responsibilities_ = share[inverse]
        self.labels_ = self.responsibilities_.argmax(1)
        return self

    def _layout(self, data: TransitionData) -> None:
        # one block of cells per distribution: the starts, then each state's moves
        size = len(data.states)
        self._block = np.r_[np.zeros(size, int), np.repeat(np.arange(1, size + 1), size)]
        total = np.asarray(data.counts.sum(0)).ravel()
        possible = np.ones((size + 1, size), bool)
        if not total[size :: size + 1].any():
            possible[1:][np.eye(size, dtype=bool)] = False
        left = np.bincount(self._block, total, size + 1) > 0
        possible &= left[:, None]
        self._possible = possible.ravel()
        # half a move per cell, so that what only held-out customers do is not impossible
        prior = np.where(self._possible, total + 0.5, 0.0)
        self._center = (
            prior / np.where(left, np.bincount(self._block, prior, size + 1), 1)[self._block]
        )

    def _normalise(self, counts: np.ndarray) -> np.ndarray:
        counts = counts + self.smoothing * self._center[:, None]
        size = len(self.states_)
        sums = np.add.reduceat(counts, np.arange(0, len(counts), size))
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(counts / sums[self._block])
        # 0 stands for "impossible": no learned customer has such a cell
        return np.where(self._possible[:, None], logs, 0.0)

    def _first_guess(self, rows, times, generator) -> tuple[np.ndarray, np.ndarray]:
        # as k-means++ does: each chain begins at a customer whom the chains so far tell badly
        at_best = _saturated(rows, self._block)
        picked, told, badly = [], np.full(rows.shape[0], -np.inf), times
        for _ in range(self.n_components):
            picked.append(generator.choice(len(badly), p=badly / badly.sum()))
            one = self._normalise(rows[[picked[-1]]].toarray().T + 2 * self._center[:, None])
            told = np.maximum(told, (rows @ one)[:, 0])
            badly = (np.maximum(at_best - told, 0) + 1e-12) * times
        counts = rows[picked].toarray().T
        weights = np.full(self.n_components, 1 / self.n_components)
        return weights, self._normalise(counts + 2 * self._center[:, None])

    def _climb(self, rows, times, weights, logs, steps):
        columns, total = rows.T.tocsr(), times.sum()
        before, step = -np.inf, 0
        while step < steps:
            step += 1
            share, likelihood = _responsibilities(rows, weights, logs)
            # what EM raises: the likelihood with the prior of the smoothing
            value = times @ likelihood + self.smoothing * (self._center @ logs).sum()
            if value - before < self.tol * total:
                break
            before = value
            share *= times[:, None]
            weights = np.maximum(share.sum(0), 1e-300) / total
            logs = self._normalise(columns @ share)
        return weights, logs, value, step

    @property
    def transition_matrices_(self) -> np.ndarray:
        """Transition probabilities by chain (C, S, S); NaN in rows that nobody leaves."""
        check_is_fitted(self)
        size = len(self.states_)
        values = np.where(self._possible, np.exp(self._logs.T), 0.0).reshape(-1, size + 1, size)
        empty = ~self._possible.reshape(size + 1, size).any(1)
        return np.where(empty[:, None], np.nan, values)[:, 1:]

    def score_samples(self, X) -> np.ndarray:
        """Return the log-likelihood of each customer's journeys, in nats, shape (N,)."""
        check_is_fitted(self)
        return _responsibilities(self._data(X).counts, self.weights_, self._logs)[1]

    def predict_proba(self, X) -> np.ndarray:
        """Return the probability of each chain given each customer's journeys, shape (N, C)."""
        check_is_fitted(self)
        return _responsibilities(self._data(X).counts, self.weights_, self._logs)[0]

    def predict(self, X) -> np.ndarray:
        """Return the likeliest chain of each customer, shape (N,)."""
        return self.predict_proba(X).argmax(1)


def _distinct(counts: sparse.csr_array) -> tuple[sparse.csr_array, np.ndarray, np.ndarray]:
    """Return the distinct rows, the place of each row among them and how often each occurs."""
    # two random projections tell rows of small integers apart
    keys = counts @ np.random.default_rng(0).random((counts.shape[1], 2))
    _, first, inverse = np.unique(
        keys[:, 0] + 1j * keys[:, 1], return_index=True, return_inverse=True
    )
    return counts[first], inverse, np.bincount(inverse).astype(float)


def _saturated(rows: sparse.csr_array, block: np.ndarray) -> np.ndarray:
    """Return each row's log-likelihood under the chain that fits it alone."""
    within = sparse.csr_array((np.ones(len(block)), (np.arange(len(block)), block)))
    cells = rows.copy()
    cells.data = xlogy(cells.data, cells.data)
    totals = rows @ within
    totals.data = xlogy(totals.data, totals.data)
    return np.asarray(cells.sum(1)).ravel() - np.asarray(totals.sum(1)).ravel()


def _responsibilities(counts, weights, logs) -> tuple[np.ndarray, np.ndarray]:
    joint = counts @ logs + np.log(weights)
    likelihood = logsumexp(joint, axis=1)
    return np.exp(joint - likelihood[:, None]), likelihood


def choose_components(
    X, candidates: Sequence[int], *, max_customers: int = 20_000, seed: int = 0, **options
) -> pd.DataFrame:
    """Compare numbers of journey types on customers not learned from.

    Parameters
    ----------
    X : TransitionData or sequences
        As in `MarkovMixture.fit`.
    candidates : sequence of int
        Numbers of chains.
    max_customers : int
        A random sample of so many is enough to choose.
    seed : int
        Of the sample, the folds and the starts.
    **options
        Further parameters of `MarkovMixture`.

    Returns
    -------
    DataFrame
        components, held_out (mean log-likelihood per customer, nats), behind (how far below the
        best), standard_error (of ``behind``, over customers), chosen: the smallest number that is
        no more than one standard error behind. One type can win.
    """
    data = MarkovMixture()._data(X, reset=True)
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(data))[:max_customers]
    sample = data.take(np.sort(rows))
    fold = generator.permutation(len(sample)) % FOLDS
    scores = np.empty((len(sample), len(candidates)))
    with warnings.catch_warnings():
        # a chain too many gains a little for very long; that is no news here
        warnings.simplefilter("ignore", ConvergenceWarning)
        for column, number in enumerate(candidates):
            model = MarkovMixture(number, seed=seed, **options)
            for part in range(FOLDS):
                model.fit(sample.take(np.flatnonzero(fold != part)))
                others = np.flatnonzero(fold == part)
                scores[others, column] = model.score_samples(sample.take(others))
    held_out = scores.mean(axis=0)
    behind = scores[:, [held_out.argmax()]] - scores
    table = pd.DataFrame(
        {
            "components": list(candidates),
            "held_out": held_out,
            "behind": behind.mean(axis=0),
            "standard_error": behind.std(axis=0, ddof=1) / np.sqrt(len(sample)),
        }
    )
    close = table.loc[table["behind"] <= table["standard_error"], "components"]
    return table.assign(chosen=table["components"] == close.min())
