"""The touchpoints of the journey: whom they reach, how they feel, where it hurts, what decides.

Counted on the engine by bucket of customers, so that every figure carries its interval. Visits with
and without a touchpoint are compared by `cjlib.journey_map.like_with_like`: with like visits, and
with visits of the same customers. What differs in both is still an association, not an effect.

What hurts: before and at the purchase, what loses customers; after it, where a journey ends by
nature and an event may come late only because something went wrong, what feels bad.
"""

import ibis
import numpy as np
import pandas as pd

from cjlib.errors import Unanswerable
from cjlib.journey_map.counts import (
    VISIT,
    bucket_counts,
    customers_by,
    events_by,
    put,
    total,
    touch_facts,
    visit_facts,
    with_segments,
)
from cjlib.journey_map.like_with_like import (
    OUTCOMES,
    PLACEBO,
    among_like_visits,
    among_same_customers,
    comparable,
    count,
    levels_of,
    of_customers,
    placebos,
    with_visits,
)
from cjlib.log import Log
from cjlib.uncertainty import FOUND, benjamini_hochberg, proportion, ratio

NOTABLE = 0.05  # least difference between visits with and without a touchpoint that gets a name
LEAST = 30  # visits on either side, purchases or feelings below which nothing is tested
COMPARED = {"pain": "lost", "onward": "advanced", "later_purchase": "bought"}
LACKING = {
    "sentiment": f"no touchpoint has {LEAST} feelings",
    "pain": f"no touchpoint up to the purchase has {LEAST} visits with it and {LEAST} like them"
    " without it",
    "later_purchase": "each touchpoint is a purchase, is in all visits of its stage, or is followed"
    f" by fewer than {LEAST} purchases",
}


def touchpoint_table(
    log: Log, segments: pd.DataFrame | None = None, only_feelings: str = ""
) -> pd.DataFrame:
    """Return what happens at every touchpoint: whom it reaches, how it feels, where visits lead.

    Visits with and without a touchpoint are compared in one way, that of
    `cjlib.journey_map.like_with_like`, and this is the one definition of "a purchase follows": the
    same customer buys within the churn horizon of the visit's start. The end of the journey does
    not cut it off, since a silence longer than the declared inactivity does not undo an influence.

    Parameters
    ----------
    log : Log
    segments : DataFrame, optional
        ``customer_id`` and ``segment``, to tell segments apart: each is compared within itself. By
        default everybody is in the segment ``all``. With a column ``view`` customers may be told
        apart in several ways at once, a row for each.
    only_feelings : str, optional
        A view in whose segments visits are not compared, only counted.

    Returns
    -------
    DataFrame
        One row per segment and touchpoint that it met, by segment, stage and customers; those of
        ``all`` that are no ``placebo`` are the published table ``journey_map``:

        * ``view`` (where given), ``segment``, ``stage``, ``position``, ``role``, ``touchpoint``,
          ``initiator``, ``medium``, ``contact``; ``placebo``: no touchpoint, but a quarter of the
          visits of the stage drawn at random, to show what chance looks like;
        * ``n`` events, ``customers``, ``visits`` and ``closed`` visits with the touchpoint;
        * ``reach``: share of all customers (of the segment);
        * ``feelings`` (events with one), ``sentiment`` with ``lower`` and ``upper``: their mean,
          -1 to 1, and the ``negative_share`` of them;
        * ``advance_rate``, ``drop_off_rate`` of the visits with the touchpoint;
        * ``compared``: the lesser of the closed visits with and without it that are alike in
          stage, length, tenure and activity; ``matched_share``: which share of those with it;
        * ``pain`` with ``pain_lower``, ``pain_upper``: drop-off rate of visits with the touchpoint
          minus that without it, of the same customers where 30 visits or more can be compared so
          (``pain_same_customers``), else of like visits; ``pain_like`` is that of like visits in
          any case, with its own ``pain_like_q``. ``q_value`` is below 0.05 where like visits
          differ by their q-value over all touchpoints tested, and of those so found the same
          customers' visits in the same direction by theirs. Not in stages after the purchase;
        * ``onward`` in the same way: the difference in advance rate;
        * ``later_purchase`` in the same way, with ``later_purchase_q``: the difference in the share
          of visits that a purchase follows, ``followed_share`` with the touchpoint, and
          ``otherwise_share`` what it would be less that difference. Left out are visits whose
          horizon is not over yet, and with the touchpoint those in which the purchase had already
          happened when it came; touchpoints that are purchases themselves, or mostly come after one
          in their visit, are not tested, nor those with fewer than 30 purchases to compare;
        * ``pain_point`` and ``pain_verdict``: ``pain point``, ``settles``, ``unconfirmed``,
          ``none`` or ``untested``. Before and at the purchase (``pain_test`` ``drop-off``) a
          touchpoint is a pain point if ``pain`` is at least 5 points, among the same customers,
          with a q-value below 0.05; but where the next stage or a purchase follows clearly more
          often as well (an interval above 0) it settles visits that would else go back, one way
          or the other. It is unconfirmed if that is so among like visits alone. After the purchase
          (``feeling``), if the mean feeling is at most -0.05 with an interval below 0 that holds
          for all touchpoints tested together (Bonferroni);
        * ``moment_of_truth`` and ``moment_verdict`` (``moment of truth``, ``unconfirmed``, ``none``
          or ``untested``): the same of ``later_purchase``, 5 points or more either way.

        Differences are NaN, and nothing is tested, where fewer than 30 visits can be compared, or
        fewer than 30 events have a feeling. The q-values of placebos are theirs alone, and those of
        touchpoints are over each view.
    """
    keys = ["view", "segment"] if segments is not None and "view" in segments else ["segment"]
    labels = pd.DataFrame({"segment": ["all"]}, index=["all"])
    if segments is not None:
        segments = segments.assign(code=segments.groupby(keys, observed=True).ngroup().astype(str))
        labels = segments.drop_duplicates("code").set_index("code")[keys]
        segments = segments.drop(columns="segment").rename(columns={"code": "segment"})
    compared = segments
    if only_feelings:
        compared = segments[segments["view"] != only_feelings]

    columns = ["segment", "stage", "touchpoint", "initiator", "medium"]
    lookback = log.dataset.churn.horizon.total_seconds()
    with comparable(visit_facts(log), lookback).cache() as visits:
        drawn = placebos(visits)
        touches = [part.select(*VISIT, "touchpoint", "step") for part in (touch_facts(log), drawn)]
        with with_visits(touches[0].union(touches[1]), visits).cache() as touched:
            ways = {
                "every": (visits, ["stage", "kind"]),
                "has": (touched, ["touchpoint", "kind"]),
            }
            means = of_customers(visits, touched)
            ways["stage_means"] = means[0], ["stage", "level", "other"]
            ways["means"] = means[1], ["touchpoint", "level"]
            counted = {
                name: (count(with_segments(part, compared), *cells), cells)
                for name, (part, cells) in ways.items()
            }
        nothing = {name: ibis.null("string") for name in ("initiator", "medium")}
        drawn = drawn.mutate(**nothing, sentiment=ibis.null("float64"))
        met = pd.concat(
            [events_by(with_segments(part, segments), *columns) for part in (log.events, drawn)]
        )
    everybody = customers_by(with_segments(log.journeys, segments), "segment")
    buckets, names = np.unique(everybody["bucket"]), np.unique(everybody["segment"])

    met["row"] = met.groupby(["segment", "touchpoint"]).ngroup()
    table = met.drop_duplicates("row").set_index("row").sort_index()[columns]
    table.insert(2, "position", table["stage"].map(log.stages.positions).astype(int))
    table.insert(3, "role", table["stage"].map(log.stages.roles))
    contact = {name: one.contact for name, one in log.dataset.touchpoints.items()}
    table["contact"] = [contact.get(name, "direct") for name in table["touchpoint"]]
    table["placebo"] = table["touchpoint"].str.startswith(PLACEBO)
    counts = bucket_counts(met, ["row"], buckets, {"row": table.index})
    customers = bucket_counts(everybody, ["segment"], buckets, {"segment": names})["customers"]
    customers = customers[:, np.searchsorted(names, table["segment"])]
    table["n"], table["customers"] = total(counts["n"]), total(counts["customers"])
    put(table, "reach", proportion(counts["customers"], customers, alike=1.0))
    feeling = ratio(counts["feeling"], counts["felt"], scale=(-1, 1))
    table["feelings"], table["sentiment"] = total(counts["felt"]), feeling.estimate
    table["lower"], table["upper"] = feeling.lower, feeling.upper
    table["negative_share"] = proportion(counts["negative"], counts["felt"]).estimate

    found = []
    for name in np.unique(counted["every"][0]["segment"]):
        own = {
            key: (rows[rows["segment"] == name], cells) for key, (rows, cells) in counted.items()
        }
        found.append(_compare_visits(table[table["segment"] == name], own, log, buckets))
    table = table.join(pd.concat(found))
    numbers, flags = (
        ["visits", "closed", "compared"],
        [f"{name}_same_customers" for name in COMPARED],
    )
    table[numbers], table[flags] = table[numbers].fillna(0).astype(int), table[flags].eq(True)
    table[keys] = labels.loc[table["segment"], keys].astype(str).to_numpy()
    families = table.groupby([*keys[:-1], "placebo"]).ngroup()
    found = pd.concat([_judge(part) for _, part in table.groupby(families)]).sort_index()
    return _judge_moments(_judge_pain(found, counts)).sort_values(
        [*keys, "position", "customers", "touchpoint"],
        ascending=[True] * len(keys) + [True, False, True],
        ignore_index=True,
    )


def ranked(touchpoints: pd.DataFrame, by: str, most: int | None = None) -> pd.DataFrame:
    """Return the touchpoints that can be compared in a figure, from the greatest to the least.

    Parameters
    ----------
    touchpoints : DataFrame
        Rows of `touchpoint_table`.
    by : {"sentiment", "pain", "later_purchase"}
    most : int, optional
        Only so many: the greatest, of ``later_purchase`` those farthest from 0; and beside them the
        placebo of the first one's stage.

    Raises
    ------
    Unanswerable
        If there is none.
    """
    enough = touchpoints["feelings"] >= LEAST if by == "sentiment" else touchpoints[by].notna()
    found, beside = (touchpoints[enough & (touchpoints["placebo"] == drawn)] for drawn in (0, 1))
    if found.empty:
        raise Unanswerable(LACKING[by])
    if most is not None:
        far = found[by].abs() if by == "later_purchase" else found[by]
        found = found.loc[far.nlargest(most).index]
        found = pd.concat([found, beside[beside["stage"] == found["stage"].iloc[0]]])
    return found.sort_values(by, ascending=False)


def _compare_visits(
    table: pd.DataFrame,
    counted: dict[str, tuple[pd.DataFrame, list[str]]],
    log: Log,
    buckets: np.ndarray,
) -> pd.DataFrame:
    """Compare the visits of one segment with and without each touchpoint, a row of `table`."""
    kinds = np.unique(counted["every"][0]["kind"])
    levels = {"stage": log.stages.names, "touchpoint": table["touchpoint"], "kind": kinds}
    levels |= dict.fromkeys(("level", "other"), np.unique(levels_of(kinds)))
    has, every, means, stage_means = (
        bucket_counts(*counted[name], buckets, levels)
        for name in ("has", "every", "means", "stage_means")
    )
    stages = table["position"].to_numpy()
    whole = {name: counts.sum(axis=-1) for name, counts in has.items()}
    decided = 2 * total(whole["at_risk"]) < total(whole["followed"])
    found = pd.DataFrame({name: total(whole[name]) for name in ("visits", "closed")}, table.index)
    put(found, "advance_rate", proportion(whole["advanced"], whole["closed"]))
    put(found, "drop_off_rate", proportion(whole["lost"], whole["closed"]))
    for name, outcome in COMPARED.items():
        like, sizes = among_like_visits(has, every, stages, outcome)
        same, told = among_same_customers(has, every, means, stage_means, stages, kinds, outcome)
        enough = told >= LEAST / 4  # as much as 30 visits tell, half of them with it
        unknown = pd.Series(sizes[:2].min(axis=0) < LEAST, table.index)
        if OUTCOMES[outcome] == "closed":
            found["compared"] = sizes[:2].min(axis=0)
            found["matched_share"] = sizes[0] / found["closed"].where(found["closed"] > 0)
        else:
            unknown |= table["touchpoint"].isin(log.dataset.journey.purchase) | decided
            unknown |= sizes[2] < LEAST
        if name == "pain":
            unknown |= table["role"] == "after"
        part = pd.DataFrame(index=table.index)
        for end, of in (("", "effect"), ("_lower", "lower"), ("_upper", "upper")):
            part[name + end] = np.where(enough, getattr(same, of), getattr(like, of))
        part[f"{name}_like"], part[f"{name}_like_p"] = like.effect, like.p_value
        along = np.sign(same.effect) == np.sign(like.effect)
        part[f"{name}_same_p"] = np.where(enough, np.where(along, same.p_value, 1.0), np.nan)
        found = found.join(part.mask(unknown))
        found[f"{name}_same_customers"] = enough & ~unknown
    share = total(whole["at_risk_bought"]) / np.maximum(total(whole["at_risk"]), 1)
    found["followed_share"] = np.where(found["later_purchase"].isna(), np.nan, share)
    found["otherwise_share"] = found["followed_share"] - found["later_purchase"]
    return found


def _judge(table: pd.DataFrame) -> pd.DataFrame:
    """Add q-values, over the touchpoints given, and say which are found."""
    adjust = np.asarray if table["placebo"].all() else benjamini_hochberg
    table = table.copy()
    for name, q_value in (("pain", "q_value"), ("later_purchase", "later_purchase_q")):
        like = table[f"{name}_like_q"] = adjust(table.pop(f"{name}_like_p"))
        same = adjust(table.pop(f"{name}_same_p").where(like < FOUND))
        table[q_value] = np.fmax(like, same)
    return table.drop(columns=["onward_like_p", "onward_same_p"])


def _judge_pain(table: pd.DataFrame, counts: dict[str, np.ndarray]) -> pd.DataFrame:
    """Say of each touchpoint whether it hurts; the rows are those of the counts."""
    after = table["role"] == "after"
    tested = np.where(after, table["feelings"], table["compared"]) >= LEAST
    lost_more, perhaps = _found(table["pain"], table["q_value"], table, "pain")
    settles = lost_more & ((table["onward_lower"] > 0) | (table["later_purchase_lower"] > 0))
    level = 1 - FOUND / max((after & tested).sum(), 1)
    upper = ratio(counts["feeling"], counts["felt"], level=level).upper
    feels_bad = after & tested & (table["sentiment"] <= -NOTABLE) & (upper < 0)
    hurts = (lost_more & ~settles) | feels_bad
    verdicts = {
        "untested": ~tested,
        "pain point": hurts,
        "settles": settles,
        "unconfirmed": perhaps,
    }
    table["pain_point"], table["pain_test"] = hurts, np.where(after, "feeling", "drop-off")
    table["pain_verdict"] = np.select(list(verdicts.values()), list(verdicts), "none")
    return table


def _judge_moments(table: pd.DataFrame) -> pd.DataFrame:
    """Say of each touchpoint whether it decides."""
    size = table["later_purchase"]
    found, perhaps = _found(size.abs(), table["later_purchase_q"], table, "later_purchase")
    verdicts = {"untested": size.isna(), "moment of truth": found, "unconfirmed": perhaps}
    table["moment_of_truth"] = found
    table["moment_verdict"] = np.select(list(verdicts.values()), list(verdicts), "none")
    return table


def _found(
    size: pd.Series, q_value: pd.Series, table: pd.DataFrame, name: str
) -> tuple[pd.Series, pd.Series]:
    """Return what is found, and what is found among like visits alone."""
    found = (size >= NOTABLE) & (q_value < FOUND) & table[f"{name}_same_customers"]
    like = table[f"{name}_like"] if name == "pain" else table[f"{name}_like"].abs()
    return found, ~found & (like >= NOTABLE) & (table[f"{name}_like_q"] < FOUND)
