"""What the figures of notebook 04 say in words, chosen from the figures.

Each function returns the arguments of ``Report.finding`` (a headline with its interval) or
``Report.say`` (a sentence); none of them displays anything.
"""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from cjlib.attribution.attribution import NONE, model_agreement
from cjlib.attribution.touch_paths import OTHER
from cjlib.chains.anticipation import summed
from cjlib.chains.dwell import days_to_move
from cjlib.chains.forecast import Forecast, backtest_score, failed_stages, naive_wins
from cjlib.chains.markov import MarkovChain
from cjlib.chains.repurchase import ANY, FIRST, share_within

SURE = 0.05  # q-values up to which something counts as found
MODELS = {"first": "first touch", "last": "last touch", "markov_1": "removal effect"}
CLEAR = 0.03  # by which the picture of the model and a count outside its interval differ clearly
NARROW = 0.9  # share of figures inside bands of 95 % below which the bands are too narrow


def p_text(p: float) -> str:
    """Return a p- or q-value as one writes it."""
    return "below 0.001" if p < 0.001 else f"{p:.3f}"


def _interval(row: pd.Series, value: str) -> dict:
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
    return _interval(worst, "probability") | {
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
    found = _interval(bought.iloc[-1], "probability") | {
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
        "time "
        "within {days} days of the first.",
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
        text += (
            "together the months are not shown to differ (q {months}). If there was one, it was "
            "likeliest "
        )
    text += "at **{date.day} {date:%B %Y}**"
    if len(plausible) > 1:
        text += ", though any month from {first:%B %Y} to {last:%B %Y} could be the first"
    text += ". The surest move is from {origin} to {target}: {then:.1%} before, **{now:.1%}** "
    text += "since ({points:+.1f} percentage points, {low:+.1f} to {high:+.1f})."
    found = overall | {
        "name": "change",
        "value": point["after"] - point["before"],
        "lower": point["lower"],
        "upper": point["upper"],
        "unit": "share",
        "date": point["period"],
        "first": plausible["period"].min(),
        "last": plausible["period"].max(),
        "origin": log.label(point["from_stage"]),
        "target": log.label(point["to_stage"]),
        "then": point["before"],
        "now": point["after"],
        "points": 100 * (point["after"] - point["before"]),
        "low": 100 * point["lower"],
        "high": 100 * point["upper"],
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


def leading_credit(table: pd.DataFrame, log, model: str = "markov_1") -> dict:
    """Say what the level with most credit gets, by all models and by the removal effect."""
    dimension = table["dimension"].iloc[0]
    agreement = model_agreement(table)
    named = agreement[~agreement["level"].isin([NONE, OTHER])]
    agreement = named if len(named) else agreement
    lead = agreement.iloc[0]
    best = table[(table["model"] == model) & (table["level"] == lead["level"])].iloc[0]
    part = table[table["model"] == model]
    none = part.loc[part["level"] == NONE, "share"].sum()
    text = "Of {n:,.0f} purchases, the {dimension} {level} is credited with "
    if lead["highest"] - lead["lowest"] < 0.005:
        text += "**{value:.1%}**: all models agree"
    else:
        text += "**{least:.1%} to {most:.1%}**, by the model ({how} to {other}); {value:.1%} by "
        text += "the removal effect"
    text += " (95% interval of that model alone: {lower:.1%} to {upper:.1%})."
    text += " {none:.1%} of the purchases had no touch before them." if none else ""
    found = _interval(best, "share") | {
        "name": f"credit_{dimension}",
        "dimension": dimension,
        "level": best["level"],
        "n": part["conversions"].sum(),
        "least": lead["lowest"],
        "most": lead["highest"],
        "how": _model(lead["lowest_model"]),
        "other": _model(lead["highest_model"]),
        "none": none,
    }
    if dimension == "touchpoint":
        found |= _steps_of_customers(agreement, log)
        text += found.pop("steps")
    return found | {"sentence": text}


def _model(name: str) -> str:
    """Return a model's name in words."""
    return MODELS.get(name, name.replace("markov_", "removal effect of order ").replace("_", " "))


def _steps_of_customers(agreement: pd.DataFrame, log) -> dict:
    """Say that a step which customers take is not to be funded, and what the company starts."""
    known = log.dataset.touchpoints
    starts = agreement["level"].map({name: one.initiator for name, one in known.items()})
    stages = agreement["level"].map({name: one.stage for name, one in known.items()})
    if starts.iloc[0] != "customer":
        return {"steps": ""}
    started = agreement[(starts == "company") & stages.isin(log.stages.before)]
    if started.empty:
        return {"steps": " It is a step that customers take themselves, not one to fund."}
    first = started.iloc[0]
    return {
        "steps": " It is a step that customers take themselves, not one to fund; of those that the "
        "company starts before a purchase, {funded} gets most: {fund_least:.1%} to "
        "{fund_most:.1%}.",
        "funded": first["level"],
        "fund_least": first["lowest"],
        "fund_most": first["highest"],
    }


def forecasts(made: Sequence[Forecast], weeks: int, label=str) -> list[dict]:
    """Say how the forecast of one horizon ago fared, and what the new one assumes.

    Parameters
    ----------
    made : sequence of Forecast
        Of ``forecast_and_backtest``.
    weeks : int
        Of the horizon.
    label : callable
        From a stage to what is shown.

    Returns
    -------
    list of dict
        Arguments of ``Report.say``.
    """
    if not made:
        return [{"text": "The log is too short for a forecast: fewer than four weeks."}]
    past = [one.table for one in made if one.table["observed"].notna().any()]
    said = [_backtest(table, weeks, label) for table in past]
    if past and _withheld(past[0]):
        return said
    assumed = {
        "text": "Assumed per week: {sum:,.0f} customers newly or again active, the average of the "
        "last {weeks} weeks.",
        "sum": made[-1].arrivals.sum(),
        "weeks": made[-1].arrival_weeks,
    }
    return [*said, *_too_wide(made[-1].table, label), assumed]


def _withheld(table: pd.DataFrame) -> bool:
    return len(failed_stages(table)) == table["stage"].nunique()


def _too_wide(table: pd.DataFrame, label) -> list[dict]:
    """Name the stages whose band is wider than the number that it surrounds."""
    sums = table.assign(width=table["upper"] - table["lower"]).groupby("stage", sort=False)
    sums = sums[["width", "expected"]].sum()
    wide = sums.index[sums["width"] > sums["expected"]]
    if wide.empty:
        return []
    where = "every stage" if 1 < len(wide) == len(sums) else _listed(map(label, wide))
    text = "In {where} the band of the weeks ahead is wider than the number of customers expected: "
    return [{"text": text + "too wide to plan with.", "where": where}]


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _verdict(table: pd.DataFrame, label) -> str:
    """Say whether the chain or today's numbers foresaw more, in sum and by stage."""
    if _withheld(table):
        return "The forecast failed, so none is made for the weeks ahead."
    simple = {stage: naive_wins(part) for stage, part in table.groupby("stage", sort=False)}
    lost = [label(stage) for stage, wins in simple.items() if wins]
    won = [label(stage) for stage, wins in simple.items() if not wins]
    if naive_wins(table):
        text = "The simple rule does as well or better here: plan with today's numbers."
        text += f" The chain did better in {_listed(won)} alone." if won else ""
    elif lost:
        text = "In sum the chain beats the simple rule, yet in "
        text += f"{_listed(lost)} the simple rule did as well or better: plan there with today's "
        text += "numbers."
    else:
        text = "The chain beats the simple rule" + " in every stage" * (len(won) > 1) + "."
    failed = [label(stage) for stage in failed_stages(table)]
    if failed:
        text += f" In {_listed(failed)} its band failed too, so no forecast is made there."
    return text


def _backtest(table: pd.DataFrame, weeks: int, label) -> dict:
    score = backtest_score(table)
    inside = table["observed"].between(table["lower"], table["upper"])
    inside = inside.groupby(table["stage"], sort=False).mean()
    few = inside.index[inside < NARROW]
    where = ""
    if score["coverage"] < NARROW:
        where = " The band is too narrow"
        part = " (in {misses})" if len(few) < len(inside) else ", in every stage"
        where += part + "." if len(inside) > 1 else "."
    return score | {
        "text": "Back-test over the last {weeks} weeks: {coverage:.0%} of {cells} figures lay "
        "inside their 95 % band." + where + " The forecast was off by {error:.1%} of the "
        "customers, the simple rule “as many as today” by {naive_error:.1%}. {verdict}",
        "weeks": weeks,
        "misses": ", ".join(label(stage) for stage in few),
        "verdict": _verdict(table, label),
    }


def under_way(nexts: pd.DataFrame) -> dict:
    """Say how many journeys are open and for how many the silence is likeliest."""
    return {
        "text": "{n:,} customers are under way; for {lost:,} of them silence is likeliest: lost "
        "before a purchase, nothing more after one.",
        "n": len(nexts),
        "lost": int((nexts["next_stage"] == "lost").sum()),
    }


def next_moves(nexts: pd.DataFrame, log) -> dict:
    """Return what comes next by stage, for ``Report.show``; a purchase may follow a purchase."""
    table = summed(nexts, log.dataset.privacy.smallest_group)
    again = table["next_stage"] == table["stage"]
    after = table["stage"].isin([*log.stages.purchase, *log.stages.after])
    following = table["next_stage"].map(log.label)
    following = following.mask(after & (table["next_stage"] == "lost"), "nothing more")
    names = {
        "stage": table["stage"].map(log.label),
        "next_stage": following.mask(again, "another purchase"),
    }
    return {
        "table": table.assign(**names),
        "formats": {"probability": ".0%", "expected_days": ".1f"},
        "labels": {"next_stage": "likeliest next", "expected_days": "in days"},
        "caption": "Customers with an open journey: where they are and what is likeliest next",
    }
