"""Groups of customers: none among the alike, degrees where they differ by degrees, kinds found."""

import math
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from cjlib import segments
from cjlib.markov.mixture import MarkovMixture
from tests.simulations import Simulation
from tests.simulations.worlds import World, log_of

LONG = {"days": 730, "journeys": 20.0}  # lives of many journeys, in which differences show
FULL = LONG | {"growth": -8.0, "activity": 4.0, "customers": 800}  # and nearly all from the start
METHODS = {
    "k-means": KMeans(n_init=3),
    "Gaussian mixture": GaussianMixture(n_init=1, reg_covar=1e-3, tol=1e-2, max_iter=50),
}


def found(seed: int, **options) -> tuple:
    """Return a log's clusters and types as notebook 03 finds them, and each customer's kind."""
    world = World(seed, **options)
    with tempfile.TemporaryDirectory() as folder:
        log = log_of(world, Path(folder))
        sample = segments.behaviour_sample(log, segments.behaviour_features(log), seed=seed)
        reference = segments.NoGroups(log, sample)
        stable = segments.StableClusters(METHODS, reference=reference, seed=seed).fit(sample)
        chain = MarkovMixture(own_chains=True, n_init=4, seed=seed)
        types = segments.find_journey_types(log, chain, numbers=range(1, 5), seed=seed)
        members = types.assign(log).set_index("customer_id").reindex(sample.index)
    kind = sample.index.str[1:].astype(int) % world.kinds
    return stable, types, kind, members["journey_type"].cat.codes


def none_found(seed: int, **options) -> dict[str, float]:
    """Return what is found among customers of one kind."""
    stable, types, _, _ = found(seed, **options)
    return {
        "false clusters": float(stable.n_clusters_ > 1),
        "false types": float(len(types.names) > 1),
        "degrees": float(types.summary()["customers_are"].item() == "different by degrees"),
    }


def kinds_found(seed: int, **options) -> dict[str, float]:
    """Return how well customers of several kinds are found."""
    stable, types, kind, of_type = found(seed, **options)
    number = options["kinds"]
    by_cluster = adjusted_rand_score(kind, stable.labels_)
    return {
        "number of clusters right": float(stable.n_clusters_ == number),
        "Rand index of clusters": by_cluster if stable.n_clusters_ == number else np.nan,
        "number of types right": float(len(types.names) == number),
        "Rand index of types": adjusted_rand_score(kind, of_type),
    }


ALIKE = {"activity": math.inf, "own_chains": math.inf}
NONE = {"false clusters": (0.0, 0.05), "false types": (0.0, 0.05)}
BY_DEGREES = NONE | {"degrees": (0.9, 1.0)}
TYPES = {"number of types right": (0.9, 1.0), "Rand index of types": (0.8, 1.0)}
CLUSTERS = {"number of clusters right": (0.9, 1.0), "Rand index of clusters": (0.8, 1.0)}
WORLDS = {
    "groups: customers alike": (none_found, ALIKE, NONE | {"degrees": (0.0, 0.05)}),
    "groups: unequal activity, chains of their own": (none_found, {}, NONE),
    "groups: many journeys, chains much of their own": (
        none_found,
        LONG | {"own_chains": 5.0},
        BY_DEGREES,
    ),
    "groups: heavy users visit longer and buy more": (
        none_found,
        LONG | {"buys_more": 1.0, "longer_visits": 0.5},
        BY_DEGREES,
    ),
    "groups: two kinds planted": (kinds_found, FULL | {"kinds": 2}, TYPES | CLUSTERS),
    "groups: three kinds planted": (kinds_found, FULL | {"kinds": 3}, TYPES | CLUSTERS),
}


SIMULATIONS = [
    Simulation(name, partial(count, **options), stated)
    for name, (count, options, stated) in WORLDS.items()
]
