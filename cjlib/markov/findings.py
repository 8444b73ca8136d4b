"""What the figures of notebook 04 say in words, chosen from the figures.

Each function returns the arguments of ``Report.finding`` (a headline with its interval) or
``Report.say`` (a sentence); none of them displays anything.
"""

from collections.abc import Mapping

import pandas as pd

from cjlib.markov.chain import MarkovChain

SURE = 0.05  # q-values up to which something counts as found


def p_text(p: float) -> str:
    """Return a p- or q-value as one writes it."""
    return "below 0.001" if p < 0.001 else f"{p:.3f}"


def interval_of(row: pd.Series, value: str) -> dict:
    """Return the figure of a finding that is a share, with its interval."""
    return {"value": row[value], "lower": row["lower"], "upper": row["upper"], "unit": "share"}


def loses_most(chain: MarkovChain, log) -> dict:
    """Name the stage, before the purchase where there are such, that most visits end in.

    After a purchase an end is a journey completed, so that is not called a loss.
    """
    out = chain.summary().query("to_stage == 'lost'").sort_values("probability")
    before = out[out["from_stage"].isin(log.stages.before)]
    worst = (before if len(before) else out).iloc[-1]
    counted = chain.counts_[list(chain.states_).index(worst["from_stage"])].sum()
    if len(chain.counts_) == 2:
        text = "**{value:.1%}** of the purchases at least {days} days old ({lower:.1%} to "
        text += "{upper:.1%}, n {n:,}) were followed by no other within {days} days."
    else:
        text = "Of all stages journeys end most often in **{stage}**"
        if len(before):
            text = "Of the stages before the purchase **{stage}** loses most"
        text += ": {value:.1%} of its visits ({lower:.1%} to {upper:.1%}, n {n:,}) were the end of "
        text += "their journey."
    return interval_of(worst, "probability") | {
        "name": "stage_that_loses_most" if len(before) else "where_journeys_end",
        "stage": log.label(worst["from_stage"]),
        "n": int(counted),
        "days": log.dataset.journey.inactivity.days,
        "sentence": text,
    }


def directions(flow: pd.DataFrame, stages: list[str], log) -> dict:
    """Say how many moves lead onward, back and out; from after the purchase to the next is onward.

    Parameters
    ----------
    flow : DataFrame
        ``from_stage, to_stage, n``.
    stages : list of str
        In order.
    log : Log

    Returns
    -------
    dict
        Arguments of ``Report.say``.
    """
    place = {stage: i for i, stage in enumerate(stages)}
    ahead = flow["to_stage"].map(place) - flow["from_stage"].map(place)
    again = flow["from_stage"].isin(log.stages.after) & flow["to_stage"].isin(log.stages.purchase)
    total = flow["n"].sum()
    text = "Of {n:,} moves, {onward:.0%} lead onward"
    text += " ({again:.1%} from after a purchase to the purchase again)" if again.any() else ""
    return {
        "text": text + ", {back:.0%} back to an earlier stage, and {lost:.0%} end the journey.",
        "n": int(total),
        "onward": flow["n"][(ahead > 0) | again].sum() / total,
        "again": flow["n"][again].sum() / total,
        "back": flow["n"][(ahead < 0) & ~again].sum() / total,
        "lost": flow["n"][ahead.isna()].sum() / total,
    }


def groups_differ(tests: pd.DataFrame, segment_by: str) -> dict:
    """Say whether groups move differently, and by how much more than by chance."""
    joint = tests.query("test == 'homogeneity' and segment == 'all'").iloc[0]
    found = joint["q_value"] <= SURE
    return {
        "text": "Groups by {by} {verdict} (q {q}, by exchanging customers between groups): "
        "{effect:.1%} of the moves go elsewhere than they would if all groups were alike; chance "
        "alone makes that {chance:.1%}.",
        "by": segment_by.replace("_", " "),
        "verdict": "move differently" if found else "are not shown to move differently",
        "q": p_text(joint["q_value"]),
        "effect": joint["effect"],
        "chance": joint["effect_by_chance"],
    }


def surest(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the moves that differ for sure."""
    return cells[cells["q_value"] <= SURE]


def group_moves(sure: pd.DataFrame, chains: Mapping[str, MarkovChain], log, rows: int = 8) -> dict:
    """Return the moves in which a group differs from all others, for ``Report.show``.

    The shares are those of the groups' chains, as in the picture.
    """
    cell = ["segment", "from_stage", "to_stage"]
    drawn = pd.concat(chains[name].summary(name) for name in sure["segment"].unique())
    table = sure[[*cell, "n", "elsewhere", "q_value"]].merge(
        drawn[[*cell, "probability", "lower", "upper"]], on=cell
    )
    names = {name: table[name].map(log.label) for name in cell[1:]}
    shown = [*cell, "n", "probability", "lower", "upper", "elsewhere", "q_value"]
    shares = dict.fromkeys(["probability", "lower", "upper", "elsewhere"], ".1%")
    return {
        "table": table.assign(**names)[shown],
        "formats": shares | {"q_value": p_text},
        "labels": {"segment": "group", "n": "moves", "elsewhere": "all others", "q_value": "q"},
        "rows": rows,
        "caption": "Moves in which a group differs from all others (q at most 0.05), surest first; "
        "the limits are of the group's own probability",
    }


def memory(row: pd.Series) -> dict:
    """Say whether a longer history foresees customers held out better; one row of the tests."""
    order = row["test"].split()[1]
    if not row["df"]:
        return {
            "text": "Whether the last {order} stages tell more cannot be said: there is no choice "
            "of histories in these journeys.",
            "order": order,
        }
    helps = row["held_out_lower"] > 0
    return {
        "text": "Knowing the last {order} stages instead of the last {fewer} {verdict}: for "
        "customers held out it foretells the next stage {better} by {gain:.1%} ({low:+.1%} to "
        "{high:+.1%}, plus is better; n {n:,} moves, q {q}).",
        "order": order,
        "fewer": "one" if order == "2" else str(int(order) - 1),
        "verdict": "helps" if helps else "does not help",
        "better": "better" if row["held_out_gain"] >= 0 else "worse",
        "gain": abs(row["held_out_gain"]),
        "low": row["held_out_lower"],
        "high": row["held_out_upper"],
        "n": int(row["n"]),
        "q": p_text(row["q_value"]),
    }


def dated(points: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """Return the boundaries of ``change_points``, one chosen only if the page's q-value bears it.

    Its own p-value allows for the search of a date, not for the other tests of the page.
    """
    found = tests.loc[(tests["test"] == "change") & (tests["segment"] == "all"), "q_value"]
    return points.assign(chosen=points["chosen"] & bool((found <= SURE).any()))


def change(points: pd.DataFrame, tests: pd.DataFrame, cells: pd.DataFrame, log) -> dict:
    """Say when the moves changed, how surely, and which of them.

    Parameters
    ----------
    points : DataFrame
        Of ``change_points``; empty when there was too little to compare.
    tests : DataFrame
        Of ``chain_tests``.
    cells : DataFrame
        Of ``cells_since`` for the surest date.
    log : Log

    Returns
    -------
    dict
        Arguments of ``Report.say``; with a ``name`` those of ``Report.finding``.
    """
    if points.empty:
        return {"text": "Too little to compare: one stage, or too few months."}
    q_values = tests.query("segment == 'all'").set_index("test")["q_value"]
    search, months = q_values["change"], q_values["stationarity"]
    overall = {"q": p_text(search), "months": p_text(months)}
    if not search <= SURE:
        text = "No change is found: the surest date has q {q}. "
        text += "Compared together, the months {differ} (q {months})."
        differ = "are not shown to differ"
        if months <= SURE:
            differ = "do differ, so a slow drift may be there"
        return overall | {"text": text, "differ": differ}
    point, plausible = points.loc[points["z"].abs().idxmax()], points[points["plausible"]]
    if months <= SURE:
        text = "The moves changed (q {q}; all months compared together: q {months}), most surely "
    else:
        text = "There is at most a hint of a change: one date stands out (q {q}), yet compared "
        text += "together the months are not shown to differ (q {months}). If there was one, it "
        text += "was likeliest "
    text += "at **{date.day} {date:%B %Y}**"
    if len(plausible) > 1:
        text += ", though any month from {first:%B %Y} to {last:%B %Y} could be the first"
    text += ". The surest move is from {origin} to {target}: {then:.1%} before, **{now:.1%}** "
    text += "since ({value:+.1f} percentage points, {lower:+.1f} to {upper:+.1f}). It was chosen "
    text += "as the surest of many, so the difference is a little overstated."
    found = overall | {
        "name": "change",
        "value": 100 * (point["after"] - point["before"]),
        "lower": 100 * point["lower"],
        "upper": 100 * point["upper"],
        "unit": "points",
        "date": point["period"],
        "first": plausible["period"].min(),
        "last": plausible["period"].max(),
        "origin": log.label(point["from_stage"]),
        "target": log.label(point["to_stage"]),
        "then": point["before"],
        "now": point["after"],
        "sentence": text,
    }
    sure = surest(cells)
    largest = sure.loc[sure["effect"].abs().idxmax()] if len(sure) else point
    if (largest["from_stage"], largest["to_stage"]) == (point["from_stage"], point["to_stage"]):
        return found
    return found | {
        "wide_origin": log.label(largest["from_stage"]),
        "wide_target": log.label(largest["to_stage"]),
        "wide_then": largest["elsewhere"],
        "wide_now": largest["probability"],
        "sentence": text + " The largest is from {wide_origin} to {wide_target}: {wide_then:.1%} "
        "before, {wide_now:.1%} since.",
    }
