"""The candidates that score churn, from a rank to boosting, and the choice between them.

Every candidate is a scikit-learn classifier on the frames of ``customers_at``: ``fit(X, y)`` with
``y`` true for churn, ``predict_proba(X)``. The simple ones come first, because ties go to them.
"""

import warnings
from dataclasses import dataclass

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
from cjlib.errors import ContractError

TINY = 1e-6


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
    models = {"hiatus rule": HiatusRule(), "recency rank": LogisticScores(("recency_days",))}
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


@dataclass(frozen=True)
class Choice:
    """What the validation said.

    Attributes
    ----------
    chosen : str
        Name of the chosen candidate.
    table : DataFrame
        model, log_loss, worse_by (against the best), standard_error of that, chosen.
    losses : DataFrame
        customer_id, bucket, and each candidate's log-loss per customer and cut-off.
    predictions : DataFrame
        cut_off, churned, bucket, and each candidate's probability; same rows.
    out_of_time : bool
        False when the history has one training cut-off, and folds of customers stood in.
    """

    chosen: str
    table: pd.DataFrame
    losses: pd.DataFrame
    predictions: pd.DataFrame
    out_of_time: bool


def choose(frames: list[pd.DataFrame], models: dict, *, folds: int = 5) -> Choice:
    """Choose the simplest candidate within one standard error of the best log-loss.

    The last two training cut-offs are foretold by models fitted to those before them. With a single
    training cut-off, folds of customers (by bucket) stand in.

    Parameters
    ----------
    frames : list of DataFrame
        ``customers_at`` of the training cut-offs, oldest first.
    models : dict of str to classifier
        Simple first.

    Raises
    ------
    ContractError
        When fewer than five customers churned, or fewer than five did not, in any fit.
    """
    out_of_time = len(frames) > 1
    if out_of_time:
        turns = range(max(1, len(frames) - 2), len(frames))
        splits = [(pd.concat(frames[:turn]), frames[turn]) for turn in turns]
    else:
        fold = frames[0]["bucket"] % folds
        splits = [(frames[0][fold != k], frames[0][fold == k]) for k in range(folds)]
    foretold = []
    for before, after in splits:
        check_classes(before["churned"], fewest=5)
        part = after[["customer_id", "bucket", "cut_off", "churned"]].copy()
        for name, model in models.items():
            part[name] = clone(model).fit(before, before["churned"]).predict_proba(after)[:, 1]
        foretold.append(part)
    predictions = pd.concat(foretold, ignore_index=True)
    losses = predictions[["customer_id", "bucket"]].copy()
    for name in models:
        losses[name] = log_losses(predictions["churned"], predictions[name])
    table = _within_one_error(losses, list(models))
    chosen = table.loc[table["chosen"], "model"].item()
    return Choice(chosen, table, losses, predictions, out_of_time)


def recalibration(choice: Choice) -> tuple[float, float, bool]:
    """Return shift and stretch of the chosen candidate's log-odds, and whether they are needed.

    They are when they would have cut the log-loss at the last training cut-off by more than two
    standard errors. Folds of customers of one cut-off cannot show a drift in time, so then nothing
    is mended.
    """
    latest = choice.predictions["cut_off"] == choice.predictions["cut_off"].max()
    rows = choice.predictions[latest]
    churned = rows["churned"].to_numpy(dtype=bool)
    p = np.clip(rows[choice.chosen].to_numpy(), TINY, 1 - TINY)
    raw = logit(p)[:, None]
    fit = LogisticRegression(C=np.inf).fit(raw, churned)
    shift, stretch = float(fit.intercept_[0]), float(fit.coef_[0, 0])
    gain = log_losses(churned, p) - log_losses(churned, fit.predict_proba(raw)[:, 1])
    mean, error = clustered_mean(gain, rows["bucket"])
    return shift, stretch, bool(choice.out_of_time and stretch > 0 and mean > 2 * error)


def log_losses(churned, probability) -> np.ndarray:
    """Return each row's log-loss; probabilities are kept off 0 and 1."""
    p = np.clip(np.asarray(probability, dtype=float), TINY, 1 - TINY)
    return -np.log(np.where(np.asarray(churned, dtype=bool), p, 1 - p))


def clustered_mean(values: np.ndarray, bucket) -> tuple[float, float]:
    """Return a mean over rows and its standard error, buckets being the sampling units."""
    bucket = np.asarray(bucket, dtype=int)
    mean = float(np.mean(values))
    sums = np.bincount(bucket, weights=np.asarray(values) - mean)[np.unique(bucket)]
    units = len(sums)
    error = np.sqrt(units / max(units - 1, 1) * (sums**2).sum()) / len(bucket)
    return mean, float(error)


def check_classes(churned, fewest: int = 10) -> None:
    """Raise ``ContractError`` when there is nothing to tell apart."""
    churned = np.asarray(churned, dtype=bool)
    gone, stayed = int(churned.sum()), int((~churned).sum())
    if min(gone, stayed) < fewest:
        raise ContractError(
            f"{gone} of {len(churned)} customers churned and {stayed} bought again within the "
            f"horizon: a model needs at least {fewest} of each. Set churn.horizon "
            f"{'longer' if stayed < gone else 'shorter'}, or wait for more customers."
        )


def _within_one_error(losses: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    means = losses[names].mean()
    best = means.idxmin()
    rows = []
    for name in names:
        worse, error = clustered_mean(losses[name] - losses[best], losses["bucket"])
        rows.append((name, means[name], worse, error, worse <= error))
    columns = ["model", "log_loss", "worse_by", "standard_error", "chosen"]
    table = pd.DataFrame(rows, columns=columns)
    table["chosen"] &= ~table["chosen"].shift(fill_value=False).cummax()  # the simplest one only
    return table
