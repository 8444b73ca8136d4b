"""What notebook 04 says of the time to come: customers by stage, the next move of each."""

from collections.abc import Iterable, Sequence

import pandas as pd

from cjlib.markov.anticipation import summed
from cjlib.markov.forecast import Forecast, backtest_score, failed_stages, naive_wins

NARROW = 0.9  # share of figures inside bands of 95 % below which the bands are too narrow


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
