"""How good churn scores are on customers they have not seen, and what acting on them is worth.

Intervals come from buckets of customers, as everywhere; here churn is the positive class.
"""

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import roc_auc_score

from cjlib.churn.choice import clustered_mean, log_losses
from cjlib.uncertainty import Interval, difference_test, proportion, resample

BINS = 10


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


def compare(models: dict, frame: pd.DataFrame, chosen: str, *, seed: int = 0) -> pd.DataFrame:
    """Return the figures of merit of fitted candidates on customers they have not seen.

    Parameters
    ----------
    models : dict of str to fitted classifier
    frame : DataFrame
        ``customers_at`` with labels.
    chosen : str
        The one marked before this table was made.
    seed : int

    Returns
    -------
    DataFrame
        model, the columns of ``evaluate``, chosen (bool).
    """
    rows = []
    for name, model in models.items():
        probability = model.predict_proba(frame)[:, 1]
        figures = evaluate(frame["churned"], probability, frame["bucket"], seed=seed)
        rows.append({"model": name, **figures, "chosen": name == chosen})
    return pd.DataFrame(rows)


def auc(churned, probability, bucket, *, seed: int = 0, cells: int = 2000) -> Interval:
    """Return the area under the ROC curve, with its interval by buckets.

    The chance that a customer who churned scored higher than one who did not. Scores fall into at
    most ``cells`` groups by rank, so that every resample of buckets is a product of small matrices.
    Where one class is missing everything is NaN.
    """
    churned, p = np.asarray(churned, dtype=bool), np.asarray(probability, dtype=float)
    if churned.all() or not churned.any():
        return Interval(np.nan, np.nan, np.nan)
    _, bucket = np.unique(np.asarray(bucket), return_inverse=True)
    rank = np.unique(p, return_inverse=True)[1]
    cell = rank if rank.max() < cells else equal_groups(p, cells)
    counts = np.zeros((bucket.max() + 1, cell.max() + 1, 2))
    np.add.at(counts, (bucket, cell, churned.astype(int)), 1)

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
        bin (from 1), predicted, observed, lower, upper (of observed), customers.
    """
    churned, p = np.asarray(churned, dtype=bool), np.asarray(probability, dtype=float)
    groups = equal_groups(p, bins)
    gone, all_, promised = (
        _by_bucket(bucket, groups, values) for values in (churned, np.ones(len(p)), p)
    )
    share = proportion(gone, all_)
    sizes = all_.sum(0)
    table = pd.DataFrame(
        {
            "bin": np.arange(len(sizes)) + 1,
            "predicted": promised.sum(0) / np.maximum(sizes, 1),
            "observed": share.estimate,
            "lower": share.lower,
            "upper": share.upper,
            "customers": sizes.astype(int),
        }
    )
    return table[table["customers"] > 0].reset_index(drop=True)


def gains(churned, probability) -> pd.DataFrame:
    """Return the share of churners found when the riskiest share of customers is taken.

    Returns
    -------
    DataFrame
        contacted, found (shares, 0 to 1, in steps of a hundredth), lift.
    """
    churned = np.asarray(churned, dtype=bool)
    order = np.argsort(-np.asarray(probability, dtype=float), kind="stable")
    found = np.concatenate([[0], np.cumsum(churned[order])]) / max(churned.sum(), 1)
    contacted = np.linspace(0, 1, 101)
    found = np.interp(contacted, np.linspace(0, 1, len(found)), found)
    lift = np.divide(found, contacted, out=np.full(101, np.nan), where=contacted > 0)
    return pd.DataFrame({"contacted": contacted, "found": found, "lift": lift})


def by_group(churned, probability, bucket, group) -> pd.DataFrame:
    """Return promised and observed churn, and the AUC, within each group of customers.

    Returns
    -------
    DataFrame
        group, customers, predicted, observed, lower, upper, auc.
    """
    rows = pd.DataFrame({"churned": churned, "p": probability, "bucket": bucket, "group": group})
    rows = rows.dropna(subset="group")
    names = np.sort(rows["group"].unique())
    place = np.searchsorted(names, rows["group"])
    gone, all_ = (
        _by_bucket(rows["bucket"], place, v) for v in (rows["churned"], np.ones(len(rows)))
    )
    share = proportion(gone, all_)
    areas = [
        roc_auc_score(part["churned"], part["p"]) if part["churned"].nunique() == 2 else np.nan
        for _, part in rows.groupby("group", sort=True)
    ]
    return pd.DataFrame(
        {
            "group": names,
            "customers": all_.sum(0).astype(int),
            "predicted": rows.groupby("group", sort=True)["p"].mean().to_numpy(),
            "observed": share.estimate,
            "lower": share.lower,
            "upper": share.upper,
            "auc": areas,
        }
    )


def paired_gain(churned, simple, rich, bucket) -> dict:
    """Return how much log-loss the richer score saves per customer, with a paired interval.

    Returns
    -------
    dict
        gain (above zero: the richer is better), lower, upper, share (of the simple one's loss).
    """
    loss = log_losses(churned, simple)
    gain, error = clustered_mean(loss - log_losses(churned, rich), bucket)
    reach = stats.t.ppf(0.975, max(len(np.unique(bucket)) - 1, 1)) * error
    share = gain / loss.mean()
    return {"gain": gain, "lower": gain - reach, "upper": gain + reach, "share": share}


def profit_curve(
    churned, probability, value, *, contact_cost: float, offer_cost: float, acceptance: float
) -> pd.DataFrame:
    """Return what contacting the riskiest share earns per customer of the whole base.

    A contacted customer costs ``contact_cost``. Of those about to leave, the share ``acceptance``
    stays, takes the offer and brings its value; all others who would have stayed anyway take the
    offer too.

    Parameters
    ----------
    churned, probability : array, shape (n,)
    value : array or float
        What a customer who is kept brings over the horizon, in currency.
    contact_cost, offer_cost : float
        Per contact, per accepted offer.
    acceptance : float
        Share, 0 to 1.

    Returns
    -------
    DataFrame
        contacted (share of customers, riskiest first by probability x value), profit per customer.
    """
    churned, p = np.asarray(churned, dtype=bool), np.asarray(probability, dtype=float)
    value = np.broadcast_to(np.asarray(value, dtype=float), p.shape)
    earned = np.where(churned, acceptance * (value - offer_cost), -offer_cost) - contact_cost
    order = np.argsort(-p * np.maximum(value, 0), kind="stable")
    total = np.concatenate([[0], np.cumsum(earned[order])]) / len(p)
    contacted = np.linspace(0, 1, 101)
    profit = np.interp(contacted, np.linspace(0, 1, len(total)), total)
    return pd.DataFrame({"contacted": contacted, "profit": profit})


def expected_maximum_profit(
    churned,
    probability,
    *,
    value: float,
    contact_cost: float,
    offer_cost: float,
    alpha: float = 6.0,
    beta: float = 14.0,
    points: int = 400,
) -> dict:
    """Return the expected maximum profit (EMPC) and the share to contact that earns it.

    The acceptance is unknown and follows a Beta(alpha, beta); for each value of it the best cut is
    taken. Costs and benefit are those of Verbraken, Verbeke & Baesens (2013), IEEE TKDE 25.

    Returns
    -------
    dict
        profit (per customer, currency), contacted (share, 0 to 1).
    """
    churned = np.asarray(churned, dtype=bool)
    order = np.argsort(-np.asarray(probability, dtype=float), kind="stable")
    ranked, p = churned[order], np.asarray(probability, dtype=float)[order]
    ends = np.append(p[1:] != p[:-1], True)  # customers of one score are contacted together
    n = len(ranked)
    gone = np.append(0, np.cumsum(ranked)[ends]) / n
    stayed = np.append(0, np.cumsum(~ranked)[ends]) / n
    acceptance = stats.beta.ppf((np.arange(points) + 0.5) / points, alpha, beta)
    best, share = np.empty(points), np.empty(points)
    for i, accepts in enumerate(acceptance):
        profit = gone * (accepts * (value - offer_cost) - contact_cost)
        profit -= stayed * (offer_cost + contact_cost)
        at = int(np.argmax(profit))
        best[i], share[i] = profit[at], gone[at] + stayed[at]
    return {"profit": float(best.mean()), "contacted": float(share.mean())}


def kept_promise(churned, probability, value, brought, bucket, *, seed: int = 0) -> Interval:
    """Return what was truly lost of each unit of value that a score called at risk.

    Of those who churned, the expected value over what the probabilities promised of it; times what
    those who returned brought over what was expected of them. 1 where score and values promise
    what comes; the interval is over customers.

    Parameters
    ----------
    churned : array of bool, shape (n,)
    probability, value, brought, bucket : array, shape (n,)
        Of churn; expected if kept; brought in the horizon; the bucket.
    seed : int
        Of the resampling.
    """
    churned, value = np.asarray(churned, dtype=bool), np.maximum(np.asarray(value, dtype=float), 0)
    parts = churned * value, probability * value, ~churned * np.asarray(brought), ~churned * value
    sums = [_by_bucket(bucket, np.zeros(len(value), dtype=int), part)[:, 0] for part in parts]

    def kept(total: np.ndarray) -> np.ndarray:
        lost, promised, came, expected = np.moveaxis(total, -1, 0)
        return lost / promised * came / expected

    return resample(np.stack(sums, axis=1), kept, seed=seed)


def uplift(scores: pd.DataFrame) -> dict:
    """Return churn among those held out minus churn among those contacted.

    Parameters
    ----------
    scores : DataFrame
        customer_id, bucket, group ("contact" or "hold out"), churned.

    Returns
    -------
    dict
        effect (above zero: acting kept customers), lower, upper, p_value, contacted, held_out.
    """
    counts = {}
    for name in ("contact", "hold out"):
        part = scores[scores["group"] == name]
        gone = np.bincount(part["bucket"], weights=part["churned"], minlength=256)
        counts[name] = gone, np.bincount(part["bucket"], minlength=256).astype(float)
    if min(all_.sum() for _, all_ in counts.values()) == 0:
        return {}
    test = difference_test(*counts["hold out"], *counts["contact"])
    return {
        "effect": float(test.effect),
        "lower": float(test.lower),
        "upper": float(test.upper),
        "p_value": float(test.p_value),
        "contacted": int(counts["contact"][1].sum()),
        "held_out": int(counts["hold out"][1].sum()),
    }


def equal_groups(p: np.ndarray, groups: int) -> np.ndarray:
    """Return each row's group, 0 (lowest) to groups - 1, of equal size by rank of ``p``."""
    rank = np.empty(len(p), dtype=np.int64)
    rank[np.argsort(p, kind="stable")] = np.arange(len(p))
    return rank * groups // max(len(p), 1)


def _by_bucket(bucket, cell, values) -> np.ndarray:
    _, bucket = np.unique(np.asarray(bucket), return_inverse=True)
    sums = np.zeros((bucket.max() + 1, int(np.max(cell)) + 1))
    np.add.at(sums, (bucket, cell), np.asarray(values, dtype=float))
    return sums


def _over(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")
