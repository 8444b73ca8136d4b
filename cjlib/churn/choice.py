"""The choice between candidates, made before the test is opened: the simplest within one error."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from cjlib.churn.models import TINY
from cjlib.errors import ContractError


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
            f"{gone:,} of {len(churned):,} customers churned and {stayed:,} bought again within "
            f"the horizon: a model needs at least {fewest} of each. A "
            f"{'longer' if stayed < gone else 'shorter'} churn.horizon may help, or more customers."
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
