"""Journey types: which of several chains a customer's journeys follow, and what to call each."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
from sklearn.base import clone

from cjlib.errors import Unanswerable
from cjlib.markov.continuum import BARELY, choose_components
from cjlib.markov.mixture import MarkovMixture
from cjlib.markov.transitions import TransitionData, customer_transitions
from cjlib.segments.cluster_names import ALL, group_names
from cjlib.segments.clusters import UNDECIDED, jaccard, stability_band

SAMPLE = 20_000  # customers from whom the chains are learned
BOOTSTRAPS = 5  # behind the stability
NONE = (np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class JourneyTypes:
    """Chains learned from a log, with their names.

    Attributes
    ----------
    model : MarkovMixture
    names : list of str
        One per chain, from the most frequent to the least; ``["all"]`` when there is one.
    choice : DataFrame
        How the number was chosen, see `cjlib.markov.continuum.choose_components`.
    stability : ndarray, shape (C,)
        Mean Jaccard index of each type when the chains are learned again from bootstrap samples;
        NaN when there is one type.
    """

    model: MarkovMixture
    names: list[str]
    choice: pd.DataFrame
    stability: np.ndarray

    def summary(self) -> pd.DataFrame:
        """Return one row on what was chosen.

        Returns
        -------
        DataFrame
            ``types``, ``most`` (largest number tried), ``customers_are`` (``alike``, ``different by
            degrees``, of ``types``, or ``undecided``: perhaps of types), ``gain`` of the best
            number of types over a continuum (nats per customer), ``gain_lower``, ``gain_upper``,
            ``weakest`` (lowest stability), ``verdict`` (its reading), ``sure_share`` (of the
            customers learned from, ``customers``: those who belong to their type with a probability
            of 0.8 or more).
        """
        surest = self.model.responsibilities_.max(axis=1)
        tried = self.choice[self.choice["components"] > 1].nlargest(1, "gain")
        gain, lower, upper = tried[["gain", "lower", "upper"]].to_numpy()[0] if len(tried) else NONE
        found = self.choice.loc[self.choice["chosen"], "model"].item()
        open_ = len(self.names) == 1 and upper > BARELY
        row = {
            "types": len(self.names),
            "most": int(self.choice["components"].max()),
            "customers_are": UNDECIDED if open_ else found,
            "gain": gain,
            "gain_lower": lower,
            "gain_upper": upper,
            "weakest": float(self.stability.min()),
            "verdict": stability_band(self.stability.min()),
            "sure_share": float((surest >= 0.8).mean()),
            "customers": len(surest),
        }
        return pd.DataFrame([row])

    def chains(self) -> dict[str, pd.DataFrame]:
        """Return the probability of each move by type, from a stage (row) to a stage or the end."""
        if len(self.names) == 1:
            raise Unanswerable("there is one type of journey, and nothing to set it against")
        states = list(self.model.states_)
        frames = (pd.DataFrame(m, states, states) for m in self.model.transition_matrices_)
        return dict(zip(self.names, frames, strict=True))

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
        data = customer_transitions(log if until is None else known_by(log, until))
        shares = self.model.predict_proba(data)
        types = pd.Categorical.from_codes(shares.argmax(axis=1), categories=self.names)
        surest = shares.max(axis=1).astype(np.float32)
        return pd.DataFrame(
            {"customer_id": data.customers, "journey_type": types, "type_probability": surest}
        )


def known_by(log, until: pd.Timestamp) -> SimpleNamespace:
    """Return a log's states, and its visits with the moves that were settled at a moment."""
    visits = log.visits.filter(log.visits.started <= until)
    settled = visits.settled & (visits.ended < until - log.dataset.journey.inactivity)
    visits = visits.mutate(settled=settled)
    return SimpleNamespace(visits=visits, stages=log.stages, ends=log.ends)


def find_journey_types(
    log,
    model: MarkovMixture,
    *,
    numbers: Sequence[int] = range(1, 7),
    seed: int = 0,
) -> JourneyTypes:
    """Learn how many journey types there are and what they are.

    Several only where they foretell the journeys of customers not learned from better than a
    continuum does, see `cjlib.markov.continuum.choose_components`. Learned from a sample when the
    log is large.

    Parameters
    ----------
    log : Log
    model : MarkovMixture
        How each number of types is learned.
    numbers : sequence of int
        Numbers of types to try.
    seed : int
        Of the sample, the folds and the bootstraps.
    """
    data = customer_transitions(log)
    rng = np.random.default_rng(seed)
    sample = data.take(np.sort(rng.permutation(len(data))[:SAMPLE]))
    # Fewer than a few customers per chain teach nothing.
    candidates = [k for k in numbers if k == 1 or k * 20 <= len(sample)]
    options = model.get_params()
    del options["n_components"], options["seed"]
    choice = choose_components(sample, candidates, seed=seed, **options)
    number = int(choice.loc[choice["chosen"], "components"].item())
    model = clone(model).set_params(n_components=number).fit(sample)
    stability = _stability(model, sample, rng)
    return JourneyTypes(model, type_names(model, sample, log), choice, stability)


def _stability(model, sample: TransitionData, rng) -> np.ndarray:
    """Return each type's mean Jaccard index over bootstrap samples of at most 5,000 customers."""
    number = model.n_components
    if number == 1:
        return np.array([np.nan])
    seen = sample.take(np.sort(rng.permutation(len(sample))[:5_000]))
    labels = model.predict(seen)
    found = []
    for _ in range(BOOTSTRAPS):
        drawn = seen.take(rng.integers(len(seen), size=len(seen)))
        again = clone(model).set_params(
            n_init=max(1, model.n_init // 2), seed=int(rng.integers(2**31))
        )
        found.append(jaccard(labels, again.fit(drawn).predict(seen), number))
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
    positions, phrases = log.stages.positions, group_names()["journey_types"]
    names = {"target": log.label(states[target]).lower()}
    if origin == 0:
        return phrases["start"].format(**names)
    start, end = states[origin - 1], states[target]
    names["origin"] = log.label(start).lower()
    if end not in positions:
        return phrases["end"].format(**names)
    step = positions[end] - positions[start]
    way = "back" if step < 0 else "skip" if step > 1 else "next"
    return phrases[way].format(**names)
