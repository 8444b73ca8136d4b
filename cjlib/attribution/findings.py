"""What notebook 04 says of the credit for purchases."""

import pandas as pd

from cjlib.attribution.attribution import NONE, model_agreement
from cjlib.attribution.touch_paths import OTHER

IN_WORDS = {"first": "first touch", "last": "last touch", "markov_1": "removal effect"}


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
    found = {
        "value": best["share"],
        "lower": best["lower"],
        "upper": best["upper"],
        "unit": "share",
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
    return IN_WORDS.get(name, name.replace("markov_", "removal effect of order ").replace("_", " "))


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
