"""Does a score see the future? Three checks that the notebook runs on its own features."""

from collections.abc import Callable

import ibis
import numpy as np
import pandas as pd
from ibis.expr.types import Table
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from cjlib.churn.cut_offs import Samples
from cjlib.churn.features import features
from cjlib.churn.selection import Choice, log_losses
from cjlib.journeys import with_journeys
from cjlib.uncertainty import BUCKETS

LIMIT = 0.97
"""AUC, in either direction, from which a single feature is suspected to know the answer."""


def leakage_checks(samples: Samples, *, most: int = 20_000) -> pd.DataFrame:
    """Return of each feature whether it changes with the future and how well it alone tells churn.

    Journeys and visits are numbered anew each time, so a leak through them would show too.

    Parameters
    ----------
    samples : Samples
    most : int
        About how many customers to make the features again for.

    Returns
    -------
    DataFrame
        feature, changes (with later events), auc (of .5 and more), tells_all, verdict ("suspect"
        or "none").
    """
    log, horizon = samples.log, pd.Timedelta(samples.log.dataset.churn.horizon)
    cut_off = samples.test["cut_off"].iloc[0]
    share = min(1.0, most / max(len(samples.now), 1))
    sample = log.events.filter(log.events.bucket < max(1, int(BUCKETS * share)))

    def make(given: Table) -> pd.DataFrame:
        numbered = with_journeys(given.drop("journey", "visit"), log.dataset.journey.inactivity)
        return features(numbered, cut_off, horizon, samples.words).drop("bucket").execute()

    changed = changed_by_the_future(make, sample, cut_off)
    names = [*samples.rfm, *samples.journey]
    names += [name for name in changed if name not in names]
    rows = pd.concat(samples.training)
    areas = [roc_auc_score(rows["churned"], rows[name].fillna(0)) for name in names if name in rows]
    table = pd.DataFrame({"feature": names, "changes": [name in changed for name in names]})
    table["auc"] = pd.Series(np.maximum(areas, 1 - np.array(areas)))
    table["tells_all"] = table["auc"] >= LIMIT
    table["verdict"] = np.where(table["changes"] | table["tells_all"], "suspect", "none")
    return table


def changed_by_the_future(
    make: Callable[[Table], pd.DataFrame], events: Table, cut_off: pd.Timestamp
) -> list[str]:
    """Return the columns that change when the events after the cut-off are removed or scrambled.

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
    # Scrambled: later events turn into purchases and back, with other values, feelings and stages.
    scrambled = events.mutate(
        purchase=ibis.ifelse(future, ~events.purchase, events.purchase),
        value=ibis.ifelse(future, -10 * events.value.coalesce(1.0), events.value),
        sentiment=ibis.ifelse(future, -1.0, events.sentiment),
        stage=ibis.ifelse(future, "", events.stage),
        touchpoint=ibis.ifelse(future, "", events.touchpoint),
        journey=ibis.ifelse(future, events.journey + 1, events.journey),
    )
    given = make(events).set_index("customer_id").sort_index()
    seen: set[str] = set()
    for other in (events.filter(~future), scrambled):
        made = make(other).set_index("customer_id").sort_index()
        if not made.index.equals(given.index):
            return ["customers"]
        same = np.isclose(made.astype(float), given.astype(float), equal_nan=True).all(axis=0)
        seen.update(given.columns[~same])
    return sorted(seen)


def random_split(choice: Choice, samples: Samples, *, folds: int = 5) -> pd.DataFrame:
    """Return the chosen candidate's log-loss when customers are split at random, not by time.

    A loss far below the one out of time says that the past does not foretell the next period as
    well as it explains itself.

    Parameters
    ----------
    choice : Choice
    samples : Samples
    folds : int
        Folds of buckets, so that a customer is never on both sides.

    Returns
    -------
    DataFrame
        random_log_loss and log_loss (out of time); no row where there is a single training cut-off.
    """
    if not choice.out_of_time:
        return pd.DataFrame()
    rows = pd.concat(samples.training, ignore_index=True)
    X, fold, losses = samples.X(rows), rows["bucket"] % folds, []
    for k in range(folds):
        fitted = clone(choice.model).fit(X[fold != k], rows["churned"][fold != k])
        churn = fitted.predict_proba(X[fold == k])[:, 1]
        losses.append(log_losses(rows["churned"][fold == k], churn))
    return choice.row[["log_loss"]].assign(random_log_loss=np.concatenate(losses).mean())
