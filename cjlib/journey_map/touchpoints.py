"""The touchpoints of the journey: whom they reach, how they feel, where it hurts, what decides.

Counted on the engine by bucket of customers, so that every figure carries its interval. The unit of
every comparison is the *stage visit*: the visits of a stage in which a touchpoint occurred against
the visits of the same stage without it that have as many other events (a long visit meets more
touchpoints, whatever they do). Customers who meet a touchpoint may still differ from those who do
not, so the differences are associations, not effects.

What hurts: before and at the purchase, what loses customers; after it, where a journey ends by
nature and an event may come late only because something went wrong, what feels bad.
"""

import ibis
import numpy as np
import pandas as pd

from cjlib.errors import Unanswerable
from cjlib.journey_map.counts import (
    LENGTHS,
    OUTCOMES,
    bucket_counts,
    customers_by,
    events_by,
    put,
    total,
    touch_facts,
    touched_by_length,
    visit_facts,
    visits_by_length,
    with_segments,
)
from cjlib.log import Log
from cjlib.uncertainty import FOUND, benjamini_hochberg, difference_test, proportion, ratio

NOTABLE = 0.05  # least difference between visits with and without a touchpoint that gets a name
LEAST = 30  # visits on either side, purchases or feelings below which nothing is tested
LACKING = {
    "sentiment": f"no touchpoint has {LEAST} feelings",
    "pain": f"no touchpoint up to the purchase has {LEAST} visits with it and {LEAST} like them"
    " without it",
    "later_purchase": "each touchpoint is a purchase, is in all visits of its stage, or is followed"
    f" by fewer than {LEAST} purchases",
}


def touchpoint_table(
    log: Log,
    segments: pd.DataFrame | None = None,
    facts: tuple[ibis.Table, ibis.Table] | None = None,
) -> pd.DataFrame:
    """Return what happens at every touchpoint: whom it reaches, how it feels, where visits lead.

    This is the one comparison of visits with and without a touchpoint, and the one definition of
    "a purchase follows": the same customer buys within the churn horizon of the visit's start.
    The end of the journey does not cut it off, since a silence longer than the declared inactivity
    does not undo an influence; and visits are compared with those of the same stage that have as
    many other events, since a longer visit holds more of everything, purchases among it.

    Parameters
    ----------
    log : Log
    segments : DataFrame, optional
        ``customer_id`` and ``segment``, a row per customer, to tell segments apart: each is
        compared within itself. By default everybody is in the segment ``all``.
    facts : pair of Table, optional
        The log's `visit_facts` and `touch_facts`, where they are kept for several tables.

    Returns
    -------
    DataFrame
        One row per segment and touchpoint that it met, by segment, stage and customers; those of
        ``all`` are the published table ``journey_map``:

        * ``segment``, ``stage``, ``position``, ``role``, ``touchpoint``, ``initiator``, ``medium``;
        * ``n`` events, ``customers``, ``visits`` and ``closed`` visits with the touchpoint;
        * ``reach``: share of all customers (of the segment);
        * ``feelings`` (events with one), ``sentiment`` with ``lower`` and ``upper``: their mean,
          -1 to 1, and the ``negative_share`` of them;
        * ``advance_rate``, ``drop_off_rate`` of the visits with the touchpoint;
        * ``pain`` with ``pain_lower``, ``pain_upper``, ``p_value``, ``q_value``: drop-off rate of
          the visits with the touchpoint minus that of the same stage's visits without it but with
          as many other events (1, 2, 3, 4 to 5, 6 to 9, 10 or more, weighted as the visits with
          it), tested by customers, the q-value over all touchpoints tested; not in stages after
          the purchase;
        * ``onward`` with ``onward_lower``, ``onward_upper``: the same difference in advance rate;
        * ``later_purchase`` with ``later_purchase_lower``, ``later_purchase_upper``,
          ``later_purchase_q``: the share of visits that a purchase follows, ``followed_share``
          with the touchpoint minus ``otherwise_share`` without it, compared in the same way. Left
          out are visits whose horizon is not over yet, and visits in which the purchase had
          already happened when the touchpoint came; touchpoints that are purchases themselves, or
          mostly come after one in their visit, are not tested, nor those after whose visits, and
          the ones they are compared with, fewer than 30 purchases follow;
        * ``moment_of_truth``: whether that difference is at least 5 points either way with a
          q-value below 0.05;
        * ``pain_point`` and ``pain_verdict``: ``pain point``, ``settles``, ``none`` or
          ``untested``. Before and at the purchase (``pain_test`` ``drop-off``) a touchpoint is a
          pain point if ``pain`` is at least 5 points with a q-value below 0.05; but where the next
          stage or a purchase follows clearly more often as well (an interval above 0) it settles
          visits that would else go back, one way or the other. After the purchase (``feeling``),
          if the mean feeling is at most -0.05 with an interval below 0 that holds for all
          touchpoints tested together (Bonferroni).

        Differences are NaN, and nothing is tested, where fewer than 30 visits can be compared
        (``compared``: the lesser of the closed visits with the touchpoint and without it that have
        a counterpart), or fewer than 30 events have a feeling.
    """
    visits, touches = facts or (visit_facts(log), touch_facts(log))
    journeys, events, visits = (
        with_segments(part, segments) for part in (log.journeys, log.events, visits)
    )
    everybody = customers_by(journeys, "segment")
    columns = ["segment", "stage", "touchpoint", "initiator", "medium"]
    met = events_by(events, *columns)
    touched, all_visits = touched_by_length(touches, visits), visits_by_length(visits)
    buckets, names = np.unique(everybody["bucket"]), np.unique(everybody["segment"])

    met["row"] = met.groupby(["segment", "touchpoint"]).ngroup()
    table = met.drop_duplicates("row").set_index("row").sort_index()[columns]
    table.insert(2, "position", table["stage"].map(log.stages.positions).astype(int))
    table.insert(3, "role", table["stage"].map(log.stages.roles))
    counts = bucket_counts(met, ["row"], buckets, {"row": table.index})
    customers = bucket_counts(everybody, ["segment"], buckets, {"segment": names})["customers"]
    customers = customers[:, np.searchsorted(names, table["segment"])]
    table["n"], table["customers"] = total(counts["n"]), total(counts["customers"])
    put(table, "reach", proportion(counts["customers"], customers, alike=1.0))
    feeling = ratio(counts["feeling"], counts["felt"], scale=(-1, 1))
    table["feelings"], table["sentiment"] = total(counts["felt"]), feeling.estimate
    table["lower"], table["upper"] = feeling.lower, feeling.upper
    table["negative_share"] = proportion(counts["negative"], counts["felt"]).estimate

    compared = []
    for name, part in table.groupby("segment"):
        own = (counted[counted["segment"] == name] for counted in (touched, all_visits))
        compared.append(_compare_visits(part, *own, log, buckets))
    table = table.join(pd.concat(compared))
    table["q_value"] = benjamini_hochberg(table["p_value"])
    table["later_purchase_q"] = benjamini_hochberg(table.pop("later_purchase_p"))
    table["moment_of_truth"] = (table["later_purchase"].abs() >= NOTABLE) & (
        table["later_purchase_q"] < FOUND
    )
    return _judge_pain(table, counts).sort_values(
        ["segment", "position", "customers", "touchpoint"],
        ascending=[True, True, False, True],
        ignore_index=True,
    )


def ranked(touchpoints: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return the touchpoints that can be compared in a figure, from the greatest to the least.

    Parameters
    ----------
    touchpoints : DataFrame
        Rows of `touchpoint_table`.
    by : {"sentiment", "pain", "later_purchase"}

    Raises
    ------
    Unanswerable
        If there is none.
    """
    enough = touchpoints["feelings"] >= LEAST if by == "sentiment" else touchpoints[by].notna()
    if not enough.any():
        raise Unanswerable(LACKING[by])
    return touchpoints[enough].sort_values(by, ascending=False)


def _compare_visits(
    table: pd.DataFrame,
    touched: pd.DataFrame,
    all_visits: pd.DataFrame,
    log: Log,
    buckets: np.ndarray,
) -> pd.DataFrame:
    """Compare the visits of one segment with and without each touchpoint, a row of `table`."""
    classes = range(len(LENGTHS))
    levels = {"stage": log.stages.names, "touchpoint": table["touchpoint"]}
    levels |= {"length": classes, "others": classes}
    has = bucket_counts(touched, ["touchpoint", "others"], buckets, levels)
    had = bucket_counts(touched, ["touchpoint", "length"], buckets, levels)
    every = bucket_counts(all_visits, ["stage", "length"], buckets, levels)
    lacks = {name: every[name][:, table["position"]] - had[name] for name in OUTCOMES}
    whole = {name: counts.sum(axis=-1) for name, counts in has.items()}
    decided = 2 * total(whole["at_risk"]) < total(whole["followed"])
    # With it, a purchase follows only where none had happened when the touchpoint came.
    has |= {"followed": has["at_risk"], "bought": has["at_risk_bought"]}

    found = pd.DataFrame({name: total(whole[name]) for name in ("visits", "closed")}, table.index)
    put(found, "advance_rate", proportion(whole["advanced"], whole["closed"]))
    put(found, "drop_off_rate", proportion(whole["lost"], whole["closed"]))
    closed, followed, bought = (
        _alike(has, lacks, name, among)
        for name, among in (("closed", "closed"), ("followed", "followed"), ("bought", "followed"))
    )
    found["compared"] = closed.min(axis=0)
    few = found["compared"] < LEAST
    untested = table["touchpoint"].isin(log.dataset.journey.purchase) | decided
    untested |= (followed.min(axis=0) < LEAST) | (bought.sum(axis=0) < LEAST)
    for name, outcome, among, unknown in (
        ("pain", "lost", "closed", few | (table["role"] == "after")),
        ("onward", "advanced", "closed", few),
        ("later_purchase", "bought", "followed", untested),
    ):
        difference = difference_test(
            has[outcome], has[among], lacks[outcome], lacks[among], strata=True
        )
        part = pd.DataFrame(index=table.index)
        put(part, name, difference)
        part[f"{name}_p"] = difference.p_value
        found = found.join(part.mask(unknown))
    found["followed_share"] = np.where(untested, np.nan, bought[0] / np.maximum(followed[0], 1))
    found["otherwise_share"] = found["followed_share"] - found["later_purchase"]
    return found.drop(columns="onward_p").rename(columns={"pain_p": "p_value"})


def _alike(has: dict, lacks: dict, name: str, among: str) -> np.ndarray:
    """Return how many visits, with and without (2, T), of the lengths that occur both ways."""
    both = np.minimum(has[among].sum(axis=0), lacks[among].sum(axis=0)) > 0
    sides = [(side[name].sum(axis=0) * both).sum(axis=-1) for side in (has, lacks)]
    return np.array(sides, dtype=int)


def _judge_pain(table: pd.DataFrame, counts: dict[str, np.ndarray]) -> pd.DataFrame:
    """Say of each touchpoint whether it hurts; the rows are those of the counts."""
    after = table["role"] == "after"
    tested = np.where(after, table["feelings"], table["compared"]) >= LEAST
    lost_more = (table["pain"] >= NOTABLE) & (table["q_value"] < FOUND)
    settles = lost_more & ((table["onward_lower"] > 0) | (table["later_purchase_lower"] > 0))
    level = 1 - FOUND / max((after & tested).sum(), 1)
    upper = ratio(counts["feeling"], counts["felt"], level=level).upper
    feels_bad = after & tested & (table["sentiment"] <= -NOTABLE) & (upper < 0)
    hurts = (lost_more & ~settles) | feels_bad
    verdict = np.select([~tested, hurts, settles], ["untested", "pain point", "settles"], "none")
    test = np.where(after, "feeling", "drop-off")
    return table.assign(pain_point=hurts, pain_test=test, pain_verdict=verdict)
