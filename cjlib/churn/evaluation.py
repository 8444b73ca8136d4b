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
from cjlib.churn.drift import Level, churn_level
from cjlib.churn.selection import Choice, foretell, foretold_by_all, log_losses, on
from cjlib.errors import Unanswerable
from cjlib.uncertainty import Interval, bucket_array, proportion, ratio, resample

BINS = 10
WORLDS = 2000
"""Draws of what comes true where every probability is right."""
OFF = 0.02
"""ECE above that of a perfect score from which probabilities are not to be read as such."""
NO_RANKING = "no score was shown to rank customers better than chance"
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
        the last order, turned as the training cut-offs say: more of them with churn, or fewer).
    level : Level
        How far the level of churn that it promised was off, on the test and before.
    """

    model: object
    probability: np.ndarray
    table: pd.DataFrame
    row: pd.DataFrame
    level: Level | None = None


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
    model = clone(choice.model).fit(samples.X(rows), rows["churned"])
    others = {name: one for name, one in choice.candidates.items() if name != choice.chosen}
    churn = foretold_by_all(others, samples, rows, test)
    churn[choice.chosen] = model.predict_proba(samples.X(test))[:, 1]
    table = pd.DataFrame(
        {"model": name, **evaluate(test["churned"], churn[name], test["bucket"], seed=seed)}
        for name in choice.candidates
    )
    table["chosen"] = table["model"] == choice.chosen
    longer = np.sign(roc_auc_score(rows["churned"], rows["recency_days"]) - 0.5)
    recency = roc_auc_score(test["churned"], longer * test["recency_days"])
    row = table[table["chosen"]].assign(customers=len(test), recency_auc=recency)
    probability = churn[choice.chosen].to_numpy()
    return OpenedTest(
        model, probability, table, row, churn_level(choice, test["churned"], probability)
    )


def require_ranking(tested: OpenedTest) -> tuple:
    """Return the chosen candidate and its probabilities, if it ranks better than chance.

    Raises
    ------
    Unanswerable
        When the interval of its AUC does not lie above one half.
    """
    if not tested.row["auc_lower"].item() > 0.5:
        raise Unanswerable(
            f"{NO_RANKING}, so there is no list of contacts, only ranks by days since the last "
            "order"
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
        auc with auc_lower and auc_upper, log_loss, brier, ece (ten groups of equal size) with
        ece_perfect and ece_perfect_upper (what a score would show whose every probability is
        right: mean and 95 %), top_decile_lift (churn among the riskiest tenth over churn of all),
        return_lift (returns among the least risky tenth over returns of all), accuracy (at .5).
        Customers of equal score share what is found among them.
    """
    churned, p = np.asarray(churned, dtype=bool), np.asarray(probability, dtype=float)
    area = auc(churned, p, bucket, seed=seed)
    error, perfect = calibration_error(churned, p, seed=seed)
    tenths = [
        riskiest_first(sign * p, counted / counted.mean() / len(p), "found")["found"].iloc[10] * 10
        for sign, counted in ((1, churned), (-1, ~churned))
    ]
    return {
        "auc": float(area.estimate),
        "auc_lower": float(area.lower),
        "auc_upper": float(area.upper),
        "log_loss": float(log_losses(churned, p).mean()),
        "brier": float(np.mean((p - churned) ** 2)),
        "ece": error,
        "ece_perfect": float(perfect.mean()),
        "ece_perfect_upper": float(np.quantile(perfect, 0.95)),
        "top_decile_lift": float(tenths[0]),
        "return_lift": float(tenths[1]),
        "accuracy": float(np.mean((p > 0.5) == churned)),
    }


def calibration_error(churned, probability, *, seed: int = 0) -> tuple[float, np.ndarray]:
    """Return the expected calibration error, and those of worlds in which the score is right.

    The mean distance of promised and observed churn over ten groups of equal size: above zero by
    chance alone, the more the fewer the customers. So it is to be read beside what it is where
    every customer churns with just the probability that the score says.

    Parameters
    ----------
    churned : array of bool, shape (n,)
    probability : array, shape (n,)
    seed : int
        Of the draws.

    Returns
    -------
    ece : float
    perfect : ndarray, shape (WORLDS,)
        The same of drawn answers.
    """
    p = np.asarray(probability, dtype=float)
    group = np.unique(equal_groups(p, BINS), return_inverse=True)[1]
    off = np.bincount(group, np.asarray(churned, dtype=float) - p)
    spread = np.sqrt(np.bincount(group, p * (1 - p)))  # of the churners of a group, nearly normal
    drawn = np.random.default_rng(seed).normal(size=(WORLDS, len(spread))) * spread
    return float(np.abs(off).sum() / len(p)), np.abs(drawn).sum(axis=1) / len(p)


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


def calibrated(tested: OpenedTest, churned) -> pd.DataFrame:
    """Return whether the chosen score's probabilities can be read as such.

    Parameters
    ----------
    tested : OpenedTest
    churned : array of bool, shape (n,)
        Of the customers of the test.

    Returns
    -------
    DataFrame
        One row: ece, ece_perfect, ece_perfect_upper (of `evaluate`), predicted_churn and
        observed_churn (of all), verdict ("off" where the error is beyond what a perfect score
        would show, and larger than that by ``OFF``, or "none").
    """
    row = tested.row[["ece", "ece_perfect", "ece_perfect_upper"]].reset_index(drop=True)
    beyond = row["ece"] > row["ece_perfect_upper"]
    off = beyond & (row["ece"] >= row["ece_perfect"] + OFF)
    promised, came = np.mean(tested.probability), np.mean(churned)
    verdicts = np.where(off, "off", "none")
    return row.assign(predicted_churn=promised, observed_churn=came, verdict=verdicts)


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
        score, contacted, found (shares, 0 to 1, in steps of a hundredth; 0 where nobody churned).
    """
    share = np.asarray(churned, dtype=float) / max(np.sum(churned), 1)
    curves = (
        riskiest_first(score, share, "found").assign(score=name) for name, score in scores.items()
    )
    return pd.concat(curves, ignore_index=True)


def riskiest_first(score, amount, name: str) -> pd.DataFrame:
    """Return what adds up when customers are taken in the order of a score, the highest first.

    Customers of equal score share: what adds up is the mean over all orders in which they could be
    taken, so it rises evenly among them.

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
    place = np.unique(-np.asarray(score, dtype=float), return_inverse=True)[1]
    customers, amounts = np.bincount(place), np.bincount(place, np.asarray(amount, dtype=float))
    taken, total = (np.concatenate([[0], np.cumsum(each)]) for each in (customers, amounts))
    contacted = np.linspace(0, 1, 101)
    sums = np.interp(contacted, taken / taken[-1], total)
    return pd.DataFrame({"contacted": contacted, name: sums})


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
        Where there are no such features, or the score does not rank better than chance with them.
    """
    if not columns:
        raise Unanswerable("this log holds purchases alone, so journeys add nothing to them")
    rows, test = pd.concat(samples.training), samples.test
    others = [name for name in samples.columns if name not in columns]
    simple, rich = (
        foretell(on(known, model), samples, rows, test) for known in (others, samples.columns)
    )
    if not auc(test["churned"], rich, test["bucket"]).lower > 0.5:
        raise Unanswerable(NO_RANKING)
    losses = (log_losses(test["churned"], churn) for churn in (simple, rich))
    return paired_gain(*losses, test["bucket"])


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
    """Return each row's group, 0 (lowest) to groups - 1, of equal size by rank of ``p``.

    Rows of equal ``p`` are in one group, that of the middle of them.
    """
    return ((rankdata(p, method="average") - 1) * groups // max(len(p), 1)).astype(int)
