"""Journey types: a mixture of Markov chains over customers, fitted by EM.

A customer's journeys enter through what is sufficient for a chain: where they start and how often
each move is made. Customers with the same counts are counted once, so many short journeys cost
little. Within a type, customers may differ by degrees: then their own chains lie around the type's
as Dirichlet laws do, and one type alone is a continuum without groups.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import logsumexp, xlogy
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from cjlib.errors import ParameterError
from cjlib.markov.transitions import TransitionData

ENOUGH_TO_START = 20_000
"""Customers on whom the starts are compared; the last run is on all."""
FIRST_DISPERSION = 0.05
FACTORS = (1, 0.9, 1.1, 0.3, 3)
"""By which the dispersion may change at each step of EM."""


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
    own_chains : bool
        Whether each customer's chain lies around that of the type: each row drawn from a Dirichlet
        law whose mean is the type's row. Without it, customers of a type are all alike.
    seed : int
        Of the starts.

    Attributes
    ----------
    states_ : tuple of length S
    weights_ : ndarray, shape (C,)
        Share of customers by chain, largest first.
    transition_matrices_ : ndarray, shape (C, S, S)
        NaN in rows that nobody leaves.
    dispersion_ : ndarray, shape (1 + S + S,)
        Of the starts; of where each state goes on to; of whether it does or ends the journey. In
        every type one over the Dirichlet law's concentration; 0 where its customers are alike.
    responsibilities_ : ndarray, shape (N, C)
        Probability of each chain given each learned customer's journeys.
    labels_ : ndarray of int, shape (N,)
    log_likelihood_ : float
        Of all customers, in nats, at the penalised maximum.
    n_iter_ : int

    Notes
    -----
    Cadez, Heckerman, Meek, Smyth & White, Model-based clustering and visualization of navigation
    patterns on a web site, Data Mining and Knowledge Discovery 7 (2003). Own chains: with m the
    mean of a cell and t the dispersion of its row, the j-th of a customer's moves of one kind (from
    0) has the factor ``m + j t`` and the j-th out of one state ``1 / (1 + j t)``, so counts of how
    many customers make a move more than j times are sufficient; the mean by the fixed point of
    T. Minka, Estimating a Dirichlet distribution (2000).
    """

    def __init__(
        self,
        n_components: int = 4,
        *,
        n_init: int = 8,
        max_iter: int = 500,
        tol: float = 1e-5,
        smoothing: float = 1.0,
        own_chains: bool = False,
        seed: int = 0,
    ):
        self.n_components = n_components
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.smoothing = smoothing
        self.own_chains = own_chains
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
        rows, inverse, times = _distinct(data.counts @ self._with_going_on)
        generator = np.random.default_rng(self.seed)
        few, few_times = rows, times
        if len(data) > ENOUGH_TO_START:
            some = generator.choice(len(data), ENOUGH_TO_START, replace=False)
            few_times = np.bincount(inverse[some], minlength=len(times)).astype(float)
            few, few_times = rows[few_times > 0], few_times[few_times > 0]
        weights, means = self._begin(few, few_times, generator)
        levels = _Levels.of(rows, self._block, self.own_chains)
        dispersion = np.full(self._within.shape[0], FIRST_DISPERSION if self.own_chains else 0.0)
        weights, means, dispersion, _ = self._climb(
            levels, times, weights, means, dispersion, steps=self.max_iter
        )
        if self.n_iter_ == self.max_iter:
            warnings.warn(
                f"the mixture still gained after {self.n_iter_} steps; raise max_iter",
                ConvergenceWarning,
                stacklevel=2,
            )
        order = np.argsort(-weights, kind="stable")
        self.weights_, self._means, self.dispersion_ = weights[order], means[:, order], dispersion
        chains = (self.weights_, self._means, self.dispersion_)
        share, likelihood = _responsibilities(levels, *chains)
        self.log_likelihood_ = float(times @ likelihood)
        self.responsibilities_ = share[inverse]
        self.labels_ = self.responsibilities_.argmax(1)
        return self

    def _layout(self, data: TransitionData) -> None:
        # One block of cells per distribution: the starts; of each state whether the journey goes on
        # or ends; and where it goes on to, since customers may differ in one and not in the other.
        size = len(data.states)
        cells = size + size * size
        origin = np.repeat(np.arange(size), size)
        total = np.asarray(data.counts.sum(0)).ravel()
        moves = total[size:].reshape(size, size)
        ends = np.tile((moves.sum(1) == 0) & (moves.sum(0) > 0), size)
        after = np.where(ends, 1 + size + origin, 1 + origin)
        self._block = np.r_[np.zeros(size, int), after, 1 + size + np.arange(size)]
        going = size + np.flatnonzero(~ends)
        on = sparse.csr_array((np.ones(len(going)), (going, origin[~ends])), (cells, size))
        self._with_going_on = sparse.hstack([sparse.eye_array(cells), on]).tocsr()
        everything = np.arange(len(self._block))
        self._within = sparse.csr_array((np.ones(len(everything)), (self._block, everything)))
        total = total @ self._with_going_on
        left = self._sums(total) > 0
        possible = left.copy()
        if not total[size : size + size * size : size + 1].any():
            possible[size : size + size * size : size + 1] = False
        self._possible = possible
        # half a move per cell, so that what only held-out customers do is not impossible
        prior = np.where(possible, total + 0.5, 0.0)
        self._center = prior / np.where(left, self._sums(prior), 1)

    def _sums(self, counts: np.ndarray) -> np.ndarray:
        """Return, of each cell, the sum over its block."""
        return (self._within @ counts)[self._block]

    def _normalise(self, counts: np.ndarray) -> np.ndarray:
        return self._shares(counts + self.smoothing * self._center[:, None])

    def _shares(self, counts: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            means = counts / self._sums(counts)
        # 1 stands for "impossible": no learned customer has such a cell
        return np.where(self._possible[:, None], means, 1.0)

    def _begin(self, rows, times, generator) -> tuple[np.ndarray, np.ndarray]:
        """Return weights and chains of the likeliest of several short runs, customers alike."""
        alike, runs = _Levels.of(rows, self._block, own_chains=False), []
        for _ in range(1 if self.n_components == 1 else self.n_init):
            run = self._first_guess(rows, times, generator)
            runs.append(self._climb(alike, times, *run, steps=20))
        return max(runs, key=lambda run: run[-1])[:2]

    def _first_guess(self, rows, times, generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # as k-means++ does: each chain begins at a customer whom the chains so far tell badly
        at_best = _saturated(rows, self._block)
        picked, told, badly = [], np.full(rows.shape[0], -np.inf), times
        for _ in range(self.n_components):
            picked.append(generator.choice(len(badly), p=badly / badly.sum()))
            one = self._normalise(rows[[picked[-1]]].toarray().T + 2 * self._center[:, None])
            told = np.maximum(told, (rows @ np.log(one))[:, 0])
            badly = (np.maximum(at_best - told, 0) + 1e-12) * times
        counts = rows[picked].toarray().T
        weights = np.full(self.n_components, 1 / self.n_components)
        alike = np.zeros(self._within.shape[0])
        return weights, self._normalise(counts + 2 * self._center[:, None]), alike

    def _climb(self, levels: "_Levels", times, weights, means, dispersion, steps):
        columns, total = levels.moves.T.tocsr(), times.sum()
        leaving = levels.left.T @ times
        before, step = -np.inf, 0
        while step < steps:
            step += 1
            share, likelihood = _responsibilities(levels, weights, means, dispersion)
            # what EM raises: the likelihood with the prior of the smoothing
            value = times @ likelihood + self.smoothing * (self._center @ np.log(means)).sum()
            if value - before < self.tol * total:
                break
            before = value
            share *= times[:, None]
            made = columns @ share
            if dispersion.any():
                dispersion = levels.new_dispersion(made, leaving, means, dispersion)
            new = levels.new_moves(made, means, dispersion)
            weights, means = self._new_chains(share.sum(0) / total, new)
        self.n_iter_ = step
        return weights, means, dispersion, value

    def _new_chains(self, weights: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.maximum(weights, 1e-300), self._normalise(moves)

    def _told(self, counts: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
        levels = _Levels.of(counts, self._block, self.own_chains)
        return _responsibilities(levels, self.weights_, self._means, self.dispersion_)

    @property
    def transition_matrices_(self) -> np.ndarray:
        """Transition probabilities by chain (C, S, S); NaN in rows that nobody leaves."""
        check_is_fitted(self)
        size, cells = len(self.states_), len(self.states_) * (len(self.states_) + 1)
        values = np.where(self._possible[:, None], self._means, 0.0).T
        going = values[:, cells:, None]  # of a move that ends a journey the whole is known already
        moves = values[:, size:cells].reshape(-1, size, size)
        onward = (self._block[size:cells] <= size).reshape(size, size)
        moves = np.where(onward, moves * going, moves)
        return np.where(moves.sum(2, keepdims=True) > 0, moves, np.nan)

    def score_samples(self, X) -> np.ndarray:
        """Return the log-likelihood of each customer's journeys, in nats, shape (N,)."""
        check_is_fitted(self)
        return self._told(self._data(X).counts @ self._with_going_on)[1]

    def predict_proba(self, X) -> np.ndarray:
        """Return the probability of each chain given each customer's journeys, shape (N, C)."""
        check_is_fitted(self)
        return self._told(self._data(X).counts @ self._with_going_on)[0]

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


@dataclass(frozen=True)
class _Levels:
    """Who made which move at least once, at least twice, and so on; or, of alike customers, counts.

    Attributes
    ----------
    moves : sparse array, shape (N, L)
        1 where a customer has made the move of a column more often than its level says.
    left : sparse array, shape (N, M)
        The same of moves out of one state, or starts.
    cell, level : ndarray, shape (L,)
        Move and level of each column of `moves`.
    block, left_level : ndarray, shape (M,)
        State and level of each column of `left`.
    blocks : ndarray
        State of each cell.
    """

    moves: sparse.csr_array
    left: sparse.csr_array
    cell: np.ndarray
    level: np.ndarray
    block: np.ndarray
    left_level: np.ndarray
    blocks: np.ndarray

    @classmethod
    def of(cls, rows: sparse.csr_array, blocks: np.ndarray, own_chains: bool) -> "_Levels":
        cells = np.arange(len(blocks))
        if not own_chains:
            none = sparse.csr_array((rows.shape[0], 0))
            return cls(rows, none, cells, 0 * cells, cells[:0], cells[:0], blocks)
        within = sparse.csr_array((np.ones(len(blocks)), (cells, blocks)))
        moves, cell, level = _at_least(rows)
        left, block, left_level = _at_least(sparse.csr_array(rows @ within))
        return cls(moves, left, cell, level, block, left_level, blocks)

    def new_moves(self, made, means, dispersion) -> np.ndarray:
        """Return moves by cell and chain, of which repeated ones count less."""
        mean = means[self.cell]
        spread = (self.level * dispersion[self.blocks[self.cell]])[:, None]
        cells = sparse.csr_array((np.ones(len(self.cell)), (self.cell, np.arange(len(self.cell)))))
        cells.resize(len(self.blocks), len(self.cell))
        return cells @ (made * mean / (mean + spread))

    def new_dispersion(self, made, leaving, means, dispersion) -> np.ndarray:
        """Return the dispersion of each state, moved by the factor that gains most likelihood."""
        of_cell, size = self.blocks[self.cell], len(dispersion)
        tried = np.clip(np.outer(FACTORS, dispersion), 1e-4, 10)
        values = []
        for one in tried:
            gained = made * np.log(means[self.cell] + (self.level * one[of_cell])[:, None])
            lost = leaving * np.log1p(self.left_level * one[self.block])
            values.append(np.bincount(of_cell, gained.sum(1), size))
            values[-1] -= np.bincount(self.block, lost, size)
        return tried[np.argmax(values, axis=0), np.arange(size)]


def _at_least(counts: sparse.csr_array) -> tuple[sparse.csr_array, np.ndarray, np.ndarray]:
    """Return which counts exceed 0, 1, …, and of each column of that its old column and level."""
    counts = sparse.coo_array(counts)
    row, column = counts.coords
    times = counts.data.astype(int)
    level = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    row, column = np.repeat(row, times), np.repeat(column, times)
    most = level.max(initial=0) + 1
    code = column * most + level
    present = np.zeros(counts.shape[1] * most, dtype=bool)
    present[code] = True
    kinds, place = np.flatnonzero(present), (np.cumsum(present) - 1)[code]
    shape = (counts.shape[0], len(kinds))
    return sparse.csr_array((np.ones(len(row)), (row, place)), shape), kinds // most, kinds % most


def _responsibilities(levels: _Levels, weights, means, dispersion):
    spread = levels.level * dispersion[levels.blocks[levels.cell]]
    joint = levels.moves @ np.log(means[levels.cell] + spread[:, None]) + np.log(weights)
    likelihood = logsumexp(joint, axis=1)
    share = np.exp(joint - likelihood[:, None])
    return share, likelihood - levels.left @ np.log1p(levels.left_level * dispersion[levels.block])
