"""What segments live through: what helps and hurts, where they are, where journeys end in vain."""

from dataclasses import dataclass

import ibis
import numpy as np
import pandas as pd

from cjlib.segments.findings import ENOUGH
from cjlib.segments.journey_types import ALL
from cjlib.segments.profiles import with_segment
from cjlib.segments.segments import Segments
from cjlib.uncertainty import benjamini_hochberg, bucket_array, difference_test, ratio


@dataclass(frozen=True)
class Experience:
    """What the customers of each segment of a view live through.

    Attributes
    ----------
    effects, where, ends : DataFrame
        See `touchpoint_effects`, `whereabouts` and `ends_in_vain`.
    """

    effects: pd.DataFrame
    where: pd.DataFrame
    ends: pd.DataFrame

    def of(self, segment: str) -> "Experience":
        """Return that of one segment."""
        tables = (self.effects, self.where, self.ends)
        return Experience(*(table[table["segment"] == segment] for table in tables))


def experience(log, customers: pd.DataFrame, view: str) -> Experience:
    """Return what the customers of each segment live through.

    Parameters
    ----------
    log : Log
    customers : DataFrame
        ``customer_id`` and the view.
    view : str
    """
    return Experience(
        touchpoint_effects(log, customers, view),
        whereabouts(log, customers, view),
        ends_in_vain(log, customers, view),
    )


def usual(log, found: Segments) -> Experience:
    """Return what holds for all customers together: said once, and not again on every card."""
    customers = found.customers[["customer_id"]].assign(everybody=ALL)
    return experience(log, customers, "everybody").of(ALL)


def touchpoint_effects(log, customers: pd.DataFrame, view: str) -> pd.DataFrame:
    """Compare, by segment, stage visits with and without a touchpoint, and how it felt.

    Of the visits to the touchpoint's stage in ended journeys: how often a purchase follows in the
    same journey when the touchpoint is there, and when it is not. How it felt is known at once, so
    feelings count in open journeys too. Visits are compared and not whole
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
        before the purchase), ``feeling`` (mean, with ``feeling_lower`` and ``feeling_upper``) and
        ``told`` (events with a feeling, those of open journeys too).
    """
    key = ["customer_id", "journey", "visit"]
    whole = ibis.window(group_by=["customer_id", "journey"])
    visits = log.visits
    buys = (visits.purchases > 0).ifelse(visits.visit, ibis.null("int64"))
    visits = visits.mutate(
        over=(visits.next_stage == "lost").fill_null(False).any().over(whole),
        followed=(buys.max().over(whole) > visits.visit).fill_null(False).cast("int64"),
    )
    reached = with_segment(visits, customers, view)
    reached = reached.select("segment", "bucket", "stage", "role", "over", "followed", *key)
    touched = log.events.group_by("touchpoint", *key).aggregate(
        feeling=lambda t: t.sentiment.sum().fill_null(0.0), told=lambda t: t.sentiment.count()
    )
    touched = touched.inner_join(reached, key)
    cells = ["segment", "bucket", "stage", "role", "touchpoint"]
    with_it = touched.group_by(cells).aggregate(
        visits=touched.over.sum(),
        followed=touched.followed.sum(where=touched.over).fill_null(0),
        customers=touched.customer_id.nunique(where=touched.over),
        feeling=touched.feeling.sum(),
        told=touched.told.sum(),
    )
    reached = reached.filter(reached.over)
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
        share = total[..., 1] / total[..., 0]
    felt = ratio(found[..., 3], found[..., 4], scale=(-1, 1))
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
            "feeling": felt.estimate.ravel(),
            "feeling_lower": felt.lower.ravel(),
            "feeling_upper": felt.upper.ravel(),
            "told": total[..., 4].ravel().astype(int),
        }
    )
    tested = (table["role"] == "before") & (table["visits"] >= ENOUGH)
    q_value = benjamini_hochberg(table["q_value"].where(tested))
    return table.assign(q_value=q_value)[table["visits"] + table["told"] > 0].reset_index(drop=True)


def whereabouts(log, customers: pd.DataFrame, view: str) -> pd.DataFrame:
    """Count where the customers of each segment are.

    Returns
    -------
    DataFrame
        By ``segment``: ``customers``, ``under_way`` (those in a journey that may go on), ``stage``
        (where most of those are) and ``at_stage`` (how many are there).
    """
    journeys = with_segment(log.journeys, customers, view)
    last = journeys.group_by("customer_id", "segment").aggregate(
        stage=journeys.last_stage.argmax(journeys.journey),
        end=journeys.end.argmax(journeys.journey),
    )
    last = last.group_by("segment", "end", "stage").aggregate(n=last.count()).to_pandas()
    last = last.sort_values(["segment", "n", "stage"], ascending=[True, False, True])
    rows = []
    for segment, group in last.groupby("segment"):
        going = group[group["end"] == "open"]
        rows.append(
            {
                "segment": segment,
                "customers": int(group["n"].sum()),
                "under_way": int(going["n"].sum()),
                "stage": going["stage"].iloc[0] if len(going) else None,
                "at_stage": int(going["n"].iloc[0]) if len(going) else 0,
            }
        )
    return pd.DataFrame(rows)


def ends_in_vain(log, customers: pd.DataFrame, view: str) -> pd.DataFrame:
    """Compare in which stage the journeys without a purchase ended, between segments.

    Returns
    -------
    DataFrame
        ``segment``, ``stage``, ``journeys`` (without a purchase, whatever stage they ended in),
        ``share`` (of them that ended in the stage), ``others`` (the share among all other
        customers) and ``q_value`` over the table, of segments with enough such journeys.
    """
    journeys = with_segment(log.journeys, customers, view)
    vain = journeys.filter(journeys.end == "lost", journeys.purchases == 0)
    vain = vain.group_by("segment", "bucket", "last_stage").aggregate(n=vain.count()).to_pandas()
    columns = ["segment", "stage", "journeys", "share", "others", "q_value"]
    if vain.empty:
        return pd.DataFrame(columns=columns)
    segments, stages = sorted(vain["segment"].unique()), sorted(vain["last_stage"].unique())
    ended = bucket_array(vain, ["segment", "last_stage"], "n")
    whole = np.broadcast_to(ended.sum(axis=2, keepdims=True), ended.shape)
    rest, all_rest = (part.sum(axis=1, keepdims=True) - part for part in (ended, whole))
    test = difference_test(ended, whole, rest, all_rest)
    share = ended.sum(axis=0) / whole.sum(axis=0)
    table = pd.DataFrame(
        {
            "segment": np.repeat(segments, len(stages)),
            "stage": np.tile(stages, len(segments)),
            "journeys": whole.sum(axis=0).ravel().astype(int),
            "share": share.ravel(),
            "others": (share - test.effect).ravel(),
        }
    )
    tested = pd.Series(test.p_value.ravel()).where(table["journeys"] >= ENOUGH)
    return table.assign(q_value=benjamini_hochberg(tested))[columns]
