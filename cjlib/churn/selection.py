"""What the notebook's candidates are made of, and the choice between them.

A candidate is any scikit-learn classifier with ``predict_proba``. It is given the numeric features
of `Samples.X` and true for who churned; so plain classifiers and pipelines need nothing from here.
The choice is made before the test is opened: the simplest candidate within one error of the best.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import isfunction

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from cjlib.churn.cut_offs import Samples, check_classes
from cjlib.churn.purchase_models import MODELS
from cjlib.errors import Unanswerable

TINY = 1e-6
FOLDS = 5


# -- what candidates are made of ------------------------------------------------------------------


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
            scaled[name] = log_odds(values)
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
        _kept(X, [self.name])
        self.classes_ = np.array([False, True])
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return shape (n, 2): staying, churning."""
        churn = X[self.name].to_numpy(dtype=float)
        return np.column_stack([1 - churn, churn])


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
        odds = log_odds(self.candidate_.predict_proba(X)[:, 1])
        churn = expit(self.shift + self.stretch * odds)
        return np.column_stack([1 - churn, churn])


def log_odds(probability) -> np.ndarray:
    """Return the log-odds of probabilities, kept off 0 and 1."""
    return logit(np.clip(np.asarray(probability, dtype=float), TINY, 1 - TINY))


def _kept(X: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    kept = [name for name in columns if name in X]
    if not kept:
        raise Unanswerable(f"the log has no {', '.join(columns)}")
    return X[kept]


# -- the choice -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """What the validation said.

    Attributes
    ----------
    candidates : dict of str to classifier
        Those that the log allows, unfitted; the chosen one recalibrated where it needs that.
    table : DataFrame
        model, log_loss, worse_by (against the best), standard_error of that, chosen.
    out_of_time : bool
        False when the history has one training cut-off, and folds of customers stood in.
    """

    candidates: dict
    table: pd.DataFrame
    out_of_time: bool

    @property
    def chosen(self) -> str:
        """Name of the chosen candidate."""
        return self.table.loc[self.table["chosen"], "model"].item()

    @property
    def model(self):
        """The chosen candidate, unfitted."""
        return self.candidates[self.chosen]

    @property
    def row(self) -> pd.DataFrame:
        """The chosen candidate's row, with ``recalibrated``."""
        recalibrated = isinstance(self.model, Recalibrated)
        return self.table[self.table["chosen"]].assign(recalibrated=recalibrated)


def select_model(candidates: Mapping, samples: Samples) -> Choice:
    """Choose the simplest candidate within one standard error of the best log-loss.

    The last two training cut-offs are foretold by models fitted to those before them. With a single
    training cut-off, folds of customers (by bucket) stand in.

    Parameters
    ----------
    candidates : mapping of str to classifier
        Simple first. Left out are those that need columns the log lacks, and those that foretell
        exactly what an earlier one does, because the log lacks what they would add.
    samples : Samples

    Raises
    ------
    Unanswerable
        When fewer than five customers churned, or fewer than five did not, in any fit.
    """
    frames, out_of_time = samples.training, len(samples.training) > 1
    turns = range(max(1, len(frames) - 2), len(frames))
    splits = [(pd.concat(frames[:turn]), frames[turn]) for turn in turns] or _folds(frames[0])
    for before, _ in splits:
        check_classes(before["churned"], fewest=5)
    foretold = pd.concat([after[["cut_off", "bucket", "churned"]] for _, after in splits])
    kept = {}
    for name, model in candidates.items():
        try:
            parts = [foretell(model, samples, before, after) for before, after in splits]
        except Unanswerable:
            continue
        churn = np.concatenate(parts)
        if not any(np.array_equal(churn, foretold[other]) for other in kept):
            foretold[name], kept[name] = churn, model
    choice = Choice(kept, _within_one_error(foretold, list(kept)), out_of_time)
    mended = recalibration(foretold, choice.chosen) if out_of_time else None
    if mended:
        kept[choice.chosen] = Recalibrated(choice.model, *mended)
    return choice


def random_split(choice: Choice, samples: Samples) -> pd.DataFrame:
    """Return the chosen candidate's log-loss when customers are split at random, not by time.

    A loss far below the one out of time says that the past does not foretell the next period as
    well as it explains itself.

    Returns
    -------
    DataFrame
        random_log_loss and log_loss (out of time); no row where there is a single training cut-off.
    """
    if not choice.out_of_time:
        return pd.DataFrame()
    losses = [
        log_losses(after["churned"], foretell(choice.model, samples, before, after))
        for before, after in _folds(pd.concat(samples.training, ignore_index=True))
    ]
    return choice.row[["log_loss"]].assign(random_log_loss=np.concatenate(losses).mean())


def recalibration(foretold: pd.DataFrame, chosen: str) -> tuple[float, float] | None:
    """Return shift and stretch of a candidate's log-odds where it needs them.

    It does when they would have cut the log-loss at the last training cut-off by more than two
    standard errors.
    """
    rows = foretold[foretold["cut_off"] == foretold["cut_off"].max()]
    churned, odds = rows["churned"].to_numpy(dtype=bool), log_odds(rows[chosen])[:, None]
    fit = LogisticRegression(C=np.inf).fit(odds, churned)
    shift, stretch = float(fit.intercept_[0]), float(fit.coef_[0, 0])
    gain = log_losses(churned, rows[chosen]) - log_losses(churned, fit.predict_proba(odds)[:, 1])
    mean, error = clustered_mean(gain, rows["bucket"])
    return (shift, stretch) if stretch > 0 and mean > 2 * error else None


def foretell(model, samples: Samples, before: pd.DataFrame, after: pd.DataFrame) -> np.ndarray:
    """Return the probability of churn of some customers, by a candidate fitted to earlier ones."""
    fitted = clone(model).fit(samples.X(before), before["churned"])
    return fitted.predict_proba(samples.X(after))[:, 1]


def log_losses(churned, probability) -> np.ndarray:
    """Return each row's log-loss; probabilities are kept off 0 and 1."""
    p = np.clip(np.asarray(probability, dtype=float), TINY, 1 - TINY)
    return -np.log(np.where(np.asarray(churned, dtype=bool), p, 1 - p))


def clustered_mean(values: np.ndarray, bucket) -> tuple[float, float]:
    """Return a mean over rows and its standard error, buckets being the sampling units."""
    values = np.asarray(values)
    sums = pd.Series(values - values.mean()).groupby(np.asarray(bucket)).sum()
    error = np.sqrt(len(sums) / max(len(sums) - 1, 1) * (sums**2).sum()) / len(values)
    return float(values.mean()), float(error)


def _folds(rows: pd.DataFrame) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Return rows to fit to and rows to foretell; a customer is never on both sides."""
    fold = rows["bucket"] % FOLDS
    return [(rows[fold != k], rows[fold == k]) for k in range(FOLDS)]


def _within_one_error(foretold: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    losses = foretold[names].apply(lambda churn: log_losses(foretold["churned"], churn))
    worse = losses.sub(losses[losses.mean().idxmin()], axis=0)
    means = [clustered_mean(worse[name], foretold["bucket"]) for name in names]
    table = pd.DataFrame(means, columns=["worse_by", "standard_error"])
    table.insert(0, "model", names)
    table.insert(1, "log_loss", losses.mean().to_numpy())
    simplest = (table["worse_by"] <= table["standard_error"]).idxmax()
    return table.assign(chosen=table.index == simplest)
