"""Who starts what, and through which channel: the sales cycle beside the customer journey.

The *sales cycle* is what the company does, the *customer journey* what the customer lives. Where
the company puts its touches and where customers come by themselves need not be the same stages.
"""

import ibis
import numpy as np
import pandas as pd

from cjlib.journey_map.counts import bucket_counts, customers_by_bucket, total, with_segments
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
        One row per stage: ``stage``, ``company`` and ``customer`` (events started by either),
        ``company_share`` of these events with ``lower``, ``upper``; ``of_company`` and
        ``of_customer`` (this stage's share of all that the company, or the customers, start: the
        sales cycle and the customer journey) and their difference ``gap`` with ``gap_lower``,
        ``gap_upper``, ``q_value``. Empty where no touchpoint says who starts it.
    """
    names = log.stages.names
    started = log.events.filter(log.events.initiator.isin(["company", "customer"]))
    counted = started.group_by(["bucket", "stage", "initiator"]).agg(n=started.count()).to_pandas()
    if counted.empty:
        return pd.DataFrame(columns=["stage", "company", "customer", "company_share", "gap"])
    levels = {"stage": names, "initiator": ["company", "customer"]}
    counts = bucket_array(counted, ["stage", "initiator"], "n", levels=levels)
    company, customer = counts[..., 0], counts[..., 1]
    table = pd.DataFrame({"stage": names, "company": total(company), "customer": total(customer)})
    share = proportion(company, company + customer)
    table["company_share"], table["lower"], table["upper"] = (
        share.estimate,
        share.lower,
        share.upper,
    )
    all_company = np.repeat(company.sum(axis=1, keepdims=True), len(names), axis=1)
    all_customer = np.repeat(customer.sum(axis=1, keepdims=True), len(names), axis=1)
    gap = difference_test(company, all_company, customer, all_customer)
    table["of_company"] = proportion(company, all_company).estimate
    table["of_customer"] = proportion(customer, all_customer).estimate
    table["gap"], table["gap_lower"], table["gap_upper"] = gap.effect, gap.lower, gap.upper
    table["q_value"] = benjamini_hochberg(gap.p_value)
    return table


def channel_reach(log: Log, *, column: str = "channel", most: int = 8) -> pd.DataFrame:
    """Return how many of a stage's customers each channel reaches there.

    Parameters
    ----------
    log : Log
    column : {"channel", "medium"}
        What to tell apart.
    most : int
        How many channels to keep, those with most customers; the others become ``other``.

    Returns
    -------
    DataFrame
        Columns ``channel`` (or ``medium``), ``stage``, ``n`` events, ``customers``, ``reach``
        (share of the customers who were in that stage), ``lower``, ``upper``. Empty without any
        channel.
    """
    names = log.stages.names
    events = log.events.filter(log.events[column].notnull())
    largest = (
        events.group_by(column)
        .agg(customers=events.customer_id.nunique())
        .order_by(ibis.desc("customers"), column)
        .limit(most + 1)
        .to_pandas()[column]
        .tolist()
    )
    if not largest:
        return pd.DataFrame(columns=[column, "stage", "n", "customers", "reach", "lower", "upper"])
    if len(largest) > most:
        largest = [*largest[: most - 1], "other"]
        named = events[column].isin(largest[:-1]).ifelse(events[column], "other")
        events = events.mutate(**{column: named})
    buckets = customers_by_bucket(with_segments(log.journeys))["bucket"]
    levels = {column: largest, "stage": names}
    counts = bucket_counts(
        events.group_by(["bucket", column, "stage"])
        .agg(n=events.count(), customers=events.customer_id.nunique())
        .to_pandas(),
        [column, "stage"],
        buckets,
        levels=levels,
    )
    present = bucket_counts(
        log.visits.group_by(["bucket", "stage"])
        .agg(customers=log.visits.customer_id.nunique())
        .to_pandas(),
        ["stage"],
        buckets,
        levels=levels,
    )["customers"]
    reach = proportion(counts["customers"], present[:, None, :], alike=1.0)
    table = pd.MultiIndex.from_product([largest, names], names=[column, "stage"]).to_frame(False)
    table["n"] = total(counts["n"]).ravel()
    table["customers"] = total(counts["customers"]).ravel()
    table["reach"], table["lower"], table["upper"] = (
        reach.estimate.ravel(),
        reach.lower.ravel(),
        reach.upper.ravel(),
    )
    return table
