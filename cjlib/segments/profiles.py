"""What sets segments apart: value, conversion, feeling and churn, each with its interval."""

import json
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from cjlib.errors import Unanswerable
from cjlib.journey_map.counts import put
from cjlib.journeys import OPEN
from cjlib.segments.cluster_names import ALL
from cjlib.segments.rfm import NOT_YET, purchase_history
from cjlib.segments.views import VIEWS, Views
from cjlib.uncertainty import (
    FOUND,
    Difference,
    benjamini_hochberg,
    bucket_array,
    difference_test,
    proportion,
    ratio,
)

MEASURES = {
    "value": ("value", "customers", ratio),
    "conversion": ("bought", "ended", proportion),
    "feeling": ("feeling", "told", partial(ratio, scale=(-1, 1))),
}
"""What came of a segment's customers: sums above and below the line, and the interval."""
CHURN = {"churn": ("gone", "customers", partial(proportion, alike=1.0))}
ENOUGH = 30  # customers, below which a group's churn is not talked about
LEVELS = 6  # of an attribute, the most frequent ones


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
    over = journeys.end != OPEN
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


def profiles(log, views: Views, now: pd.DataFrame, stability: pd.DataFrame) -> pd.DataFrame:
    """Describe every segment of every view, and everybody.

    Parameters
    ----------
    log : Log
    views : Views
    now : DataFrame
        Of `Views.at`.
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
    known = now.join(outcomes(log), on="customer_id")
    table = _measured(known, MEASURES)
    figures = {"recency_days": "median", "frequency": "mean"}
    usual = {
        name: known.groupby(labels, observed=True).agg(figures)
        for name, labels in _groupings(known).items()
    }
    usual = pd.concat(usual, names=["segmentation", "segment"]).reset_index()
    table = table.merge(usual, how="left").merge(stability, how="left")
    table = table.merge(churn_by_segment(log, views), how="left")
    table["share"] = table["customers"] / len(known)
    if not log.has("value"):
        _blank(table, "value", slice(None))
    centers = views.clusters.centers.round(6)
    texts = {name: json.dumps(row.to_dict()) for name, row in centers.iterrows()}
    table["behaviour"] = table["segment"].where(table["segmentation"] == "cluster").map(texts)
    first = ["segmentation", "segment", "customers", "share", "recency_days", "frequency"]
    first += ["value", "stability"]
    return table[[*first, *table.columns.drop(first)]]


def _groupings(customers: pd.DataFrame) -> dict[str, pd.Series]:
    """Return each customer's segment, a category: everybody's one, then by every view."""
    everybody = pd.Series(ALL, customers.index, dtype="category")
    found = {ALL: everybody} | {name: customers[view] for view, name in VIEWS.items()}
    return {name: labels.rename("segment") for name, labels in found.items()}


def _measured(customers: pd.DataFrame, measures: dict) -> pd.DataFrame:
    """Return ``customers`` and measures of every segment, each with its limits and q-value."""
    counted = customers.assign(customers=1)
    names = sorted({name for above, below, _ in measures.values() for name in (above, below)})
    buckets = int(customers["bucket"].max()) + 1 if len(customers) else 0
    parts = []
    for segmentation, labels in _groupings(customers).items():
        cells = counted.groupby(["bucket", labels], observed=True)[names].sum().reset_index()
        levels = {"segment": labels.cat.categories}
        sums = bucket_array(cells, ["segment"], names, buckets=buckets, levels=levels)
        sums = dict(zip(names, np.moveaxis(sums, -1, 0), strict=True))
        part = pd.DataFrame({"segmentation": segmentation, "segment": labels.cat.categories})
        part["customers"] = sums["customers"].sum(axis=0).astype(int)
        for measure, (above, below, interval) in measures.items():
            put(part, measure, interval(sums[above], sums[below]))
            others = against_others(sums[above], sums[below])
            part[f"{measure}_q"] = benjamini_hochberg(others.p_value)
        parts.append(part[part["customers"] > 0])
    return pd.concat(parts, ignore_index=True)


def against_others(hits: np.ndarray, trials: np.ndarray) -> Difference:
    """Test each segment's share or mean against that of all other customers together.

    Parameters
    ----------
    hits, trials : array of shape (B, S, ...)
        Sums and counts by bucket and segment.
    """
    rest_hits, rest_trials = (part.sum(axis=1, keepdims=True) - part for part in (hits, trials))
    return difference_test(hits, trials, rest_hits, rest_trials)


def shares_by_segment(rows: pd.DataFrame) -> pd.DataFrame:
    """Compare how often each level occurs between a segment and all others.

    Parameters
    ----------
    rows : DataFrame
        ``bucket``, ``segment``, ``level`` and how many, ``n``.

    Returns
    -------
    DataFrame
        One row per ``segment`` and ``level``: ``n`` ``of`` how many, ``share``, ``others_share``
        and their ``difference`` with ``lower``, ``upper`` and ``p_value``; without a test where
        there is one segment only.
    """
    cells = ["segment", "level"]
    counts = bucket_array(rows, cells, "n")
    whole = np.broadcast_to(counts.sum(axis=2, keepdims=True), counts.shape)
    test = against_others(counts, whole)
    names = [np.sort(rows[cell].unique()) for cell in cells]
    table = pd.MultiIndex.from_product(names, names=cells).to_frame(index=False)
    table["n"], table["of"] = (part.sum(axis=0).ravel().astype(int) for part in (counts, whole))
    table["share"] = table["n"] / table["of"]
    table["difference"], table["p_value"] = test.effect.ravel(), test.p_value.ravel()
    table["lower"], table["upper"] = test.lower.ravel(), test.upper.ravel()
    return table.assign(others_share=table["share"] - table["difference"])


def churn_by_segment(log, views: Views) -> pd.DataFrame:
    """Measure how many buyers of each segment did not buy again within the horizon.

    Nothing is known of the future, so it is measured one horizon ago: the buyers known by then, in
    the segments they were in by what was known then, and whether they bought from then until now.

    Parameters
    ----------
    log : Log
    views : Views

    Returns
    -------
    DataFrame
        ``segmentation``, ``segment``, ``churn``, ``churn_lower``, ``churn_upper``, ``churn_q`` and
        ``churn_buyers`` (customers it is measured on).
    """
    since = log.as_of - log.dataset.churn.horizon
    again = log.events.filter(log.events.purchase, log.events.timestamp > since)
    again = again.select("customer_id").distinct().to_pandas()["customer_id"]
    then = views.at(log, until=since)
    buyers = then[then["rfm_segment"] != NOT_YET]
    buyers = buyers.assign(gone=~buyers["customer_id"].isin(again))
    table = _measured(buyers, CHURN)
    return table.assign(churn_buyers=table.pop("customers"))


# -- tables for reading ----------------------------------------------------------------------------


def readable_profile(log, views: Views, profile: pd.DataFrame, enough: Callable) -> pd.DataFrame:
    """Return what of a profile can be read.

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
    """
    table = profile.assign(view=profile["segmentation"].map(views.names))
    _blank(table, "churn", ~(table["churn_buyers"] >= ENOUGH))
    before = {place.stage for place in log.dataset.touchpoints.values()} & set(log.stages.before)
    _blank(table, "conversion", (table["segmentation"] == "rfm") | (not before))
    first = ["view", "segment", "customers", "share", "recency_days", "frequency", "value"]
    first += ["conversion", "feeling", "churn", "stability"]
    one_group = (table["segmentation"] != ALL) & (table["segment"] == ALL)
    table = table.loc[~one_group & enough(table["customers"])]
    return table[[*first, *table.columns.drop(first)]].reset_index(drop=True)


def _blank(table: pd.DataFrame, measure: str, rows: pd.Series | slice) -> None:
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
    table = shown[shown["segmentation"] != ALL]
    if table.empty:
        raise Unanswerable("no group is large enough to be shown")
    everybody = shown[shown["segmentation"] == ALL].iloc[0]
    made_of = {
        "cluster": set(views.clusters.sample),
        "rfm": set() if views.rules.bands else {"value"},
    }
    told = {}
    for name in (*MEASURES, *CHURN):
        # A group above everybody's mean is above that of the others, too.
        way = np.where(table[name] > everybody[name], "higher", "lower")
        verdict = pd.Series(way, table.index).where(table[f"{name}_q"] < FOUND, "none")
        built_in = table["segmentation"].map(lambda view, name=name: name in made_of.get(view, ()))
        told[name] = verdict.mask(table[f"{name}_q"].isna() | built_in)
    told = pd.DataFrame(told).dropna(axis=1, how="all")
    if told.empty:
        raise Unanswerable("no two groups can be compared in what came of them")
    return table[["view", "segment"]].join(told)


def attribute_shares(log, views: Views, customers: pd.DataFrame) -> pd.DataFrame:
    """Compare what is known of customers beside the log between a segment and all others.

    Parameters
    ----------
    log : Log
    views : Views
    customers : DataFrame
        Of `Views.at`.

    Returns
    -------
    DataFrame
        Where a group differs in one of the most frequent levels of an attribute (q below 0.05 over
        the groups, attributes and levels of the view): ``view``, ``segment``, ``attribute``,
        ``level``, ``customers``, ``share`` (of the segment), ``others_share`` (among all others),
        ``difference`` with ``lower`` and ``upper``, and ``q_value``.
    """
    if log.customers is None:
        raise Unanswerable("the dataset file names no table of customers")
    known = log.customers.to_pandas().set_index("customer_id").astype("string")
    known = known.reindex(customers["customer_id"]).set_axis(customers.index)
    parts = []
    for segmentation, labels in _groupings(customers).items():
        for attribute, level in known.items():
            cells = [customers["bucket"], labels, level.rename("level")]
            counted = level.groupby(cells, observed=True).size().rename("n").reset_index()
            usual = level.value_counts().index[:LEVELS]
            if min(len(counted["segment"].unique()), len(usual)) > 1:
                part = shares_by_segment(counted.astype({"segment": str}))
                part = part[part["level"].isin(usual)]
                parts.append(part.assign(view=views.names[segmentation], attribute=attribute))
    if not parts:
        raise Unanswerable("no attribute of the customers has two values")
    table = pd.concat(parts, ignore_index=True)
    table["q_value"] = table.groupby("view")["p_value"].transform(benjamini_hochberg)
    columns = ["view", "segment", "attribute", "level", "n", "share", "others_share", "difference"]
    table = table.loc[table["q_value"] < FOUND, [*columns, "lower", "upper", "q_value"]]
    return table.rename(columns={"n": "customers"})
