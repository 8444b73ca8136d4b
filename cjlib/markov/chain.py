"""A Markov chain fitted from many unfinished journeys, with intervals that respect the customers.

The row of a stage is estimated from the moves seen out of it. Where a journey is still open its
last stage has no move yet, so it adds nothing: an open end is never a transition. Structure (what
is reached, how long it takes) lives in `cjlib.markov.absorption`; the estimator asks it the
questions.
"""

import warnings
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from cjlib.errors import ParameterError
from cjlib.markov import absorption, dirichlet
from cjlib.markov.transition_data import Moves
from cjlib.uncertainty import FEW, proportion, resample

OPEN = "open"


class MarkovChain(BaseEstimator):
    """Transition probabilities between states, learned from transitions or from sequences.

    Parameters
    ----------
    states : sequence, optional
        All states in the order wanted. By default those present, sorted, absorbing ones last.
    prior : {"jeffreys"}, float or None
        Dirichlet pseudo-count of every possible cell: 1/2 for "jeffreys". None gives maximum
        likelihood, counts over row sums. A state never seen to follow itself in the whole of the
        data cannot (visits merge repeats), so the diagonal then gets no pseudo-count.
    shrinkage : {"empirical"}, float or None
        How strongly `fit` with a ``base`` pulls each row towards the base's: the number of
        pseudo-transitions, by default the one that makes the counts likeliest (empirical Bayes),
        ten at most: only a row of few transitions leans on everybody's.
    absorbing : sequence
        States that end a walk. Others without exits are named in a warning and stay unknown.
    level : float
        Of the intervals.
    seed : int
        Of every resampling.

    Attributes
    ----------
    states_ : ndarray of object, shape (S,)
    counts_ : ndarray, shape (S, S)
        Transitions seen.
    bucket_counts_ : ndarray, shape (B, S, S)
        The same by bucket of customers, the unit of resampling.
    customers_ : ndarray, shape (S, S), or None
        Customers who made each transition, where the table says it.
    transition_matrix_ : ndarray, shape (S, S)
        Rows sum to 1; a row is NaN where no exit was seen and no base stands in.
    possible_ : ndarray of bool, shape (S, S)
        Cells that share the prior.
    pull_ : float
        Pseudo-transitions per row in use: of the prior per cell, or towards the base per row.
    unresolved_ : list
        States seen without exits and not declared absorbing.
    log_likelihood_ : float
        Of the transitions seen, given their first states, in nats.

    Notes
    -----
    Anderson, T. W. & Goodman, L. A., Statistical inference about Markov chains, Ann. Math. Stat.
    28 (1957), for the estimate; the Dirichlet-multinomial likelihood for the empirical shrinkage.
    """

    def __init__(
        self,
        *,
        states: Sequence[Hashable] | None = None,
        prior: str | float | None = "jeffreys",
        shrinkage: str | float | None = "empirical",
        absorbing: Sequence[Hashable] = ("lost",),
        level: float = 0.95,
        seed: int = 0,
    ):
        self.states = states
        self.prior = prior
        self.shrinkage = shrinkage
        self.absorbing = absorbing
        self.level = level
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
        X : DataFrame, Ibis table, list of sequences, or array of shape (n_sequences, length)
            A table with ``from_stage``, ``to_stage``, ``n`` and where known ``customers`` and
            ``bucket``; or sequences of states, one per customer, whose ends are open unless the
            last state is absorbing.
        y : None
            Ignored.
        base : MarkovChain, optional
            The chain of everybody: small segments are shrunk towards it, and its states are used.

        Returns
        -------
        MarkovChain

        Raises
        ------
        ParameterError
            When the input has another form, holds an unknown state, or leaves an absorbing one.
        """
        self._check_parameters()
        if hasattr(self, "transition_matrix_"):
            del self.transition_matrix_
        moves = self._moves(X)
        self._order(moves.states, base)
        self.bucket_counts_ = moves.on(self.states_, moves.n)
        self.customers_ = None
        if moves.customers is not None:
            self.customers_ = moves.on(self.states_, moves.customers).sum(0)
        self.counts_ = self.bucket_counts_.sum(0)
        self._absorbing = np.isin(np.arange(len(self.states_)), self._index_of(self.absorbing))
        left = self._absorbing & (self.counts_.sum(1) > np.diagonal(self.counts_))
        if left.any():
            names = ", ".join(map(str, self.states_[left]))
            raise ParameterError(f"absorbing: {names} is declared absorbing, yet the data leave it")
        self._learn(base)
        return self

    def _check_parameters(self) -> None:
        for name, word in (("prior", "jeffreys"), ("shrinkage", "empirical")):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (value is None or value == word or (number and value > 0)):
                raise ParameterError(f'{name}: write "{word}", a number above 0 or None')

    def _moves(self, X) -> Moves:
        if hasattr(X, "to_pandas") and not isinstance(X, pd.DataFrame):
            X = X.to_pandas()
        if isinstance(X, pd.DataFrame) and {"from_stage", "to_stage", "n"} <= set(X.columns):
            return Moves.from_table(X)
        if isinstance(X, (list, tuple)) and X and all(isinstance(x, (str, list, tuple)) for x in X):
            return Moves.from_sequences([list(one) for one in X])
        reset = not hasattr(self, "transition_matrix_")
        return Moves.from_sequences(validate_data(self, X, dtype=None, reset=reset))

    def _order(self, present: Sequence[Hashable], base: "MarkovChain | None") -> None:
        if base is not None:
            check_is_fitted(base)
            ordered = list(base.states_)
        elif self.states is not None:
            ordered = list(self.states)
        else:
            try:
                ordered = sorted(present)
            except TypeError:
                ordered = sorted(present, key=str)
            ends = set(self.absorbing)
            ordered = [s for s in ordered if s not in ends] + [s for s in ordered if s in ends]
        unknown = set(present) - set(ordered)
        if unknown:
            raise ParameterError(f"states: {sorted(map(str, unknown))} not among {ordered}")
        self.states_ = np.empty(len(ordered), object)
        self.states_[:] = ordered

    def _index_of(self, names: Sequence[Hashable]) -> list[int]:
        found = {state: i for i, state in enumerate(self.states_)}
        return [found[name] for name in names if name in found]

    def _learn(self, base: "MarkovChain | None") -> None:
        stays = np.diagonal(self.counts_).any()
        self.possible_ = np.ones(self.counts_.shape, bool) & ~self._absorbing[:, None]
        if not stays:
            np.fill_diagonal(self.possible_, False)
        self._base = None
        self.pull_ = {"jeffreys": 0.5, None: 0.0}.get(self.prior, self.prior)
        if base is not None:
            self._base = base.transition_matrix_
            self.possible_ |= base.possible_
            self.pull_ = self.shrinkage or 0.0
            if self.shrinkage == "empirical":
                self.pull_ = dirichlet.likeliest_pull(self.counts_, self._base)
        unseen = np.full(self.counts_.shape, np.nan) if base is None else self._base
        self.transition_matrix_ = self._probabilities(self.counts_, unseen)
        empty = np.isnan(self.transition_matrix_).any(1)
        self.unresolved_ = list(self.states_[empty])
        if self.unresolved_:
            warnings.warn(
                f"no exit seen from {', '.join(map(str, self.unresolved_))}: its row stays unknown "
                "(NaN). Declare it absorbing if walks end there.",
                UserWarning,
                stacklevel=3,
            )
        seen = self.counts_ > 0
        self.log_likelihood_ = float(
            (self.counts_[seen] * np.log(self.transition_matrix_[seen])).sum()
        )

    def _probabilities(self, counts: np.ndarray, unseen: np.ndarray) -> np.ndarray:
        rows = counts.sum(-1, keepdims=True)
        weights = self.possible_ if self._base is None else np.nan_to_num(self._base)
        pseudo = self.pull_ * weights
        with np.errstate(invalid="ignore", divide="ignore"):
            result = (counts + pseudo) / (rows + pseudo.sum(-1, keepdims=True))
        result = np.where(rows == 0, unseen, result)
        result[..., self._absorbing, :] = np.eye(len(self.states_))[self._absorbing]
        return result

    def probabilities(self, counts: np.ndarray) -> np.ndarray:
        """Turn other counts into probabilities as `fit` did with its own.

        Parameters
        ----------
        counts : array, shape (..., S, S)
            Of a resample, say.

        Returns
        -------
        array, shape (..., S, S)
            A row without exits takes the fitted row: a resample without customers of a stage says
            nothing about it.
        """
        check_is_fitted(self)
        return self._probabilities(np.asarray(counts, float), self.transition_matrix_)

    def score(self, X, y=None) -> float:
        """Return the mean log-likelihood, in nats per transition, of transitions not learned from.

        Parameters
        ----------
        X
            As in `fit`; its states must be among those learned.
        y : None
            Ignored.

        Returns
        -------
        float
            Minus infinity when a transition happens that the chain holds impossible.
        """
        check_is_fitted(self)
        moves = self._moves(X)
        if not set(moves.states) <= set(self.states_):
            raise ParameterError("score: a state that the chain has not learned")
        counts = moves.on(self.states_, moves.n).sum(0)
        seen = counts > 0
        with np.errstate(divide="ignore"):
            gained = (counts[seen] * np.log(self.transition_matrix_[seen])).sum()
        return float(gained / counts.sum()) if seen.any() else np.nan

    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the limits of every probability, customers being the unit.

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
        if len(counts) == 1:
            lower, upper = dirichlet.plain_interval(self.counts_, self.level)
        else:
            found = proportion(counts, counts.sum(-1, keepdims=True), level=self.level)
            lower, upper = found.lower, found.upper
        # a posterior mean can lie just outside the interval of a bare proportion
        lower, upper = np.fmin(lower, matrix), np.fmax(upper, matrix)
        unseen = self.counts_.sum(1, keepdims=True) == 0
        lower, upper = np.where(unseen, 0.0, lower), np.where(unseen, 1.0, upper)
        fixed = self._absorbing[:, None] | np.isnan(matrix) | ~self.possible_
        return np.where(fixed, matrix, lower), np.where(fixed, matrix, upper)

    def summary(self, segment: str = "all") -> pd.DataFrame:
        """Return the published table of transitions.

        Parameters
        ----------
        segment : str
            The name to put in the first column.

        Returns
        -------
        DataFrame
            One row per possible cell of a row with exits: segment, from_stage, to_stage, n,
            customers (NaN where not known), probability, lower, upper.
        """
        lower, upper = self.interval()
        shown = self.possible_ & (self.counts_.sum(1, keepdims=True) > 0)
        origin, target = np.nonzero(shown)
        unknown = np.full(len(origin), np.nan)
        return pd.DataFrame(
            {
                "segment": segment,
                "from_stage": self.states_[origin],
                "to_stage": self.states_[target],
                "n": self.counts_[shown].astype(int),
                "customers": unknown if self.customers_ is None else self.customers_[shown],
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
        days: np.ndarray | None = None,
        again: bool = False,
        segment: str = "all",
        n_resamples: int = 1000,
    ) -> pd.DataFrame:
        """Return which outcome comes first from each state, and after how long.

        Parameters
        ----------
        outcomes : mapping
            Name of the outcome to the states that make it. States whose exits nobody saw, where
            they can be reached, end the walk in a further outcome "open": the log cannot say.
        starts : sequence, optional
            Where to start; by default every state outside the outcomes.
        days : array, shape (S, S), optional
            Mean days of each transition (`cjlib.markov.dwell.mean_days`).
        again : bool
            A start inside an outcome asks for the next time (from a purchase to the next).
        segment : str
            The name to put in the first column.
        n_resamples : int
            Of the buckets.

        Returns
        -------
        DataFrame
            segment, from_stage, outcome, probability, lower, upper, expected_steps, expected_days:
            the last two among the walks that end in this outcome, NaN where it is never reached;
            limits are NaN when all counts are in one bucket.
        """
        check_is_fitted(self)
        groups = {name: self._index_of(states) for name, states in outcomes.items()}
        groups = {name: members for name, members in groups.items() if members}
        taken = {i for members in groups.values() for i in members}
        unknown = [i for i in self._index_of(self.unresolved_) if i not in taken]
        if unknown:
            groups[OPEN] = unknown
        if not groups:
            raise ParameterError("outcomes: none of their states is in the chain")
        free = [i for i in range(len(self.states_)) if i not in taken and i not in unknown]
        wanted = free if starts is None else self._index_of(starts)
        rows = [i for i in wanted if not self._absorbing[i] and i not in unknown]
        ends = list(groups.values())

        def reach(matrix: np.ndarray) -> np.ndarray:
            found = absorption.absorption_probabilities(np.nan_to_num(matrix), ends, again)
            return found[..., rows, :]

        if len(self.bucket_counts_) > 1:
            found = resample(
                self.bucket_counts_,
                lambda counts: reach(self.probabilities(counts)),
                seed=self.seed,
                n_resamples=n_resamples,
                level=self.level,
            )
            # no resample moves a cell that is nearly empty: there its own limits tell how far
            extremes = reach(self._at_limits())
            probability = found.estimate
            lower = np.fmin(found.lower, extremes.min(axis=0, initial=1.0))
            upper = np.fmax(found.upper, extremes.max(axis=0, initial=0.0))
        else:
            probability = reach(self.transition_matrix_)
            lower = upper = np.full_like(probability, np.nan)
        matrix = np.nan_to_num(self.transition_matrix_)
        costs = {"expected_steps": np.ones_like(matrix)}
        costs["expected_days"] = np.full_like(matrix, np.nan) if days is None else np.asarray(days)
        table = {
            "segment": segment,
            "from_stage": np.repeat(self.states_[rows], len(ends)),
            "outcome": np.tile(np.array(list(groups), object), len(rows)),
            "probability": probability.ravel(),
            "lower": lower.ravel(),
            "upper": upper.ravel(),
        }
        for name, cost in costs.items():
            table[name] = absorption.expected_cost(matrix, cost, ends, again)[rows].ravel()
        result = pd.DataFrame(table)
        reachable = result.groupby("outcome")["probability"].transform("max") > 0
        return result[(result["outcome"] != OPEN) | reachable].reset_index(drop=True)

    def _at_limits(self) -> np.ndarray:
        rows = self.counts_.sum(1, keepdims=True) > 0
        few = self.possible_ & rows & (self.counts_ < FEW)
        return dirichlet.at_limits(self.transition_matrix_, *self.interval(), few)

    def plot(self, ax=None, **options):
        """Draw the matrix with n and intervals; see `cjlib.plots.markov.transition_heatmap`."""
        from cjlib.plots.markov import transition_heatmap  # pictures come after models

        return transition_heatmap(self, ax=ax, **options)
