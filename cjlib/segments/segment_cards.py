"""Cards of segments: how their journeys begin, where they are, and what stands out."""

import numpy as np
import pandas as pd

from cjlib.journey_map import touchpoint_table
from cjlib.journey_map.counts import with_segments
from cjlib.journeys import OPEN
from cjlib.segments.cluster_names import ALL
from cjlib.segments.profiles import ENOUGH, shares_by_segment
from cjlib.segments.views import Views
from cjlib.uncertainty import FOUND, benjamini_hochberg

STEPS = 5  # stages of a journey's beginning
TYPICAL = 2  # beginnings told of a segment


def typical_journeys(log, views: Views, customers: pd.DataFrame) -> pd.DataFrame:
    """Count the most frequent beginnings of journeys, as stages in a row, by segment.

    Parameters
    ----------
    log : Log
    views : Views
        Segments are those of clusters and journey types; where neither tells customers apart, of
        RFM and of everybody.
    customers : DataFrame
        Of `Views.at`.

    Returns
    -------
    DataFrame
        ``view``, ``segment``, ``journey`` (its first five stages), ``journeys``, ``customers``,
        ``share`` of the segment's journeys and ``of`` how many, rounded to the smallest group that
        may be shown: beside exact parts it gives no small rest away. Journeys that are still open
        and shorter are left out.
    """
    groups = views.segments(customers)
    ways = {view: groups[view] for view in groups if view not in (ALL, views.names["rfm"])}
    parts = []
    for view, segments in (ways or groups).items():
        visits = with_segments(log.visits, segments)
        early = visits.filter(visits.visit < STEPS)
        paths = early.group_by("customer_id", "segment", "journey").aggregate(
            path=early.stage.group_concat(" > ", order_by=early.visit),
            n=early.count(),
            over=(early["last"] & early.next_stage.notnull()).any(),
        )
        paths = paths.filter((paths.n == STEPS) | paths.over)
        counted = paths.group_by("segment", "path").aggregate(
            journeys=paths.count(), customers=paths.customer_id.nunique()
        )
        parts.append(counted.to_pandas().assign(view=view))
    table = pd.concat(parts)
    order = ["view", "segment", "journeys", "path"]
    table = table.sort_values(order, ascending=[True, True, False, True])
    journeys = table.groupby(["view", "segment"])["journeys"]
    total, step = journeys.transform("sum"), log.dataset.privacy.smallest_group
    table["share"], table["of"] = (
        table["journeys"] / total,
        (total / step).round().astype(int) * step,
    )
    table = table[journeys.cumcount() < TYPICAL].reset_index(drop=True)
    stages = table["path"].str.split(" > ")
    shown = stages.map(lambda path: " → ".join(map(log.label, path)))
    table["journey"] = shown + np.where(stages.map(len) == STEPS, " …", "")
    return table[["view", "segment", "journey", "journeys", "customers", "share", "of"]]


def cards(log, views: Views, customers: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    """Say of every segment, and of everybody, where they are and where their journeys end.

    Parameters
    ----------
    log : Log
    views : Views
    customers : DataFrame
        Of `Views.at`.
    shown : DataFrame
        Of `cjlib.segments.profiles.readable_profile`: the segments that get a card.

    Returns
    -------
    DataFrame
        One row per segment, everybody first: ``view``, ``segment``, the columns of `whereabouts`
        and of `ends_in_vain`. Recency bands have no card, see `Views.segments`.
    """
    parts = []
    for view, segments in views.segments(customers).items():
        found = whereabouts(log, segments).merge(ends_in_vain(log, segments), "left", "segment")
        parts.append(found.assign(view=view))
    return _spoken_of(shown).merge(pd.concat(parts, ignore_index=True))


def _spoken_of(shown: pd.DataFrame) -> pd.DataFrame:
    """Return the ``view`` and ``segment`` that may be spoken of; everybody's view is ``all``."""
    return shown[["view", "segment"]].fillna({"view": ALL})


def whereabouts(log, segments: pd.DataFrame) -> pd.DataFrame:
    """Return where the customers of each segment are.

    Parameters
    ----------
    log : Log
    segments : DataFrame
        ``customer_id`` and ``segment``.

    Returns
    -------
    DataFrame
        ``segment``, ``under_way_share`` (of the customers: in a journey that may go on),
        ``at_stage`` (where most of those are) and ``at_stage_share`` (of those). Shares that would
        tell a group too small to show, or the size of its rest, are missing.
    """
    journeys = with_segments(log.journeys, segments)
    last = journeys.group_by("customer_id", "segment").aggregate(
        stage=journeys.last_stage.argmax(journeys.journey),
        end=journeys.end.argmax(journeys.journey),
    )
    last = last.group_by("segment", "end", "stage").aggregate(n=last.count()).to_pandas()
    customers = last.groupby("segment")["n"].sum()
    going = last[last["end"] == "open"].sort_values(["n", "stage"], ascending=[False, True])
    going = going.groupby("segment").agg(
        under_way=("n", "sum"), at_stage=("stage", "first"), there=("n", "first")
    )
    table = going.reindex(customers.index)
    table = table.fillna({"under_way": 0, "there": 0})
    least = log.dataset.privacy.smallest_group
    table["under_way_share"] = _share(table["under_way"], customers, least)
    table["at_stage_share"] = _share(table["there"], table["under_way"], least)
    table.loc[table["under_way"] < least, "at_stage"] = None
    return table[["under_way_share", "at_stage", "at_stage_share"]].reset_index()


def _share(count: pd.Series, total: pd.Series, least: int) -> pd.Series:
    """Return shares, missing where the count or its rest is a group too small to show."""
    rest = total - count
    small = ((count > 0) & (count < least)) | ((rest > 0) & (rest < least))
    return (count / total.where(total > 0)).mask(small)


def ends_in_vain(log, segments: pd.DataFrame) -> pd.DataFrame:
    """Return in which stage the journeys without a purchase ended, where that tells something.

    Parameters
    ----------
    log : Log
    segments : DataFrame
        ``customer_id`` and ``segment``.

    Returns
    -------
    DataFrame
        One row per segment that has something to tell: the ``end_stage`` in which more of its
        journeys without a purchase ended than of those of all other customers (q below 0.05 over
        segments and stages), the one most so; of a single segment the stage in which most ended.
        ``end_share`` of how many ``end_journeys``, and ``others_share`` of all others' journeys.
    """
    journeys = with_segments(log.journeys, segments)
    vain = journeys.filter(journeys.end != OPEN, journeys.purchases == 0)
    vain = vain.group_by("segment", "bucket", level=vain.last_stage).aggregate(n=vain.count())
    table = shares_by_segment(vain.to_pandas())
    alone = len(table["segment"].unique()) == 1
    enough = (table["of"] >= ENOUGH) & (len(table["level"].unique()) > 1)
    q_value = benjamini_hochberg(table["p_value"].where(enough))
    more = table["share"] if alone else table["difference"]
    table = table[enough & (alone | (q_value < FOUND) & (more > 0))]
    table = table.loc[more.reindex(table.index).sort_values(ascending=False, kind="stable").index]
    columns = {"level": "end_stage", "of": "end_journeys", "share": "end_share"}
    table = table.drop_duplicates("segment").rename(columns=columns)
    return table[["segment", *columns.values(), "others_share"]]


def standing_out(log, views: Views, customers: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    """Return the touchpoints that stand out: for everybody, then for a segment alone.

    Before the purchase, the moments of truth that a purchase follows most more, or less, often (see
    `cjlib.journey_map.touchpoint_table`); and the touchpoints of the best and the worst feeling,
    told 30 times or more. What holds for everybody is not said
    again of a segment, whose feelings must also be clearly beyond its own at everybody's
    touchpoint. What a view is made of says nothing within its groups: of RFM segments no purchase
    is told (who is in one has bought just so often), of clusters made of feelings no feeling.

    Parameters
    ----------
    log : Log
    views : Views
    customers : DataFrame
        Of `Views.at`.
    shown : DataFrame
        Of `cjlib.segments.profiles.readable_profile`: the segments that may be spoken of.

    Returns
    -------
    DataFrame
        ``view``, ``segment``, ``verdict`` ("more", "less", "best" or "worst") and the columns of
        `cjlib.journey_map.touchpoint_table`.
    """
    groups = views.segments(customers)
    stacked = [segments.astype(str).assign(view=view) for view, segments in groups.items()]
    rfm = views.names["rfm"] if views.names["rfm"] in groups else ""
    table = touchpoint_table(log, pd.concat(stacked, ignore_index=True), only_feelings=rfm)
    table = table[~table["placebo"]].merge(_spoken_of(shown))
    least = log.dataset.privacy.smallest_group
    followed = (table["followed_share"] * table["visits"]).round()
    tested = (table["role"] == "before") & table["moment_of_truth"]
    tested &= _share(followed, table["visits"], least).notna()
    felt = table["feelings"] >= ENOUGH
    if "feeling" in views.clusters.sample:
        felt &= table["view"] != views.names["cluster"]
    difference, sentiment = table["later_purchase"].where(tested), table["sentiment"].where(felt)
    extents = {"more": difference, "less": -difference, "best": sentiment, "worst": -sentiment}
    told = pd.concat([table.assign(verdict=name, extent=far) for name, far in extents.items()])
    told = told[told["extent"] > 0].sort_values("extent", ascending=False, kind="stable")
    told = told.drop_duplicates(["view", "segment", "verdict"])

    usual = told[told["view"] == ALL].set_index("verdict")["touchpoint"]
    common = told["verdict"].map(usual)
    cells = pd.MultiIndex.from_frame(told[["view", "segment"]].assign(touchpoint=common))
    own = table[felt].set_index(cells.names)["sentiment"].reindex(cells).to_numpy()
    beyond = np.where(told["verdict"] == "best", told["lower"] > own, told["upper"] < own)
    unlike = told["verdict"].isin(["more", "less"]) | beyond
    new = common.isna() | ((told["touchpoint"] != common) & unlike)
    told = told[new | (told["view"] == ALL)].sort_index(kind="stable")
    return told.reset_index(drop=True)
