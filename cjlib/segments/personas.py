"""A card per segment: who they are, where they stand, what helps, what hurts, what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from cjlib.segments.experience import Experience, experience
from cjlib.segments.findings import ENOUGH, SURE, capital, percent, stages_before
from cjlib.segments.journey_types import ALL
from cjlib.segments.profiles import attribute_shares
from cjlib.segments.rfm import NOT_YET, RuleTable
from cjlib.segments.segments import Segments

HEADINGS = ("Who", "Where", "Helps", "Hurts", "Leaves", "Next")


@dataclass(frozen=True)
class Persona:
    """One segment in words.

    Attributes
    ----------
    segment : str
    size : str
        How many they are.
    lines : dict
        Heading to sentence: who and where they are, what helps, what hurts, in which stage they
        leave, what to do next.
    """

    segment: str
    size: str
    lines: dict[str, str]


def cards(
    log, found: Segments, view: str, profile: pd.DataFrame, usual: Experience
) -> list[Persona]:
    """Return a card per group of a view, from its rows of the profile; see `personas`."""
    lived = experience(log, found.customers, view)
    if view == "cluster" and any(f.group == "feeling" for f in found.clusters.features):
        lived.effects["told"] = 0  # clusters are made of feelings: the best in one says nothing
    rules = found.rules if view == "rfm_segment" else None
    return personas(log, profile, lived, attribute_shares(log, found, view), usual, rules)


def everybody(log, profile: pd.DataFrame, usual: Experience) -> Persona:
    """Return the card of all customers together, from the profile of everybody."""
    customers = int(profile.loc[profile["segmentation"] == ALL, "customers"].iloc[0])
    lines = {
        "Where": _where(log, usual),
        "Helps": _telling(log, usual, 1),
        "Hurts": _telling(log, usual, -1),
        "Leaves": _leak(log, usual),
        "Next": _look_into(usual),
    }
    return Persona("everybody", f"{customers:,}", _said(lines))


def personas(
    log,
    profile: pd.DataFrame,
    lived: Experience,
    attributes: pd.DataFrame,
    usual: Experience,
    rules: RuleTable | None = None,
) -> list[Persona]:
    """Put into words what is known of each segment and is not so of everybody.

    Parameters
    ----------
    log : Log
    profile : DataFrame
        The rows of `cjlib.segments.profiles.profiles` of one view.
    lived : Experience
        Of the same view.
    attributes : DataFrame
        `cjlib.segments.profiles.attribute_shares` of the same view.
    usual : Experience
        Of all customers together: what is said of them is not said again.
    rules : RuleTable, optional
        For RFM segments: what each name means and what to do.

    Returns
    -------
    list of Persona
        In the profile's order, without segments below the dataset's smallest group.
    """
    least = log.dataset.privacy.smallest_group
    cards = []
    for row in profile[profile["customers"] >= least].itertuples(index=False):
        seen = lived.of(row.segment)
        rule = rules.rule(row.segment) if rules and row.segment != NOT_YET else None
        known = attributes[attributes["segment"] == row.segment]
        advice = [rule.advice if rule else "", _look_into(seen, usual)]
        lines = {
            "Who": f"{_who(log, row, rule, known)} {_where(log, seen)}".strip(),
            "Helps": _telling(log, seen, 1, usual),
            "Hurts": _telling(log, seen, -1, usual),
            "Leaves": _leak_of(log, seen),
            "Next": " ".join(part for part in advice if part),
        }
        size = f"{row.customers:,} ({percent(row.share)})"
        cards.append(Persona(row.segment, size, _said(lines)))
    return cards


def _said(lines: dict[str, str]) -> dict[str, str]:
    return {heading: text for heading, text in lines.items() if text}


def share_of(count: int, total: int, smallest: int) -> str:
    """Return a share in words that tell no small group's size, nor that of the rest.

    Parameters
    ----------
    count, total : int
        Customers of whom something holds, and all of them.
    smallest : int
        Smallest group that may be shown.
    """
    if 0 < count < smallest:
        return f"fewer than {smallest}"
    if 0 < total - count < smallest:
        return "all but a few"
    return {0: "none", total: "all"}.get(count) or percent(count / total)


def _who(log, row, rule, known: pd.DataFrame) -> str:
    parts = [f"They {rule.means}."] if rule and rule.means else []
    if row.frequency > 0:
        days = log.dataset.churn.horizon.days
        last = f"Their last purchase was {row.recency_days:.0f} days ago (median)"
        if row.recency_days > days:  # whatever the segment's name says
            last += f", past the churn horizon of {days} days"
        parts.append(f"{last}.")
    if len(known):
        more = known[(known["q_value"] < SURE) & (known["difference"] > 0)]
        more = more[more["customers"] >= log.dataset.privacy.smallest_group]
        for one in more.nlargest(1, "difference").itertuples(index=False):
            parts.append(
                f"More often {_words(one.attribute)} {one.level}: {one.share:.0%} against "
                f"{one.others:.0%} of the others ({100 * one.lower:+.0f} to "
                f"{100 * one.upper:+.0f} points)."
            )
    return " ".join(parts)


def _where(log, seen: Experience) -> str:
    place, least = seen.where.iloc[0], log.dataset.privacy.smallest_group
    said = share_of(place["under_way"], place["customers"], least)
    text = f"{capital(said)} {'is' if said == 'none' else 'are'} on a journey now"
    if place["under_way"] >= least and place["at_stage"] < place["under_way"]:
        share = share_of(place["at_stage"], place["under_way"], least)
        text += f", most often in {log.label(place['stage'])} ({share} of them)"
    return text + "."


def _strongest(seen: pd.DataFrame, sign: int) -> pd.Series | None:
    """Return the touchpoint that a purchase follows most clearly more (1) or less (-1) often."""
    sure = seen[(seen["q_value"] < SURE) & (sign * seen["difference"] > 0)]
    return None if sure.empty else sure.loc[(sign * sure["difference"]).idxmax()]


def _felt(seen: pd.DataFrame, sign: int) -> pd.Series | None:
    """Return the touchpoint of the best (1) or worst (-1) feeling told often enough."""
    told = seen[(seen["told"] >= ENOUGH) & (sign * seen["feeling"] > 0)]
    return None if told.empty else told.loc[(sign * told["feeling"]).idxmax()]


def _new(one: pd.Series | None, usual: pd.Series | None) -> bool:
    """Tell whether a touchpoint stands out that does not stand out for everybody."""
    return one is not None and (usual is None or one["touchpoint"] != usual["touchpoint"])


def _feels_otherwise(
    seen: pd.DataFrame, one: pd.Series, usual: pd.Series | None, sign: int
) -> bool:
    """Tell whether a group's best or worst feeling is clearly beyond that of everybody's there."""
    if usual is None:
        return True
    same = seen[(seen["touchpoint"] == usual["touchpoint"]) & (seen["told"] >= ENOUGH)]
    limit = one["feeling_lower" if sign > 0 else "feeling_upper"]
    return len(same) > 0 and bool(sign * limit > sign * same["feeling"].iloc[0])


def _telling(log, seen: Experience, sign: int, usual: Experience | None = None) -> str:
    """Say what helps (1) or hurts (-1): all of it, or what is not so of everybody."""
    effects = seen.effects
    common = effects.iloc[:0] if usual is None else usual.effects
    parts = []
    one, known = _strongest(effects, sign), _strongest(common, sign)
    if _new(one, known):
        parts.append(_followed(log, one))
    one, known = _felt(effects, sign), _felt(common, sign)
    if _new(one, known) and _feels_otherwise(effects, one, known, sign):
        parts.append(
            f"{'Best' if sign > 0 else 'Worst'} feeling: {_words(one['touchpoint'])} "
            f"({one['feeling']:+.2f}, {one['feeling_lower']:+.2f} to {one['feeling_upper']:+.2f}, "
            f"n {one['told']:,})."
        )
    return " ".join(parts)


def _followed(log, one: pd.Series) -> str:
    least = log.dataset.privacy.smallest_group
    share = share_of(round(one["followed"] * one["visits"]), one["visits"], least)
    return (
        f"With {_words(one['touchpoint'])} in {log.label(one['stage'])}, a purchase follows in "
        f"{share} of {one['visits']:,} visits, without it in {one['otherwise']:.0%} "
        f"({100 * one['lower']:+.0f} to {100 * one['upper']:+.0f} points)."
    )


def _look_into(seen: Experience, usual: Experience | None = None) -> str:
    """Name the touchpoint that hurts most, unless it hurts everybody most."""
    one = _strongest(seen.effects, -1)
    known = None if usual is None else _strongest(usual.effects, -1)
    return f"Look into {_words(one['touchpoint'])} first." if _new(one, known) else ""


def _leak(log, seen: Experience) -> str:
    """Name the stage in which most journeys without a purchase ended, where they had a choice."""
    ends = seen.ends[seen.ends["journeys"] >= ENOUGH]
    if ends.empty or ends["share"].max() == 1 or len(stages_before(log)) < 2:
        return ""
    one = ends.loc[ends["share"].idxmax()]
    return (
        f"{one['share']:.0%} of {one['journeys']:,} journeys without a purchase ended in "
        f"{log.label(one['stage'])}."
    )


def _leak_of(log, seen: Experience) -> str:
    """Name the stage in which more such journeys ended than those of all other customers."""
    ends = seen.ends[(seen.ends["q_value"] < SURE) & (seen.ends["share"] > seen.ends["others"])]
    if ends.empty or len(stages_before(log)) < 2:
        return ""
    one = ends.loc[(ends["share"] - ends["others"]).idxmax()]
    return (
        f"{one['share']:.0%} of {one['journeys']:,} journeys without a purchase ended in "
        f"{log.label(one['stage'])}, against {one['others']:.0%} of the others'."
    )


def _words(name: str) -> str:
    return str(name).replace("_", " ")


def show_everybody(report, card: Persona) -> None:
    """Display the card of all customers together, a line per heading."""
    values = {heading.lower(): text for heading, text in card.lines.items()}
    lines = [f"- **{heading}:** {{{heading.lower()}}}" for heading in card.lines]
    text = "\n".join(["**{name}** · {size}", "", *lines])
    report.say(text, name=capital(card.segment), size=f"{card.size} customers", **values)


def show_cards(report, cards: Sequence[Persona], caption: str = "") -> None:
    """Display cards as rows of one table, with the headings that any of them has.

    Parameters
    ----------
    report : cjlib.report.Report
    cards : sequence of Persona
    caption : str
    """
    headings = [name for name in HEADINGS if any(name in card.lines for card in cards)]
    told = [
        {"segment": card.segment, "customers": card.size}
        | {heading.lower(): card.lines.get(heading, "") for heading in headings}
        for card in cards
    ]
    table = pd.DataFrame(told)
    report.show(table, dict.fromkeys(table.columns, str), rows=len(table), caption=caption)
