"""From scores to a list a team can act on, what it has at risk, what came of an earlier one."""

import hashlib

import numpy as np
import pandas as pd

from cjlib.churn.cut_offs import DAY, Samples, labels
from cjlib.churn.drift import Level, expected_churners
from cjlib.churn.evaluation import equal_groups, verdict
from cjlib.churn.features import Vocabulary, features
from cjlib.churn.profit import expected_values, long_gone
from cjlib.churn.reasons import in_words, reasons_in_words
from cjlib.errors import ParameterError, Unanswerable
from cjlib.tables import hash_ids
from cjlib.uncertainty import Interval, bucket_array, difference_test, resample

CONTACT, HOLD_OUT, LEAVE, GONE = "contact", "hold out", "leave alone", "long gone"


# -- the list ------------------------------------------------------------------------------------


def rank_list(log) -> pd.DataFrame:
    """Return `action_list` without a claim: who has bought, by days since the last order.

    Deciles are by those days (10: longest); probabilities, values and groups are not known.
    """
    horizon = pd.Timedelta(log.dataset.churn.horizon)
    frame = features(log.events, log.as_of, horizon, Vocabulary()).execute()
    frame = frame.sort_values("customer_id", ignore_index=True)
    usual = pd.Series(dtype=float)
    table = frame[["customer_id"]].assign(
        churn_probability=np.nan,
        decile=equal_groups(frame["recency_days"], 10) + 1,
        expected_value=np.nan,
        value_at_risk=np.nan,
        reason_1=in_words("time since the last order", frame, usual, log),
        reason_2="",
        reason_3="",
        group="",
        as_of=log.as_of,
        horizon_days=horizon / DAY,
    )
    return table.sort_values("decile", ascending=False, kind="stable", ignore_index=True)


def action_list(
    samples: Samples,
    probability,
    by_topic: pd.DataFrame,
    share: float,
    *,
    hold_out: float,
    longest_silence: float,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the published table of scores, the most value at risk first.

    Those silent for too long are no longer about to leave: they are *long gone*, and the list of
    contacts leaves them to another kind of campaign.

    Parameters
    ----------
    samples : Samples
        Its customers now are listed.
    probability : array, shape (n,)
        Of churn.
    by_topic : DataFrame
        Of `cjlib.churn.contributions`, same rows: the reasons are made of these.
    share : float
        Of the customers who are not long gone, to put on the list, by value at risk.
    hold_out : float
        Share of these left alone at random, to measure the uplift of acting.
    longest_silence : float
        Horizons without an order beyond which a customer is long gone.
    seed : int
        Of the draw of who is held out.

    Returns
    -------
    DataFrame
        customer_id, churn_probability, decile (10: the riskiest), expected_value, value_at_risk,
        reason_1 to reason_3, group ("contact", "hold out", "leave alone" or "long gone"), as_of and
        horizon_days, so that a later run can score it.
    """
    frame, value = samples.now, expected_values(samples, samples.now)
    at_risk = probability * np.maximum(value, 0)
    order = np.argsort(-at_risk, kind="stable")
    gone = long_gone(samples, frame, longest_silence)
    listed = order[~gone[order]]
    worth = np.zeros(len(frame), dtype=bool)
    worth[listed[: round(share * len(listed))]] = True
    apart = held_out(frame["customer_id"], hold_out, seed)
    table = frame[["customer_id"]].assign(
        churn_probability=probability,
        decile=equal_groups(probability, 10) + 1,
        expected_value=value,
        value_at_risk=at_risk,
        **reasons_in_words(frame, by_topic, samples.log),
        group=np.select([gone, worth & apart, worth], [GONE, HOLD_OUT, CONTACT], LEAVE),
        as_of=samples.log.as_of,
        horizon_days=samples.days,
    )
    return table.iloc[order].reset_index(drop=True)


def held_out(customers: pd.Series, share: float, seed: int | str) -> np.ndarray:
    """Return who is held out, the same customers from run to run, array of bool.

    A customer's draw is a hash of the seed and the id, so it needs no memory and no order.

    Raises
    ------
    ParameterError
        When the share is not between 0 and 1.
    """
    if not 0 <= share < 1:
        raise ParameterError(f"hold_out must be a share from 0 to below 1, not {share}")
    draws = [
        int.from_bytes(hashlib.md5(f"{seed}:{customer}".encode()).digest()[:6])
        for customer in customers
    ]
    return np.asarray(draws, dtype=float) / 2**48 < share


def first_reasons(actions: pd.DataFrame, by_topic: pd.DataFrame, samples: Samples) -> pd.DataFrame:
    """Return what stands first among the reasons of those on the list.

    Returns
    -------
    DataFrame
        topic (of the first reason, or "none in words" where nothing raises the risk), customers,
        share; most first, without groups too small to show.
    """
    listed = actions[actions["group"].isin([CONTACT, HOLD_OUT])]
    topics = by_topic.idxmax(axis=1).set_axis(samples.now["customer_id"])[listed["customer_id"]]
    topics = topics.where(listed["reason_1"].to_numpy() != "", "none in words")
    counts = topics.value_counts().rename_axis("topic").reset_index(name="customers")
    counts["share"] = counts["customers"] / len(listed)
    return counts[counts["customers"] >= samples.log.dataset.privacy.smallest_group]


# -- what is at risk, scaled by what came of such promises on the test ----------------------------


def value_calibration(churned, probability, value, brought, bucket, *, seed: int = 0) -> Interval:
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
    parts = {
        "lost": churned * value,
        "promised": probability * value,
        "came": ~churned * np.asarray(brought),
        "expected": ~churned * value,
    }
    sums = bucket_array(pd.DataFrame({"bucket": np.asarray(bucket), **parts}), [], list(parts))

    def scale(total: np.ndarray) -> np.ndarray:
        lost, promised, came, expected = np.moveaxis(total, -1, 0)
        return lost / promised * came / expected

    return resample(sums, scale, seed=seed)


def at_risk(
    actions: pd.DataFrame, samples: Samples, probability, level: Level, *, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what the list has at risk: by group, and in all.

    Parameters
    ----------
    actions : DataFrame
        Of `action_list`.
    samples : Samples
    probability : array, shape (n,)
        Of the customers of the test: what came of these promises scales those of the list.
    level : Level
        Of the opened test: how far it moves from one horizon to the next.
    seed : int

    Returns
    -------
    groups : DataFrame
        group, customers, mean_churn, and value_at_risk, or orders_at_risk without values.
    total : DataFrame
        One row, of those who are not long gone: customers, the columns of `expected_churners`,
        value_at_risk or orders_at_risk, lower, upper (of values and of the level), brought (by all
        in the horizon before the report), gone (customers), contacted (share on the list), unit
        ("value" or "orders").
    """
    test, unit = samples.test, "value" if samples.words.value else "orders"
    value, brought = expected_values(samples, test), test[f"{unit}_after"]
    truth = test["churned"], probability
    scale = value_calibration(*truth, value, brought, test["bucket"], seed=seed)
    lately = actions[actions["group"] != GONE]
    (people,) = expected_churners(lately["churn_probability"], level).to_dict("records")
    # The test's level is in the scale; in its place goes the level expected now.
    moved = people["churners"] / lately["churn_probability"].sum()
    moved /= test["churned"].sum() / np.sum(probability)
    estimate = float(scale.estimate) * moved
    figure, risk = f"{unit}_at_risk", ("value_at_risk", "sum")
    groups = actions.groupby("group", as_index=False).agg(
        customers=("group", "size"), mean_churn=("churn_probability", "mean"), **{figure: risk}
    )
    groups[figure] = (groups[figure] * estimate).map(_three_digits)
    risk = lately["value_at_risk"].sum() * estimate
    total = {"customers": len(lately), figure: _three_digits(risk)}
    for end in ("lower", "upper"):
        parts = getattr(scale, end) / scale.estimate, people[f"churners_{end}"] / people["churners"]
        away = np.sqrt(np.sum(np.log(np.array(parts, dtype=float)) ** 2))
        total[end] = _three_digits(risk * np.exp(-away if end == "lower" else away))
    people = {name: _three_digits(each) for name, each in people.items()}
    total |= people | {
        "brought_value": _three_digits(_brought(samples)),
        "gone": len(actions) - len(lately),
        "contacted": lately["group"].ne(LEAVE).mean(),
        "unit": unit,
    }
    return groups, pd.DataFrame([total])


# -- an earlier list ------------------------------------------------------------------------------


def earlier_list(
    earlier: pd.DataFrame, log, *, contact: str = ""
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return an earlier run's scores with what became of the customers, by customer and in all.

    Parameters
    ----------
    earlier : DataFrame
        The table ``churn_scores`` of an earlier report; its horizon must have closed by the moment
        of this one.
    log : Log
    contact : str
        Touchpoint by which the team contacts customers; empty: the log does not show it.

    Returns
    -------
    customers : DataFrame
        The earlier columns, bucket, churned and contacted (bool); customers the log no longer knows
        are left out.
    total : DataFrame
        One row: customers, promised_churn, observed_churn, reached_share (of those to contact).

    Raises
    ------
    Unanswerable
        When no customer is known, or the horizon is still open.
    """
    events = log.events
    then = pd.Timestamp(earlier["as_of"].iloc[0])
    horizon = float(earlier["horizon_days"].iloc[0]) * DAY
    if then + horizon > log.as_of:
        closes = then + horizon
        raise Unanswerable(
            f"the earlier list's horizon closes on {closes:%Y-%m-%d}, after this report"
        )
    within = (events.timestamp > then) & (events.timestamp <= then + horizon)
    known = events.group_by(["customer_id", "bucket"]).aggregate(
        contacted=(within & (events.touchpoint == contact)).any()
    )
    after = labels(events, then, horizon)
    known = known.left_join(after, "customer_id").drop("customer_id_right").execute()
    if log.dataset.privacy.customer_ids == "hash":
        known["customer_id"] = hash_ids(known["customer_id"])
    joined = earlier.merge(known, on="customer_id")
    if joined.empty:
        raise Unanswerable("none of the customers of the earlier list is in this log")
    joined["churned"] = joined["orders_after"].isna()
    listed = joined["group"] == CONTACT
    total = {
        "customers": len(joined),
        "promised_churn": joined["churn_probability"].mean(),
        "observed_churn": joined["churned"].mean(),
        "reached_share": joined.loc[listed, "contacted"].mean(),
    }
    return joined.drop(columns=["orders_after", "value_after"]), pd.DataFrame([total])


def uplift(scores: pd.DataFrame) -> pd.DataFrame:
    """Return churn among those held out minus churn among those contacted.

    Parameters
    ----------
    scores : DataFrame
        bucket, group ("contact" or "hold out"), churned.

    Returns
    -------
    DataFrame
        One row: difference (above zero: acting kept customers), lower, upper, p_value, contacted,
        held_out (customers), verdict ("higher", "lower" or "none"); no row where nobody was held
        out.
    """
    counts = bucket_array(
        scores.assign(n=1), ["group"], ["churned", "n"], levels={"group": [HOLD_OUT, CONTACT]}
    )
    apart, contacted = counts[:, 0], counts[:, 1]
    test = difference_test(*apart.T, *contacted.T)
    row = {"difference": float(test.effect), "lower": float(test.lower)}
    row |= {"upper": float(test.upper), "p_value": float(test.p_value)}
    row |= {"contacted": int(contacted[:, 1].sum()), "held_out": int(apart[:, 1].sum())}
    table = pd.DataFrame([row | {"verdict": verdict(row["lower"], row["upper"])}])
    return table[table[["contacted", "held_out"]].min(axis=1) > 0]


def _brought(samples: Samples) -> float:
    """Return what purchases less refunds brought in the horizon before the report."""
    log = samples.log
    late = log.events.timestamp > log.as_of - pd.Timedelta(log.dataset.churn.horizon)
    counted = log.events.purchase | (log.events.value < 0)
    return float(log.events.value.sum(where=late & counted).execute() or 0)


def _three_digits(value: float) -> float:
    """Return a sum as exact as it is known."""
    return float(f"{value:.3g}")
