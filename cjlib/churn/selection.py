"""What the notebook's candidates are made of, and the choice between them.

A candidate is any scikit-learn classifier with ``predict_proba``. It is given the numeric features
of `Samples.X` and true for who churned; so plain classifiers and pipelines need nothing from here.
The choice is made before the test is opened: the simplest candidate within one error of the best.
What candidates are told apart by is who is likelier to leave; the level of churn, which moves from
one cut-off to the next under all of them, is taken out of it first, and kept for the interval of a
promise (`cjlib.churn.drift`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import isfunction

import numpy as np
import pandas as pd
from scipy import optimize
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import VotingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from cjlib.churn.cut_offs import Samples, check_classes
from cjlib.churn.purchase_models import MODELS
from cjlib.errors import Unanswerable

TINY = 1e-6
FOLDS = 5
FEW_TURNS = 3
"""Cut-offs foretold below which folds of customers join in the choice."""
NO_COST, MOST_COST = 0.001, 0.01
"""Shares of the best log-loss that a simpler candidate may always cost, and that it may cost at
most, however unsure that is: of few customers everything is unsure."""
STRETCH = 0.5
"""How far from 1, about, the stretch of a purchase model's log-odds may be."""


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
    the purchases until then, without labels. These shift and stretch its log-odds (Platt scaling,
    held to a stretch near 1), so that it is as well calibrated as candidates fitted to them.

    Parameters
    ----------
    name : {"bg_nbd", "mbg_nbd", "pareto_nbd"}
    """

    def __init__(self, name: str = "pareto_nbd"):
        self.name = name

    def fit(self, X: pd.DataFrame, y):
        """Learn shift and stretch; `Unanswerable` where no customer bought twice."""
        odds, churned = log_odds(_kept(X, [self.name])[self.name]), np.asarray(y, dtype=float)

        def loss(params: np.ndarray) -> tuple[float, np.ndarray]:
            eta, away = params[0] + params[1] * odds, params[1] - 1
            wrong = expit(eta) - churned
            worth = np.sum(np.logaddexp(0, eta) - churned * eta) + (away / STRETCH) ** 2 / 2
            slope = [wrong.sum(), wrong @ odds + away / STRETCH**2]
            return worth / len(odds), np.array(slope) / len(odds)

        found = optimize.minimize(loss, [0.0, 1.0], jac=True, bounds=[(None, None), (0.01, None)])
        self.shift_, self.stretch_ = found.x
        self.classes_ = np.array([False, True])
        return self

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return shape (n, 2): staying, churning."""
        churn = expit(self.shift_ + self.stretch_ * log_odds(X[self.name]))
        return np.column_stack([1 - churn, churn])


def log_odds(probability) -> np.ndarray:
    """Return the log-odds of probabilities, kept off 0 and 1."""
    return logit(np.clip(np.asarray(probability, dtype=float), TINY, 1 - TINY))


def shifted(probability, shift: float) -> np.ndarray:
    """Return probabilities with their log-odds moved."""
    return expit(log_odds(probability) + shift)


def level_shift(churned, probability) -> float:
    """Return the shift of log-odds at which the churn promised in all is the churn that came."""
    odds, came, shift = log_odds(probability), np.sum(churned), 0.0
    for _ in range(30):  # Newton's steps, none longer than 1
        p = expit(odds + shift)
        step = np.clip((came - p.sum()) / max((p * (1 - p)).sum(), TINY), -1, 1)
        shift += step
        if abs(step) < 1e-9:
            break
    return float(shift)


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
        Those that the log allows, unfitted.
    table : DataFrame
        model, log_loss (each turn's level taken out), worse_by (against the best), standard_error
        of that, chosen.
    foretold : DataFrame
        turn (0: folds of customers), cut_off, bucket, churned, and a column of probabilities for
        every candidate, by models that had not seen these customers' answers.
    """

    candidates: dict
    table: pd.DataFrame
    foretold: pd.DataFrame

    @property
    def out_of_time(self) -> bool:
        """False when the history has one training cut-off, and folds of customers stood in."""
        return bool((self.foretold["turn"] > 0).any())

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
        """The chosen candidate's row."""
        return self.table[self.table["chosen"]]


def select_model(candidates: Mapping, samples: Samples) -> Choice:
    """Choose the simplest candidate within one standard error of the best log-loss.

    Every training cut-off is foretold by models fitted to those before it. Where fewer than
    ``FEW_TURNS`` are, folds of customers (by bucket) join in, and where none is they stand alone.
    What is simpler may always cost ``NO_COST``, and never more than ``MOST_COST``. Before they are
    compared all candidates are shifted, turn by turn, to the churn that came: its level drifts
    under all alike.

    Parameters
    ----------
    candidates : mapping of str to classifier
        Simple first. Left out are those that need columns the log lacks, and those that foretell
        exactly what an earlier one does, because the log lacks what they would add. An average
        (`VotingClassifier`, soft) of candidates before it costs no further fit.
    samples : Samples

    Raises
    ------
    Unanswerable
        When fewer than five customers churned, or fewer than five did not, in any fit.
    """
    frames = samples.training
    splits = [(turn, pd.concat(frames[:turn]), frames[turn]) for turn in range(1, len(frames))]
    if len(splits) < FEW_TURNS:
        splits += [(0, *split) for split in _folds(pd.concat(frames, ignore_index=True))]
    parts = []
    for turn, before, after in splits:
        check_classes(before["churned"], fewest=5)
        part = after[["cut_off", "bucket", "churned"]].assign(turn=turn)
        parts.append(part.join(foretold_by_all(candidates, samples, before, after)))
    foretold = pd.concat(parts, ignore_index=True)
    kept = {}
    for name, model in candidates.items():
        known = name in foretold and foretold[name].notna().all()
        if known and not any(np.array_equal(foretold[name], foretold[other]) for other in kept):
            kept[name] = model
    return Choice(kept, _simplest(foretold, list(kept)), foretold)


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
    rows, name = choice.foretold, choice.chosen
    losses, later = log_losses(rows["churned"], rows[name]), rows["turn"] > 0
    if later.all():  # a fold tells it: a fifth of the customers
        before, after = _folds(pd.concat(samples.training, ignore_index=True))[0]
        one = foretold_by_all({name: choice.model}, samples, before, after)[name]
        random = log_losses(after["churned"], one).mean()
    else:
        random = losses[~later].mean()
    return pd.DataFrame([{"log_loss": losses[later].mean(), "random_log_loss": random}])


def turn_shifts(foretold: pd.DataFrame, name: str) -> pd.Series:
    """Return a candidate's `level_shift` at every later training cut-off, oldest first."""
    turns = foretold[foretold["turn"] > 0].groupby("turn")
    return pd.Series({turn: level_shift(part["churned"], part[name]) for turn, part in turns})


def foretold_by_all(candidates: Mapping, samples: Samples, before, after) -> pd.DataFrame:
    """Return the probabilities of churn by every candidate that the log allows, a column each.

    Parameters
    ----------
    candidates : mapping of str to classifier
    samples : Samples
    before, after : DataFrame
        Customers to fit to, customers to foretell.
    """
    churn: dict[str, np.ndarray] = {}
    place = {id(model): name for name, model in candidates.items()}
    for name, model in candidates.items():
        members = [place.get(id(one)) for _, one in getattr(model, "estimators", None) or ()]
        plain = isinstance(model, VotingClassifier) and model.voting == "soft" and members
        if plain and model.weights is None and all(member in churn for member in members):
            churn[name] = np.mean([churn[member] for member in members], axis=0)
            continue
        try:
            churn[name] = foretell(model, samples, before, after)
        except Unanswerable:
            continue
    return pd.DataFrame(churn, after.index)


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


def _simplest(foretold: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    parts = []
    for _, part in foretold.groupby("turn"):
        churned = part["churned"]
        level = part[names].apply(lambda p, y=churned: shifted(p, level_shift(y, p)))
        parts.append(level.apply(lambda p, y=churned: log_losses(y, p)))
    losses = pd.concat(parts).loc[foretold.index]
    worse = losses.sub(losses[losses.mean().idxmin()], axis=0)
    means = [clustered_mean(worse[name], foretold["bucket"]) for name in names]
    table = pd.DataFrame(means, columns=["worse_by", "standard_error"])
    table.insert(0, "model", names)
    table.insert(1, "log_loss", losses.mean().to_numpy())
    best = losses.mean().min()
    near = table["standard_error"].clip(NO_COST * best, MOST_COST * best)
    simplest = (table["worse_by"] <= near).idxmax()
    return table.assign(chosen=table.index == simplest)
