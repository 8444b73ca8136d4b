"""Small logs for the tests of churn, as the notebook sees them."""

import datetime as dt
from types import SimpleNamespace

import ibis
import numpy as np
import pandas as pd

from cjlib.churn.cut_offs import Samples
from cjlib.churn.features import Vocabulary
from cjlib.journeys import with_buckets, with_journeys

DAY = pd.Timedelta(1, "D")


def log_of(events=None, *, as_of="2025-06-01", days=60, hashed=False):
    """Return what the functions of churn read of a log."""
    dataset = SimpleNamespace(
        churn=SimpleNamespace(horizon=dt.timedelta(days=days)),
        journey=SimpleNamespace(inactivity=dt.timedelta(days=30)),
        privacy=SimpleNamespace(smallest_group=5, customer_ids="hash" if hashed else "keep"),
        currency="EUR",
    )
    label = lambda name: name.replace("_", " ")  # noqa: E731
    return SimpleNamespace(events=events, as_of=pd.Timestamp(as_of), dataset=dataset, label=label)


def prepared(frame):
    """Return events of plain rows as a prepared log holds them, all in memory."""
    defaults = {
        "touchpoint": "order",
        "stage": "purchase",
        "role": "purchase",
        "purchase": True,
        "initiator": "customer",
        "channel": None,
        "value": np.nan,
        "sentiment": np.nan,
    }
    frame = frame.assign(**{k: v for k, v in defaults.items() if k not in frame})
    frame["timestamp"] = frame["timestamp"].astype("datetime64[us]")
    frame = frame.astype({"channel": "string", "value": float, "sentiment": float})
    frame["line"] = np.arange(len(frame))
    con = ibis.duckdb.connect()
    table = con.create_table("events", ibis.memtable(frame).cast({"channel": "string"}))
    return con.create_table("log", with_journeys(with_buckets(table), dt.timedelta(days=30)))


def orders(customers, *, days=300, every=20.0, seed=1):
    """Return orders of customers who buy at random, ``every`` so many days on average."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(days / every, customers).clip(1)
    who = np.repeat(np.arange(customers), counts)
    at = pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.integers(0, days, len(who)), unit="D")
    return pd.DataFrame({"customer_id": [f"c{i}" for i in who], "timestamp": at})


def orders_log(customers, *, every=60.0):
    """Return a log of such orders."""
    return log_of(prepared(orders(customers, every=every)), as_of="2025-10-28")


def samples_of(training, test=None, now=None, *, words=None, log=None):
    """Return samples of frames that a test made up."""
    test = training[-1] if test is None else test
    now = test if now is None else now
    first = pd.Timestamp("2024-01-01")
    return Samples(log or log_of(), words or Vocabulary(), first, list(training), test, now)


def candidates_of(samples, seed=0):
    """Return the candidates of the notebook."""
    from sklearn import dummy, ensemble, linear_model, preprocessing, tree

    from cjlib.churn import PurchaseModel, log_scale, on

    scaler, regression = preprocessing.StandardScaler(), linear_model.LogisticRegression(C=0.03)
    logistic = (log_scale, scaler, regression)
    stump = tree.DecisionTreeClassifier(max_depth=1, min_samples_leaf=20)
    boosted = ensemble.HistGradientBoostingClassifier(
        learning_rate=0.06,
        max_iter=120,
        max_leaf_nodes=12,
        min_samples_leaf=40,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )
    orders, journey = [*samples.rfm, "bg_nbd"], samples.journey
    candidates = {
        "everyone alike": dummy.DummyClassifier(strategy="prior"),
        "hiatus rule": on(["recency_days"], stump),
        "recency rank": on(["recency_days"], *logistic),
        "BG/NBD": PurchaseModel("bg_nbd"),
        "Pareto/NBD": PurchaseModel("pareto_nbd"),
        "logistic RFM": on(samples.rfm, *logistic),
        "RFM + BG/NBD": on(orders, *logistic),
        "RFM + journey": on(orders + journey, *logistic),
        "boosted trees": on(orders + journey, boosted),
    }
    best = list(candidates.items())[-4:]
    return candidates | {"average of four": ensemble.VotingClassifier(best, voting="soft")}
