"""Customers who differ by degrees: a continuum of Markov chains, against which types are judged."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.polynomial.hermite_e import hermegauss
from sklearn.exceptions import ConvergenceWarning

from cjlib.markov.mixture import MarkovMixture

ALIKE, DEGREES, TYPES = "alike", "different by degrees", "types"
FOLDS = 3  # parts of the customers for the held-out comparison
BARELY = 0.02  # nats per customer: with many customers less than this is sure, and no use
SURE = 1.96  # standard errors

NODES = 7  # of the quadrature over the trait
STEPS = 3  # on the logits, within each step of EM


class MarkovContinuum(MarkovMixture):
    """Chains that differ by degrees, without groups.

    Each customer has a trait, normal over the customers, with which every chance of the chain grows
    or shrinks steadily: each row is a multinomial logit in it. Around that, the customer's own
    chain follows a Dirichlet law. So those who buy more may seldom leave, and yet there are no two
    kinds. The trait is integrated out at the nodes of a Gauss-Hermite quadrature: chains of a
    mixture whose weights are given and whose logits lie on lines.

    Parameters
    ----------
    n_init, max_iter, tol, smoothing, seed
        As of `MarkovMixture`.
    """

    def __init__(self, *, n_init=8, max_iter=500, tol=1e-5, smoothing=1.0, seed=0):
        super().__init__(2, n_init=n_init, max_iter=max_iter, tol=tol, own_chains=True)
        self.smoothing, self.seed = smoothing, seed
        self._nodes, weights = hermegauss(NODES)
        self._given = weights / weights.sum()

    def _begin(self, rows, times, generator) -> tuple[np.ndarray, np.ndarray]:
        # The trait begins along the line through two chains.
        weights, means = super()._begin(rows, times, generator)
        logs = np.log(means)
        self._base = logs @ weights
        self._slope = (logs[:, 0] - logs[:, 1]) * np.sqrt(weights.prod())
        return self._given, self._chains()

    def _chains(self) -> np.ndarray:
        logits = self._base[:, None] + self._slope[:, None] * self._nodes
        return self._shares(np.where(self._possible[:, None], np.exp(logits), 0.0))

    def _new_chains(self, weights, moves) -> tuple[np.ndarray, np.ndarray]:
        if moves.shape[1] != NODES:  # the two chains to begin with
            return super()._new_chains(weights, moves)
        # steps that raise the likelihood: p bounds the curvature of a multinomial logit
        moves = moves + self.smoothing * self._center[:, None] * self._given
        left = self._sums(moves)
        for _ in range(STEPS):
            for part, by in ((self._base, np.ones(NODES)), (self._slope, self._nodes)):
                expected = left * self._chains()
                curvature = np.maximum(expected @ by**2, 1e-9)
                part += np.clip((moves - expected) @ by / curvature, -1, 1) * self._possible
        return self._given, self._chains()


def choose_components(
    X, candidates: Sequence[int], *, max_customers: int = 4_000, seed: int = 0, **options
) -> pd.DataFrame:
    """Compare numbers of journey types, and customers without types, on customers not learned from.

    Types are a finding only where they foretell better than a continuum does: any difference
    between customers makes a mixture of more chains likelier than one chain.

    Parameters
    ----------
    X : TransitionData or sequences
        As in `MarkovMixture.fit`.
    candidates : sequence of int
        Numbers of types from 2; one type is always compared, of customers who are alike and of
        such as differ by degrees.
    max_customers : int
        A random sample of so many is enough to choose.
    seed : int
        Of the sample, the folds and the starts.
    **options
        Further parameters of `MarkovMixture`.

    Returns
    -------
    DataFrame
        model ("alike", "different by degrees", "types"), components, held_out (mean log-likelihood
        per customer, nats), gain over the continuum with lower and upper (95 %, over customers),
        behind (how far below the best), standard_error (of ``behind``) and chosen. Types are chosen
        where the gain of the best number is above 0.02 nats, and its interval above 0; of the
        numbers of which that is true, the smallest within a standard error, or 0.02 nats, of the
        best. Otherwise it is degrees where they gain as much over customers who are alike.
    """
    data = MarkovMixture()._data(X, reset=True)
    generator = np.random.default_rng(seed)
    sample = data.take(np.sort(generator.permutation(len(data))[:max_customers]))
    fold = generator.permutation(len(sample)) % FOLDS
    shared = {name: value for name, value in options.items() if name != "own_chains"}
    models = [MarkovMixture(1, seed=seed, **shared), MarkovContinuum(seed=seed, **shared)]
    numbers = sorted(number for number in candidates if number > 1)
    models += [MarkovMixture(number, seed=seed, **options) for number in numbers]
    scores = np.empty((len(sample), len(models)))
    with warnings.catch_warnings():
        # a chain too many gains a little for very long; that is no news here
        warnings.simplefilter("ignore", ConvergenceWarning)
        for column, model in enumerate(models):
            for part in range(FOLDS):
                others = np.flatnonzero(fold == part)
                model.fit(sample.take(np.flatnonzero(fold != part)))
                scores[others, column] = model.score_samples(sample.take(others))
    held_out = scores.mean(axis=0)
    gain, gain_error = _mean_and_error(scores - scores[:, [1]])
    behind, error = _mean_and_error(scores[:, [held_out.argmax()]] - scores)
    beyond = (gain > BARELY) & (gain > SURE * gain_error)
    if beyond[2:].any():
        chosen = int(np.flatnonzero(beyond & (behind <= np.maximum(error, BARELY)))[0])
    else:
        chosen = int(-gain[0] > max(BARELY, SURE * gain_error[0]))
    return pd.DataFrame(
        {
            "model": [ALIKE, DEGREES] + [TYPES] * len(numbers),
            "components": [1, 1, *numbers],
            "held_out": held_out,
            "gain": gain,
            "lower": gain - SURE * gain_error,
            "upper": gain + SURE * gain_error,
            "behind": behind,
            "standard_error": error,
            "chosen": np.arange(len(models)) == chosen,
        }
    )


def _mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
