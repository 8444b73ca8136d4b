"""What notebook 05 says of its scores: one function per answer, every figure from the results."""

import math

import pandas as pd

from cjlib.churn.choice import Choice
from cjlib.churn.cut_offs import DAY
from cjlib.churn.reasons import MATTERS
from cjlib.churn.study import Result, Study
from cjlib.tables import TABLES

MERITS = {
    "model": "score",
    "auc": "AUC",
    "brier": "Brier",
    "ece": "ECE",
    "top_decile_lift": "lift, riskiest tenth",
    "return_lift": "lift of returns, safest tenth",
}
DRIFT = 0.05
"""A move of churn from the first cut-off to the test that is worth a sentence."""
NEARLY = 0.01
"""Share of the log-loss below which two candidates did alike on the test."""
BLIND = 0.6
"""AUC within a group below which the score hardly ranks."""
CALIBRATED = 0.7
"""Share of calibration groups that must hold their promise for probabilities to be read as such."""


def cut_offs(report, found: Study) -> None:
    """Say how many churned at the test cut-off, or why no score can be tested."""
    if found.problem:
        report.finding(
            "churn_ranking",
            value=math.nan,
            sentence="**No churn score can be tested on this log.** {why} Simple ranks, without a "
            "claim, are published.",
            why=found.problem,
        )
        for name in ("churn_evaluation", "churn_calibration"):
            report.publish(name, pd.DataFrame(columns=TABLES[name]))
        return
    days = found.horizon / DAY
    formats = {
        "cut_off": lambda at: f"{at.day} {at:%B %Y}",
        "churned": ".1%",
        "churned_recent": ".1%",
    }
    recent = f"churned, of those with an order in the {days:.0f} days before"
    report.show(found.customers, formats, {"churned_recent": recent})
    report.say(
        "Of {n:,} customers who had bought by {at.day} {at:%B %Y}, **{share:.1%}** did not buy in "
        "the {days:.0f} days after: the test.",
        share=found.test["churned"].mean(),
        n=len(found.test),
        at=found.test["cut_off"].iloc[0],
        days=days,
    )
    first, last = found.customers.iloc[0], found.customers.iloc[-2]
    moves = [abs(last[name] - first[name]) for name in ("churned", "churned_recent")]
    if max(moves) > DRIFT:
        report.say(
            "Churn moved from {first:.0%} at the first cut-off to {last:.0%} at the test; among "
            "those with a recent order from {recent:.0%} to {now:.0%}. Everybody who ever bought "
            "counts, so the mix matters: an ageing pool raises the first figure by itself, many "
            "new customers the second.",
            first=first["churned"],
            last=last["churned"],
            recent=first["churned_recent"],
            now=last["churned_recent"],
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
    formats = dict.fromkeys(["log_loss", "worse_by", "standard_error"], ".4f")
    report.show(choice.table, formats, {"worse_by": "worse than the best by", "model": "score"})
    folds = (
        ""
        if choice.out_of_time
        else " The history holds a single training cut-off, so folds of customers stood in."
    )
    report.say("Chosen: **{name}**." + folds, name=choice.chosen)


def tested(report, found: Study, result: Result, split: float) -> bool:
    """Show the test, and say whether the chosen candidate ranks customers better than chance.

    Returns
    -------
    bool
        Whether the interval of its AUC lies above one half.
    """
    formats = dict.fromkeys(["auc", "log_loss", "brier", "ece"], ".3f") | {"accuracy": ".1%"}
    formats |= dict.fromkeys(["top_decile_lift", "return_lift"], ".2f")
    table = result.evaluation.drop(columns=["auc_lower", "auc_upper"])
    report.show(table, formats, MERITS, caption="On the test, for all candidates")
    rows = result.evaluation.set_index("model")
    best, rank = rows.loc[result.choice.chosen], rows.loc["recency rank"]
    ranks = bool(best["auc_lower"] > 0.5)
    sentence = (
        "On {n:,} customers, the score *{model}* ranks a churner above a returner in "
        "**{value:.1%}** of pairs ({lower:.1%} to {upper:.1%}; chance 50%); days since the "
        "last order alone in {rank:.1%}."
    )
    if not ranks:
        sentence += " **That is no better than chance: no list of contacts is made.**"
    report.finding(
        "churn_ranking",
        value=best["auc"],
        lower=best["auc_lower"],
        upper=best["auc_upper"],
        unit="AUC",
        sentence=sentence,
        n=len(found.test),
        model=result.choice.chosen,
        rank=rank["auc"],
    )
    other = rows["log_loss"].idxmin()
    if best["log_loss"] - rows.loc[other, "log_loss"] > NEARLY * best["log_loss"]:
        report.say(
            "On the test *{other}* did better (log-loss {its:.3f} against {ours:.3f}); the choice "
            "was made before and stands, or the test would be none.",
            other=other,
            its=rows.loc[other, "log_loss"],
            ours=best["log_loss"],
        )
    if result.mended:
        report.say("Its calibration was off at the last training cut-off, and is mended.")
    if not result.choice.out_of_time:
        report.say("The third canary needs several training cut-offs, and could not be run.")
    else:
        table = result.choice.table
        report.say(
            "A split of customers at random promises a log-loss of {split:.3f}, the split in time "
            "{time:.3f}.",
            split=split,
            time=table["log_loss"][table["chosen"]].item(),
        )
    return ranks


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
        report.say(
            "Not clearly, among others: {rest}. Topics share what they know: one that is not "
            "needed beside the others may still tell much by itself.",
            rest="; ".join(rest[:6]),
        )


def hardly_ranked(report, groups: pd.DataFrame) -> None:
    """Name the groups of customers within which the score hardly tells one from another."""
    blind, total = groups[groups["auc"] < BLIND], groups["customers"].sum()
    if len(blind):
        report.say(
            "It hardly ranks customers with {names}.",
            names=" or ".join(
                f"{one.group} ({one.auc:.0%} of pairs; {one.customers / total:.0%} of customers)"
                for one in blind.itertuples(index=False)
            ),
        )
