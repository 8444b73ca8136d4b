"""The customer journey map: stages, their touchpoints, the feeling along the way, where it hurts.

Counted on the engine by bucket of customers, so that every figure carries its interval. The unit of
every comparison is the *stage visit*: the visits of a stage in which a touchpoint occurred against
the visits of the same stage without it. Customers who meet a touchpoint may differ from those who
do not, so the differences are associations, not effects.

Where visits lead:

* ``advance_rate``: share of the closed visits whose next stage lies later in the model or carries
  the purchase (so a return from after the purchase to buying again counts as an advance);
* ``drop_off_rate``: share of the closed visits after which the journey was lost. Open visits, whose
  end has not been seen, count in neither.
"""

import numpy as np
import pandas as pd

from cjlib.journey_counts import (
    bucket_counts,
    customer_counts,
    feelings,
    total,
    touchpoints_by_bucket,
    visit_facts,
    visits_by_bucket,
)
from cjlib.log import Log
from cjlib.uncertainty import (
    Interval,
    benjamini_hochberg,
    difference_test,
    proportion,
    ratio,
)

NOTABLE = 0.05  # least difference between visits with and without a touchpoint that gets a name
FOUND = 0.05  # q-value below which a difference counts as found


def stage_table(log: Log) -> pd.DataFrame:
    """Return how many pass each stage, how long they stay, how they feel and where they go next.

    Parameters
    ----------
    log : Log

    Returns
    -------
    DataFrame
        One row per stage of the model in its order, the published table ``stages``: ``stage``,
        ``position``, ``role``, ``events``, ``customers``, ``journeys``, ``visits``, ``closed``
        (visits whose end was seen), ``median_days`` (from the start of a closed visit to the next
        stage or, for a lost one, to the end of the silence that made it so), ``median_days_onward``
        (of the visits that led to another stage alone), and with 95 % intervals (``_lower``,
        ``_upper``): ``reach`` (share of all customers), ``sentiment`` (mean of the events that have
        one, -1 to 1), ``advance_rate``, ``drop_off_rate``; ``negative_share`` of the events with a
        feeling. Rates are NaN where a stage has no such visits.
    """
    names = log.stages.names
    buckets, customers = customer_counts(log)
    visits = visit_facts(log)
    dwell = (visits.left.epoch_seconds() - visits.started.epoch_seconds()) / 86_400
    days = (
        visits.group_by("stage")
        .agg(
            median_days=dwell.median(),
            median_days_onward=dwell.median(where=visits.next_stage != "lost"),
        )
        .to_pandas()
        .set_index("stage")
        .reindex(names)
    )
    counts = bucket_counts(
        visits_by_bucket(visits).to_pandas(), ["stage"], buckets, levels={"stage": names}
    )
    felt = bucket_counts(
        log.events.group_by(["bucket", "stage"]).agg(**feelings(log.events)).to_pandas(),
        ["stage"],
        buckets,
        levels={"stage": names},
    )
    table = pd.DataFrame(
        {
            "stage": names,
            "position": range(len(names)),
            "role": [log.stages.roles[name] for name in names],
            "events": total(felt["n"]),
            "customers": total(counts["customers"]),
            "journeys": total(counts["journeys"]),
            "visits": total(counts["visits"]),
            "closed": total(counts["closed"]),
            "median_days": days["median_days"].to_numpy(),
            "median_days_onward": days["median_days_onward"].to_numpy(),
        }
    )
    _put(table, "reach", proportion(counts["customers"], customers[:, None], alike=1.0))
    _put(table, "sentiment", _within(ratio(felt["feeling"], felt["felt"])))
    table["negative_share"] = proportion(felt["negative"], felt["felt"]).estimate
    _put(table, "advance_rate", proportion(counts["advanced"], counts["closed"]))
    _put(table, "drop_off_rate", proportion(counts["lost"], counts["closed"]))
    return table


def journey_map(log: Log) -> pd.DataFrame:
    """Return what happens at every touchpoint: whom it reaches, how it feels, where visits lead.

    Parameters
    ----------
    log : Log

    Returns
    -------
    DataFrame
        One row per touchpoint, by stage and reach, the published table ``journey_map``:

        * ``stage``, ``position``, ``role``, ``touchpoint``, ``initiator``, ``medium``;
        * ``n`` events, ``customers``, ``visits`` and ``closed`` visits with the touchpoint;
        * ``reach``: share of all customers;
        * ``sentiment`` with ``lower`` and ``upper``: mean feeling, -1 to 1; ``negative_share`` of
          the events with a feeling;
        * ``advance_rate``, ``drop_off_rate`` of the visits with the touchpoint;
        * ``pain`` with ``pain_lower``, ``pain_upper``, ``p_value``, ``q_value``: drop-off rate of
          the visits with the touchpoint minus that of the same stage's visits without it, tested by
          customers, the q-value over all touchpoints tested;
        * ``later_purchase`` with ``later_purchase_lower``, ``later_purchase_upper``,
          ``later_purchase_q``: the chance that a purchase follows, with the touchpoint minus
          without it. A purchase follows when the same customer buys within the churn horizon of the
          visit's start. Left out are visits whose horizon is not over yet, and visits in which the
          purchase had already happened when the touchpoint came; touchpoints that are purchases
          themselves, or mostly come after one in their visit, are not tested;
        * ``moment_of_truth``: whether that difference is at least 5 points either way with a
          q-value below 0.05;
        * ``pain_point``: whether ``pain`` is at least 5 points with a q-value below 0.05.

        Differences are NaN where fewer customers than the dataset's ``smallest_group`` met the
        touchpoint in closed visits, or went without it.
    """
    buckets, customers = customer_counts(log)
    visits = visit_facts(log)
    with_touch = touchpoints_by_bucket(log, visits).to_pandas()
    known = with_touch.drop_duplicates("touchpoint").set_index("touchpoint").sort_index()
    names = list(known.index)
    positions = log.stages.positions
    place = known["stage"].map(positions).to_numpy(dtype=int)
    has = bucket_counts(with_touch, ["touchpoint"], buckets, levels={"touchpoint": names})
    stage = bucket_counts(
        visits_by_bucket(visits).to_pandas(),
        ["stage"],
        buckets,
        levels={"stage": log.stages.names},
    )
    rest = {name: stage[name][:, place] - has[name] for name in ("closed", "lost")}
    rest |= {name: stage[name][:, place] - has[name] for name in ("followed", "bought")}

    table = pd.DataFrame(
        {
            "stage": known["stage"].to_numpy(),
            "position": place,
            "role": known["stage"].map(log.stages.roles).to_numpy(),
            "touchpoint": names,
            "initiator": known["initiator"].to_numpy(),
            "medium": known["medium"].to_numpy(),
            "n": total(has["n"]),
            "customers": total(has["customers"]),
            "visits": total(has["visits"]),
            "closed": total(has["closed"]),
        }
    )
    _put(table, "reach", proportion(has["customers"], customers[:, None], alike=1.0))
    feeling = _within(ratio(has["feeling"], has["felt"]))
    table["sentiment"] = feeling.estimate
    table["lower"], table["upper"] = feeling.lower, feeling.upper
    table["negative_share"] = proportion(has["negative"], has["felt"]).estimate
    _put(table, "advance_rate", proportion(has["advanced"], has["closed"]))
    _put(table, "drop_off_rate", proportion(has["lost"], has["closed"]))

    least = log.dataset.privacy.smallest_group
    customers_without = stage["customers"].sum(axis=0)[place] - has["customers"].sum(axis=0)
    seldom = table["customers"] < least
    # A customer may have visits of both kinds: then enough visits without the touchpoint will do.
    rare = seldom | ((customers_without < least) & (rest["closed"].sum(axis=0) < 2 * least))
    pain = difference_test(has["lost"], has["closed"], rest["lost"], rest["closed"])
    table["pain"] = np.where(rare, np.nan, pain.effect)
    table["pain_lower"] = np.where(rare, np.nan, pain.lower)
    table["pain_upper"] = np.where(rare, np.nan, pain.upper)
    table["p_value"] = np.where(rare, np.nan, pain.p_value)
    table["q_value"] = benjamini_hochberg(table["p_value"])
    table["pain_point"] = (table["pain"] >= NOTABLE) & (table["q_value"] < FOUND)

    later = difference_test(has["at_risk_bought"], has["at_risk"], rest["bought"], rest["followed"])
    untold = rare | table["touchpoint"].isin(log.dataset.journey.purchase)
    at_risk = has["at_risk"].sum(axis=0)
    untold |= (at_risk < least) | (2 * at_risk < has["followed"].sum(axis=0))
    table["later_purchase"] = np.where(untold, np.nan, later.effect)
    table["later_purchase_lower"] = np.where(untold, np.nan, later.lower)
    table["later_purchase_upper"] = np.where(untold, np.nan, later.upper)
    table["later_purchase_q"] = benjamini_hochberg(np.where(untold, np.nan, later.p_value))
    table["moment_of_truth"] = (table["later_purchase"].abs() >= NOTABLE) & (
        table["later_purchase_q"] < FOUND
    )
    order = ["position", "customers", "touchpoint"]
    return table.sort_values(order, ascending=[True, False, True], ignore_index=True)


def _put(table: pd.DataFrame, name: str, interval: Interval) -> None:
    table[name] = interval.estimate
    table[f"{name}_lower"], table[f"{name}_upper"] = interval.lower, interval.upper


def _within(interval: Interval) -> Interval:
    """Keep the limits of a mean feeling on its scale, -1 to 1."""
    return Interval(interval.estimate, interval.lower.clip(-1, 1), interval.upper.clip(-1, 1))
