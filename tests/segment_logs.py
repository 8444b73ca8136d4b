"""Logs and their segments that several test modules share; each is made once."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import yaml
from sklearn.cluster import KMeans

from cjlib.log import open_log
from cjlib.markov.mixture import MarkovMixture
from cjlib.segments import (
    NoGroups,
    StableClusters,
    Views,
    behaviour_features,
    behaviour_sample,
    find_journey_types,
    name_clusters,
    profiles,
    readable_profile,
    rfm_rules,
    rfm_scores,
)
from data.demo.files import write_rows
from data.demo.generate import generate
from tests.conftest import ROOT


@cache
def demo_log():
    """The committed demo."""
    return open_log("demo")


def find_views(log, most_clusters=3, most_types=6, seed=1):
    """A log's customers in three views, as notebook 03 finds them."""
    rules = rfm_rules(log)
    scored = rfm_scores(log, rules)
    sample = behaviour_sample(log, behaviour_features(log), seed=seed)
    numbers = range(2, most_clusters + 1)
    reference = NoGroups(log, sample)
    stable = StableClusters(KMeans(n_init=5), k=numbers, reference=reference, seed=seed)
    clusters = name_clusters(log, sample, stable.fit(sample))
    numbers = range(1, most_types + 1)
    types = find_journey_types(
        log, MarkovMixture(own_chains=True, n_init=4, seed=seed), numbers=numbers, seed=seed
    )
    views = Views(rules, clusters, types)
    now = views.at(log)
    then = views.at(log, until=log.as_of - log.dataset.churn.horizon)
    stability = views.stability(scored, seed=seed)
    return SimpleNamespace(scored=scored, views=views, now=now, then=then, stability=stability)


def profile_of(log, found):
    """What sets a log's segments apart."""
    return profiles(log, found.views, found.now, found.stability)


def shown_of(log, found, profile):
    """What of it can be read."""
    least = log.dataset.privacy.smallest_group
    return readable_profile(log, found.views, profile, lambda n: n >= least)


@cache
def demo_segments():
    """The demo's customers in three views."""
    return find_views(demo_log())


@cache
def demo_profile():
    """What sets the demo's segments apart."""
    return profile_of(demo_log(), demo_segments())


def log_of_rows(folder, rows, **changes):
    """A log from a table of rows, described as the demo is, with changes."""
    described = yaml.safe_load((ROOT / "data" / "demo.yml").read_text())
    described.pop("customers")
    rows.to_csv(folder / "rows.csv", index=False)
    (folder / "log.yml").write_text(yaml.safe_dump(described | {"source": "rows.csv"} | changes))
    return open_log(folder / "log.yml")


def log_of_demo(folder, **options):
    demo = generate(dirt=False, **options)
    described = yaml.safe_load((ROOT / "data" / "demo.yml").read_text())
    described.pop("customers")
    write_rows(demo, folder / "rows.parquet")
    described |= {"source": "rows.parquet"}
    (folder / "log.yml").write_text(yaml.safe_dump(described))
    return demo, open_log(folder / "log.yml")


def orders_only(folder):
    """Orders of 200 customers, nothing else: one stage, no channel, value or sentiment."""
    rng = np.random.default_rng(1)
    who = rng.integers(200, size=600)
    when = pd.Timestamp("2025-02-01") + pd.to_timedelta(rng.integers(360, size=600), unit="D")
    rows = pd.DataFrame({"customer_id": who, "timestamp": when, "touchpoint": "order_placed"})
    columns = {name: name for name in rows.columns}
    columns["timestamp"] = {"column": "timestamp", "timezone": "UTC"}
    return log_of_rows(folder, rows, columns=columns)
