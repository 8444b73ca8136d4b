"""The choice between candidates, made before the test is opened: the simplest within one error."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from cjlib.churn.candidates import TINY, Recalibrated, log_odds
from cjlib.churn.cut_offs import Samples, check_classes
from cjlib.errors import Unanswerable


@dataclass(frozen=True)
class Choice:
    """What the validation said.

    Attributes
    ----------
    chosen : str
        Name of the chosen candidate.
    candidates : dict of str to classifier
        Those that the log allows, unfitted; the chosen one recalibrated where it needs that.
    table : DataFrame
        model, log_loss, worse_by (against the best), standard_error of that, chosen.
    foretold : DataFrame
        cut_off, bucket, churned, and each candidate's probability, per customer and cut-off.
    out_of_time : bool
        False when the history has one training cut-off, and folds of customers stood in.
    recalibrated : bool
    """

    chosen: str
    candidates: dict
    table: pd.DataFrame
    foretold: pd.DataFrame
    out_of_time: bool
    recalibrated: bool

    @property
    def model(self):
        """The chosen candidate, unfitted."""
        return self.candidates[self.chosen]

    @property
    def row(self) -> pd.DataFrame:
        """The chosen candidate's row, with ``recalibrated``."""
        return self.table[self.table["chosen"]].assign(recalibrated=self.recalibrated)


def select_model(candidates: Mapping, samples: Samples, *, folds: int = 5) -> Choice:
    """Choose the simplest candidate within one standard error of the best log-loss.

    The last two training cut-offs are foretold by models fitted to those before them. With a single
    training cut-off, folds of customers (by bucket) stand in.

    Parameters
    ----------
    candidates : mapping of str to classifier
        Simple first. Left out are those that need columns the log lacks, and those that foretell
        exactly what an earlier one does, because the log lacks what they would add.
    samples : Samples
    folds : int

    Raises
    ------
    Unanswerable
        When fewer than five customers churned, or fewer than five did not, in any fit.
    """
    frames, out_of_time = samples.training, len(samples.training) > 1
    if out_of_time:
        turns = range(max(1, len(frames) - 2), len(frames))
        splits = [(pd.concat(frames[:turn]), frames[turn]) for turn in turns]
    else:
        fold = frames[0]["bucket"] % folds
        splits = [(frames[0][fold != k], frames[0][fold == k]) for k in range(folds)]
    for before, _ in splits:
        check_classes(before["churned"], fewest=5)
    foretold = pd.concat([after[["cut_off", "bucket", "churned"]] for _, after in splits])
    kept = {}
    for name, model in candidates.items():
        try:
            parts = [_foretell(model, samples, before, after) for before, after in splits]
        except Unanswerable:
            continue
        churn = np.concatenate(parts)
        if not any(np.array_equal(churn, foretold[other]) for other in kept):
            foretold[name], kept[name] = churn, model
    table = _within_one_error(foretold, list(kept))
    chosen = table.loc[table["chosen"], "model"].item()
    mended = recalibration(foretold, chosen) if out_of_time else None
    if mended:
        kept[chosen] = Recalibrated(kept[chosen], *mended)
    return Choice(chosen, kept, table, foretold, out_of_time, bool(mended))


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


def _foretell(model, samples: Samples, before: pd.DataFrame, after: pd.DataFrame) -> np.ndarray:
    fitted = clone(model).fit(samples.X(before), before["churned"])
    return fitted.predict_proba(samples.X(after))[:, 1]


def _within_one_error(foretold: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    losses = pd.DataFrame({name: log_losses(foretold["churned"], foretold[name]) for name in names})
    best = losses.mean().idxmin()
    rows = []
    for name in names:
        worse, error = clustered_mean(losses[name] - losses[best], foretold["bucket"])
        rows.append((name, losses[name].mean(), worse, error, worse <= error))
    columns = ["model", "log_loss", "worse_by", "standard_error", "chosen"]
    table = pd.DataFrame(rows, columns=columns)
    table["chosen"] &= ~table["chosen"].shift(fill_value=False).cummax()  # the simplest one only
    return table
