"""What notebook 05 says in words: one function per answer, every figure from the results."""

import pandas as pd

from cjlib.churn.actions import LEAVE
from cjlib.churn.cut_offs import DAY
from cjlib.churn.evaluation import uplift
from cjlib.churn.models import Choice
from cjlib.churn.reasons import MATTERS
from cjlib.churn.study import Result, Study
from cjlib.published import TABLES

CALIBRATED = 0.7
"""Share of calibration groups that must hold their promise for probabilities to be read as such."""


def cut_offs(report, found: Study) -> None:
    """Say how many churned at the test cut-off, or why no score can be tested."""
    if found.problem:
        report.say(
            "**No score can be tested on this log.** {why} Below stand simple ranks, without a "
            "claim.",
            why=found.problem,
        )
        for name in ("churn_evaluation", "churn_calibration"):
            report.publish(name, pd.DataFrame(columns=TABLES[name]))
        return
    report.show(found.customers, {"cut_off": "%d %B %Y", "churned": ".1%"})
    report.say(
        "At the test cut-off, **{share:.1%}** of {n:,} customers who had bought did not buy again "
        "within {days:.0f} days.",
        share=found.test["churned"].mean(),
        n=len(found.test),
        days=found.horizon / DAY,
    )


def canaries(report, features: list[str], seen: list[str], alarms: pd.DataFrame) -> None:
    """Say which features see the future or tell too much."""
    suspects = sorted({*seen, *alarms["feature"]})
    report.say(
        "Of {n} features, {seen} change with the future, and {alarms} alone tells churn with an "
        "AUC of .97 or more.",
        n=len(features),
        seen=len(seen) or "none",
        alarms=len(alarms) or "none",
    )
    if suspects:
        report.say(
            "**Do not trust the scores below** before these are explained: {names}.",
            names=", ".join(suspects),
        )


def chosen(report, choice: Choice) -> None:
    """Show the validation and say which candidate it chose."""
    report.show(choice.table, dict.fromkeys(["log_loss", "worse_by", "standard_error"], ".4f"))
    folds = (
        ""
        if choice.out_of_time
        else " The history holds a single training cut-off, so folds of customers stood in."
    )
    report.say("Chosen: **{name}**." + folds, name=choice.chosen)


def tested(report, found: Study, result: Result, split: float) -> None:
    """Show the test and say how well the chosen candidate ranks, against the recency rank."""
    formats = dict.fromkeys(["auc", "log_loss", "brier", "ece"], ".4f") | {"accuracy": ".1%"}
    formats |= dict.fromkeys(["top_decile_lift", "return_lift"], ".2f")
    report.show(result.evaluation.drop(columns=["auc_lower", "auc_upper"]), formats)
    rows = result.evaluation.set_index("model")
    best, rank = rows.loc[result.choice.chosen], rows.loc["recency rank"]
    report.finding(
        "churn_auc",
        value=best["auc"],
        lower=best["auc_lower"],
        upper=best["auc_upper"],
        unit="AUC",
        sentence="On {n:,} customers, *{model}* ranks a churner above a returner in "
        "**{value:.1%}** of pairs ({lower:.1%} to {upper:.1%}); days since the last order alone "
        "in {rank:.1%}.",
        n=len(found.test),
        model=result.choice.chosen,
        rank=rank["auc"],
    )
    mended = (
        "off at the last training cut-off and is mended" if result.mended else "not clearly off"
    )
    report.say("At the last training cut-off its calibration was {mended}.", mended=mended)
    if result.choice.out_of_time:
        table = result.choice.table
        report.say(
            "A split of customers at random promises a log-loss of {split:.3f}, the split in time "
            "{time:.3f}.",
            split=split,
            time=table["log_loss"][table["chosen"]].item(),
        )


def promises(report, table: pd.DataFrame, promised: float, observed: float) -> None:
    """Say whether the promised probabilities came true in the test."""
    inside = table["predicted"].between(table["lower"], table["upper"])
    report.say(
        "In {inside} of {n} groups the promised churn lies within the interval of the observed "
        "one; overall {promised:.1%} was promised and {observed:.1%} came.",
        inside=int(inside.sum()),
        n=len(table),
        promised=promised,
        observed=observed,
    )
    if inside.mean() < CALIBRATED:
        report.say("**Read the scores as ranks, the probabilities with care**: they are off here.")


def journeys(report, gain: dict) -> None:
    """Say whether journey features help over purchases alone."""
    if not gain:
        report.say("This log holds purchases alone, so there are no journey features to add.")
        return
    scale = gain["share"] / gain["gain"] if gain["gain"] else 0.0
    report.finding(
        "journey_gain",
        value=gain["share"],
        lower=gain["lower"] * scale,
        upper=gain["upper"] * scale,
        unit="share",
        sentence="Journey features {clear} over orders: they cut the log-loss that orders alone "
        "leave by **{value:.1%}** ({lower:.1%} to {upper:.1%}).",
        clear="help" if gain["lower"] > 0 else "do not clearly help",
    )


def leanings(report, drivers: pd.DataFrame) -> None:
    """Say which topics the scores lean on, beyond chance and enough to matter."""
    names = drivers["topic"].str.replace("_", " ")
    clear, rest = names[drivers["driver"]], names[~drivers["driver"]]
    report.say(
        "The scores lean on {n} of {all} topics: {clear}. Without one of these their log-loss "
        "grows by {matters:.1%} or more, beyond chance (q < 5 %).",
        matters=MATTERS,
        n=len(clear),
        all=len(drivers),
        clear="; ".join(clear[:8]) or "none",
    )
    if len(rest):
        report.say("Not clearly, among others: {rest}.", rest="; ".join(rest[:6]))


def worth(report, curve: pd.DataFrame, empc: dict, currency: str) -> float:
    """Say which share of customers to contact, and return it."""
    best = curve.loc[curve["profit"].idxmax()]
    report.finding(
        "contact_share",
        value=best["contacted"],
        unit="share",
        sentence="The best cut contacts **{value:.0%}** of customers and earns {profit:,.2f} "
        "{currency} per customer; over all plausible acceptances (EMPC) {empc:,.2f} at {wide:.0%}.",
        profit=best["profit"],
        currency=currency,
        empc=empc["profit"],
        wide=empc["contacted"],
    )
    return float(best["contacted"])


def listed(report, actions: pd.DataFrame, unit: str) -> None:
    """Show the groups of the action list and say what is at risk."""
    if actions["churn_probability"].isna().all():
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
    report.show(groups, formats, caption=f"The action list; value in {unit}")
    report.finding(
        "value_at_risk",
        value=actions["value_at_risk"].sum(),
        unit=unit,
        sentence="Of {n:,} customers about {churners:,.0f} will not buy in the coming horizon; "
        "**{value:,.0f} {unit}** are at risk.",
        n=len(actions),
        churners=actions["churn_probability"].sum(),
    )


def first_reasons(report, actions: pd.DataFrame, now: pd.DataFrame, pushes: pd.DataFrame) -> None:
    """Show what stands first among the reasons of those worth contacting."""
    worthy = actions.loc[actions["group"] != LEAVE, "customer_id"]
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
