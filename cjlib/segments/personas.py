"""A card per segment: who they are, where they stand, what helps, what hurts, what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass

import ibis
import numpy as np
import pandas as pd

from cjlib.segments.profiles import attribute_shares, with_segment
from cjlib.segments.rfm import NOT_YET, RuleTable
from cjlib.segments.segments import Segments
from cjlib.uncertainty import benjamini_hochberg, bucket_array, difference_test

ENOUGH = 30  # visits, or feelings told, below which a touchpoint is not talked about
SURE = 0.05  # q-value


@dataclass(frozen=True)
class Persona:
    """One segment in words.

    Attributes
    ----------
    segment : str
    size : str
        How many they are.
    lines : dict
        Heading to sentence: who, where, what helps, what hurts, what to do next.
    """

    segment: str
    size: str
    lines: dict[str, str]


def touchpoint_effects(log, customers: pd.DataFrame, view: str) -> pd.DataFrame:
    """Compare, by segment, stage visits with and without a touchpoint, and how it felt.

    Of the visits to the touchpoint's stage in ended journeys: how often a purchase follows in the
    same journey when the touchpoint is there, and when it is not. Visits are compared and not whole
    journeys, since a long journey holds more of everything. Visits with and without a touchpoint
    may differ in other ways too: this says what goes with a purchase, not what brings it.

    Parameters
    ----------
    log : Log
    customers : DataFrame
        ``customer_id`` and the view.
    view : str

    Returns
    -------
    DataFrame
        ``segment``, ``stage``, ``role``, ``touchpoint``, ``visits``, ``customers``, ``followed``,
        ``otherwise``, ``difference`` with ``lower`` and ``upper``, ``q_value`` (over touchpoints
        before the purchase), ``feeling`` (mean) and ``told`` (events with a feeling).
    """
    key = ["customer_id", "journey", "visit"]
    whole = ibis.window(group_by=["customer_id", "journey"])
    visits = log.visits
    buys = (visits.purchases > 0).ifelse(visits.visit, ibis.null("int64"))
    visits = visits.mutate(
        over=(visits.next_stage == "lost").fill_null(False).any().over(whole),
        followed=(buys.max().over(whole) > visits.visit).fill_null(False).cast("int64"),
    )
    reached = with_segment(visits.filter(visits.over), customers, view)
    reached = reached.select("segment", "bucket", "stage", "role", "followed", *key)
    touched = log.events.group_by("touchpoint", *key).aggregate(
        feeling=lambda t: t.sentiment.sum().fill_null(0.0), told=lambda t: t.sentiment.count()
    )
    touched = touched.inner_join(reached, key)
    cells = ["segment", "bucket", "stage", "role", "touchpoint"]
    with_it = touched.group_by(cells).aggregate(
        visits=touched.count(),
        followed=touched.followed.sum(),
        customers=touched.customer_id.nunique(),
        feeling=touched.feeling.sum(),
        told=touched.told.sum(),
    )
    stages = reached.group_by("segment", "bucket", "stage")
    stages = stages.aggregate(all_visits=reached.count(), all_followed=reached.followed.sum())
    return _compare(with_it.to_pandas(), stages.to_pandas())


def _compare(with_it: pd.DataFrame, stages: pd.DataFrame) -> pd.DataFrame:
    """Turn counts by bucket into shares, differences and q-values."""
    if with_it.empty:
        return pd.DataFrame(columns=["segment", "touchpoint", "role", "q_value", "told"])
    place = with_it[["stage", "role", "touchpoint"]].drop_duplicates()
    place = place.sort_values(["stage", "touchpoint"], ignore_index=True)
    segments = sorted(with_it["segment"].unique())
    buckets = int(max(with_it["bucket"].max(), stages["bucket"].max())) + 1
    levels = {"segment": segments, "touchpoint": list(place["touchpoint"])}
    values = ["visits", "followed", "customers", "feeling", "told"]
    cells = ["segment", "touchpoint"]
    found = bucket_array(with_it, cells, values, buckets=buckets, levels=levels)
    names = list(dict.fromkeys(place["stage"]))
    whole = bucket_array(
        stages,
        ["segment", "stage"],
        ["all_visits", "all_followed"],
        buckets=buckets,
        levels={"segment": segments, "stage": names},
    )[:, :, [names.index(stage) for stage in place["stage"]]]
    visits, followed = found[..., 0], found[..., 1]
    test = difference_test(followed, visits, whole[..., 1] - followed, whole[..., 0] - visits)
    total = found.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share, feeling = total[..., 1] / total[..., 0], total[..., 3] / total[..., 4]
    table = pd.DataFrame(
        {
            "segment": np.repeat(segments, len(place)),
            **{name: np.tile(place[name], len(segments)) for name in place},
            "visits": total[..., 0].ravel().astype(int),
            "customers": total[..., 2].ravel().astype(int),
            "followed": share.ravel(),
            "otherwise": (share - test.effect).ravel(),
            "difference": test.effect.ravel(),
            "lower": test.lower.ravel(),
            "upper": test.upper.ravel(),
            "q_value": test.p_value.ravel(),
            "feeling": feeling.ravel(),
            "told": total[..., 4].ravel().astype(int),
        }
    )
    tested = (table["role"] == "before") & (table["visits"] >= ENOUGH)
    q_value = benjamini_hochberg(table["q_value"].where(tested))
    return table.assign(q_value=q_value)[table["visits"] > 0].reset_index(drop=True)


def whereabouts(log, customers: pd.DataFrame, view: str) -> pd.DataFrame:
    """Return where the customers of each segment are, and where their journeys end in vain.

    Returns
    -------
    DataFrame
        By ``segment``: ``under_way`` (share in a journey that may go on), ``stage`` (the most
        frequent stage of those; of all, when nobody is under way), ``stage_share``, ``leak`` (the
        stage where most journeys without a purchase ended), ``leak_share`` and ``in_vain`` (how
        many such journeys).
    """
    journeys = with_segment(log.journeys, customers, view)
    last = journeys.group_by("customer_id", "segment").aggregate(
        stage=journeys.last_stage.argmax(journeys.journey),
        end=journeys.end.argmax(journeys.journey),
    )
    last = last.group_by("segment", "end", "stage").aggregate(n=last.count()).to_pandas()
    vain = journeys.filter(journeys.end == "lost", journeys.purchases == 0)
    vain = vain.group_by("segment", "last_stage").aggregate(n=vain.count()).to_pandas()
    vain = vain.sort_values(["n", "last_stage"], ascending=[False, True])
    rows = []
    for segment, group in last.groupby("segment"):
        going = group[group["end"] == "open"]
        of = going if len(going) else group
        stages = of.groupby("stage")["n"].sum().sort_values(ascending=False, kind="stable")
        leaks = vain[vain["segment"] == segment]
        rows.append(
            {
                "segment": segment,
                "under_way": going["n"].sum() / group["n"].sum(),
                "stage": stages.index[0],
                "stage_share": stages.iloc[0] / stages.sum(),
                "leak": leaks["last_stage"].iloc[0] if len(leaks) else None,
                "leak_share": leaks["n"].iloc[0] / leaks["n"].sum() if len(leaks) else np.nan,
                "in_vain": int(leaks["n"].sum()),
            }
        )
    return pd.DataFrame(rows)


def cards(log, found: Segments, view: str, profile: pd.DataFrame) -> list[Persona]:
    """Return a card per group of a view, from its rows of the profile; see `personas`."""
    effects = touchpoint_effects(log, found.customers, view)
    if view == "cluster" and any(f.group == "feeling" for f in found.clusters.features):
        effects["told"] = 0  # clusters are made of feelings: what feels best in one says nothing
    return personas(
        log,
        profile,
        effects,
        whereabouts(log, found.customers, view),
        attribute_shares(log, found, view),
        found.rules if view == "rfm_segment" else None,
    )


def personas(
    log,
    profile: pd.DataFrame,
    effects: pd.DataFrame,
    where: pd.DataFrame,
    attributes: pd.DataFrame,
    rules: RuleTable | None = None,
) -> list[Persona]:
    """Put what is known of each segment into words.

    Parameters
    ----------
    log : Log
    profile : DataFrame
        The rows of `cjlib.segments.profiles.profiles` of one view.
    effects, where, attributes : DataFrame
        Of the same view: `touchpoint_effects`, `whereabouts`,
        `cjlib.segments.profiles.attribute_shares`.
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
        seen = effects[effects["segment"] == row.segment]
        place = where[where["segment"] == row.segment].iloc[0]
        rule = rules.rule(row.segment) if rules and row.segment != NOT_YET else None
        known = attributes[attributes["segment"] == row.segment]
        lines = {
            "Who": _who(log, row, rule, known, least),
            "Where": _where(log, place),
            "Helps": _helps(log, seen),
            "Hurts": _hurts(log, seen),
            "Next": _next(log, row, rule, seen, place),
        }
        size = f"{row.customers:,} customers, {row.share:.0%}"
        cards.append(Persona(row.segment, size, {k: v for k, v in lines.items() if v}))
    return cards


def _who(log, row, rule, known: pd.DataFrame, least: int) -> str:
    parts = []
    if rule and rule.means:
        parts.append(f"They {rule.means}.")
    money = ""
    if log.has("value"):
        money = f", {row.value:,.0f} {log.dataset.currency}".rstrip() + " in all"
    if row.frequency > 0:
        times = "1 purchase" if row.frequency == 1 else f"{row.frequency:.1f} purchases"
        parts.append(
            f"On average {times}{money}; the last {row.recency_days:.0f} days ago (median)."
        )
    if not np.isnan(row.churn) and row.churn_buyers >= ENOUGH:
        days = log.dataset.churn.horizon.days
        parts.append(
            f"Of those who were so {days} days ago, {row.churn:.0%} have not bought since "
            f"({row.churn_lower:.0%} to {row.churn_upper:.0%})."
        )
    if len(known):
        more = known[(known["q_value"] < SURE) & (known["difference"] > 0)]
        more = more[more["customers"] >= least].nlargest(1, "difference")
        for one in more.itertuples(index=False):
            parts.append(
                f"More often {_words(one.attribute)} {one.level}: {one.share:.0%} against "
                f"{one.others:.0%} of the others."
            )
    return " ".join(parts)


def _where(log, place: pd.Series) -> str:
    if place["stage_share"] == 1:
        return f"{place['under_way']:.0%} are on a journey now."
    stage = log.label(place["stage"])
    if place["under_way"] > 0:
        return (
            f"{place['under_way']:.0%} are on a journey now, most often in {stage} "
            f"({place['stage_share']:.0%} of them)."
        )
    return f"All are silent; {place['stage_share']:.0%} fell silent in {stage}."


def _helps(log, seen: pd.DataFrame) -> str:
    sure = seen[(seen["q_value"] < SURE) & (seen["difference"] > 0)].nlargest(1, "difference")
    parts = [_followed(log, one) for one in sure.itertuples(index=False)]
    best = seen[(seen["told"] >= ENOUGH) & (seen["feeling"] > 0)].nlargest(1, "feeling")
    for one in best.itertuples(index=False):
        parts.append(
            f"Best feeling: {_words(one.touchpoint)} ({one.feeling:+.2f}, n {one.told:,})."
        )
    return " ".join(parts)


def _hurts(log, seen: pd.DataFrame) -> str:
    sure = seen[(seen["q_value"] < SURE) & (seen["difference"] < 0)].nsmallest(1, "difference")
    parts = [_followed(log, one) for one in sure.itertuples(index=False)]
    worst = seen[(seen["told"] >= ENOUGH) & (seen["feeling"] < 0)].nsmallest(1, "feeling")
    for one in worst.itertuples(index=False):
        parts.append(
            f"Worst feeling: {_words(one.touchpoint)} ({one.feeling:+.2f}, n {one.told:,})."
        )
    return " ".join(parts)


def _followed(log, one) -> str:
    return (
        f"With {_words(one.touchpoint)} in {log.label(one.stage)}, a purchase follows in "
        f"{one.followed:.0%} of {one.visits:,} visits, without it in {one.otherwise:.0%}."
    )


def _next(log, row, rule, seen: pd.DataFrame, place: pd.Series) -> str:
    parts = [rule.advice] if rule and rule.advice else []
    bad = seen[(seen["q_value"] < SURE) & (seen["difference"] < 0)].nsmallest(1, "difference")
    if len(bad):
        parts.append(f"Look into {_words(bad['touchpoint'].iloc[0])} first.")
    elif place["in_vain"] >= ENOUGH and len(log.stages.names) > 1:
        parts.append(
            f"Look into {log.label(place['leak'])}: {place['leak_share']:.0%} of "
            f"{place['in_vain']:,} journeys without a purchase ended there."
        )
    return " ".join(parts)


def _words(name: str) -> str:
    return str(name).replace("_", " ")


def show_cards(report, cards: Sequence[Persona]) -> None:
    """Display cards one below the other.

    Parameters
    ----------
    report : cjlib.report.Report
    cards : sequence of Persona
    """
    parts, values = [], {}
    for i, card in enumerate(cards):
        values |= {f"name{i}": card.segment.capitalize(), f"size{i}": card.size}
        lines = []
        for j, (heading, text) in enumerate(card.lines.items()):
            values[f"text{i}_{j}"] = text
            lines.append(f"- **{heading}:** {{text{i}_{j}}}")
        parts.append("\n".join([f"**{{name{i}}}** · {{size{i}}}", "", *lines]))
    report.say("\n\n".join(parts), **values)
