"""What notebook 05 says of acting on the scores: whom to contact, what is at risk, what came."""

import math

import pandas as pd

from cjlib.churn.actions import CONTACT, GONE, HOLD_OUT
from cjlib.churn.evaluation import uplift
from cjlib.uncertainty import Interval


def worth(
    report,
    curves: dict[float, pd.DataFrame],
    empc: dict,
    costs: dict,
    unit: str,
    *,
    mean: float,
) -> float:
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
    mean : float
        What ``empc`` takes every customer to bring.
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
    near = curves[middle].query("profit >= 0.95 * profit.max()")["contacted"]
    report.say(
        "Contacting {low:.0%} to {high:.0%} earns within a twentieth of that. The cut is chosen on "
        "the test itself, so its profit is a little flattering.",
        low=near.min(),
        high=near.max(),
    )
    report.say(
        "Where the acceptance is unknown (about 30%) and every customer would bring the same, the "
        "{mean:,.0f} {unit} of those who came back, the expected maximum profit (EMPC) is "
        "{profit:,.2f} {unit} each, contacting {share:.0%}: a figure to compare models by, not the "
        "curve above.",
        mean=mean,
        profit=empc["profit"],
        unit=unit,
        share=empc["contacted"],
    )
    return float(best["contacted"])


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
            "**No list of contacts**: no score here was shown to rank customers better than "
            "chance. The table holds {n:,} customers by days since the last order (decile 10: "
            "longest), without a probability and without a group.",
            n=len(actions),
        )
        return
    report.say(
        "Those silent for longer than the parameter `longest_silence` allows are *long gone*: "
        "winning them back is another campaign. A random part of the list is *held out*: leave "
        "these customers alone, so that the next run can measure what contacting brought. The draw "
        "follows the customer's id, so it stays the same from run to run."
    )
    people, money = kept
    groups = actions.groupby("group").agg(
        customers=("group", "size"),
        mean_churn_probability=("churn_probability", "mean"),
        value_at_risk=("value_at_risk", "sum"),
    )
    groups["value_at_risk"] = [
        _three_digits(value * float(money.estimate)) for value in groups["value_at_risk"]
    ]
    groups = groups[report.enough(groups["customers"])]
    formats = {"mean_churn_probability": ".1%", "value_at_risk": ",.0f"}
    caption = "The action list; what is at risk is scaled by what came true on the test"
    report.show(groups, formats, {"value_at_risk": f"at risk, {unit}"}, caption=caption)
    lately = actions[actions["group"] != GONE]
    risk = lately["value_at_risk"].sum()
    value, lower, upper = (
        _three_digits(risk * float(share)) for share in (money.estimate, money.lower, money.upper)
    )
    revenue = "; the last {days:.0f} days brought {brought:,.0f} {unit}"
    report.finding(
        "value_at_risk",
        value=value,
        lower=lower,
        upper=upper,
        unit=unit,
        sentence="Of {n:,} customers who bought lately, about {churners:,.0f} will not buy in the "
        "coming {days:.0f} days: **{value:,.0f} {unit}** at risk ({lower:,.0f} to {upper:,.0f}, "
        "scaled by what came true of such promises on the test)"
        + ("" if math.isnan(brought) else revenue)
        + ". {gone:,} more have been silent for too long to be called about to leave.",
        n=len(lately),
        churners=_three_digits(lately["churn_probability"].sum() * float(people.estimate)),
        days=actions["horizon_days"].iloc[0],
        brought=_three_digits(brought),
        gone=len(actions) - len(lately),
    )


def first_reasons(report, actions: pd.DataFrame, now: pd.DataFrame, pushes: pd.DataFrame) -> None:
    """Show what stands first among the reasons of those on the list, and how many have none."""
    worthy = actions.loc[actions["group"].isin([CONTACT, HOLD_OUT])].set_index("customer_id")
    topics = pushes.set_axis(now["customer_id"]).loc[worthy.index].idxmax(axis=1)
    said = worthy["reason_1"] != ""
    counts = topics[said].str.replace("_", " ").value_counts().rename_axis("first_reason")
    table = counts.reset_index(name="customers").assign(share=counts.to_numpy() / len(worthy))
    table = table[report.enough(table["customers"])]
    report.show(table, {"share": ".0%"}, rows=8, caption="The first reason on the contact list")
    if report.enough((~said).sum()):
        report.say(
            "{none:,} on the list have no reason in words: nothing raises their risk above the "
            "average customer's; they are on it for what they bring.",
            none=int((~said).sum()),
        )


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
