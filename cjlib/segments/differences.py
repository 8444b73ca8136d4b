"""Which groups differ from all other customers in value, conversion, feeling and churn."""

import pandas as pd

from cjlib.forms import shown
from cjlib.segments.findings import ENOUGH, SURE, capital, profile_columns, view_name
from cjlib.segments.profiles import MEASURES
from cjlib.segments.segments import VIEWS, Segments


def report_churn(report, profile: pd.DataFrame, log) -> None:
    """Say how many of all buyers have not bought within the last horizon."""
    days = log.dataset.churn.horizon.days
    everybody = profile[(profile["segmentation"] == "all") & (profile["churn_buyers"] >= ENOUGH)]
    if everybody.empty:
        report.say("Too few had bought one horizon ago ({days} days) to measure churn.", days=days)
        return
    total = everybody.iloc[0]
    # Near none and all, whole percents would hide who did come back.
    spec = ".0%" if 0.01 <= total["churn"] <= 0.99 else ".1%"
    report.finding(
        "churn",
        value=total["churn"],
        lower=total["churn_lower"],
        upper=total["churn_upper"],
        unit="share",
        sentence="Of {n:,.0f} customers who had bought by {then.day} {then:%B %Y}, "
        f"**{{value:{spec}}}** ({{lower:{spec}}} to {{upper:{spec}}}) have not bought since.",
        n=total["churn_buyers"],
        then=log.as_of - log.dataset.churn.horizon,
    )


def report_differences(report, found: Segments, profile: pd.DataFrame, view: str) -> None:
    """Say, measure by measure, which groups of a view differ from all other customers.

    Parameters
    ----------
    report : Report
    found : Segments
    profile : DataFrame
        Rows of `cjlib.segments.profiles.profiles` that are shown, those of everybody among them.
    view : str
    """
    columns, formats = profile_columns(report.log, view)
    rows = profile[profile["segmentation"] == VIEWS[view]]
    everybody = profile[profile["segmentation"] == "all"].iloc[0]
    told = {}
    for name in (name for name in MEASURES if name in columns):
        groups = rows[rows[name].notna()]
        if len(groups) > 1:
            built_in = name in made_of(found, view)
            groups = groups[groups["frequency"] > 0] if built_in else groups
            told[name] = _difference(groups, name, everybody[name], formats[name], built_in)
    if told:
        unit = report.log.dataset.currency or ""
        units = {"value": " ({unit})"} if unit else {}
        lines = [f"- **{name.capitalize()}{units.get(name, '')}:** {{{name}}}" for name in told]
        text = "\n".join(["**{view}**, each group against all other customers:", "", *lines])
        report.say(text, view=capital(view_name(found, view)), unit=unit, **told)


def made_of(found: Segments, view: str) -> set[str]:
    """Return the measures that the groups of a view are made of: there they differ by design."""
    if view == "cluster":
        return {feature.group for feature in found.clusters.features} & set(MEASURES)
    return {"value"} if view == "rfm_segment" and not found.banded else set()


def _difference(groups: pd.DataFrame, name: str, average: float, spec: str, built_in: bool) -> str:
    """Say which groups lie above and below all others in a measure."""

    def said(row: pd.Series) -> str:
        value, *limits = (shown(row[name + end], spec) for end in ("", "_lower", "_upper"))
        return f"“{row['segment']}”: {value} ({' to '.join(limits)})"

    sure = groups[groups[f"{name}_q"] < SURE]
    # A group above everybody's mean is above that of the others, too.
    above, below = sure[sure[name] > average], sure[sure[name] < average]
    if sure.empty:
        smallest = shown(groups[f"{name}_q"].min(), ".2f")
        yet = "the groups are made of it, yet " if built_in else ""
        return f"{yet}none of {len(groups)} groups is told from the others (q {smallest} at least)."
    if built_in:
        least, most = groups.loc[groups[name].idxmin()], groups.loc[groups[name].idxmax()]
        return f"the groups are made of it; from {said(least)} to {said(most)}."
    parts = []
    for word, side in (("higher", above), ("lower", below)):
        if len(side):
            many = f"{len(side)} of {len(groups)}, most so in " if len(side) > 1 else ""
            parts.append(f"{word} in {many}{said(side.loc[(side[name] - average).abs().idxmax()])}")
    return "; ".join(parts) + "."
