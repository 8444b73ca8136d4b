"""A Markov chain fitted from many unfinished journeys, with intervals that respect the customers.

The row of a stage is estimated from the moves seen out of it. Where a journey is still open its
last stage has no move yet, so it adds nothing: an open end is never a transition. What follows from
the matrix lives in `cjlib.markov.absorption`; the estimator asks it the questions.
"""

import warnings
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import gammaln
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from cjlib.errors import ParameterError
from cjlib.journeys import BOUGHT, LOST, OPEN
from cjlib.markov.absorption import absorption_probabilities, expected_cost
from cjlib.uncertainty import BUCKETS, FEW, bucket_array, proportion, resample

ALL = "all"
MOST = 10.0
"""Pseudo-transitions towards a base at most. Likelihood alone asks for thousands where a segment's
rows are close to everybody's, and then a difference that thousands of its own transitions show
would be gone."""


class MarkovChain(BaseEstimator):
    """Transition probabilities between states, learned from transitions or from sequences.

    Parameters
    ----------
    states : sequence, optional
        All states in the order wanted. By default those present, sorted, absorbing ones last.
    prior : float
        Dirichlet pseudo-count of every possible cell, Jeffreys' by default; 0 gives maximum
        likelihood. A state never seen to follow itself in the whole of the data cannot (visits
        merge repeats), so the diagonal then gets no pseudo-count.
    absorbing : sequence
        States that end a walk. Others without exits are named in a warning and stay unknown.
    seed : int
        Of every resampling.

    Attributes
    ----------
    states_ : ndarray of object, shape (S,)
    bucket_counts_ : ndarray, shape (B, S, S)
        Transitions seen, by bucket of customers, the unit of resampling.
    counts_ : ndarray, shape (S, S)
        Their sum.
    customers_ : ndarray, shape (S, S)
        Customers who made each transition, 0 where the table does not say it.
    days_ : ndarray, shape (S, S)
        Mean days of each transition, of everybody where there is a base. A transition never seen
        takes the mean of its state, a state never left 0. Means are over finished visits: where
        long visits are still open they are too short, as any mean from a young log is.
    transition_matrix_ : ndarray, shape (S, S)
        Rows sum to 1; a row is NaN where no exit was seen and no base stands in.
    possible_ : ndarray of bool, shape (S, S)
        Cells that share the prior.
    pull_ : float
        Pseudo-transitions in use: of the prior per cell, or towards the base per row.
    unresolved_ : list
        States seen without exits and not declared absorbing.

    Notes
    -----
    Anderson, T. W. & Goodman, L. A., Statistical inference about Markov chains, Ann. Math. Stat.
    28 (1957), for the estimate.
    """

    def __init__(
        self,
        *,
        states: Sequence[Hashable] | None = None,
        prior: float = 0.5,
        absorbing: Sequence[Hashable] = (LOST, BOUGHT),
        seed: int = 0,
    ):
        self.states = states
        self.prior = prior
        self.absorbing = absorbing
        self.seed = seed

    def __sklearn_tags__(self):
        """Say that rows are sequences of categories and that no target is learned."""
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.target_tags.required = False
        return tags

    def fit(self, X, y=None, *, base: "MarkovChain | None" = None) -> "MarkovChain":
        """Learn the chain.

        Parameters
        ----------
        X : DataFrame, list of sequences, or array of shape (n_sequences, length)
            A table with ``from_stage``, ``to_stage``, ``n`` and where known ``bucket``,
            ``customers`` and ``days`` (sum); or sequences of states, one per customer, whose ends
            are open unless the last state is absorbing.
        y : None
            Ignored.
        base : MarkovChain, optional
            The chain of everybody: its states are used, and each row is pulled towards its row by
            the number of pseudo-transitions that makes the counts likeliest (empirical Bayes), ten
            at most: only a row of few transitions leans on everybody's.

        Returns
        -------
        MarkovChain

        Raises
        ------
        ParameterError
            When the input has another form, holds an unknown state, or leaves an absorbing one.
        """
        if not (isinstance(self.prior, int | float) and self.prior >= 0):
            raise ParameterError("prior: write a number of pseudo-transitions, 0 or more")
        table, present = self._table(X)
        self.states_ = self._ordered(present, base)
        levels = dict.fromkeys(["from_stage", "to_stage"], self.states_)
        sums = bucket_array(table, list(levels), ["n", "customers", "days"], levels=levels)
        self.bucket_counts_ = sums[..., 0]
        self.counts_, self.customers_, days = np.moveaxis(sums.sum(0), -1, 0)
        self._absorbing = np.isin(np.arange(len(self.states_)), self._places(self.absorbing))
        left = self._absorbing & (self.counts_.sum(1) > np.diagonal(self.counts_))
        if left.any():
            names = ", ".join(map(str, self.states_[left]))
            raise ParameterError(f"absorbing: {names} is declared absorbing, yet the data leave it")
        with np.errstate(invalid="ignore", divide="ignore"):
            row = np.nan_to_num(days.sum(1) / self.counts_.sum(1))
            self.days_ = np.where(self.counts_ > 0, days / self.counts_, row[:, None])
        self._learn(base)
        return self

    def _table(self, X) -> tuple[pd.DataFrame, list]:
        """Return transitions with all columns that count, and the states present."""
        if isinstance(X, pd.DataFrame) and {"from_stage", "to_stage", "n"} <= set(X.columns):
            if not (X["n"] >= 0).all():
                raise ParameterError("transitions: n is negative or empty in a row")
            table = pd.DataFrame({"bucket": 0, "customers": 0, "days": 0.0}, X.index)
            table[X.columns] = X
            return table, list(pd.unique(pd.concat([X["from_stage"], X["to_stage"]])))
        named = isinstance(X, list | tuple) and X
        if not (named and all(isinstance(one, str | list | tuple) for one in X)):
            X = validate_data(self, X, dtype=None)
        moves = [
            (customer % BUCKETS, *pair) for customer, one in enumerate(X) for pair in pairwise(one)
        ]
        table = pd.DataFrame(moves, columns=["bucket", "from_stage", "to_stage"], dtype=object)
        table = table.assign(n=1, customers=0, days=0.0)
        return table, list(dict.fromkeys(state for one in X for state in one))

    def _ordered(self, present: Sequence[Hashable], base: "MarkovChain | None") -> np.ndarray:
        if base is not None:
            ordered = list(base.states_)
        elif self.states is not None:
            ordered = list(self.states)
        else:
            ordered = sorted(present, key=lambda state: (state in set(self.absorbing), str(state)))
        unknown = set(present) - set(ordered)
        if unknown:
            raise ParameterError(f"states: {sorted(map(str, unknown))} not among {ordered}")
        states = np.empty(len(ordered), object)
        states[:] = ordered
        return states

    def _places(self, names: Sequence[Hashable]) -> list[int]:
        found = {state: i for i, state in enumerate(self.states_)}
        return [found[name] for name in names if name in found]

    def _learn(self, base: "MarkovChain | None") -> None:
        self.possible_ = np.ones(self.counts_.shape, bool) & ~self._absorbing[:, None]
        if not np.diagonal(self.counts_).any():
            np.fill_diagonal(self.possible_, False)
        self.pull_, self._weights = self.prior, self.possible_.astype(float)
        unseen = np.full(self.counts_.shape, np.nan)
        if base is not None:
            unseen, self.days_ = base.transition_matrix_, base.days_
            self.possible_ |= base.possible_
            self.pull_ = _likeliest_pull(self.counts_, unseen)
            self._weights = np.nan_to_num(unseen)
        self.transition_matrix_ = self._probabilities(self.counts_, unseen)
        self.unresolved_ = list(self.states_[np.isnan(self.transition_matrix_).any(1)])
        if self.unresolved_:
            warnings.warn(
                f"no exit seen from {', '.join(map(str, self.unresolved_))}: its row stays unknown "
                "(NaN). Declare it absorbing if walks end there.",
                UserWarning,
                stacklevel=3,
            )

    def _probabilities(self, counts: np.ndarray, unseen: np.ndarray) -> np.ndarray:
        """Return probabilities from counts (..., S, S); a row without exits takes ``unseen``'s."""
        rows, pseudo = counts.sum(-1, keepdims=True), self.pull_ * self._weights
        with np.errstate(invalid="ignore", divide="ignore"):
            result = (counts + pseudo) / (rows + pseudo.sum(-1, keepdims=True))
        result = np.where(rows == 0, unseen, result)
        result[..., self._absorbing, :] = np.eye(len(self.states_))[self._absorbing]
        return result

    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the 95 % limits of every probability, customers being the unit.

        Jeffreys' interval at the effective sample size, of the chain's own transitions alone: what
        a base lends to the estimate makes the chain's own probabilities no surer. Counts that came
        without buckets leave no choice but to take transitions as independent.

        Returns
        -------
        lower, upper : arrays, shape (S, S)
            NaN where the row is unknown, 0 and 1 where it is the base's alone.
        """
        check_is_fitted(self)
        counts, matrix = self.bucket_counts_, self.transition_matrix_
        alike = 1.0 if len(counts) == 1 else None
        found = proportion(counts, counts.sum(-1, keepdims=True), alike=alike)
        # a posterior mean can lie just outside the interval of a bare proportion
        lower, upper = np.fmin(found.lower, matrix), np.fmax(found.upper, matrix)
        unseen = self.counts_.sum(1, keepdims=True) == 0
        lower, upper = np.where(unseen, 0.0, lower), np.where(unseen, 1.0, upper)
        fixed = self._absorbing[:, None] | np.isnan(matrix) | ~self.possible_
        return np.where(fixed, matrix, lower), np.where(fixed, matrix, upper)

    def summary(self, segment: str = ALL) -> pd.DataFrame:
        """Return the published table of transitions.

        Parameters
        ----------
        segment : str
            The name to put in the first column.

        Returns
        -------
        DataFrame
            One row per possible cell of a row with exits: segment, from_stage, to_stage, n,
            customers, probability, lower, upper.
        """
        lower, upper = self.interval()
        shown = self.possible_ & (self.counts_.sum(1, keepdims=True) > 0)
        origin, target = np.nonzero(shown)
        return pd.DataFrame(
            {
                "segment": segment,
                "from_stage": self.states_[origin],
                "to_stage": self.states_[target],
                "n": self.counts_[shown].astype(int),
                "customers": self.customers_[shown],
                "probability": self.transition_matrix_[shown],
                "lower": lower[shown],
                "upper": upper[shown],
            }
        )

    def absorption(
        self,
        outcomes: Mapping[str, Sequence[Hashable]],
        *,
        starts: Sequence[Hashable] | None = None,
        segment: str = ALL,
    ) -> pd.DataFrame:
        """Return which outcome comes first from each state, and after how long.

        Parameters
        ----------
        outcomes : mapping
            Name of the outcome to the states that make it. States whose exits nobody saw, where
            they can be reached, end the walk in a further outcome "open": the log cannot say.
        starts : sequence, optional
            Where to start; by default every state outside the outcomes. A start inside one asks for
            the next time (from a purchase to the next).
        segment : str
            The name to put in the first column.

        Returns
        -------
        DataFrame
            segment, from_stage, outcome, probability, lower, upper, expected_steps, expected_days:
            the last two among the walks that end in this outcome, NaN where it is never reached.
        """
        check_is_fitted(self)
        groups = {name: self._places(states) for name, states in outcomes.items()}
        groups = {name: members for name, members in groups.items() if members}
        taken = {i for members in groups.values() for i in members}
        unknown = [i for i in self._places(self.unresolved_) if i not in taken]
        if unknown:
            groups[OPEN] = unknown
        free = [i for i in range(len(self.states_)) if i not in taken]
        wanted = free if starts is None else self._places(starts)
        rows = [i for i in wanted if not self._absorbing[i] and i not in unknown]
        ends = list(groups.values())

        def reach(matrix: np.ndarray) -> np.ndarray:
            matrix = np.nan_to_num(matrix)
            return (matrix @ absorption_probabilities(matrix, ends))[..., rows, :]

        found = resample(
            self.bucket_counts_,
            lambda counts: reach(self._probabilities(counts, self.transition_matrix_)),
            seed=self.seed,
        )
        # no resample moves a cell that is nearly empty: there its own limits tell how far
        extremes = reach(self._at_limits())
        matrix = np.nan_to_num(self.transition_matrix_)
        steps = np.ones_like(matrix)
        result = pd.DataFrame(
            {
                "segment": segment,
                "from_stage": np.repeat(self.states_[rows], len(ends)),
                "outcome": np.tile(np.array(list(groups), object), len(rows)),
                "probability": found.estimate.ravel(),
                "lower": np.fmin(found.lower, extremes.min(axis=0, initial=1.0)).ravel(),
                "upper": np.fmax(found.upper, extremes.max(axis=0, initial=0.0)).ravel(),
                "expected_steps": expected_cost(matrix, steps, ends)[rows].ravel(),
                "expected_days": expected_cost(matrix, self.days_, ends)[rows].ravel(),
            }
        )
        reachable = result.groupby("outcome")["probability"].transform("max") > 0
        return result[(result["outcome"] != OPEN) | reachable].reset_index(drop=True)

    def _at_limits(self) -> np.ndarray:
        """Return the matrix with one nearly empty cell at a time at its limits, (2 K, S, S).

        The rest of the cell's row keeps its proportions.
        """
        matrix, few = self.transition_matrix_, self.counts_ < FEW
        cells = self.possible_ & few & (self.counts_.sum(1, keepdims=True) > 0) & (matrix < 1)
        origin, target = np.nonzero(cells)
        moved = np.repeat(matrix[None], 2 * len(origin), axis=0)
        place, rows, columns = np.arange(len(moved)), np.tile(origin, 2), np.tile(target, 2)
        limit = np.concatenate([limits[origin, target] for limits in self.interval()])
        moved[place, rows] *= ((1 - limit) / (1 - matrix[rows, columns]))[:, None]
        moved[place, rows, columns] = limit
        return moved


def fit_by_segment(model: MarkovChain, moves: pd.DataFrame) -> dict[str, MarkovChain]:
    """Fit a chain to everybody's moves, and one to each segment's with everybody's as its base.

    Parameters
    ----------
    model : MarkovChain
        Its parameters are used.
    moves : DataFrame
        Of `cjlib.markov.transitions`.

    Returns
    -------
    dict
        ``all``, then the segments as they come, each to its chain.
    """
    everybody = clone(model).fit(moves[moves["segment"] == ALL])
    segments = moves[moves["segment"] != ALL].groupby("segment", sort=False)
    return {ALL: everybody} | {
        name: clone(model).fit(part, base=everybody) for name, part in segments
    }


def _likeliest_pull(counts: np.ndarray, base: np.ndarray) -> float:
    """Return the Dirichlet concentration around ``base`` that makes the counts likeliest.

    One concentration for all rows: few pseudo-transitions where they lie far from the base's, up to
    ``MOST`` where they differ no more than chance makes them (Dirichlet-multinomial likelihood;
    Minka, Estimating a Dirichlet distribution, 2000).
    """
    rows = (counts.sum(1) > 0) & ~np.isnan(base).any(1) & (np.nanmax(base, axis=1) < 1)
    n, center = counts[rows], base[rows]
    used = center > 0

    def loss(log_pull: float) -> float:
        pull = np.exp(log_pull)
        prior = np.where(used, pull * center, 1.0)
        cells = np.where(used, gammaln(n + prior) - gammaln(prior), 0.0).sum()
        return -(cells + (gammaln(pull) - gammaln(pull + n.sum(1))).sum())

    if not rows.any():
        return 1.0
    return float(np.exp(minimize_scalar(loss, bounds=(-1.0, np.log(MOST)), method="bounded").x))
