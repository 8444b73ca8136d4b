"""A card per segment: who they are, where they stand, what stands out, what to do next."""

import numpy as np
import pandas as pd

from cjlib.journey_map import touchpoint_table
from cjlib.journey_map.counts import with_segments
from cjlib.segments.cluster_names import ALL
from cjlib.segments.profiles import ENOUGH, SURE, segments_of
from cjlib.segments.views import Views
from cjlib.uncertainty import benjamini_hochberg, bucket_array, difference_test


def cards(log, views: Views, customers: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    """Say of every segment, and of everybody, who and where they are.

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
        One row per segment, everybody first: ``view``, ``segment``, ``recency_days``, ``overdue``
        (whether that is more than the churn horizon), the columns of `whereabouts` and of
        `ends_in_vain`, and of RFM segments what the rule ``means`` and its ``advice``.
        Recency bands have no card: a band by the calendar is nobody to write to.
    """
    parts = []
    for view, segments in _segments(views, customers).items():
        found = whereabouts(log, segments).merge(ends_in_vain(log, segments), "left", "segment")
        parts.append(found.assign(view=view))
    table = shown[["view", "segment", "recency_days"]].assign(
        overdue=shown["recency_days"] > log.dataset.churn.horizon.days,
        view=shown["view"].fillna(ALL),
    )
    table = table.merge(pd.concat(parts, ignore_index=True), on=["view", "segment"])
    rules = views.rules.to_frame().assign(view=views.name("rfm_segment"))
    return table.merge(rules, "left", ["view", "segment"])


def _segments(views: Views, customers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return everybody, and the segments of every view that tells customers apart."""
    found = {ALL: customers[["customer_id"]].assign(segment=ALL)}
    for view in views.telling(customers):
        if not (view == "rfm_segment" and views.rules.bands):
            found[views.name(view)] = segments_of(customers, view)
    return found


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
    columns = ["segment", "end_stage", "end_journeys", "end_share", "others_share"]
    journeys = with_segments(log.journeys, segments)
    vain = journeys.filter(journeys.end == "lost", journeys.purchases == 0)
    vain = vain.group_by("segment", "bucket", "last_stage").aggregate(n=vain.count()).to_pandas()
    names, stages = sorted(vain["segment"].unique()), sorted(vain["last_stage"].unique())
    if len(stages) < 2:
        return pd.DataFrame(columns=columns)
    ended = bucket_array(vain, ["segment", "last_stage"], "n")
    whole = np.broadcast_to(ended.sum(axis=2, keepdims=True), ended.shape)
    rest, all_rest = (part.sum(axis=1, keepdims=True) - part for part in (ended, whole))
    test = difference_test(ended, whole, rest, all_rest)
    share = ended.sum(axis=0) / whole.sum(axis=0)
    table = pd.DataFrame(
        {
            "segment": np.repeat(names, len(stages)),
            "end_stage": np.tile(stages, len(names)),
            "end_journeys": whole.sum(axis=0).ravel().astype(int),
            "end_share": share.ravel(),
            "others_share": (share - test.effect).ravel(),
            "more": (share if len(names) == 1 else test.effect).ravel(),
        }
    )
    enough = table["end_journeys"] >= ENOUGH
    q_value = benjamini_hochberg(pd.Series(test.p_value.ravel()).where(enough))
    sure = enough if len(names) == 1 else (q_value < SURE) & (table["more"] > 0)
    table = table[sure].sort_values("more", ascending=False, kind="stable")
    return table.drop_duplicates("segment")[columns]


def standing_out(log, views: Views, customers: pd.DataFrame, shown: pd.DataFrame) -> pd.DataFrame:
    """Return the touchpoints that stand out: for everybody, then for a segment alone.

    Before the purchase, those that a purchase follows most clearly more, or less, often than
    visits to the same stage without them (see `cjlib.journey_map.touchpoint_table`); and those of
    the best and the worst feeling, told 30 times or more. What holds for everybody is not said
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
        ``view``, ``segment``, ``verdict`` ("more", "less", "best" or "worst"), ``stage``,
        ``touchpoint``, ``visits``, ``followed_share``, ``otherwise_share``, ``difference`` with
        ``difference_lower`` and ``difference_upper``, ``sentiment`` with ``lower`` and ``upper``,
        and ``feelings``.
    """
    tables = [
        touchpoint_table(log, segments).assign(view=view)
        for view, segments in _segments(views, customers).items()
    ]
    table = pd.concat(tables, ignore_index=True)
    table = table.rename(columns=lambda name: name.replace("later_purchase", "difference"))
    table = table.merge(shown[["view", "segment"]].fillna({"view": ALL}))
    least = log.dataset.privacy.smallest_group
    followed = (table["followed_share"] * table["visits"]).round()
    tested = (table["role"] == "before") & (table["difference_q"] < SURE)
    tested &= _share(followed, table["visits"], least).notna()
    tested &= table["view"] != views.name("rfm_segment")
    felt = table["feelings"] >= ENOUGH
    if "feeling" in views.clusters.sample:
        felt &= table["view"] != views.name("cluster")
    difference, sentiment = table["difference"].where(tested), table["sentiment"].where(felt)
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
    columns = [
        *["view", "segment", "verdict", "stage", "touchpoint", "visits", "followed_share"],
        *["otherwise_share", "difference", "difference_lower", "difference_upper"],
        *["sentiment", "lower", "upper", "feelings"],
    ]
    return told[columns].reset_index(drop=True)
