"""What sets segments apart: value, conversion, feeling and churn, each with its interval."""

import json

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa

from cjlib.segments.journey_types import ALL
from cjlib.segments.rfm import purchase_history, rfm
from cjlib.segments.segments import VIEWS, Segments
from cjlib.uncertainty import Interval, benjamini_hochberg, difference_test, proportion, ratio

MEASURES = ("value", "conversion", "feeling", "churn")
"""What came of a segment's customers."""
ATTRIBUTE_FORMATS = {
    "segment": str,
    "attribute": str,
    "level": str,
    "customers": ",d",
    "share": ".0%",
    "others": ".0%",
    **dict.fromkeys(["difference", "lower", "upper"], lambda share: f"{100 * share:+.0f} points"),
}
ATTRIBUTE_COLUMNS = list(ATTRIBUTE_FORMATS)


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
    journeys = log.journeys
    over = journeys.end == "lost"
    by_customer = journeys.group_by("customer_id").aggregate(
        ended=over.sum(), bought=(over & (journeys.purchases > 0)).sum()
    )
    events = log.events
    feelings = events.group_by("customer_id").aggregate(
        feeling=events.sentiment.sum(), told=events.sentiment.count()
    )
    history = purchase_history(events, log.as_of, value=log.has("value")).drop("bucket")
    found = by_customer.to_pandas().set_index("customer_id")
    for table in (feelings, history):
        found = found.join(table.to_pandas().set_index("customer_id"))
    filled = ["frequency", "value", "ended", "bought", "feeling", "told"]
    return found.assign(**found[filled].astype(float).fillna(0.0))


def profiles(log, segments: Segments, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """Describe every segment of every view, and everybody.

    Parameters
    ----------
    log : Log
    segments : Segments
    known : DataFrame, optional
        The result of `outcomes`, when it is at hand.

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
    known = outcomes(log) if known is None else known
    customers = segments.customers
    known = known.reindex(customers["customer_id"])
    buckets = customers["bucket"].to_numpy()
    parts = []
    for view, segmentation in {ALL: ALL, **VIEWS}.items():
        labels = _labels(customers, view)
        counts = _sums(buckets, labels, np.ones(len(labels)))
        present = counts.sum(axis=0) > 0

        def sums(column, buckets=buckets, labels=labels):
            return _sums(buckets, labels, known[column].to_numpy())

        recency = pd.Series(known["recency_days"].to_numpy()).groupby(labels, observed=False)
        part = pd.DataFrame(
            {
                "segmentation": segmentation,
                "segment": labels.categories,
                "customers": counts.sum(axis=0).astype(int),
                "share": counts.sum(axis=0) / max(len(labels), 1),
                "recency_days": recency.median().to_numpy(),
                "frequency": ratio(sums("frequency"), counts).estimate,
                "stability": [segments.stability.get((view, s)) for s in labels.categories],
            }
        )
        spent = (sums("value") if log.has("value") else np.full(counts.shape, np.nan), counts)
        ended, felt = (sums("bought"), sums("ended")), (sums("feeling"), sums("told"))
        part = part.assign(
            **_measured("value", ratio(*spent), spent),
            **_measured("conversion", proportion(*ended), ended),
            **_measured("feeling", ratio(*felt, scale=(-1, 1)), felt),
        )
        parts.append(part[present])
    table = pd.concat(parts, ignore_index=True)
    table = table.merge(churn_by_segment(log, segments), how="left")
    centers = segments.clusters.centers
    texts = {name: json.dumps(row.round(6).to_dict()) for name, row in centers.iterrows()}
    of_cluster = table["segmentation"] == "cluster"
    table["behaviour"] = table["segment"].where(of_cluster).map(texts)
    table["stability"] = table["stability"].astype(float)
    first = ["segmentation", "segment", "customers", "share", "recency_days", "frequency", "value"]
    return table[[*first, *table.columns.drop(first)]]


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
    rest_hits = hits.sum(axis=1, keepdims=True) - hits
    rest_trials = trials.sum(axis=1, keepdims=True) - trials
    return benjamini_hochberg(difference_test(hits, trials, rest_hits, rest_trials).p_value)


def churn_by_segment(log, segments: Segments) -> pd.DataFrame:
    """Measure how many buyers of each segment did not buy again within the horizon.

    Nothing is known of the future, so it is measured one horizon ago: the buyers known by then, in
    the segments they were in by what was known then, and whether they bought from then until now.

    Returns
    -------
    DataFrame
        ``segmentation``, ``segment``, ``churn``, ``churn_lower``, ``churn_upper``, ``churn_q`` and
        ``churn_buyers`` (customers it is measured on); no rows when nobody had bought by then.
    """
    cutoff = log.as_of - log.dataset.churn.horizon
    figures = ["churn", "churn_lower", "churn_upper", "churn_q", "churn_buyers"]
    then = rfm(log, as_of=cutoff, rules=segments.rules)
    if then.empty:
        empty = pd.DataFrame(columns=["segmentation", "segment", *figures])
        return empty.astype(dict.fromkeys(figures, float))
    then = then.set_index("customer_id")
    events = log.events
    after = events.filter(events.purchase, events.timestamp > cutoff).select("customer_id")
    returned = then.index.isin(after.distinct().to_pandas()["customer_id"])
    clusters = segments.clusters.assign(log, until=cutoff).set_index("customer_id")
    types = segments.types.assign(log, until=cutoff).set_index("customer_id")
    labelled = then.assign(
        cluster=clusters["cluster"].reindex(then.index).array,
        journey_type=types["journey_type"].reindex(then.index).array,
    )
    buckets = then["bucket"].to_numpy()
    parts = []
    for view, segmentation in {ALL: ALL, **VIEWS}.items():
        labels = _labels(labelled, view)
        buyers = _sums(buckets, labels, np.ones(len(labels)))
        gone = _sums(buckets, labels, ~returned)
        part = {
            "segmentation": segmentation,
            "segment": labels.categories,
            **_measured("churn", proportion(gone, buyers, alike=1.0), (gone, buyers)),
            "churn_buyers": buyers.sum(axis=0),
        }
        parts.append(pd.DataFrame(part)[buyers.sum(axis=0) > 0])
    return pd.concat(parts, ignore_index=True)


def attribute_shares(log, segments: Segments, view: str, most: int = 6) -> pd.DataFrame:
    """Compare what is known of customers beside the log between a segment and all others.

    Parameters
    ----------
    log : Log
    segments : Segments
    view : str
        A column of ``segments.customers``.
    most : int
        Levels of an attribute to look at, the most frequent ones.

    Returns
    -------
    DataFrame
        ``segment``, ``attribute``, ``level``, ``customers``, ``share`` (of the segment), ``others``
        (share among all others), ``difference`` with ``lower`` and ``upper``, and ``q_value`` over
        the whole table; empty for a log without a customers table.
    """
    if log.customers is None:
        return pd.DataFrame(columns=[*ATTRIBUTE_COLUMNS, "q_value"])
    customers = segments.customers
    attributes = log.customers.to_pandas().set_index("customer_id")
    attributes = attributes.drop(columns="bucket", errors="ignore")
    attributes = attributes.reindex(customers["customer_id"])
    labels, buckets = _labels(customers, view), customers["bucket"].to_numpy()
    parts = []
    for attribute in attributes.columns:
        levels = attributes[attribute].astype("string").value_counts().index[:most]
        if not len(levels) > 1:
            continue
        stated = attributes[attribute].notna().to_numpy()
        trials = _sums(buckets, labels, stated)
        for level in levels:
            hits = _sums(buckets, labels, (attributes[attribute].astype("string") == level))
            rest_hits = hits.sum(axis=1, keepdims=True) - hits
            rest_trials = trials.sum(axis=1, keepdims=True) - trials
            test = difference_test(hits, trials, rest_hits, rest_trials)
            with np.errstate(invalid="ignore", divide="ignore"):
                share = hits.sum(axis=0) / trials.sum(axis=0)
            part = {
                "segment": labels.categories,
                "attribute": attribute,
                "level": level,
                "customers": hits.sum(axis=0).astype(int),
                "share": share,
                "others": share - test.effect,
                "difference": test.effect,
                "lower": test.lower,
                "upper": test.upper,
                "q_value": test.p_value,
            }
            parts.append(pd.DataFrame(part)[trials.sum(axis=0) > 0])
    if not parts:
        return pd.DataFrame(columns=[*ATTRIBUTE_COLUMNS, "q_value"])
    table = pd.concat(parts, ignore_index=True)
    return table.assign(q_value=benjamini_hochberg(table["q_value"]))


def typical_journeys(log, customers: pd.DataFrame, view: str, *, steps: int = 5, most: int = 3):
    """Count the most frequent beginnings of journeys, as stages in a row, by segment.

    Parameters
    ----------
    log : Log
    customers : DataFrame
        ``customer_id`` and the view.
    view : str
    steps : int
        Stages looked at, from the journey's start.
    most : int
        Journeys per segment.

    Returns
    -------
    DataFrame
        ``segment``, ``journey``, ``journeys``, ``customers``, ``share`` of the segment's journeys
        and ``of`` how many. Journeys that are still open and shorter than ``steps`` are left out.
    """
    visits = with_segment(log.visits, customers, view)
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
    table = counted.to_pandas().sort_values(
        ["segment", "journeys", "path"], ascending=[True, False, True]
    )
    table["of"] = table.groupby("segment")["journeys"].transform("sum")
    table["share"] = table["journeys"] / table["of"]
    table = table.groupby("segment").head(most).reset_index(drop=True)
    labels = {stage: log.label(stage) for stage in log.stages.names}
    told = table["path"].str.split(" > ")
    said = told.map(lambda path: " → ".join(labels[stage] for stage in path))
    said += np.where(told.map(len) == steps, " …", "")
    columns = ["segment", "journey", "journeys", "customers", "share", "of"]
    return table.assign(journey=said)[columns]


def with_segment(table, customers: pd.DataFrame, view: str):
    """Return an engine's table with the column ``segment`` of each customer's view."""
    return table.inner_join(as_table(customers, view), "customer_id")


def as_table(customers: pd.DataFrame, view: str):
    """Return ``customer_id`` and ``segment`` as an in-memory table of the engine."""
    frame = {
        "customer_id": pa.array(customers["customer_id"], pa.string()),
        "segment": pa.array(customers[view].astype(str), pa.string()),
    }
    return ibis.memtable(pa.table(frame))


def _labels(customers: pd.DataFrame, view: str) -> pd.Categorical:
    if view == ALL:
        return pd.Categorical.from_codes(np.zeros(len(customers), dtype=int), [ALL])
    return pd.Categorical(customers[view])


def _sums(buckets: np.ndarray, labels: pd.Categorical, weights) -> np.ndarray:
    """Add up weights by bucket and segment, shape (B, S)."""
    known = labels.codes >= 0
    shape = (int(buckets.max(initial=0)) + 1, len(labels.categories))
    place = buckets[known].astype(np.int64) * shape[1] + labels.codes[known]
    weights = np.asarray(weights, dtype=float)[known]
    return np.bincount(place, weights=weights, minlength=shape[0] * shape[1]).reshape(shape)


def repeat_share(scored: pd.DataFrame) -> Interval:
    """Return the share of buyers who have bought more than once, with its interval."""
    buckets, size = scored["bucket"], int(scored["bucket"].max()) + 1 if len(scored) else 1
    again = np.bincount(buckets, weights=scored["frequency"] > 1, minlength=size)
    return proportion(again, np.bincount(buckets, minlength=size), alike=1.0)
