"""How good churn scores are on customers they have not seen.

Intervals come from buckets of customers, as everywhere; here churn is the positive class.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from cjlib.churn.cut_offs import Samples
from cjlib.churn.selection import Choice, clustered_mean, log_losses
from cjlib.errors import Unanswerable
from cjlib.uncertainty import Interval, bucket_array, proportion, resample

BINS = 10
BETTER = 0.01
"""Share of the log-loss by which another candidate must do better on the test to be named."""
CALIBRATED = 0.7
"""Share of calibration groups that must hold for probabilities to be read as such."""


@dataclass(frozen=True)
class OpenedTest:
    """What the test said, opened once.

    Attributes
    ----------
    chosen : str
    models : dict of str to classifier
        Every candidate, fitted to the training cut-offs.
    probabilities : DataFrame
        Of churn, one row per customer of the test, a column per candidate.
    table : DataFrame
        model, the figures of `evaluate`, chosen (bool).
    recency_auc : float
        AUC of the days since the last order, as they are.
    """

    chosen: str
    models: dict
    probabilities: pd.DataFrame
    table: pd.DataFrame
    recency_auc: float

    @property
    def probability(self) -> np.ndarray:
        """The chosen candidate's probability of churn."""
        return self.probabilities[self.chosen].to_numpy()

    @property
    def row(self) -> pd.DataFrame:
        """The chosen candidate's row, with ``customers`` and ``recency_auc`` (recency alone)."""
        facts = {"customers": len(self.probabilities), "recency_auc": self.recency_auc}
        return self.table[self.table["chosen"]].assign(**facts)

    @property
    def better(self) -> pd.DataFrame:
        """The candidate that did clearly better, with ``chosen_log_loss``; no row if none did."""
        ours = self.row["log_loss"].item()
        best = self.table.nsmallest(1, "log_loss").assign(chosen_log_loss=ours)
        return best[best["log_loss"] < (1 - BETTER) * ours]


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
    chances = {name: model.predict_proba(unseen)[:, 1] for name, model in models.items()}
    table = pd.DataFrame(
        {"model": name, **evaluate(test["churned"], churn, test["bucket"], seed=seed)}
        for name, churn in chances.items()
    )
    table["chosen"] = table["model"] == choice.chosen
    recency = roc_auc_score(test["churned"], test["recency_days"])
    return OpenedTest(choice.chosen, models, pd.DataFrame(chances, test.index), table, recency)


def require_ranking(tested: OpenedTest) -> tuple:
    """Return the chosen candidate and its probabilities, if it ranks better than chance.

    Returns
    -------
    model : classifier
        Fitted to the training cut-offs.
    probability : array, shape (n,)
        Of churn, of the customers of the test.

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
    return tested.models[tested.chosen], tested.probability


def evaluate(churned, probability, bucket, *, seed: int = 0) -> dict:
    """Return the figures of merit of one score.

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
    groups = equal_groups(p, BINS)
    top, bottom = churned[groups == BINS - 1], ~churned[groups == 0]
    gaps = [abs(churned[groups == g].mean() - p[groups == g].mean()) for g in np.unique(groups)]
    sizes = np.bincount(groups)
    ranked = np.ptp(p) > 0  # a score that is the same for everyone has no riskiest tenth
    return {
        "auc": float(area.estimate),
        "auc_lower": float(area.lower),
        "auc_upper": float(area.upper),
        "log_loss": float(log_losses(churned, p).mean()),
        "brier": float(np.mean((p - churned) ** 2)),
        "ece": float(np.average(gaps, weights=sizes[sizes > 0])),
        "top_decile_lift": _over(top.mean(), churned.mean()) if ranked else np.nan,
        "return_lift": _over(bottom.mean(), (~churned).mean()) if ranked else np.nan,
        "accuracy": float(np.mean((p > 0.5) == churned)),
    }


def auc(churned, probability, bucket, *, seed: int = 0, cells: int = 2000) -> Interval:
    """Return the area under the ROC curve, with its interval by buckets.

    The chance that a customer who churned scored higher than one who did not. Scores fall into at
    most ``cells`` groups by rank, so that every resample of buckets is a product of small matrices.
    Where one class is missing everything is NaN.
    """
    churned, p = np.asarray(churned, dtype=bool), np.asarray(probability, dtype=float)
    if churned.all() or not churned.any():
        return Interval(np.nan, np.nan, np.nan)
    rank = np.unique(p, return_inverse=True)[1]
    rank = rank if rank.max() < cells else equal_groups(p, cells)
    rows = pd.DataFrame({"bucket": np.asarray(bucket), "rank": rank, "churned": churned, "n": 1})
    counts = bucket_array(rows, ["rank", "churned"], "n")

    def area(totals: np.ndarray) -> np.ndarray:
        stayed, gone = totals[..., 0], totals[..., 1]
        beaten = stayed.cumsum(-1) - stayed / 2
        return (gone * beaten).sum(-1) / (gone.sum(-1) * stayed.sum(-1))

    found = resample(counts, area, seed=seed)
    return Interval(roc_auc_score(churned, p), found.lower, found.upper)


def calibration(churned, probability, bucket, *, bins: int = BINS) -> pd.DataFrame:
    """Return promised and observed churn in groups of equal size, by rising probability.

    Returns
    -------
    DataFrame
        bin (from 1) and the columns of `by_group`.
    """
    table = by_group(churned, probability, bucket, equal_groups(probability, bins) + 1)
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
    means = {
        f"{name}_churn": np.average(table[name], weights=table["customers"])
        for name in ("predicted", "observed")
    }
    verdict = "off" if inside.mean() < CALIBRATED else "none"
    return pd.DataFrame(
        [{"inside": inside.sum(), "groups": len(table), **means, "verdict": verdict}]
    )


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
    churned, steps, parts = np.asarray(churned, dtype=bool), np.linspace(0, 1, 101), []
    for name, score in scores.items():
        order = np.argsort(-np.asarray(score, dtype=float), kind="stable")
        found = np.concatenate([[0], np.cumsum(churned[order])]) / max(churned.sum(), 1)
        found = np.interp(steps, np.linspace(0, 1, len(found)), found)
        parts.append(pd.DataFrame({"score": name, "contacted": steps, "found": found}))
    return pd.concat(parts, ignore_index=True)


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
    X, unseen = samples.X(rows), samples.X(test)
    simple, rich = (
        clone(model)
        .fit(X.drop(columns=gone), rows["churned"])
        .predict_proba(unseen.drop(columns=gone))[:, 1]
        for gone in (list(columns), [])
    )
    return pd.DataFrame([paired_gain(test["churned"], simple, rich, test["bucket"])])


def paired_gain(churned, simple, rich, bucket) -> dict:
    """Return the share of a score's log-loss that a richer one saves, with a paired interval."""
    loss = log_losses(churned, simple)
    gain, error = clustered_mean(loss - log_losses(churned, rich), bucket)
    reach = stats.t.ppf(0.975, max(len(np.unique(bucket)) - 1, 1)) * error
    low, high = gain - reach, gain + reach
    verdict = "higher" if low > 0 else "lower" if high < 0 else "none"
    limits = (each / loss.mean() for each in (gain, low, high))
    return {**dict(zip(("gain_share", "lower", "upper"), limits, strict=True)), "verdict": verdict}


def equal_groups(p: np.ndarray, groups: int) -> np.ndarray:
    """Return each row's group, 0 (lowest) to groups - 1, of equal size by rank of ``p``."""
    rank = np.empty(len(p), dtype=np.int64)
    rank[np.argsort(p, kind="stable")] = np.arange(len(p))
    return rank * groups // max(len(p), 1)


def _over(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")
