"""What the notebook of segments says in words: tables for reading, and sentences from figures."""

from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from cjlib.segments.clusters import stability_band
from cjlib.segments.rfm import NOT_YET
from cjlib.segments.segments import VIEWS, Segments

NAMES = {
    "rfm_segment": "RFM segments",
    "cluster": "behaviour clusters",
    "journey_type": "journey types",
}
LABELS = {
    "recency_days": "days since purchase",
    "frequency": "purchases",
    "value_share": "share of value",
}
FEW_REPEAT = 0.05  # share of repeat buyers below which frequency tells little


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
        answer = "one group: no difference that holds" if len(present) < 2 else None
        rows.append(
            {
                "view": NAMES[view],
                "seen by": question,
                "groups": len(present),
                "weakest": weakest,
                "reading": answer or (stability_band(weakest) if weakest == weakest else "unknown"),
            }
        )
    return pd.DataFrame(rows)


def repeat_sentence(scored: pd.DataFrame) -> str:
    """Return the sentence on repeat buyers; it warns where too few bought twice."""
    sentence = (
        "**{value:.1%}** of {n:,} buyers have bought more than once ({lower:.1%} to {upper:.1%})."
    )
    if len(scored) and (scored["frequency"] > 1).mean() < FEW_REPEAT:
        sentence += (
            " **This log can say little about who its customers are:** nearly all bought once, so "
            "frequency tells nobody apart, and the segments below are recency and value alone. A "
            "segment named for coming back holds the few who did."
        )
    return sentence


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
    those who bought just now only those without a purchase have ended.
    """
    formats = {
        "segment": str,
        "customers": ",d",
        "share": ".0%",
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
    if view == "rfm_segment" or len(log.stages.names) < 2:
        absent.add("conversion")
    return [name for name in formats if name not in absent], formats


def report_clusters(report, found: Segments) -> None:
    """Say how many behaviour clusters hold, and which names come from an earlier run."""
    model = found.clusters.model
    trials = model.trials_
    best = trials.loc[trials["weakest"].idxmax()] if len(trials) else None
    if model.n_clusters_ == 1:
        text = (
            "**No clusters hold.** Measured by how much of everything they do, the customers "
            "differ by degree, not in kind."
        )
        if best is not None:
            text += (
                " The best cut, into {k}, has a weakest group of stability {weakest:.2f}, below "
                "{holds:.1f}; a plan for such groups would be a plan for chance."
            )
        values = {} if best is None else {"k": best["k"], "weakest": best["weakest"]}
        report.finding(
            "behaviour_clusters",
            value=1,
            unit="clusters",
            sentence=text,
            holds=model.holds,
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
            unit="types",
            sentence="**One type of journey** foretells new customers' journeys as well as several "
            "do: in the order of stages, the customers do not fall into kinds.",
        )
        return
    report.finding(
        "journey_types",
        value=number,
        unit="types",
        sentence="**{value} types of journey.** The weakest is found again with a Jaccard index of "
        "{weakest:.2f} ({band}); {sure:.0%} of the customers belong to their type with a "
        "probability of 80% or more (n {n:,}).",
        weakest=float(np.min(types.stability)),
        band=stability_band(float(np.min(types.stability))),
        sure=float((found.customers["type_probability"] >= 0.8).mean()),
        n=len(found.customers),
    )


def pairs(found: Segments) -> list[tuple[str, str]]:
    """Return the pairs of views that both tell customers apart."""
    return list(combinations(found.views, 2))


def report_agreement(report, found: Segments) -> None:
    """Say how far each pair of views agrees."""
    if not pairs(found):
        report.say("Only one view tells the customers apart, so there is nothing to compare.")
    for one, other in pairs(found):
        index = adjusted_rand_score(
            found.customers[one].cat.codes.to_numpy(), found.customers[other].cat.codes.to_numpy()
        )
        reading = (
            "nearly the same" if index > 0.8 else "partly the same" if index > 0.2 else "different"
        )
        report.say(
            "{one} and {other} tell **{reading}** things (adjusted Rand index {index:.2f}, "
            "n {n:,}).",
            one=NAMES[one],
            other=NAMES[other],
            reading=reading,
            index=index,
            n=len(found.customers),
        )


def report_churn(report, profile: pd.DataFrame, log) -> None:
    """Say which group lost most of its buyers, and which least."""
    days = log.dataset.churn.horizon.days
    rows = profile[profile["churn"].notna() & (profile["churn_buyers"] >= 30)]
    everybody = rows[rows["segmentation"] == "all"]
    if everybody.empty:
        report.say("Too few had bought one horizon ago ({days} days) to measure churn.", days=days)
        return
    total = everybody.iloc[0]
    report.finding(
        "churn",
        value=total["churn"],
        lower=total["churn_lower"],
        upper=total["churn_upper"],
        unit="share",
        sentence="Of {n:,.0f} customers who had bought {days} days ago, **{value:.0%}** "
        "({lower:.0%} to {upper:.0%}) have not bought since.",
        n=total["churn_buyers"],
        days=days,
    )
    for view, name in NAMES.items():
        groups = rows[rows["segmentation"] == VIEWS[view]]
        if len(groups) > 1:
            most, least = groups.loc[groups["churn"].idxmax()], groups.loc[groups["churn"].idxmin()]
            if most["churn_lower"] <= least["churn_upper"]:
                report.say("Among {name} all intervals meet: no difference that holds.", name=name)
                continue
            report.say(
                "Among {name} it is highest for **{most}**: {high:.0%} ({high_lower:.0%} to "
                "{high_upper:.0%}), and lowest for **{least}**: {low:.0%} ({low_lower:.0%} to "
                "{low_upper:.0%}).",
                name=name,
                most=most["segment"],
                high=most["churn"],
                high_lower=most["churn_lower"],
                high_upper=most["churn_upper"],
                least=least["segment"],
                low=least["churn"],
                low_lower=least["churn_lower"],
                low_upper=least["churn_upper"],
            )


def report_migration(report, moved: pd.DataFrame, stayed, then: pd.Timestamp) -> None:
    """Say how many buyers are in the segment they were in."""
    total = int(moved.to_numpy().sum())
    if not total:
        report.say("Nobody had bought by {then:%Y-%m-%d}, so nobody can have moved.", then=then)
        return
    report.finding(
        "migration_stayed",
        value=float(stayed.estimate),
        lower=float(stayed.lower),
        upper=float(stayed.upper),
        unit="share",
        sentence="**{value:.0%}** of {n:,} buyers ({lower:.0%} to {upper:.0%}) are in the segment "
        "they were in on {then:%Y-%m-%d}.",
        n=total,
        then=then,
    )
