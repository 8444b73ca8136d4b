"""What notebook 04 says of purchases: what decides them, who buys again, how long stays last."""

from collections.abc import Mapping, Sequence

import pandas as pd

from cjlib.markov.dwell import days_to_move
from cjlib.markov.findings import interval_of
from cjlib.markov.repurchase import ANY, FIRST, share_within

CLEAR = 0.03  # by which the picture of the model and a count outside its interval differ clearly


def chances(absorption: pd.DataFrame, log) -> pd.DataFrame:
    """Return everybody's chance of the (next) purchase by stage, labelled for the picture."""
    reached = absorption.query("segment == 'all' and outcome == 'purchase'")
    before = reached["from_stage"].isin(log.stages.before)
    names = reached["from_stage"].map(log.label)
    return reached.assign(label=names.where(before, "next one, after " + names), before=before)


def best_start(reached: pd.DataFrame, counts: pd.DataFrame) -> str | None:
    """Return the stage before the purchase from which it is likeliest, None without such.

    Of those only, by the ``dwell_counts`` until the purchase, that a purchase was seen to follow.
    """
    followed = counts["stage"][counts["exit"] == "purchase"]
    before = reached[reached["before"] & reached["from_stage"].isin(followed)]
    if before.empty:
        return None
    return before.loc[before["probability"].idxmax(), "from_stage"]


def purchase_follows(ways: pd.DataFrame, n: int, reached: pd.DataFrame, log) -> dict:
    """Say after how many visits to a stage a purchase followed in the journey, as counted.

    Parameters
    ----------
    ways : DataFrame
        ``cumulative_incidence`` of the stage's visits ``until_purchase``.
    n : int
        Of these visits.
    reached : DataFrame
        Of ``chances``: what the picture shows.
    log : Log

    Returns
    -------
    dict
        Arguments of ``Report.finding``.
    """
    stage, bought = ways["stage"].iloc[0], ways[ways["exit"] == "purchase"]
    days = days_to_move(bought)
    found = interval_of(bought.iloc[-1], "probability") | {
        "name": "purchase_from_best_stage",
        "stage": log.label(stage),
        "n": n,
        "days": days,
        "hours": max(24 * days, 1.0),
        "sentence": "Counted from whole journeys, **{value:.1%}** ({lower:.1%} to {upper:.1%}) of "
        "the {n:,} visits to {stage} were followed by a purchase in the same journey, half of "
        "those within " + ("{days:.1f} days." if days >= 1 else "{hours:.0f} h."),
    }
    return _beside_the_picture(found, reached, [stage])


def _beside_the_picture(found: dict, reached: pd.DataFrame, stages: Sequence[str]) -> dict:
    """Add what the picture shows of a stage where that is clearly another share than counted."""
    drawn = reached.loc[reached["from_stage"].isin(stages), "probability"]
    away = (drawn - drawn.clip(found["lower"], found["upper"])).abs().sum()
    if len(drawn) != 1 or not away or abs(drawn.iloc[0] - found["value"]) < CLEAR:
        return found
    text = " The picture has {picture:.1%} there, as if only the present stage mattered: where the "
    text += "two differ, trust the count."
    return found | {"picture": drawn.iloc[0], "sentence": found["sentence"] + text}


def bought_again(curves: Mapping[str, pd.DataFrame], reached: pd.DataFrame, log) -> dict:
    """Say how many purchases are followed by another before the silence that ends a journey.

    Parameters
    ----------
    curves : mapping of str to DataFrame
        ``survival`` of the days from any purchase, and from the first, to the next.
    reached : DataFrame
        Of ``chances``: what the picture shows.
    log : Log

    Returns
    -------
    dict
        Arguments of ``Report.finding``. Who buys often counts often among all purchases and once
        among the first, so the two are said together.
    """
    days = log.dataset.journey.inactivity.days
    value, lower, upper = share_within(curves[ANY], days)
    first, least, most = share_within(curves[FIRST], days)
    found = {
        "name": "purchase_again_in_journey",
        "value": value,
        "lower": lower,
        "upper": upper,
        "unit": "share",
        "days": days,
        "n": int(curves[ANY]["at_risk"].max()),
        "first": first,
        "least": least,
        "most": most,
        "sentence": "Of all purchases, **{value:.1%}** ({lower:.1%} to {upper:.1%}, n {n:,}) were "
        "followed by another within {days} days, the silence that ends a journey; of the "
        "customers' first purchases, {first:.1%} ({least:.1%} to {most:.1%}). Customers who buy "
        "often count often among all purchases, and once among the first.",
    }
    return _beside_the_picture(found, reached, log.stages.purchase)


def second_purchase(gaps: pd.DataFrame, curve: pd.DataFrame, days: int) -> dict:
    """Say how many buy a second time within the churn horizon."""
    value, lower, upper = share_within(curve, days)
    return {
        "name": "second_purchase",
        "value": value,
        "lower": lower,
        "upper": upper,
        "unit": "share",
        "n": int(gaps["n"][gaps["stage"] == FIRST].sum()),
        "days": days,
        "sentence": "**{value:.1%}** ({lower:.1%} to {upper:.1%}, n {n:,} buyers) buy a second "
        "time within {days} days of the first.",
    }


def busiest(stay: pd.DataFrame, log) -> str:
    """Return the stage with most visits, of those before the purchase where there are such."""
    before = stay[stay["stage"].isin(log.stages.before)]
    return (before if len(before) else stay).groupby("stage")["n"].sum().idxmax()


def longest_stay(moving: Mapping[str, pd.DataFrame], log, hours: float) -> dict:
    """Name the stage that takes longest to move on from, and the one that silence ends most often.

    Parameters
    ----------
    moving : mapping of str to DataFrame
        Stage to its ``moving_on``.
    log : Log
    hours : float
        To which times are known.

    Returns
    -------
    dict
        Arguments of ``Report.say``.
    """
    medians = pd.Series({stage: days_to_move(curve) for stage, curve in moving.items()})
    if medians.isna().all():
        return {"text": "No visit moved on to another stage."}
    ends = pd.DataFrame({stage: one.iloc[-1] for stage, one in moving.items() if len(one)}).T
    slow, silent = medians.idxmax(), ends["probability"].astype(float).idxmin()
    text = "Those who move on take longest in {stage}: half of them have moved after {days:.1f} "
    text += "days."
    if medians[slow] <= max(hours, 1.0) / 24:
        text = "In every stage half of those who move on have done so within {hours:.0f} h."
    text += " Silence ends visits most often in {silent}: {share:.0%} "
    text += "({low:.0%} to {high:.0%}) of its visits."
    return {
        "text": text,
        "stage": log.label(slow),
        "days": medians[slow],
        "hours": max(hours, 1.0),
        "silent": log.label(silent),
        "share": 1 - ends.loc[silent, "probability"],
        "low": 1 - ends.loc[silent, "upper"],
        "high": 1 - ends.loc[silent, "lower"],
    }
