"""What sets segments apart: value, conversion, feeling and churn, each with its interval."""

import json
from collections.abc import Callable

import numpy as np
import pandas as pd

from cjlib.errors import Unanswerable
from cjlib.journey_map.counts import with_segments
from cjlib.segments.cluster_names import ALL
from cjlib.segments.rfm import NOT_YET, purchase_history
from cjlib.segments.views import VIEWS, Views
from cjlib.uncertainty import Interval, benjamini_hochberg, difference_test, proportion, ratio

MEASURES = ("value", "conversion", "feeling", "churn")
"""What came of a segment's customers."""
SURE = 0.05  # q-value below which a group is told from the others
ENOUGH = 30  # customers, below which a group's churn is not talked about


def outcomes(log) -> pd.DataFrame:
    """Return what came of each customer, counted on the engine.

    Parameters
    ----------
    log : Log

    Returns
    -------
    DataFrame
        ``customer_id`` (the index), ``recency_days`` (NaN without a purchase), ``frequency``,
        ``value``, ``ended`` (journeys that have ended), ``bought`` (those of them with a purchase),
        ``feeling`` (sum) and ``told`` (events with a feeling).
    """
    journeys, events = log.journeys, log.events
    over = journeys.end == "lost"
    by_customer = journeys.group_by("customer_id").aggregate(
        ended=over.sum(), bought=(over & (journeys.purchases > 0)).sum()
    )
    feelings = events.group_by("customer_id").aggregate(
        feeling=events.sentiment.sum(), told=events.sentiment.count()
    )
    tables = [by_customer, feelings, purchase_history(log).drop("bucket")]
    indexed = [table.to_pandas().set_index("customer_id") for table in tables]
    found = indexed[0].join(indexed[1:])
    filled = ["frequency", "value", "ended", "bought", "feeling", "told"]
    return found.assign(**found[filled].astype(float).fillna(0.0))


def profiles(
    log, views: Views, now: pd.DataFrame, then: pd.DataFrame, stability: pd.DataFrame
) -> pd.DataFrame:
    """Describe every segment of every view, and everybody.

    Parameters
    ----------
    log : Log
    views : Views
    now, then : DataFrame
        Of `Views.at`, now and one churn horizon ago.
    stability : DataFrame
        Of `Views.stability`.

    Returns
    -------
    DataFrame
        ``segmentation``, ``segment``, ``customers``, ``share``, ``recency_days`` (median of the
        buyers), ``frequency`` and ``value`` (means per customer, with ``value_lower`` and
        ``value_upper``), ``stability``, ``conversion`` (ended journeys with a purchase),
        ``feeling`` (mean), each with its ``_lower`` and ``_upper`` limit, the churn of
        `churn_by_segment`, and of clusters the ``behaviour`` (mean of each feature, as JSON). Each
        measure's ``_q`` is the q-value of no difference between the segment and all others, over
        the segments of the view.
    """
    known = outcomes(log).reindex(now["customer_id"]).reset_index(drop=True)
    parts = []
    for segmentation, labels, sums in _groupings(now):
        counts = sums(np.ones(len(now)))
        spent = sums(known["value"] if log.has("value") else np.full(len(now), np.nan)), counts
        ended, felt = (
            (sums(known[above]), sums(known[below]))
            for above, below in (("bought", "ended"), ("feeling", "told"))
        )
        part = {
            "segmentation": segmentation,
            "segment": labels.categories,
            "customers": counts.sum(axis=0).astype(int),
            "share": counts.sum(axis=0) / max(len(now), 1),
            "recency_days": known["recency_days"].groupby(labels, observed=False).median().array,
            "frequency": ratio(sums(known["frequency"]), counts).estimate,
            **_measured("value", ratio(*spent), spent),
            **_measured("conversion", proportion(*ended), ended),
            **_measured("feeling", ratio(*felt, scale=(-1, 1)), felt),
        }
        parts.append(pd.DataFrame(part)[counts.sum(axis=0) > 0])
    table = pd.concat(parts, ignore_index=True)
    table = table.merge(stability, how="left").merge(churn_by_segment(log, then), how="left")
    centers = views.clusters.centers
    texts = {name: json.dumps(row.round(6).to_dict()) for name, row in centers.iterrows()}
    of_cluster = table["segmentation"] == "cluster"
    table["behaviour"] = table["segment"].where(of_cluster).map(texts)
    first = ["segmentation", "segment", "customers", "share", "recency_days", "frequency"]
    first += ["value", "stability"]
    return table[[*first, *table.columns.drop(first)]]


def _groupings(customers: pd.DataFrame):
    """Yield everybody's and each view's name, labels, and a function that adds up by bucket.

    The function takes a weight per customer and returns sums of shape (B, S).
    """
    buckets = customers["bucket"].to_numpy(dtype=np.int64)
    everybody = pd.Categorical([ALL] * len(customers), categories=[ALL])
    labelled = {ALL: everybody} | {
        name: pd.Categorical(customers[view]) for view, name in VIEWS.items()
    }
    for segmentation, labels in labelled.items():
        shape = (int(buckets.max(initial=0)) + 1, len(labels.categories))

        def sums(weights, labels=labels, shape=shape) -> np.ndarray:
            found = np.zeros(shape)
            known = labels.codes >= 0
            place = buckets[known], labels.codes[known]
            np.add.at(found, place, np.asarray(weights, dtype=float)[known])
            return found

        yield segmentation, labels, sums


def _measured(name: str, interval: Interval, counted: tuple[np.ndarray, np.ndarray]) -> dict:
    """Return a measure's columns: the estimate, its limits, and the test against all others."""
    return {
        name: interval.estimate,
        f"{name}_lower": interval.lower,
        f"{name}_upper": interval.upper,
        f"{name}_q": against_others(*counted),
    }


def against_others(hits: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """Test each segment's share or mean against that of all other customers together.

    Parameters
    ----------
    hits, trials : array of shape (B, S)
        Sums and counts by bucket and segment.

    Returns
    -------
    array of shape (S,)
        q-values over the segments (Benjamini-Hochberg); NaN where there is nothing to compare.
    """
    return benjamini_hochberg(_difference_from_others(hits, trials).p_value)


def _difference_from_others(hits: np.ndarray, trials: np.ndarray):
    rest_hits, rest_trials = (part.sum(axis=1, keepdims=True) - part for part in (hits, trials))
    return difference_test(hits, trials, rest_hits, rest_trials)


def churn_by_segment(log, then: pd.DataFrame) -> pd.DataFrame:
    """Measure how many buyers of each segment did not buy again within the horizon.

    Nothing is known of the future, so it is measured one horizon ago: the buyers known by then, in
    the segments they were in by what was known then, and whether they bought from then until now.

    Parameters
    ----------
    log : Log
    then : DataFrame
        Of `Views.at`, one horizon ago.

    Returns
    -------
    DataFrame
        ``segmentation``, ``segment``, ``churn``, ``churn_lower``, ``churn_upper``, ``churn_q`` and
        ``churn_buyers`` (customers it is measured on).
    """
    buyers = then[then["rfm_segment"] != NOT_YET]
    events = log.events
    after = events.filter(
        events.purchase, events.timestamp > log.as_of - log.dataset.churn.horizon
    ).select("customer_id")
    gone = ~buyers["customer_id"].isin(after.distinct().to_pandas()["customer_id"])
    parts = []
    for segmentation, labels, sums in _groupings(buyers):
        counted = sums(gone), sums(np.ones(len(buyers)))
        part = {
            "segmentation": segmentation,
            "segment": labels.categories,
            **_measured("churn", proportion(*counted, alike=1.0), counted),
            "churn_buyers": counted[1].sum(axis=0),
        }
        parts.append(pd.DataFrame(part)[part["churn_buyers"] > 0])
    return pd.concat(parts, ignore_index=True)


# -- tables for reading ----------------------------------------------------------------------------


def readable_profile(log, views: Views, profile: pd.DataFrame, enough: Callable) -> pd.DataFrame:
    """Return what of a profile can be shown and read.

    Groups too small to show and views of one group are left out, and what says little is missing:
    a churn that too few buyers tell; the conversion of RFM segments, which are made of purchases,
    and of whose journeys those that have ended are those without one; every conversion of a log
    without stages before the purchase, whose journeys begin with one.

    Parameters
    ----------
    log : Log
    views : Views
    profile : DataFrame
        Of `profiles`.
    enough : callable
        From numbers of customers to whether they may be shown, see ``Report.enough``.

    Returns
    -------
    DataFrame
        First what is read, ``view`` and ``segment`` to ``stability``, then limits and q-values.
        With ``value_share``: of the value, or of the purchases in a log without values.
    """
    names = {segmentation: views.name(view) for view, segmentation in VIEWS.items()}
    what = "value" if profile["value"].notna().any() else "frequency"
    total = profile[what] * profile["customers"]
    shares = total / total.groupby(profile["segmentation"]).transform("sum")
    table = profile.assign(value_share=shares, view=profile["segmentation"].map(names))
    _blank(table, "churn", ~(table["churn_buyers"] >= ENOUGH))
    before = {place.stage for place in log.dataset.touchpoints.values()} & set(log.stages.before)
    _blank(table, "conversion", (table["segmentation"] == "rfm") | (not before))
    first = ["view", "segment", "customers", "share", "recency_days", "frequency", "value"]
    first += ["value_share", "conversion", "feeling", "churn", "stability"]
    one_group = (table["segmentation"] != ALL) & (table["segment"] == ALL)
    table = table.loc[~one_group & enough(table["customers"])]
    return table[[*first, *table.columns.drop(first)]].reset_index(drop=True)


def _blank(table: pd.DataFrame, measure: str, rows: pd.Series) -> None:
    table.loc[rows, [measure, *(f"{measure}_{end}" for end in ("lower", "upper", "q"))]] = np.nan


def verdicts(views: Views, shown: pd.DataFrame) -> pd.DataFrame:
    """Say which groups differ from all other customers of their view, measure by measure.

    Parameters
    ----------
    views : Views
    shown : DataFrame
        Of `readable_profile`.

    Returns
    -------
    DataFrame
        ``view``, ``segment`` and a column per measure: "higher" or "lower" than all others (q below
        0.05 over the groups of the view), "none", or missing. What a view is made of is no finding
        and missing: the value of RFM segments, and value and feeling of clusters.
    """
    everybody = shown[shown["segmentation"] == ALL].iloc[0]
    table = shown[shown["segmentation"] != ALL]
    made_of = {"cluster": set(views.clusters.sample.columns)}
    made_of["rfm"] = set() if views.rules.bands else {"value"}
    told = {}
    for name in MEASURES:
        # A group above everybody's mean is above that of the others, too.
        way = np.where(table[name] > everybody[name], "higher", "lower")
        verdict = pd.Series(way, table.index).where(table[f"{name}_q"] < SURE, "none")
        built_in = table["segmentation"].isin([view for view in made_of if name in made_of[view]])
        told[name] = verdict.mask(table[f"{name}_q"].isna() | built_in)
    told = pd.DataFrame(told).dropna(axis=1, how="all")
    if told.empty:
        raise Unanswerable("no two groups can be compared in what came of them")
    return table[["view", "segment"]].join(told)


def attribute_shares(log, views: Views, customers: pd.DataFrame, most: int = 6) -> pd.DataFrame:
    """Compare what is known of customers beside the log between a segment and all others.

    Parameters
    ----------
    log : Log
    views : Views
    customers : DataFrame
        Of `Views.at`.
    most : int
        Levels of an attribute to look at, the most frequent ones.

    Returns
    -------
    DataFrame
        ``view``, ``segment``, ``attribute``, ``level``, ``customers``, ``share`` (of the segment),
        ``others_share`` (among all others), ``difference`` with ``lower`` and ``upper``,
        ``q_value`` over the groups, attributes and levels of the view, and ``verdict``: "higher",
        "lower" or "none".
    """
    if log.customers is None:
        raise Unanswerable("the dataset file names no table of customers")
    attributes = log.customers.to_pandas().set_index("customer_id")
    attributes = attributes.drop(columns="bucket", errors="ignore").astype("string")
    attributes = attributes.reindex(customers["customer_id"])
    told = {name: column.value_counts().index[:most] for name, column in attributes.items()}
    names = {segmentation: views.name(view) for view, segmentation in VIEWS.items()}
    views_told = []
    for segmentation, labels, sums in _groupings(customers):
        parts = []
        for attribute, levels in told.items() if len(labels.categories) > 1 else ():
            trials = sums(attributes[attribute].notna())
            for level in levels if len(levels) > 1 else ():
                hits = sums((attributes[attribute] == level).fillna(False))
                test = _difference_from_others(hits, trials)
                with np.errstate(invalid="ignore", divide="ignore"):
                    share = hits.sum(axis=0) / trials.sum(axis=0)
                part = {
                    "view": names[segmentation],
                    "segment": labels.categories,
                    "attribute": attribute,
                    "level": level,
                    "customers": hits.sum(axis=0).astype(int),
                    "share": share,
                    "others_share": share - test.effect,
                    "difference": test.effect,
                    "lower": test.lower,
                    "upper": test.upper,
                    "q_value": test.p_value,
                }
                parts.append(pd.DataFrame(part)[trials.sum(axis=0) > 0])
        if parts:
            table = pd.concat(parts, ignore_index=True)
            views_told.append(table.assign(q_value=benjamini_hochberg(table["q_value"])))
    if not views_told:
        raise Unanswerable("no attribute of the customers has two values")
    table = pd.concat(views_told, ignore_index=True)
    way = np.where(table["difference"] > 0, "higher", "lower")
    return table.assign(verdict=np.where(table["q_value"] < SURE, way, "none"))


def typical_journeys(
    log, views: Views, customers: pd.DataFrame, *, steps: int = 5, most: int = 2
) -> pd.DataFrame:
    """Count the most frequent beginnings of journeys, as stages in a row, by segment.

    Parameters
    ----------
    log : Log
    views : Views
        Segments are those of clusters and journey types; of RFM where those tell nobody apart.
    customers : DataFrame
        Of `Views.at`.
    steps : int
        Stages looked at, from the journey's start.
    most : int
        Journeys per segment.

    Returns
    -------
    DataFrame
        ``view``, ``segment``, ``journey``, ``journeys``, ``customers``, ``share`` of the segment's
        journeys and ``of`` how many, rounded to the smallest group that may be shown: beside exact
        parts it gives no small rest away. Journeys that are still open and shorter than ``steps``
        are left out.
    """
    telling = views.telling(customers)
    parts = []
    for view in telling[1:] or telling:
        visits = with_segments(log.visits, segments_of(customers, view))
        early = visits.filter(visits.visit < steps)
        paths = early.group_by("customer_id", "segment", "journey").aggregate(
            path=early.stage.group_concat(" > ", order_by=early.visit),
            n=early.count(),
            over=(early.next_stage == "lost").any().fill_null(False),
        )
        paths = paths.filter((paths.n == steps) | paths.over)
        counted = paths.group_by("segment", "path").aggregate(
            journeys=paths.count(), customers=paths.customer_id.nunique()
        )
        parts.append(counted.to_pandas().assign(view=views.name(view)))
    table = pd.concat(parts)
    if table["path"].nunique() < 2:
        raise Unanswerable("too few stages are met to tell journeys apart")
    order = ["view", "segment", "journeys", "path"]
    table = table.sort_values(order, ascending=[True, True, False, True])
    groups = table.groupby(["view", "segment"])
    total, step = groups["journeys"].transform("sum"), log.dataset.privacy.smallest_group
    rounded = (total / step).round().astype(int) * step
    table = table.assign(share=table["journeys"] / total, of=rounded)
    table = table[groups.cumcount() < most].reset_index(drop=True)
    stages = table["path"].str.split(" > ")
    shown = stages.map(lambda path: " → ".join(map(log.label, path)))
    table["journey"] = shown + np.where(stages.map(len) == steps, " …", "")
    return table[["view", "segment", "journey", "journeys", "customers", "share", "of"]]


def segments_of(customers: pd.DataFrame, view: str) -> pd.DataFrame:
    """Return ``customer_id`` and ``segment`` of one view."""
    segments = customers[["customer_id"]]
    return segments.assign(segment=customers[view].astype(str).to_numpy())
