"""The customer journey map: stages, their touchpoints, the feeling along the way, where it hurts.

Counted on the engine by bucket of customers, so that every figure carries its interval. The unit of
every comparison is the *stage visit*: the visits of a stage in which a touchpoint occurred against
the visits of the same stage without it that have as many other events (a long visit meets more
touchpoints, whatever they do). Customers who meet a touchpoint may still differ from those who do
not, so the differences are associations, not effects.

Where visits lead:

* ``advance_rate``: share of the closed visits whose next stage lies later in the model or, from a
  stage after the purchase, carries the purchase: who buys again has come on, not gone back;
* ``drop_off_rate``: share of the closed visits after which the journey was lost. Open visits, whose
  end has not been seen, and those so young that only an early end could have been (not settled),
  count in neither.

What hurts: before and at the purchase, what loses customers; after it, where a journey ends by
nature and an event may come late only because something went wrong, what feels bad.
"""

import numpy as np
import pandas as pd

from cjlib.journey_map.counts import (
    LENGTHS,
    OUTCOMES,
    bucket_counts,
    customers_by_bucket,
    feelings,
    outcomes_by_length,
    total,
    touched_by_length,
    touchpoints_by_bucket,
    visit_facts,
    visits_by_bucket,
    with_segments,
)
from cjlib.log import Log
from cjlib.uncertainty import (
    Difference,
    Interval,
    benjamini_hochberg,
    difference_test,
    proportion,
    ratio,
)

NOTABLE = 0.05  # least difference between visits with and without a touchpoint that gets a name
LEAST = 30  # visits on either side, purchases or feelings below which nothing is tested
FEELINGS = (-1, 1)  # from bad to good
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
    customers = customers_by_bucket(with_segments(log.journeys))
    buckets = customers["bucket"]
    visits = visit_facts(log)
    dwell = (visits.left.epoch_seconds() - visits.started.epoch_seconds()) / 86_400
    days = (
        visits.group_by("stage")
        .agg(
            median_days=dwell.median(where=visits.settled),
            median_days_onward=dwell.median(where=visits.settled & (visits.next_stage != "lost")),
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
    _put(table, "reach", proportion(counts["customers"], customers[["customers"]], alike=1.0))
    _put(table, "sentiment", ratio(felt["feeling"], felt["felt"], scale=FEELINGS))
    table["negative_share"] = proportion(felt["negative"], felt["felt"]).estimate
    _put(table, "advance_rate", proportion(counts["advanced"], counts["closed"]))
    _put(table, "drop_off_rate", proportion(counts["lost"], counts["closed"]))
    return table


def touchpoint_table(log: Log, segments: pd.DataFrame | None = None) -> pd.DataFrame:
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
        * ``pain_point``: before and at the purchase, whether ``pain`` is at least 5 points with a
          q-value below 0.05, while neither the next stage nor a purchase follows clearly more
          often (an interval above 0): such a touchpoint decides visits that would else go back, one
          way or the other. After the purchase, whether the mean feeling is at most -0.05 with an
          interval below 0 that holds for all touchpoints tested together (Bonferroni).

        Differences are NaN where fewer than 30 visits can be compared (``compared``: the lesser of
        the closed visits with the touchpoint and without it that have a counterpart).
    """
    journeys, events, visits = (
        with_segments(part, segments) for part in (log.journeys, log.events, visit_facts(log))
    )
    everybody = customers_by_bucket(journeys)
    met = touchpoints_by_bucket(events).to_pandas()
    led = outcomes_by_length(visits).to_pandas()
    touched = touched_by_length(events, visits).to_pandas()
    buckets, names = np.unique(everybody["bucket"]), np.unique(everybody["segment"])

    met["row"] = met.groupby(["segment", "touchpoint"]).ngroup()
    columns = ["segment", "stage", "touchpoint", "initiator", "medium"]
    table = met.drop_duplicates("row").set_index("row").sort_index()[columns]
    table.insert(2, "position", table["stage"].map(log.stages.positions).astype(int))
    table.insert(3, "role", table["stage"].map(log.stages.roles))
    counts = bucket_counts(met, ["row"], buckets, levels={"row": table.index})
    customers = bucket_counts(everybody, ["segment"], buckets, levels={"segment": names})
    customers = customers["customers"][:, np.searchsorted(names, table["segment"])]
    table["n"], table["customers"] = total(counts["n"]), total(counts["customers"])
    _put(table, "reach", proportion(counts["customers"], customers, alike=1.0))
    feeling = ratio(counts["feeling"], counts["felt"], scale=FEELINGS)
    table["feelings"] = total(counts["felt"])
    table["sentiment"] = feeling.estimate
    table["lower"], table["upper"] = feeling.lower, feeling.upper
    table["negative_share"] = proportion(counts["negative"], counts["felt"]).estimate

    compared = [
        _compare_visits(part, *(of[of["segment"] == name] for of in (touched, led)), log, buckets)
        for name, part in table.groupby("segment")
    ]
    table = table.join(pd.concat(compared))
    table["q_value"] = benjamini_hochberg(table["p_value"])
    table["later_purchase_q"] = benjamini_hochberg(table.pop("later_purchase_p"))
    table["moment_of_truth"] = (table["later_purchase"].abs() >= NOTABLE) & (
        table["later_purchase_q"] < FOUND
    )
    table["pain_point"] = _loses(table) | _feels_bad(table, counts)
    order = ["segment", "position", "customers", "touchpoint"]
    return table.sort_values(order, ascending=[True, True, False, True], ignore_index=True)


def _compare_visits(
    table: pd.DataFrame, touched: pd.DataFrame, led: pd.DataFrame, log: Log, buckets: np.ndarray
) -> pd.DataFrame:
    """Compare the visits of one segment with and without each touchpoint (a row of `table`)."""
    classes = range(len(LENGTHS))
    levels = {"stage": log.stages.names, "touchpoint": table["touchpoint"]}
    levels |= {"length": classes, "others": classes}
    has = bucket_counts(touched, ["touchpoint", "others"], buckets, levels)
    had = bucket_counts(touched, ["touchpoint", "length"], buckets, levels)
    led = bucket_counts(led, ["stage", "length"], buckets, levels)
    lacks = {name: led[name][:, table["position"]] - had[name] for name in OUTCOMES}
    whole = {name: counts.sum(axis=-1) for name, counts in has.items()}
    decided = 2 * total(whole["at_risk"]) < total(whole["followed"])
    has |= {"followed": has["at_risk"], "bought": has["at_risk_bought"]}

    found = pd.DataFrame({name: total(whole[name]) for name in ("visits", "closed")}, table.index)
    _put(found, "advance_rate", proportion(whole["advanced"], whole["closed"]))
    _put(found, "drop_off_rate", proportion(whole["lost"], whole["closed"]))
    found["compared"] = _compared(has["closed"], lacks["closed"])
    few = found["compared"] < LEAST
    pain, onward, later = (
        difference_test(has[end], has[of], lacks[end], lacks[of], strata=True)
        for end, of in (("lost", "closed"), ("advanced", "closed"), ("bought", "followed"))
    )
    found["p_value"] = _put_difference(found, "pain", pain, few | (table["role"] == "after"))
    _put_difference(found, "onward", onward, few)

    few = table["touchpoint"].isin(log.dataset.journey.purchase) | decided
    few |= _compared(has["followed"], lacks["followed"]) < LEAST
    both = _comparable(has["followed"], lacks["followed"])
    bought, at_risk = (
        (has[name].sum(axis=0) * both).sum(axis=-1) for name in ("bought", "followed")
    )
    few |= bought + (lacks["bought"].sum(axis=0) * both).sum(axis=-1) < LEAST
    found["later_purchase_p"] = _put_difference(found, "later_purchase", later, few)
    found["followed_share"] = np.where(few, np.nan, bought / np.maximum(at_risk, 1))
    found["otherwise_share"] = found["followed_share"] - found["later_purchase"]
    return found


def untested(table: pd.DataFrame) -> pd.Series:
    """Say of each touchpoint that could not be tested for pain why not.

    Parameters
    ----------
    table : DataFrame
        Of :func:`touchpoint_table`.

    Returns
    -------
    Series of str
        The reason by touchpoint, in the order of `table`; empty where all were tested.
    """
    few = (table["compared"].astype(str) + " visits to compare").where(
        table["compared"] > 0, "no visit like its own without it"
    )
    felt = (table["feelings"].astype(str) + " feelings").where(table["feelings"] > 0, "no feeling")
    after = table["role"] == "after"
    reason = felt.where(after, few)
    passed = table["feelings"].where(after, table["compared"]) >= LEAST
    return reason[~passed].set_axis(table.loc[~passed, "touchpoint"])


def settling(table: pd.DataFrame) -> list[str]:
    """Return the touchpoints with which more visits are lost and yet more go on or buy as well.

    Parameters
    ----------
    table : DataFrame
        Of :func:`touchpoint_table`.
    """
    return table.loc[_lost_more(table) & ~table["pain_point"], "touchpoint"].tolist()


def figures(row: pd.Series, name: str, times: float = 1) -> dict[str, float]:
    """Return a figure of a table's row with its limits, as ``report.finding`` takes them.

    Parameters
    ----------
    row : Series
        A row of the tables of this module or of :mod:`cjlib.journey_map.sales_cycle`.
    name : str
        The column; its limits are in ``{name}_lower`` and ``{name}_upper``.
    times : float
        What to multiply with: 100 for percentage points.

    Returns
    -------
    dict
        ``value``, ``lower``, ``upper``.
    """
    columns = {"value": name, "lower": f"{name}_lower", "upper": f"{name}_upper"}
    return {key: times * float(row[column]) for key, column in columns.items()}


def _put(table: pd.DataFrame, name: str, interval: Interval) -> None:
    table[name] = interval.estimate
    table[f"{name}_lower"], table[f"{name}_upper"] = interval.lower, interval.upper


def _put_difference(
    table: pd.DataFrame, name: str, found: Difference, few: pd.Series
) -> np.ndarray:
    """Add a difference and its limits, missing where `few`; return its p-values alike."""
    for column, values in (
        (name, found.effect),
        (f"{name}_lower", found.lower),
        (f"{name}_upper", found.upper),
    ):
        table[column] = np.where(few, np.nan, values)
    return np.where(few, np.nan, found.p_value)


def _lost_more(table: pd.DataFrame) -> pd.Series:
    return (table["pain"] >= NOTABLE) & (table["q_value"] < FOUND)


def _loses(table: pd.DataFrame) -> pd.Series:
    """Return which touchpoints lose visits that neither go on nor buy more often for it."""
    return _lost_more(table) & ~(table["onward_lower"] > 0) & ~(table["later_purchase_lower"] > 0)


def _feels_bad(table: pd.DataFrame, met: dict[str, np.ndarray]) -> pd.Series:
    """Return which touchpoints after the purchase feel clearly bad."""
    tested = (table["role"] == "after") & (table["feelings"] >= LEAST)
    level = 1 - FOUND / max(tested.sum(), 1)
    upper = ratio(met["feeling"], met["felt"], level=level).upper
    return tested & (table["sentiment"] <= -NOTABLE) & (upper < 0)


def _comparable(has: np.ndarray, lacks: np.ndarray) -> np.ndarray:
    """Return in which strata there are visits both with and without."""
    return (has.sum(axis=0) > 0) & (lacks.sum(axis=0) > 0)


def _compared(has: np.ndarray, lacks: np.ndarray) -> np.ndarray:
    """Return how many visits can be compared: the lesser of those with and those without."""
    both = _comparable(has, lacks)
    has, lacks = has.sum(axis=0), lacks.sum(axis=0)
    return np.minimum((has * both).sum(axis=-1), (lacks * both).sum(axis=-1)).astype(int)
