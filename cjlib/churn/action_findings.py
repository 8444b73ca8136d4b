"""What notebook 05 says of acting on the scores: whom to contact, what is at risk, what came."""

import math

import pandas as pd

from cjlib.churn.actions import CONTACT, GONE, HOLD_OUT
from cjlib.churn.evaluation import uplift
from cjlib.uncertainty import Interval


def worth(report, curves: dict[float, pd.DataFrame], empc: dict, costs: dict, unit: str) -> float:
    """Say which share of customers to contact under which assumptions, and return it.

    Parameters
    ----------
    report : Report
    curves : dict of float to DataFrame
        Profit curve by acceptance; the middle one is the assumed.
    empc : dict
        Of ``expected_maximum_profit``.
    costs : dict
        contact_cost, offer_cost.
    unit : str
        The currency.
    """
    tops = {accepts: curve.loc[curve["profit"].idxmax()] for accepts, curve in curves.items()}
    low, middle, high = sorted(tops)
    best = tops[middle]
    report.finding(
        "contact_share",
        value=best["contacted"],
        unit="share",
        sentence="**If** a contact costs {contact_cost:g} {money}, an offer {offer_cost:g} {money} "
        "and {middle:.0%} of leaving customers accept it, contacting **{value:.0%}** of those who "
        "bought lately pays most: {profit:,.2f} {money} for each of them. If {low:.0%} accept, "
        "{few:.0%}; if {high:.0%}, {many:.0%}.",
        money=unit,
        profit=best["profit"],
        low=low,
        middle=middle,
        high=high,
        few=tops[low]["contacted"],
        many=tops[high]["contacted"],
        **costs,
    )
    report.say(
        "When no more is known of the acceptance than that it is about 30%, the expected maximum "
        "profit (EMPC, every customer of mean value) is {profit:,.2f} {unit} each, contacting "
        "{share:.0%}.",
        profit=empc["profit"],
        unit=unit,
        share=empc["contacted"],
    )
    return float(best["contacted"])


def values_checked(report, expected: float, real: float, unit: str) -> None:
    """Say whether those who returned brought what was expected of them."""
    off = expected / real - 1 if real else float("nan")
    report.say(
        "Check: those who returned were expected to bring {expected:,.0f} {unit} each and brought "
        "{real:,.0f}{verdict}.",
        expected=expected,
        real=real,
        unit=unit,
        verdict=""
        if abs(off) < 0.2
        else f", so the sums here are {'over' if off > 0 else 'under'}stated",
    )


def listed(
    report, actions: pd.DataFrame, unit: str, kept: tuple[Interval, Interval] | None, brought: float
) -> None:
    """Show the groups of the action list and say what is at risk.

    Parameters
    ----------
    report : Report
    actions : DataFrame
        Of ``action_list`` or ``rank_list``.
    unit : str
    kept : pair of Interval, optional
        What came true on the test of such promises, counted in customers and in value; without it
        nothing is claimed.
    brought : float
        What the horizon before the report brought; NaN where the log has no values.
    """
    if kept is None:
        report.say(
            "{n:,} customers are ranked by days since the last order (decile 10: longest); no "
            "probability is claimed.",
            n=len(actions),
        )
        return
    groups = actions.groupby("group").agg(
        customers=("group", "size"),
        mean_churn_probability=("churn_probability", "mean"),
        value_at_risk=("value_at_risk", "sum"),
    )
    groups = groups[report.enough(groups["customers"])]
    formats = {"mean_churn_probability": ".1%", "value_at_risk": ",.0f"}
    report.show(groups, formats, {"value_at_risk": f"at risk, {unit}"}, caption="The action list")
    people, money = kept
    lately = actions[actions["group"] != GONE]
    risk = lately["value_at_risk"].sum()
    value, lower, upper = (
        _three_digits(risk * float(share)) for share in (money.estimate, money.lower, money.upper)
    )
    report.finding(
        "value_at_risk",
        value=value,
        lower=lower,
        upper=upper,
        unit=unit,
        sentence="Of {n:,} customers who bought lately, about {churners:,.0f} will not buy in the "
        "coming {days:.0f} days: **{value:,.0f} {unit}** at risk ({lower:,.0f} to {upper:,.0f}, "
        "scaled by what came true of such promises on the test)"
        + (
            ""
            if math.isnan(brought)
            else "; the last {days:.0f} days brought {brought:,.0f} {unit}"
        )
        + ". {gone:,} more have been "
        "silent for too long to be called about to leave.",
        n=len(lately),
        churners=_three_digits(lately["churn_probability"].sum() * float(people.estimate)),
        days=actions["horizon_days"].iloc[0],
        brought=_three_digits(brought),
        gone=len(actions) - len(lately),
    )


def first_reasons(report, actions: pd.DataFrame, now: pd.DataFrame, pushes: pd.DataFrame) -> None:
    """Show what stands first among the reasons of those worth contacting."""
    worthy = actions.loc[actions["group"].isin([CONTACT, HOLD_OUT]), "customer_id"]
    first = pushes[now["customer_id"].isin(worthy).to_numpy()].idxmax(axis=1)
    counts = first.str.replace("_", " ").value_counts().rename_axis("first_reason")
    table = counts.reset_index(name="customers").assign(share=counts.to_numpy() / len(first))
    table = table[report.enough(table["customers"])]
    report.show(table, {"share": ".0%"}, rows=8, caption="The first reason on the contact list")


def earlier_list(report, past: pd.DataFrame) -> None:
    """Say what an earlier list promised, what came true, and what acting brought."""
    report.say(
        "The earlier list promised {promised:.1%} churn among {n:,} customers; {real:.1%} churned.",
        promised=past["churn_probability"].mean(),
        real=past["churned"].mean(),
        n=len(past),
    )
    reached = past.loc[past["group"] == "contact", "contacted"].mean()
    if reached > 0:
        report.say("{reached:.0%} of its contact list were contacted in time.", reached=reached)
    effect = uplift(past)
    if not effect:
        report.say("Nobody was held out, so the uplift of acting is unknown.")
        return
    report.finding(
        "uplift",
        value=effect["effect"],
        lower=effect["lower"],
        upper=effect["upper"],
        unit="share",
        sentence="Churn among the {held_out:,} held out was **{value:+.1%}** above that of the "
        "{contacted:,} on the contact list ({lower:+.1%} to {upper:+.1%}): {verdict}.",
        held_out=effect["held_out"],
        contacted=effect["contacted"],
        verdict="acting kept customers" if effect["lower"] > 0 else "no clear effect of acting",
    )


def _three_digits(value: float) -> float:
    """Return a sum as exact as it is known."""
    return float(f"{value:.3g}")
