"""How good churn scores are on customers they have not seen.

Intervals come from buckets of customers, as everywhere; here churn is the positive class.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from cjlib.churn.cut_offs import Samples
from cjlib.churn.selection import Choice, foretell, log_losses, on
from cjlib.errors import Unanswerable
from cjlib.uncertainty import Interval, bucket_array, proportion, ratio, resample

BINS = 10
CALIBRATED = 0.7
"""Share of calibration groups that must hold for probabilities to be read as such."""
RANKS = 2000
"""Groups of equal rank that an AUC is resampled from, at most."""


@dataclass(frozen=True)
class OpenedTest:
    """What the test said, opened once.

    Attributes
    ----------
    model : classifier
        The chosen candidate, fitted to the training cut-offs.
    probability : array, shape (n,)
        Its probability of churn, of the customers of the test.
    table : DataFrame
        model, the figures of `evaluate`, chosen (bool).
    row : DataFrame
        The chosen candidate's row, with ``customers`` and ``recency_auc`` (AUC of the days since
        the last order, as they are).
    """

    model: object
    probability: np.ndarray
    table: pd.DataFrame
    row: pd.DataFrame


def open_test(choice: Choice, samples: Samples, *, seed: int = 0) -> OpenedTest:
    """Fit every candidate to the training cut-offs and compare them on the test, once.

    Parameters
    ----------
    choice : Choice
        Made on the training cut-offs alone.
    samples : Samples
    seed : int
        Of the resampling.
    """
    rows, test = pd.concat(samples.training), samples.test
    X, unseen = samples.X(rows), samples.X(test)
    models = {n: clone(m).fit(X, rows["churned"]) for n, m in choice.candidates.items()}
    churn = {name: model.predict_proba(unseen)[:, 1] for name, model in models.items()}
    table = pd.DataFrame(
        {"model": name, **evaluate(test["churned"], p, test["bucket"], seed=seed)}
        for name, p in churn.items()
    )
    table["chosen"] = table["model"] == choice.chosen
    recency = roc_auc_score(test["churned"], test["recency_days"])
    row = table[table["chosen"]].assign(customers=len(test), recency_auc=recency)
    return OpenedTest(models[choice.chosen], churn[choice.chosen], table, row)


def require_ranking(tested: OpenedTest) -> tuple:
    """Return the chosen candidate and its probabilities, if it ranks better than chance.

    Raises
    ------
    Unanswerable
        When the interval of its AUC does not lie above one half.
    """
    if not tested.row["auc_lower"].item() > 0.5:
        raise Unanswerable(
            "no score was shown to rank customers better than chance, so there is no list of "
            "contacts, only ranks by days since the last order"
        )
    return tested.model, tested.probability


def evaluate(churned, probability, bucket, *, seed: int = 0) -> dict:
    """Return the figures of merit of one score, for customers of both classes.

    Parameters
    ----------
    churned : array of bool, shape (n,)
    probability : array of float, shape (n,)
        Of churn.
    bucket : array of int, shape (n,)
    seed : int
        Of the resampling.

    Returns
    -------
    dict
        auc with auc_lower and auc_upper, log_loss, brier, ece (ten groups of equal size),
        top_decile_lift (churn among the riskiest tenth over churn of all), return_lift (returns
        among the least risky tenth over returns of all), accuracy (at .5).
    """
    churned, p = np.asarray(churned, dtype=bool), np.asarray(probability, dtype=float)
    area = auc(churned, p, bucket, seed=seed)
    groups = pd.DataFrame({"churned": churned, "p": p}).groupby(equal_groups(p, BINS))
    observed, promised = groups["churned"].mean(), groups["p"].mean()
    ranked = np.ptp(p) > 0  # a score that is the same for everyone has no riskiest tenth
    return {
        "auc": float(area.estimate),
        "auc_lower": float(area.lower),
        "auc_upper": float(area.upper),
        "log_loss": float(log_losses(churned, p).mean()),
        "brier": float(np.mean((p - churned) ** 2)),
        "ece": float(np.average((observed - promised).abs(), weights=groups.size())),
        "top_decile_lift": observed.iloc[-1] / churned.mean() if ranked else np.nan,
        "return_lift": (1 - observed.iloc[0]) / (1 - churned.mean()) if ranked else np.nan,
        "accuracy": float(np.mean((p > 0.5) == churned)),
    }


def auc(churned, probability, bucket, *, seed: int = 0) -> Interval:
    """Return the area under the ROC curve, with its interval by buckets.

    The chance that a customer who churned scored higher than one who did not. Scores fall into at
    most ``RANKS`` groups by rank, so that every resample of buckets is a product of small matrices.
    """
    churned, p = np.asarray(churned, dtype=bool), np.asarray(probability, dtype=float)
    rank = np.unique(p, return_inverse=True)[1]
    rank = rank if rank.max() < RANKS else equal_groups(p, RANKS)
    rows = pd.DataFrame({"bucket": np.asarray(bucket), "rank": rank, "churned": churned, "n": 1})
    counts = bucket_array(rows, ["rank", "churned"], "n")

    def area(totals: np.ndarray) -> np.ndarray:
        stayed, gone = totals[..., 0], totals[..., 1]
        beaten = stayed.cumsum(-1) - stayed / 2
        return (gone * beaten).sum(-1) / (gone.sum(-1) * stayed.sum(-1))

    found = resample(counts, area, seed=seed)
    return Interval(roc_auc_score(churned, p), found.lower, found.upper)


def calibration(churned, probability, bucket) -> pd.DataFrame:
    """Return promised and observed churn in ten groups of equal size, by rising probability.

    Returns
    -------
    DataFrame
        bin (from 1) and the columns of `by_group`.
    """
    table = by_group(churned, probability, bucket, equal_groups(probability, BINS) + 1)
    return table.rename(columns={"group": "bin"})


def by_group(churned, probability, bucket, group) -> pd.DataFrame:
    """Return promised and observed churn, and the AUC, within each group of customers.

    Parameters
    ----------
    churned, probability, bucket : array, shape (n,)
    group : array or categorical, shape (n,)

    Returns
    -------
    DataFrame
        group (in order), predicted, observed, lower, upper (of observed), customers, auc.
    """
    rows = pd.DataFrame({"churned": np.asarray(churned), "p": np.asarray(probability)})
    rows = rows.assign(bucket=np.asarray(bucket), group=pd.Series(group).array, n=1)
    groups = rows.groupby("group", observed=True)
    table = groups.agg(predicted=("p", "mean"), observed=("churned", "mean"))
    counts = bucket_array(rows, ["group"], ["churned", "n"], levels={"group": list(table.index)})
    share = proportion(counts[..., 0], counts[..., 1])
    table = table.assign(lower=share.lower, upper=share.upper, customers=groups.size())
    table["auc"] = [
        roc_auc_score(part["churned"], part["p"]) if part["churned"].nunique() == 2 else np.nan
        for _, part in groups
    ]
    return table.reset_index()


def calibrated(table: pd.DataFrame) -> pd.DataFrame:
    """Return in how many groups of `calibration` the promise lies within the observed interval.

    Returns
    -------
    DataFrame
        One row: inside, groups, predicted_churn and observed_churn (of all), verdict ("off" where
        too few are inside, or "none").
    """
    inside = table["predicted"].between(table["lower"], table["upper"])
    of_all = {
        f"{name}_churn": np.average(table[name], weights=table["customers"])
        for name in ("predicted", "observed")
    }
    row = {"inside": inside.sum(), "groups": len(table), **of_all}
    return pd.DataFrame([row | {"verdict": "off" if inside.mean() < CALIBRATED else "none"}])


def gains(churned, scores: dict) -> pd.DataFrame:
    """Return the share of churners found when the riskiest share of customers is taken.

    Parameters
    ----------
    churned : array of bool, shape (n,)
    scores : dict of str to array, shape (n,)
        Name to a score that rises with the risk.

    Returns
    -------
    DataFrame
        score, contacted, found (shares, 0 to 1, in steps of a hundredth).
    """
    share = np.asarray(churned, dtype=float) / np.sum(churned)
    curves = (
        riskiest_first(score, share, "found").assign(score=name) for name, score in scores.items()
    )
    return pd.concat(curves, ignore_index=True)


def riskiest_first(score, amount, name: str) -> pd.DataFrame:
    """Return what adds up when customers are taken in the order of a score, the highest first.

    Parameters
    ----------
    score, amount : array, shape (n,)
    name : str
        Of the column for the sums of the amounts.

    Returns
    -------
    DataFrame
        contacted (share of customers, 0 to 1, in steps of a hundredth), and the sums.
    """
    order = np.argsort(-np.asarray(score, dtype=float), kind="stable")
    total = np.concatenate([[0], np.cumsum(np.asarray(amount)[order])])
    contacted = np.linspace(0, 1, 101)
    return pd.DataFrame(
        {"contacted": contacted, name: np.interp(contacted, np.linspace(0, 1, len(total)), total)}
    )


def feature_gain(model, samples: Samples, columns: Sequence[str]) -> pd.DataFrame:
    """Return how much log-loss some features save on the test, beside all others.

    Parameters
    ----------
    model : classifier
        Fitted with and without them.
    samples : Samples
    columns : sequence of str

    Returns
    -------
    DataFrame
        One row: gain_share (of the log-loss without them), lower, upper, verdict ("higher",
        "lower" or "none").

    Raises
    ------
    Unanswerable
        Where there are no such features.
    """
    if not columns:
        raise Unanswerable("this log holds purchases alone, so journeys add nothing to them")
    rows, test = pd.concat(samples.training), samples.test
    others = [name for name in samples.columns if name not in columns]
    simple, rich = (
        log_losses(test["churned"], foretell(on(known, model), samples, rows, test))
        for known in (others, samples.columns)
    )
    return paired_gain(simple, rich, test["bucket"])


def paired_gain(simple, rich, bucket) -> pd.DataFrame:
    """Return the share of a score's losses that a richer one saves, of `feature_gain`."""
    rows = pd.DataFrame({"bucket": np.asarray(bucket), "gain": simple - rich, "loss": simple})
    gain = ratio(*np.moveaxis(bucket_array(rows, [], ["gain", "loss"]), -1, 0))
    row = {"gain_share": gain.estimate, "lower": gain.lower, "upper": gain.upper}
    return pd.DataFrame([row | {"verdict": verdict(gain.lower, gain.upper)}])


def verdict(lower: float, upper: float) -> str:
    """Return "higher" or "lower" where an interval lies above or below zero, else "none"."""
    return "higher" if lower > 0 else "lower" if upper < 0 else "none"


def equal_groups(p: np.ndarray, groups: int) -> np.ndarray:
    """Return each row's group, 0 (lowest) to groups - 1, of equal size by rank of ``p``."""
    return (rankdata(p, method="ordinal") - 1).astype(int) * groups // max(len(p), 1)
