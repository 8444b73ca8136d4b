"""Does a score see the future? Three checks that a notebook runs on its own features."""

from collections.abc import Callable

import ibis
import numpy as np
import pandas as pd
from ibis.expr.types import Table
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from cjlib.churn.choice import log_losses


def changed_by_the_future(
    make: Callable[[Table], pd.DataFrame], events: Table, cut_off: pd.Timestamp
) -> list[str]:
    """Return the columns that change when the events after the cut-off are removed or shuffled.

    Parameters
    ----------
    make : callable
        From events to features with ``customer_id``: what is on trial.
    events : Table
    cut_off : Timestamp

    Returns
    -------
    list of str
        Names of the columns that see the future; "customers" when the rows themselves change.
    """
    future = events.timestamp > cut_off
    # Shuffled: later events turn into purchases and back, with other values, feelings and stages.
    shuffled = events.mutate(
        purchase=ibis.ifelse(future, ~events.purchase, events.purchase),
        value=ibis.ifelse(future, -10 * events.value.coalesce(1.0), events.value),
        sentiment=ibis.ifelse(future, -1.0, events.sentiment),
        stage=ibis.ifelse(future, "", events.stage),
        touchpoint=ibis.ifelse(future, "", events.touchpoint),
        journey=ibis.ifelse(future, events.journey + 1, events.journey),
    )
    given = make(events).set_index("customer_id").sort_index()
    seen: set[str] = set()
    for other in (events.filter(~future), shuffled):
        made = make(other).set_index("customer_id").sort_index()
        if not made.index.equals(given.index):
            return ["customers"]
        for name in given.columns:
            before, after = given[name].to_numpy(), made[name].to_numpy()
            numeric = pd.api.types.is_numeric_dtype(given[name])
            same = (
                np.allclose(before.astype(float), after.astype(float), equal_nan=True)
                if numeric
                else (before == after).all()
            )
            if not same:
                seen.add(name)
    return sorted(seen)


def leakage_alarms(frame: pd.DataFrame, columns: list[str], *, limit: float = 0.97) -> pd.DataFrame:
    """Return the features that alone tell churn almost perfectly, as if they saw the future.

    Parameters
    ----------
    frame : DataFrame
        ``customers_at`` with ``churned``.
    columns : list of str
        Features to look at.
    limit : float
        AUC, in either direction, from which a feature raises an alarm.

    Returns
    -------
    DataFrame
        feature, auc (of .5 and more); the suspects alone.
    """
    churned = frame["churned"].to_numpy(dtype=bool)
    if churned.all() or not churned.any():
        return pd.DataFrame({"feature": [], "auc": []})
    areas = np.array([roc_auc_score(churned, frame[name].fillna(0)) for name in columns])
    areas = np.maximum(areas, 1 - areas)
    table = pd.DataFrame({"feature": columns, "auc": areas})
    return table[table["auc"] >= limit].sort_values("auc", ascending=False, ignore_index=True)


def random_split(frames: list[pd.DataFrame], model, *, folds: int = 5) -> float:
    """Return the mean log-loss of a candidate when customers are split at random, not by time.

    A loss far below the one out of time says that the past does not foretell the next period as
    well as it explains itself.

    Parameters
    ----------
    frames : list of DataFrame
        ``customers_at`` of the training cut-offs.
    model : classifier
        Unfitted candidate.
    folds : int
        Folds of buckets, so that a customer is never on both sides.
    """
    rows = pd.concat(frames)
    fold = rows["bucket"].to_numpy() % folds
    losses = []
    for k in range(folds):
        fitted = clone(model).fit(rows[fold != k], rows["churned"][fold != k])
        held = rows[fold == k]
        losses.append(log_losses(held["churned"], fitted.predict_proba(held)[:, 1]))
    return float(np.concatenate(losses).mean())
