"""Journey types: which of several chains a customer's journeys follow, and what to call each."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd

from cjlib.markov.mixture import (
    MarkovMixture,
    TransitionData,
    choose_components,
    customer_transitions,
)
from cjlib.segments.clusters import jaccard

ALL = "all"
SAMPLE = 20_000  # customers from whom the chains are learned
BARELY = 0.02  # nats per customer: with many customers less than this is sure, and no use
CHUNK = 200_000  # customers whose memberships are held at once


@dataclass(frozen=True)
class JourneyTypes:
    """Chains learned from a log, with their names.

    Attributes
    ----------
    model : MarkovMixture
    names : list of str
        One per chain, from the most frequent to the least; ``["all"]`` when there is one.
    choice : DataFrame
        How the number was chosen, see `cjlib.markov.mixture.choose_components`.
    stability : ndarray, shape (C,)
        Mean Jaccard index of each type when the chains are learned again from bootstrap samples;
        NaN when there is one type.
    """

    model: MarkovMixture
    names: list[str]
    choice: pd.DataFrame
    stability: np.ndarray

    def assign(self, log, *, until: pd.Timestamp | None = None) -> pd.DataFrame:
        """Return each customer's likeliest type and its probability.

        Parameters
        ----------
        log : Log
        until : Timestamp, optional
            Use only the moves known at that moment; ``log.as_of`` by default.

        Returns
        -------
        DataFrame
            ``customer_id``, ``journey_type`` (categorical) and ``type_probability``.
        """
        return self.members(customer_transitions(log if until is None else known_by(log, until)))

    def members(self, data: TransitionData) -> pd.DataFrame:
        """Return the same for moves already counted."""
        codes = np.empty(len(data), dtype=np.int16)
        surest = np.empty(len(data), dtype=np.float32)
        for start in range(0, len(data), CHUNK):
            part = np.arange(start, min(start + CHUNK, len(data)))
            shares = self.model.predict_proba(data.take(part))
            codes[part], surest[part] = shares.argmax(axis=1), shares.max(axis=1)
        types = pd.Categorical.from_codes(codes, categories=self.names)
        return pd.DataFrame(
            {"customer_id": data.customers, "journey_type": types, "type_probability": surest}
        )


def known_by(log, until: pd.Timestamp) -> SimpleNamespace:
    """Return a log's stages, and its visits with the moves that were settled at a moment."""
    visits = log.visits.filter(log.visits.started <= until)
    settled = visits.settled & (visits.ended < until - log.dataset.journey.inactivity)
    return SimpleNamespace(visits=visits.mutate(settled=settled), stages=log.stages)


def find_journey_types(
    log, *, most: int = 6, seed: int = 0, n_bootstraps: int = 5
) -> tuple[JourneyTypes, pd.DataFrame]:
    """Learn how many journey types there are, what they are, and who follows which.

    The number is the smallest whose log-likelihood on customers not learned from is within a
    standard error, or 0.02 nats per customer, of the best. Learned from a sample when the log is
    large, assigned to everyone.

    Parameters
    ----------
    log : Log
    most : int
        The largest number to try.
    seed : int
    n_bootstraps : int
        Bootstrap samples behind the stability.

    Returns
    -------
    types : JourneyTypes
    members : DataFrame
        See `JourneyTypes.assign`.
    """
    data = customer_transitions(log)
    rng = np.random.default_rng(seed)
    sample = data.take(np.sort(rng.permutation(len(data))[:SAMPLE]))
    # Fewer than a few customers per chain teach nothing.
    candidates = [k for k in range(1, most + 1) if k == 1 or k * 20 <= len(sample)]
    choice = choose_components(sample, candidates, max_customers=5_000, seed=seed)
    close = choice["behind"] <= np.maximum(choice["standard_error"], BARELY)
    number = int(choice.loc[close, "components"].min())
    choice["chosen"] = choice["components"] == number
    model = MarkovMixture(number, seed=seed).fit(sample)
    names = type_names(model, sample, log)
    stability = _stability(model, sample, n_bootstraps, rng)
    types = JourneyTypes(model, names, choice, stability)
    return types, types.members(data)


def _stability(model, sample: TransitionData, times: int, rng) -> np.ndarray:
    """Return each type's mean Jaccard index over bootstrap samples of at most 5,000 customers."""
    number = model.n_components
    if number == 1:
        return np.array([np.nan])
    seen = sample.take(np.sort(rng.permutation(len(sample))[:5_000]))
    labels = model.predict(seen)
    found = []
    for _ in range(times):
        drawn = seen.take(rng.integers(len(seen), size=len(seen)))
        again = MarkovMixture(number, n_init=4, seed=int(rng.integers(2**31))).fit(drawn)
        found.append(jaccard(labels, again.predict(seen), number))
    return np.nan_to_num(np.mean(found, axis=0))


def type_names(model: MarkovMixture, sample: TransitionData, log) -> list[str]:
    """Name chains by the start or move that tells most about them.

    The move with the largest part of the Kullback-Leibler divergence of a chain from the others
    together, weighted by how often the chain makes it; every name is used once, so the result
    depends on the data alone.

    Returns
    -------
    list of str
        One per chain, such as ``"back from decision to consideration"``.
    """
    if model.n_components == 1:
        return [ALL]
    size = len(sample.states)
    counts = np.asarray((sample.counts.T @ model.predict_proba(sample)).T)  # (C, S + S * S)
    rows = counts.reshape(len(counts), size + 1, size)
    others = rows.sum(axis=0) - rows

    def shares(cells: np.ndarray) -> np.ndarray:
        return (cells + 0.5) / (cells + 0.5).sum(axis=-1, keepdims=True)

    gain = rows * np.log(shares(rows) / shares(others)) / rows.sum(axis=(1, 2), keepdims=True)
    names: dict[int, str] = {}
    ranked = np.argsort(-gain, axis=None, kind="stable")
    for chain, origin, target in zip(*np.unravel_index(ranked, gain.shape), strict=True):
        said = _move(sample.states, log, origin, target)
        if chain not in names and said not in names.values():
            names[int(chain)] = said
        if len(names) == len(counts):
            break
    return [names[chain] for chain in range(len(counts))]


def _move(states: Sequence[str], log, origin: int, target: int) -> str:
    """Say a start (origin 0) or a move (origin - 1 to target) in words."""
    positions = log.stages.positions

    def label(state: str) -> str:
        return log.label(state).lower()

    to = states[target]
    if origin == 0:
        return f"start in {label(to)}"
    start = states[origin - 1]
    if to not in positions:
        return f"more often end in {label(start)}"
    step = positions[to] - positions[start]
    how = "back from" if step < 0 else "straight from" if step > 1 else "on from"
    return f"{how} {label(start)} to {label(to)}"
