"""Who starts what, and through which channel: the sales cycle beside the customer journey.

The *sales cycle* is what the company does, the *customer journey* what the customer lives. Where
the company puts its touches and where customers come by themselves need not be the same stages.
"""

import ibis
import numpy as np
import pandas as pd

from cjlib.errors import Unanswerable
from cjlib.journey_map.counts import bucket_counts, customers_by, events_by, put, total
from cjlib.log import Log
from cjlib.uncertainty import benjamini_hochberg, bucket_array, difference_test, proportion


def sales_cycle(log: Log) -> pd.DataFrame:
    """Return what the company starts against what the customers start, stage by stage.

    Parameters
    ----------
    log : Log

    Returns
    -------
    DataFrame
        One row per stage in which either starts anything: ``stage``, ``company`` and ``customer``
        (events started by either), ``company_share`` and ``customer_share`` (this stage's share of
        all that the company, or the customers, start: the sales cycle and the customer journey) and
        their difference ``gap`` with ``gap_lower``, ``gap_upper``, ``q_value``.

    Raises
    ------
    Unanswerable
        If only one side starts anything, or all of it lies in one stage.
    """
    started = log.events.filter(log.events.initiator.isin(["company", "customer"]))
    counted = started.group_by(["bucket", "stage", "initiator"]).agg(n=started.count()).to_pandas()
    names = [name for name in log.stages.names if (counted["stage"] == name).any()]
    if counted["initiator"].nunique() < 2 or len(names) < 2:
        raise Unanswerable(
            "only one side starts anything, or all starts in one stage, as far as the dataset file"
            " says who starts what"
        )
    levels = {"stage": names, "initiator": ["company", "customer"]}
    counts = bucket_array(counted, ["stage", "initiator"], "n", levels=levels)
    company, customer = counts[..., 0], counts[..., 1]
    table = pd.DataFrame({"stage": names, "company": total(company), "customer": total(customer)})
    sides = []
    for side, started in (("company", company), ("customer", customer)):
        whole = np.broadcast_to(started.sum(axis=1, keepdims=True), started.shape)
        table[f"{side}_share"] = proportion(started, whole).estimate
        sides += [started, whole]
    gap = difference_test(*sides)
    put(table, "gap", gap)
    return table.assign(q_value=benjamini_hochberg(gap.p_value))


def channel_reach(log: Log, *, most: int = 8) -> pd.DataFrame:
    """Return how many of a stage's customers each channel reaches there.

    Parameters
    ----------
    log : Log
    most : int
        How many channels to keep, those with most customers; the others become ``other``.

    Returns
    -------
    DataFrame
        Columns ``channel``, ``stage``, ``n`` events, ``customers``, ``reach``
        (share of the customers who were in that stage), ``lower``, ``upper``.

    Raises
    ------
    Unanswerable
        If no event names its channel.
    """
    names = log.stages.names
    events = log.events.filter(log.events.channel.notnull())
    by_channel = events.group_by("channel").agg(customers=events.customer_id.nunique())
    by_channel = by_channel.order_by(ibis.desc("customers"), "channel").limit(most + 1)
    largest = by_channel.to_pandas()["channel"].tolist()
    if not largest:
        raise Unanswerable("no event names its channel")
    if len(largest) > most:
        largest = [*largest[: most - 1], "other"]
        kept = events.channel.isin(largest[:-1])
        events = events.mutate(channel=kept.ifelse(events.channel, "other"))
    buckets = np.unique(customers_by(log.journeys)["bucket"])
    levels = {"channel": largest, "stage": names}
    counts = bucket_counts(
        events_by(events, "channel", "stage"), ["channel", "stage"], buckets, levels
    )
    present = bucket_counts(customers_by(log.visits, "stage"), ["stage"], buckets, levels)
    reach = proportion(counts["customers"], present["customers"][:, None, :], alike=1.0)
    table = pd.MultiIndex.from_product([largest, names], names=["channel", "stage"]).to_frame(False)
    table["n"], table["customers"] = total(counts["n"]), total(counts["customers"])
    table["reach"] = reach.estimate.ravel()
    table["lower"], table["upper"] = reach.lower.ravel(), reach.upper.ravel()
    return table
