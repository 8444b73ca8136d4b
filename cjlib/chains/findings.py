"""What the figures of notebook 04 say in words, chosen from the figures.

Each function returns the arguments of ``Report.finding`` (a headline with its interval) or
``Report.say`` (a sentence); none of them displays anything.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from cjlib.attribution.attribution import NONE, model_agreement
from cjlib.chains.anticipation import summed
from cjlib.chains.dwell import median_days
from cjlib.chains.forecast import Forecast, backtest_score
from cjlib.chains.markov import MarkovChain
from cjlib.chains.repurchase import FIRST, share_within

SURE = 0.05  # p- and q-values up to which something counts as found


def p_text(p: float) -> str:
    """Return a p- or q-value as one writes it."""
    return "below 0.001" if p < 0.001 else f"{p:.3f}"


def _interval(row: pd.Series, value: str) -> dict:
    return {"value": row[value], "lower": row["lower"], "upper": row["upper"], "unit": "share"}


def loses_most(chain: MarkovChain, log) -> dict:
    """Name the stage, before the purchase where there are such, that most visits end in."""
    out = chain.summary().query("to_stage == 'lost'").sort_values("probability")
    before = out[out["from_stage"].isin(log.stages.before)]
    worst = (before if len(before) else out).iloc[-1]
    counted = chain.counts_[list(chain.states_).index(worst["from_stage"])].sum()
    if len(chain.counts_) == 2:
        text = (
            "**{value:.1%}** of the purchases ({lower:.1%} to {upper:.1%}, n {n:,}) were followed "
        )
        text += "by no other within {days} days."
    else:
        text = "Of the stages before the purchase " if len(before) else "Of all stages "
        text += "**{stage}** loses most: {value:.1%} of its visits ({lower:.1%} to {upper:.1%}, "
        text += "n {n:,}) were the end of their journey."
    return _interval(worst, "probability") | {
        "name": "stage_that_loses_most",
        "stage": log.label(worst["from_stage"]),
        "n": int(counted),
        "days": log.dataset.journey.inactivity.days,
        "sentence": text,
    }


def directions(flow: pd.DataFrame, stages: list[str]) -> dict:
    """Say how many moves lead onward, back and out."""
    place = {stage: i for i, stage in enumerate(stages)}
    ahead = flow["to_stage"].map(place) - flow["from_stage"].map(place)
    total = flow["n"].sum()
    return {
        "text": "Of {n:,} moves, {onward:.0%} lead onward, {back:.0%} back to an earlier stage, "
        "and "
        "{lost:.0%} end the journey.",
        "n": int(total),
        "onward": flow["n"][ahead > 0].sum() / total,
        "back": flow["n"][ahead < 0].sum() / total,
        "lost": flow["n"][ahead.isna()].sum() / total,
    }


def groups_differ(test: pd.DataFrame, segment_by: str) -> dict:
    """Say whether groups move differently, and by how much more than by chance."""
    joint = test.iloc[0]
    found = joint["p_value"] <= SURE
    return {
        "text": "Groups by {by} {verdict} (p {p}, by shuffling customers): {effect:.1%} of the "
        "moves "
        "go elsewhere than they would if all groups were alike; chance alone makes that "
        "{chance:.1%}.",
        "by": segment_by.replace("_", " "),
        "verdict": "move differently" if found else "are not shown to move differently",
        "p": p_text(joint["p_value"]),
        "effect": joint["effect"],
        "chance": joint["effect_by_chance"],
    }


def surest(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the moves that differ for sure."""
    return cells[cells["q_value"] <= SURE]


def group_moves(sure: pd.DataFrame, log, rows: int = 8) -> dict:
    """Return the moves in which a group differs from all others, for ``Report.show``."""
    names = {name: sure[name].map(log.label) for name in ("from_stage", "to_stage")}
    columns = ["segment", "from_stage", "to_stage", "n", "probability", "elsewhere", "q_value"]
    return {
        "table": sure.assign(**names)[columns],
        "formats": {"probability": ".1%", "elsewhere": ".1%", "q_value": p_text},
        "labels": {"segment": "group", "elsewhere": "all others", "q_value": "q"},
        "rows": rows,
        "caption": "Moves in which a group differs from all others (q at most 0.05), surest first",
    }


def chances(absorption: pd.DataFrame, log) -> pd.DataFrame:
    """Return everybody's chance of the (next) purchase by stage, labelled for the picture."""
    reached = absorption.query("segment == 'all' and outcome == 'purchase'")
    before = reached["from_stage"].isin(log.stages.before)
    names = reached["from_stage"].map(log.label)
    return reached.assign(label=names.where(before, "next one, after " + names), before=before)


def purchase_chances(reached: pd.DataFrame, log) -> list[dict]:
    """Say from which stage before the purchase it is likeliest, and how many buy again."""
    said = []
    before = reached[reached["before"]]
    if len(before):
        best = before.sort_values("probability").iloc[-1]
        said.append(
            _interval(best, "probability")
            | {
                "name": "purchase_from_best_stage",
                "stage": log.label(best["from_stage"]),
                "days": best["expected_days"],
                "sentence": "From {stage}, **{value:.1%}** ({lower:.1%} to {upper:.1%}) reach the "
                "purchase, those after {days:.1f} days on average.",
            }
        )
    bought = reached[reached["from_stage"].isin(log.stages.purchase)]
    if len(bought):
        said.append(
            _interval(bought.iloc[0], "probability")
            | {
                "name": "purchase_again_in_journey",
                "days": log.dataset.journey.inactivity.days,
                "sentence": "After a purchase, **{value:.1%}** ({lower:.1%} to {upper:.1%}) buy "
                "again in the same journey, that is before a silence of {days} days.",
            }
        )
    return said


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
        "time "
        "within {days} days of the first.",
    }


def busiest(stay: pd.DataFrame, log) -> str:
    """Return the stage with most visits, of those before the purchase where there are such."""
    before = stay[stay["stage"].isin(log.stages.before)]
    return (before if len(before) else stay).groupby("stage")["n"].sum().idxmax()


def longest_stay(curves: Mapping[str, pd.DataFrame], log, hours: float) -> dict:
    """Name the stage whose visits last longest; times are known to so many hours."""
    medians = pd.Series({stage: median_days(curve) for stage, curve in curves.items()})
    slow = medians.fillna(float("inf")).idxmax()
    if pd.isna(medians[slow]):
        text = "In {stage} customers stay longest: fewer than half of the visits have ended yet. "
    elif medians[slow] == 0:
        text = "In every stage half of the visits have ended within {hours:.0f} h. "
    else:
        text = "In {stage} customers stay longest: half of the visits have ended after {days:.1f} "
        text += "days. "
    text += "A customer who is lost counts as staying until the silence is complete."
    return {"text": text, "stage": log.label(slow), "days": medians[slow], "hours": hours}


def memory(test: pd.DataFrame) -> dict:
    """Say whether a longer history foresees customers held out better."""
    row = test.iloc[0]
    order = row["test"].split()[1]
    if not row["df"]:
        return {
            "text": "Whether the last {order} stages tell more cannot be said: there is no choice "
            "of histories in these journeys.",
            "order": order,
        }
    helps = row["held_out_lower"] > 0
    return {
        "text": "Knowing the last {order} stages instead of the last {fewer} {verdict}: it "
        "makes the "
        "next stages of customers held out {gain:+.1%} likelier ({low:+.1%} to {high:+.1%}; "
        "n {n:,} moves, p {p}).",
        "order": order,
        "fewer": "one" if order == "2" else str(int(order) - 1),
        "verdict": "helps" if helps else "does not help",
        "gain": row["held_out_gain"],
        "low": row["held_out_lower"],
        "high": row["held_out_upper"],
        "n": int(row["n"]),
        "p": p_text(row["p_value"]),
    }


def change(points: pd.DataFrame, log) -> dict:
    """Say when the moves changed, and which of them most surely.

    Parameters
    ----------
    points : DataFrame
        Of ``change_points``; empty when there was too little to compare.
    log : Log

    Returns
    -------
    dict
        Arguments of ``Report.say``; with a ``name`` those of ``Report.finding``.
    """
    if points.empty:
        return {"text": "Too little to compare: one stage, or too few months."}
    if not points["chosen"].any():
        return {
            "text": "No change is found: the surest cut has a p-value of {p}.",
            "p": p_text(points["p_value"].min()),
        }
    point = points[points["chosen"]].iloc[0]
    return {
        "name": "change",
        "value": point["after"] - point["before"],
        "unit": "share",
        "date": point["period"],
        "p": p_text(point["p_value"]),
        "origin": log.label(point["from_stage"]),
        "target": log.label(point["to_stage"]),
        "then": point["before"],
        "now": point["after"],
        "sentence": "The moves changed at **{date.day} {date:%B %Y}** (p {p}), most surely from "
        "{origin} to {target}: {then:.1%} before, **{now:.1%}** since.",
    }


def leading_credit(table: pd.DataFrame, model: str = "markov_1") -> dict:
    """Say what the level with most credit gets, by the removal effect and by all models."""
    dimension = table["dimension"].iloc[0]
    lead = model_agreement(table).query("level != @NONE").iloc[0]
    best = table[(table["model"] == model) & (table["level"] == lead["level"])].iloc[0]
    part = table[table["model"] == model]
    none = part.loc[part["level"] == NONE, "share"].sum()
    agree = lead["highest"] - lead["lowest"] < 0.005
    others = "all models agree." if agree else "over all models with {least:.1%} ({how}) to "
    others += "" if agree else "{most:.1%} ({other})."
    return _interval(best, "share") | {
        "name": f"credit_{dimension}",
        "dimension": dimension,
        "level": best["level"],
        "n": part["conversions"].sum(),
        "least": lead["lowest"],
        "most": lead["highest"],
        "how": lead["lowest_model"].replace("_", " "),
        "other": lead["highest_model"].replace("_", " "),
        "none": none,
        "sentence": "Of {n:,.0f} purchases, the {dimension} {level} is credited with "
        "**{value:.1%}** by the removal effect ({lower:.1%} to {upper:.1%}); "
        + others
        + (" {none:.1%} of the purchases had no touch before them." if none else ""),
    }


def forecasts(made: Sequence[Forecast], weeks: int) -> list[dict]:
    """Say how the forecast of one horizon ago fared, and what the new one assumes."""
    if not made:
        return [{"text": "The log is too short for a forecast: fewer than four weeks."}]
    said = [] if len(made) == 1 else [_backtest(made[0], weeks)]
    assumed = {
        "text": "Assumed per week: {sum:,.0f} customers newly or again active, the average of the "
        "last {weeks} weeks.",
        "sum": made[-1].arrivals.sum(),
        "weeks": made[-1].arrival_weeks,
    }
    return [*said, assumed]


def _backtest(made: Forecast, weeks: int) -> dict:
    score = backtest_score(made.table)
    won = score["error"] < score["naive_error"]
    verdict = (
        "The chain beats the simple rule."
        if won
        else "The simple rule does as well or better here: plan with today's numbers, and take the "
        "bands for how far they may move."
    )
    return score | {
        "text": "Back-test over the last {weeks} weeks: {coverage:.0%} of {cells} figures lay "
        "inside their 95 % band. The forecast was off by {error:.1%} of the customers, the simple "
        "rule “as many as today” by {naive_error:.1%}. {verdict}",
        "weeks": weeks,
        "verdict": verdict,
    }


def under_way(nexts: pd.DataFrame) -> dict:
    """Say how many journeys are open and for how many the loss is likeliest."""
    return {
        "text": "{n:,} customers are under way; for {lost:,} of them the likeliest is to be lost.",
        "n": len(nexts),
        "lost": int((nexts["next_stage"] == "lost").sum()),
    }


def next_moves(nexts: pd.DataFrame, log) -> dict:
    """Return what comes next by stage, for ``Report.show``."""
    table = summed(nexts, log.dataset.privacy.smallest_group)
    names = {name: table[name].map(log.label) for name in ("stage", "next_stage")}
    return {
        "table": table.assign(**names),
        "formats": {"probability": ".0%", "expected_days": ".1f"},
        "labels": {"next_stage": "likeliest next", "expected_days": "in days"},
        "caption": "Customers with an open journey: where they are and what is likeliest next",
    }
