"""The candidates that score churn, from one share for all to boosted trees.

Every candidate is a scikit-learn classifier on the frames of ``customers_at``: ``fit(X, y)`` with
``y`` true for churn, ``predict_proba(X)``. The simple ones come first, because ties go to them.
"""

import warnings

import numpy as np
import pandas as pd
from scipy.special import logit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.metaestimators import available_if

from cjlib.churn.cut_offs import PURCHASE_MODELS
from cjlib.churn.features import Vocabulary

TINY = 1e-6


class EveryoneAlike(ClassifierMixin, BaseEstimator):
    """The same probability for everybody: the share that churned in training.

    What does not beat it tells no customer from another.

    Attributes
    ----------
    share_ : float
    """

    columns = ()

    def fit(self, X: pd.DataFrame, y: np.ndarray):
        """Learn the share."""
        self.classes_ = np.array([False, True])
        self.share_ = float(np.mean(np.asarray(y, dtype=bool)))
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return shape (n, 2): staying, churning."""
        return np.tile([1 - self.share_, self.share_], (len(X), 1))


class HiatusRule(ClassifierMixin, BaseEstimator):
    """Churned is who has been away longer than a threshold, the one most often right in training.

    Attributes
    ----------
    threshold_ : float
        Days since the last purchase.
    shares_ : ndarray of shape (2,)
        Churn among those within and beyond the threshold.
    """

    columns = ("recency_days",)

    def fit(self, X: pd.DataFrame, y: np.ndarray):
        """Find the threshold; X has ``recency_days``."""
        y = np.asarray(y, dtype=bool)
        self.classes_ = np.array([False, True])
        days, where = np.unique(np.asarray(X["recency_days"], dtype=float), return_inverse=True)
        churned = np.bincount(where, weights=y, minlength=len(days))
        stayed = np.bincount(where, weights=~y, minlength=len(days))
        right = np.cumsum(stayed) + churned.sum() - np.cumsum(churned)
        self.threshold_ = float(days[np.argmax(right)])
        beyond = np.asarray(X["recency_days"]) > self.threshold_
        self.shares_ = np.array(
            [(y[side].sum() + 1) / (side.sum() + 2) for side in (~beyond, beyond)]
        )
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return shape (n, 2): staying, churning."""
        churn = self.shares_[(np.asarray(X["recency_days"]) > self.threshold_).astype(int)]
        return np.column_stack([1 - churn, churn])


class PurchaseModelScores(ClassifierMixin, BaseEstimator):
    """A purchase model's probability of no purchase in the horizon, as ``purchase_models`` made it.

    Parameters
    ----------
    column : str
        bg_nbd, mbg_nbd or pareto_nbd.
    """

    def __init__(self, column: str = "pareto_nbd"):
        self.column = column

    @property
    def columns(self) -> tuple[str, ...]:
        """What the score reads."""
        return (self.column,)

    def fit(self, X: pd.DataFrame, y: np.ndarray):
        """Learn nothing more: the model knows the purchases already."""
        self.classes_ = np.array([False, True])
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return shape (n, 2): staying, churning."""
        churn = np.asarray(X[self.column], dtype=float)
        return np.column_stack([1 - churn, churn])


class LogisticScores(ClassifierMixin, BaseEstimator):
    """Logistic regression on the logarithms of named columns, mildly shrunk.

    Parameters
    ----------
    columns : sequence of str
    strength : float
        Inverse of the ridge penalty on standardised columns.

    Attributes
    ----------
    coef_ : Series
        Log-odds of churn per standard deviation of each column.
    """

    def __init__(self, columns: tuple[str, ...] = ("recency_days",), strength: float = 0.03):
        self.columns = columns
        self.strength = strength

    def fit(self, X: pd.DataFrame, y: np.ndarray):
        """Fit scaler and coefficients."""
        self.classes_ = np.array([False, True])
        self.scaler_ = StandardScaler()
        scaled = self.scaler_.fit_transform(logs(X, self.columns))
        model = LogisticRegression(C=self.strength, max_iter=1000)
        self.model_ = model.fit(scaled, np.asarray(y, dtype=bool))
        self.coef_ = pd.Series(model.coef_[0], index=list(self.columns))
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return shape (n, 2): staying, churning."""
        return self.model_.predict_proba(self.scaler_.transform(logs(X, self.columns)))

    def contributions(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return what each column adds to the log-odds of churn against the average customer."""
        scaled = self.scaler_.transform(logs(X, self.columns))
        return pd.DataFrame(scaled * self.coef_.to_numpy(), columns=self.columns, index=X.index)


class BoostedScores(ClassifierMixin, BaseEstimator):
    """Gradient-boosted trees on named columns, small and slow to learn.

    Parameters
    ----------
    columns : sequence of str
    seed : int
    """

    def __init__(self, columns: tuple[str, ...] = ("recency_days",), seed: int = 0):
        self.columns = columns
        self.seed = seed

    def fit(self, X: pd.DataFrame, y: np.ndarray):
        """Fit the trees."""
        self.classes_ = np.array([False, True])
        self.model_ = HistGradientBoostingClassifier(
            learning_rate=0.06,
            max_iter=120,
            max_leaf_nodes=12,
            min_samples_leaf=40,
            l2_regularization=1.0,
            early_stopping=False,
            random_state=self.seed,
        ).fit(X[list(self.columns)].to_numpy(dtype=float), np.asarray(y, dtype=bool))
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return shape (n, 2): staying, churning."""
        return self.model_.predict_proba(X[list(self.columns)].to_numpy(dtype=float))

    def contributions(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return each column's Shapley value in log-odds of churn (shap's exact tree algorithm)."""
        with warnings.catch_warnings():  # it complains of a missing widget for its progress bars
            warnings.simplefilter("ignore")
            from shap import TreeExplainer  # slow to import, and needed for this candidate alone

        values = TreeExplainer(self.model_).shap_values(X[list(self.columns)].to_numpy(dtype=float))
        return pd.DataFrame(values, columns=list(self.columns), index=X.index)


class Recalibrated(ClassifierMixin, BaseEstimator):
    """A candidate whose log-odds are shifted and stretched by what a later cut-off showed.

    Parameters
    ----------
    candidate : classifier
    shift, stretch : float
    """

    def __init__(self, candidate, shift: float = 0.0, stretch: float = 1.0):
        self.candidate = candidate
        self.shift = shift
        self.stretch = stretch

    @property
    def columns(self) -> tuple[str, ...]:
        """What the candidate reads."""
        return tuple(self.candidate.columns)

    def fit(self, X: pd.DataFrame, y: np.ndarray):
        """Fit the candidate; shift and stretch stay."""
        self.classes_ = np.array([False, True])
        self.candidate_ = clone(self.candidate).fit(X, y)
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return shape (n, 2): staying, churning."""
        raw = logit(np.clip(self.candidate_.predict_proba(X)[:, 1], TINY, 1 - TINY))
        churn = 1 / (1 + np.exp(-(self.shift + self.stretch * raw)))
        return np.column_stack([1 - churn, churn])

    @available_if(lambda self: hasattr(self.candidate, "contributions"))
    def contributions(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the candidate's contributions, stretched alike."""
        return self.candidate_.contributions(X) * self.stretch


def logs(X: pd.DataFrame, columns) -> np.ndarray:
    """Return columns on the scales on which churn is nearly additive, array of shape (n, columns).

    Days and counts by log(1 + x) with their sign, ratios by their logarithm, shares as they are,
    probabilities by their log-odds.
    """
    scaled = []
    for name in columns:
        values = np.asarray(X[name], dtype=float)
        if name in ("rhythm", "overdue"):
            scaled.append(np.log(np.maximum(values, TINY)))
        elif name == "silent_share":
            scaled.append(values)
        elif name in PURCHASE_MODELS:
            scaled.append(logit(np.clip(values, TINY, 1 - TINY)))
        else:
            scaled.append(np.sign(values) * np.log1p(np.abs(values)))
    return np.column_stack(scaled)


def candidates(words: Vocabulary, frame: pd.DataFrame, *, seed: int = 0) -> dict:
    """Return the unfitted candidates that the log's columns allow, simple first.

    Parameters
    ----------
    words : Vocabulary
    frame : DataFrame
        Customers of one cut-off; a purchase model without values there is left out.
    seed : int
    """
    rfm, journey = tuple(words.rfm), tuple(words.journey)
    models = {"everyone alike": EveryoneAlike(), "hiatus rule": HiatusRule()}
    models |= {"recency rank": LogisticScores(("recency_days",))}
    names = {"bg_nbd": "BG/NBD", "mbg_nbd": "MBG/NBD", "pareto_nbd": "Pareto/NBD"}
    for column in PURCHASE_MODELS:
        if frame[column].notna().all():
            models[names[column]] = PurchaseModelScores(column)
    models["logistic RFM"] = LogisticScores(rfm)
    base = base_columns(words, frame)
    if base != rfm:
        models["RFM + BG/NBD"] = LogisticScores(base)
    if journey:
        models["RFM + journey"] = LogisticScores(base + journey)
    models["boosted trees"] = BoostedScores(base + journey, seed)
    return models


def base_columns(words: Vocabulary, frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the purchase features, and BG/NBD's probability where there is one."""
    stacked = ("bg_nbd",) if frame["bg_nbd"].notna().all() else ()
    return (*words.rfm, *stacked)
