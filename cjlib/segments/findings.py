"""What the notebook of segments says in words: tables for reading, and sentences from figures."""

from itertools import combinations

import numpy as np
import pandas as pd

from cjlib.segments.clusters import stability_band
from cjlib.segments.rfm import NOT_YET, few_repeat
from cjlib.segments.segments import VIEWS, Segments, association, cross_table

NAMES = {
    "rfm_segment": "RFM segments",
    "cluster": "behaviour clusters",
    "journey_type": "journey types",
}
STABLE_CUTS = 0.75  # share of a segment's buyers found again from which its cut points hold
SURE = 0.05  # q-value
ENOUGH = 30  # customers, below which a group's churn is not talked about


def capital(text: str) -> str:
    """Return a text with a capital first letter, and the others as they are."""
    return text[:1].upper() + text[1:]


def percent(share: float) -> str:
    """Return a share in whole percents, none of them where there is some."""
    return "under 1%" if 0 < share < 0.005 else f"{share:.0%}"


def about(n: int, smallest: int) -> str:
    """Return a total rounded so that, beside exact parts, it gives no small rest away."""
    return f"about {round(n / smallest) * smallest:,}" if smallest > 1 else f"{n:,}"


def view_name(found: Segments, view: str) -> str:
    """Return what the groups of a view are called."""
    return "recency bands" if view == "rfm_segment" and found.banded else NAMES[view]


def labels(log, view: str = "") -> dict[str, str]:
    """Return the headings of a view's profile, amounts with their currency."""
    money = f" ({log.dataset.currency})" if log.dataset.currency else ""
    return {
        "recency_days": "days since purchase",
        "frequency": "purchases",
        "value": f"value each{money}",
        "stability": "cut points found again" if view == "rfm_segment" else "stability",
    }


def overview(found: Segments) -> pd.DataFrame:
    """Return one row per view: what it asks, how many groups, how stable its weakest group is."""
    asks = {
        "rfm_segment": "what they bought, and when",
        "cluster": "what they did",
        "journey_type": "how their journeys run",
    }
    rows = []
    for view, question in asks.items():
        sizes = found.customers[view].value_counts()
        present = [name for name in sizes.index[sizes > 0] if name != NOT_YET]
        stable = [found.stability.get((view, name), np.nan) for name in present]
        weakest = np.nanmin(stable) if np.isfinite(stable).any() else np.nan
        rows.append(
            {
                "view": view_name(found, view),
                "seen by": question,
                "groups": len(present) if len(present) > 1 else 0,
                "weakest": weakest,
                "reading": _reading(found, view, len(present), weakest),
            }
        )
    return pd.DataFrame(rows)


def _reading(found: Segments, view: str, groups: int, weakest: float) -> str:
    """Say what a view's stability means; that of RFM segments is no sign that groups are apart."""
    if groups < 2:
        most = most_tried(found).get(view)
        return f"no groups up to {most} hold" if most else "no groups"
    if np.isnan(weakest):
        return "unknown"
    if view == "rfm_segment":
        return "cut points found again" if weakest >= STABLE_CUTS else "cut points uncertain"
    return stability_band(weakest)


def most_tried(found: Segments) -> dict[str, int]:
    """Return the largest number of groups tried, by view; without one that was more than one."""
    tried = {
        "cluster": found.clusters.model.trials_["k"],
        "journey_type": found.types.choice["components"],
    }
    return {view: int(k.max()) for view, k in tried.items() if len(k) and k.max() > 1}


def shown_rows(report, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the groups large enough to show, without a churn that too few buyers tell."""
    rows = rows[report.enough(rows["customers"])].copy()
    churn = ["churn", "churn_lower", "churn_upper", "churn_q"]
    rows.loc[rows["churn_buyers"] < ENOUGH, churn] = np.nan
    return rows


def small_groups(report, rows: pd.DataFrame) -> None:
    """Say how many groups have too few customers to be shown."""
    few = int((~report.enough(rows["customers"])).sum())
    if few:
        report.say(
            "{n} more {groups} fewer than {least} customers, too few to be shown.",
            n=few,
            groups="group has" if few == 1 else "groups have",
            least=report.log.dataset.privacy.smallest_group,
        )


def score_ranges(meaning: pd.DataFrame, currency: str = "") -> pd.DataFrame:
    """Return what the scores stand for with the scores across.

    Parameters
    ----------
    meaning : DataFrame
        Rows of `cjlib.segments.rfm.score_meaning`.
    currency : str

    Returns
    -------
    DataFrame
        One row per ``measure``, a column per score that any value got, texts such as "20 to 43".
    """
    names = {
        "recency": "days since purchase",
        "frequency": "purchases",
        "value": f"value ({currency})" if currency else "value",
    }
    said = [
        f"{row.low:,.0f}" if row.low == row.high else f"{row.low:,.0f} to {row.high:,.0f}"
        for row in meaning.itertuples()
    ]
    told = meaning.assign(measure=meaning["measure"].map(names), said=said)
    table = told.pivot_table("said", "measure", "score", aggfunc="first", fill_value="")
    table = table.reindex([name for name in names.values() if name in table.index])
    return table.rename(columns="score {}".format).rename_axis(columns=None)


def repeat_sentence(scored: pd.DataFrame) -> str:
    """Return the sentence on repeat buyers; it warns where too few bought twice."""
    sentence = (
        "**{value:.1%}** of {n:,} buyers have bought more than once ({lower:.1%} to {upper:.1%})."
    )
    if few_repeat(scored):
        sentence += (
            " **This log can say little about who its customers are:** nearly all bought once, so "
            "frequency tells nobody apart."
        )
    return sentence


def report_value(report, found: Segments, rows: pd.DataFrame) -> None:
    """Say which segment brings most; of recency bands, that they are no more than that."""
    if found.banded:
        report.say(
            "Buyers are shown by their last purchase alone, in fifths. The bands get no advice, "
            "and moves between them are not counted: who does not buy again moves by the calendar."
        )
        return
    top = rows.loc[rows["value_share"].idxmax()]
    report.say(
        "**{name}** are {share:.0%} of the customers and bring {part:.0%} of the {what}.",
        name=capital(top["segment"]),
        share=top["share"],
        part=top["value_share"],
        what=rows.attrs["of"],
    )


def with_value_share(profile: pd.DataFrame) -> pd.DataFrame:
    """Return the RFM rows with their ``value_share``: of value, or of purchases in its absence."""
    rows = profile[profile["segmentation"] == VIEWS["rfm_segment"]].copy()
    what = "value" if rows["value"].notna().any() else "frequency"
    total = rows[what] * rows["customers"]
    rows["value_share"] = total / total.sum()
    rows.attrs["of"] = "value" if what == "value" else "purchases"
    return rows


def profile_columns(log, view: str) -> tuple[list[str], dict]:
    """Return the columns of a view's profile that a log allows, with their formats.

    The conversion of RFM segments is left out: they are made of purchases, and of the journeys of
    those who bought just now only those without a purchase have ended. A log without stages before
    the purchase has no conversion: nearly all of its journeys begin with one.
    """
    formats = {
        "segment": str,
        "customers": ",d",
        "share": percent,
        "recency_days": ",.0f",
        "frequency": ".1f",
        "value": ",.0f",
        "conversion": ".0%",
        "feeling": "+.2f",
        "churn": ".0%",
        "stability": ".2f",
    }
    lacking = {"value": "value", "sentiment": "feeling"}
    absent = {name for column, name in lacking.items() if not log.has(column)}
    if view == "rfm_segment" or not stages_before(log):
        absent.add("conversion")
    return [name for name in formats if name not in absent], formats


def stages_before(log) -> set[str]:
    """Return the stages before the purchase in which the log has a touchpoint."""
    return {one.stage for one in log.dataset.touchpoints.values()} & set(log.stages.before)


def report_clusters(report, found: Segments) -> None:
    """Say how many behaviour clusters hold, and which names come from an earlier run."""
    model = found.clusters.model
    trials = model.trials_
    best = trials.loc[trials["weakest"].idxmax()] if len(trials) else None
    if model.n_clusters_ == 1:
        text = "**No clusters hold.**"
        if best is not None:
            text += (
                " By what they do, no cut of the customers into up to {most} groups is found again "
                "well enough: the best, into {k}, has a weakest group of stability {weakest:.2f}, "
                "below {holds:.1f}. A plan for such groups would be a plan for chance."
            )
        values = {} if best is None else {"k": best["k"], "weakest": best["weakest"]}
        report.finding(
            "behaviour_clusters",
            value=0,
            unit="clusters",
            sentence=text,
            holds=model.holds,
            most=most_tried(found).get("cluster"),
            **values,
        )
        return
    kept = trials[trials["chosen"]].iloc[0]
    report.finding(
        "behaviour_clusters",
        value=model.n_clusters_,
        unit="clusters",
        sentence="**{value} clusters hold** ({method}); the weakest has a stability of "
        "{weakest:.2f}: {band}. Its silhouette is {silhouette:.2f} (1: far apart, 0: touching).",
        method={"kmeans": "k-means", "mixture": "a Gaussian mixture"}[kept["method"]],
        weakest=kept["weakest"],
        silhouette=kept["silhouette"],
        band=stability_band(kept["weakest"]),
    )
    if found.clusters.kept:
        report.say(
            "{n} of them keep the name of a cluster of the earlier report.",
            n=len(found.clusters.kept),
        )


def report_types(report, found: Segments) -> None:
    """Say how many journey types there are, how sure memberships are, and how stable types are."""
    types = found.types
    number = len(types.names)
    if number == 1:
        report.finding(
            "journey_types",
            value=1,
            unit="type of journey",
            sentence="**One type of journey** foretells the journeys of customers not learned from "
            "as well as {tried} do.",
            tried=f"2 to {most}" if (most := most_tried(found).get("journey_type")) else "several",
        )
        return
    report.finding(
        "journey_types",
        value=number,
        unit="types of journey",
        sentence="**{value} types of journey.** The weakest is found again with a Jaccard index of "
        "{weakest:.2f} ({band}); {sure:.0%} of the customers belong to their type with a "
        "probability of 80% or more (n {n:,}).",
        weakest=float(np.min(types.stability)),
        band=stability_band(float(np.min(types.stability))),
        sure=float((found.customers["type_probability"] >= 0.8).mean()),
        n=len(found.customers),
    )


def pairs(found: Segments) -> list[tuple[str, str]]:
    """Return the pairs of views that both tell customers apart by more than the calendar."""
    views = [view for view in found.views if not (view == "rfm_segment" and found.banded)]
    return list(combinations(views, 2))


def report_agreement(report, found: Segments) -> None:
    """Say how far each pair of views goes together."""
    if not pairs(found):
        report.say("Only one view tells the customers apart, so there is nothing to compare.")
    for one, other in pairs(found):
        both = association(cross_table(found.customers, one, other))
        reading = (
            "are **nearly the same grouping**, or one divides the other further"
            if both >= 0.8
            else "are **not the same grouping**, but go together"
            if both >= 0.1
            else "have **next to nothing in common**"
        )
        report.say(
            f"The {{one}} and {{other}} {reading} (Cramér's V {{both:.2f}}, n {{n:,}}).",
            one=view_name(found, one),
            other=view_name(found, other),
            both=both,
            n=len(found.customers),
        )


def report_migration(report, moved: pd.DataFrame, stayed, then: pd.Timestamp) -> None:
    """Say how many buyers are in the segment they were in."""
    total = int(moved.to_numpy().sum())
    if not total:
        report.say(
            "Nobody had bought by {then.day} {then:%B %Y}, so nobody can have moved.", then=then
        )
        return
    report.finding(
        "migration_stayed",
        value=float(stayed.estimate),
        lower=float(stayed.lower),
        upper=float(stayed.upper),
        unit="share",
        sentence="**{value:.0%}** of {n:,} buyers ({lower:.0%} to {upper:.0%}) are in the segment "
        "they were in on {then.day} {then:%B %Y}.",
        n=total,
        then=then,
    )
