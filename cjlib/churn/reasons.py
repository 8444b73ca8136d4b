"""Why a score is high: topics of features, three reasons per customer in words, global drivers.

Features that say the same thing (days since the last order, usual gap, rhythm) make one topic; what
a topic adds to the log-odds of churn is the exact sum over its features. These are associations in
the log, never causes.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from cjlib.churn.choice import clustered_mean, log_losses
from cjlib.churn.cut_offs import PURCHASE_MODELS
from cjlib.uncertainty import benjamini_hochberg

MATTERS = 0.005
"""Share of the log-loss that scores must lose without a topic for it to be called a driver."""

_TOPICS = {
    "time since the last order": (
        *("recency_days", "previous_days", "overdue", "silent_share", "rhythm", "pace"),
    ),
    "number of orders": ("purchase_days", "age_days"),
    "value of orders": ("purchase_value",),
    "activity": ("silence_days", "recent_events", "dwell_days"),
    "own initiative": ("own_initiative",),
    "feelings": ("feeling_mean", "feeling_last", "feeling_trend"),
    "bad experiences": ("bad_recent", "bad_open"),
}
_TOPICS["purchase model"] = tuple(PURCHASE_MODELS)
_TOPIC = {column: topic for topic, columns in _TOPICS.items() for column in columns}


def topic_of(column: str) -> str:
    """Return the topic that a feature belongs to: ``touchpoint x``, ``channel x``, ``stage``, …."""
    kind, _, name = column.partition(":")
    if kind in ("recent", "last"):
        return f"touchpoint {name}"
    return {"stage": "stage", "channel": f"channel {name}"}.get(kind, _TOPIC.get(column, column))


def topics(contributions: pd.DataFrame) -> pd.DataFrame:
    """Add up contributions by topic: same rows, one column per topic."""
    names = [topic_of(column) for column in contributions.columns]
    return contributions.T.groupby(names, sort=False).sum().T


def pushes(model, frame: pd.DataFrame, *, chunk: int = 50_000) -> pd.DataFrame | None:
    """Return what each topic adds to each customer's log-odds of churn.

    Parameters
    ----------
    model : classifier
        Fitted candidate.
    frame : DataFrame
        ``customers_at``.
    chunk : int
        Customers taken apart at a time, for memory's sake.

    Returns
    -------
    DataFrame or None
        Same rows, one column per topic; None for a score of a single rule or purchase model.
    """
    if not hasattr(model, "contributions"):
        return None
    starts = range(0, len(frame), chunk)
    parts = (topics(model.contributions(frame.iloc[i : i + chunk])) for i in starts)
    return pd.concat([part.astype("float32") for part in parts])


def reasons(
    frame: pd.DataFrame,
    by_topic: pd.DataFrame | None,
    *,
    horizon: pd.Timedelta,
    label: Callable[[str], str] = str,
    currency: str = "",
    most: int = 3,
) -> pd.DataFrame:
    """Return each customer's strongest reasons for a raised risk, in words with numbers.

    Parameters
    ----------
    frame : DataFrame
        ``customers_at``.
    by_topic : DataFrame or None
        Of ``pushes``, same rows; None for a score of a single rule, whose one reason is time.
    horizon : Timedelta
        What "recent" features looked back.
    label : callable
        From a stage's name to its label.
    currency : str
    most : int

    Returns
    -------
    DataFrame
        reason_1, reason_2, … : strongest first; empty where nothing more raises the risk above that
        of the average customer.
    """
    names = [f"reason_{rank + 1}" for rank in range(most)]
    table = pd.DataFrame("", index=frame.index, columns=names, dtype=object)
    usual = frame.median(numeric_only=True)
    if by_topic is None:
        topic = "time since the last order"
        table["reason_1"] = _words(topic, frame, horizon, label, currency, usual)
        return table
    strength = by_topic.to_numpy()
    order = np.argsort(-strength, axis=1, kind="stable")[:, :most]
    texts = np.full(order.shape, "", dtype=object)
    for place, topic in enumerate(by_topic.columns):
        rows, ranks = np.nonzero((order == place) & (np.take_along_axis(strength, order, 1) > 0.02))
        if len(rows):
            texts[rows, ranks] = _words(topic, frame.iloc[rows], horizon, label, currency, usual)
    table[names[: texts.shape[1]]] = texts
    return table


def drivers(
    model, frame: pd.DataFrame, columns: list[str], *, seed: int = 0, shuffles: int = 5
) -> pd.DataFrame:
    """Return how much worse the scores get without each topic, with intervals.

    The topic's columns are shuffled together among the customers (permutation importance, Breiman
    2001); the loss that this adds, customer by customer, has an interval over buckets. Run it on
    customers the model was not fitted to.

    Parameters
    ----------
    model : classifier
        Fitted candidate.
    frame : DataFrame
        ``customers_at`` with labels.
    columns : list of str
        Features of the model.
    seed : int
    shuffles : int
        Shuffles to average over.

    Returns
    -------
    DataFrame
        topic, loss (added log-loss per customer), lower, upper, share (of the log-loss),
        direction (the rank correlation of churn with the topic's leading feature), q_value, and
        driver: whether the loss is above zero beyond the chance of so many topics (q < 5 %) and
        large enough to matter (``MATTERS``).
    """
    rng = np.random.default_rng(seed)
    base = log_losses(frame["churned"], model.predict_proba(frame)[:, 1])
    units = max(frame["bucket"].nunique() - 1, 1)
    reach = stats.t.ppf(0.975, units)
    groups: dict[str, list[str]] = {}
    for column in columns:
        groups.setdefault(topic_of(column), []).append(column)
    rows = []
    for topic, names in groups.items():
        added = np.zeros(len(frame))
        for _ in range(shuffles):
            mixed = frame.copy(deep=False)
            order = rng.permutation(len(frame))
            for name in names:
                mixed[name] = frame[name].to_numpy()[order]
            added += log_losses(frame["churned"], model.predict_proba(mixed)[:, 1]) - base
        loss, error = clustered_mean(added / shuffles, frame["bucket"])
        direction = _direction(frame, names)
        p_value = stats.t.sf(loss / error, units) if error > 0 else 1.0
        rows.append((topic, loss, loss - reach * error, loss + reach * error, direction, p_value))
    columns = ["topic", "loss", "lower", "upper", "direction", "p_value"]
    table = pd.DataFrame(rows, columns=columns)
    table["share"] = table["loss"] / base.mean()
    table["q_value"] = benjamini_hochberg(table.pop("p_value").to_numpy())
    table["driver"] = (table["q_value"] < 0.05) & (table["share"] >= MATTERS)
    return table.sort_values("loss", ascending=False, ignore_index=True)


def _direction(frame: pd.DataFrame, names: list[str]) -> float:
    churned = frame["churned"].astype(float)
    signs = [frame[n].rank().corr(churned) for n in names]
    return float(max((sign for sign in signs if sign == sign), key=abs, default=0.0))


def _words(
    topic: str, rows: pd.DataFrame, horizon, label, currency: str, usual: pd.Series
) -> list[str]:
    """Return the topic in words for each row, beside the median customer where that tells more."""
    days = f"{horizon / pd.Timedelta(1, 'D'):.0f} days"
    kind, _, name = topic.partition(" ")
    if topic == "time since the last order":
        return [
            f"last order {_days(r)} ago; usual gap {gap:.0f}" if x else f"one order, {_days(r)} ago"
            for r, gap, x in zip(rows["recency_days"], rows["usual_gap"], rows["x"], strict=True)
        ]
    if topic == "purchase model":
        return ["by the dates of the orders alone, somebody who has stopped buying"] * len(rows)
    if topic == "number of orders":
        return [
            f"{_count(n, 'day')} with an order since the first, {_days(age)} ago"
            for n, age in zip(rows["purchase_days"], rows["age_days"], strict=True)
        ]
    if topic == "value of orders":
        of = f"per order; usual {usual['purchase_value']:,.2f}"
        return [f"{v:,.2f} {currency}".strip() + f" {of}" for v in rows["purchase_value"]]
    if topic == "activity":
        return [
            f"no event for {_days(silence)}; {_count(n, 'event')} in the last {days}"
            for silence, n in zip(rows["silence_days"], rows["recent_events"], strict=True)
        ]
    if topic == "own initiative":
        of = f"of the contacts; usual {usual['own_initiative']:.0%}"
        return [f"started {share:.0%} {of}" for share in rows["own_initiative"]]
    if topic == "feelings":
        return [
            f"feeling {mean:+.1f} on average, {last:+.1f} the last time"
            for mean, last in zip(rows["feeling_mean"], rows["feeling_last"], strict=True)
        ]
    if topic == "bad experiences":
        return [
            f"{_count(n, 'bad experience')} in the last {days}, {still:.0f} with no good one since"
            for n, still in zip(rows["bad_recent"], rows["bad_open"], strict=True)
        ]
    if topic == "stage":
        stages = [column for column in rows.columns if column.startswith("stage:")]
        at = rows[stages].to_numpy().argmax(axis=1)
        return [f"now in {label(stages[i].removeprefix('stage:'))}" for i in at]
    if kind == "channel":
        column = topic.replace(" ", ":", 1)
        of = f"of events through {name}; usual {usual[column]:.0%}"
        return [f"{share:.0%} {of}" for share in rows[column]]
    if kind == "touchpoint":
        spoken = name.replace("_", " ")
        spans = zip(rows[f"recent:{name}"], rows[f"last:{name}"], strict=True)
        return [_met(spoken, n, last, days) for n, last in spans]
    return [topic] * len(rows)


def _met(touchpoint: str, recent: float, last: float, days: str) -> str:
    if not recent:
        past = f"{touchpoint} the last time, more than {days} ago"
        return past if last else f"no {touchpoint} in the last {days}"
    often = f"{touchpoint} {_count(recent, 'time')} in the last {days}"
    return f"{often}, also the latest time" if last else f"{often}, not the latest time"


def _days(value: float) -> str:
    return _count(value, "day")


def _count(value: float, noun: str) -> str:
    value = round(float(value))
    return f"{'no' if value == 0 and noun != 'day' else value} {noun}{'s' * (value != 1)}"
