"""What the notebook's candidates are made of, beside scikit-learn.

A candidate is any scikit-learn classifier with ``predict_proba``. It is given the numeric features
of `Samples.X` and true for who churned; so plain classifiers and pipelines need nothing from here.
"""

from collections.abc import Sequence
from inspect import isfunction

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from cjlib.churn.purchase_models import MODELS
from cjlib.errors import Unanswerable

TINY = 1e-6


def on(columns: Sequence[str], *steps) -> Pipeline:
    """Return a candidate that reads some of the features; those the log lacks are passed over.

    Parameters
    ----------
    columns : sequence of str
    *steps
        What follows: transformers, or functions from features to features, then a classifier.
    """
    kept = FunctionTransformer(_kept, kw_args={"columns": list(columns)})
    steps = [FunctionTransformer(step) if isfunction(step) else step for step in steps]
    return make_pipeline(kept, *steps)


def log_scale(X: pd.DataFrame) -> pd.DataFrame:
    """Return features on the scales on which churn is nearly additive in log-odds.

    Days and counts by log(1 + x) with their sign, ratios by their logarithm, shares as they are,
    probabilities by their log-odds.
    """
    scaled = {}
    for name, values in X.astype(float).items():
        if name in ("rhythm", "overdue"):
            scaled[name] = np.log(np.maximum(values, TINY))
        elif name in MODELS:
            scaled[name] = logit(values.clip(TINY, 1 - TINY))
        elif name == "silent_share":
            scaled[name] = values
        else:
            scaled[name] = np.sign(values) * np.log1p(np.abs(values))
    return pd.DataFrame(scaled, index=X.index)


class PurchaseModel(ClassifierMixin, BaseEstimator):
    """A model of repeat purchases; its probability of no purchase in the horizon is the score.

    The features hold it already (`cjlib.churn.purchase_models`): it is fitted at every cut-off to
    the purchases until then, and needs no labels.

    Parameters
    ----------
    name : {"bg_nbd", "mbg_nbd", "pareto_nbd"}
    """

    def __init__(self, name: str = "pareto_nbd"):
        self.name = name

    def fit(self, X: pd.DataFrame, y):
        """Learn nothing more; `Unanswerable` where no customer bought twice."""
        if self.name not in X:
            raise Unanswerable("a model of repeat purchases needs customers who bought twice")
        self.classes_ = np.array([False, True])
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return shape (n, 2): staying, churning."""
        return _both(X[self.name].to_numpy(dtype=float))


class Recalibrated(ClassifierMixin, BaseEstimator):
    """A candidate whose log-odds are shifted and stretched by what a later cut-off showed.

    `CalibratedClassifierCV` holds rows back from the fit; a drift in time shows at the latest
    cut-off alone, whose rows the candidate needs.

    Parameters
    ----------
    candidate : classifier
    shift, stretch : float
    """

    def __init__(self, candidate, shift: float = 0.0, stretch: float = 1.0):
        self.candidate = candidate
        self.shift = shift
        self.stretch = stretch

    def fit(self, X: pd.DataFrame, y):
        """Fit the candidate; shift and stretch stay."""
        self.candidate_ = clone(self.candidate).fit(X, y)
        self.classes_ = self.candidate_.classes_
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return shape (n, 2): staying, churning."""
        churn = self.candidate_.predict_proba(X)[:, 1]
        return _both(expit(self.shift + self.stretch * log_odds(churn)))


def log_odds(probability) -> np.ndarray:
    """Return the log-odds of probabilities, kept off 0 and 1."""
    return logit(np.clip(np.asarray(probability, dtype=float), TINY, 1 - TINY))


def _kept(X: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    kept = [name for name in columns if name in X]
    if not kept:
        raise Unanswerable(f"the log has no {', '.join(columns)}")
    return X[kept]


def _both(churn: np.ndarray) -> np.ndarray:
    return np.column_stack([1 - churn, churn])
