"""What each customer will do next: the likeliest next stage, given the stage and the silence.

A customer silent for two thirds of the time after which a journey counts as lost is not where one
seen this morning is. So the next stage is learned from earlier events of the same stage that were
followed by at least as long a silence.
"""

import datetime as dt

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

LOST = "lost"
STEPS = 12  # bands of silence up to the inactivity that ends a journey
CAUTION = 10.0  # how many events of the band before stand in for a band's own
DAY = 86_400
COLUMNS = [
    "customer_id",
    "stage",
    "next_stage",
    "probability",
    "expected_days",
    "lost_probability",
    "silent_days",
]


def silence_counts(
    events: ir.Table,
    visits: ir.Table,
    as_of: pd.Timestamp,
    inactivity: dt.timedelta,
) -> ir.Table:
    """Count what followed an event's silence, on the engine.

    A further purchase within the visit is something that follows, too: a customer who buys again
    is not lost.

    Parameters
    ----------
    events, visits : Table
        Of a log.
    as_of : Timestamp
    inactivity : timedelta
        Only events at least this long before ``as_of`` are counted: their silence is known.

    Returns
    -------
    Table
        ``stage, band`` (of the silence that followed the event, 0 to 12), ``next_stage`` (a stage
        or ``lost``; the stage itself when the next thing is a purchase in it), ``n, days`` (sum of
        days from the event until then).
    """
    patience = int(inactivity.total_seconds())
    in_order = ibis.window(group_by="customer_id", order_by=["timestamp", "line"])
    later_in_visit = ibis.window(
        group_by=["customer_id", "journey", "visit"],
        order_by=["timestamp", "line"],
        following=(1, None),
    )
    bought = events.purchase.ifelse(events.timestamp.epoch_seconds(), ibis.null("int64"))
    placed = events.select(
        "customer_id",
        "journey",
        "visit",
        "timestamp",
        "stage",
        at=events.timestamp.epoch_seconds(),
        following=events.timestamp.epoch_seconds().lead().over(in_order),
        again=bought.min().over(later_in_visit),
    )
    silence = ibis.least(ibis.coalesce(placed.following - placed.at, patience), patience)
    placed = placed.mutate(silence=silence)
    placed = placed.filter(
        placed.timestamp <= ibis.timestamp(as_of - pd.Timedelta(seconds=patience))
    )
    ends = visits.select(
        "customer_id", "journey", "visit", "next_stage", left=visits.left.epoch_seconds()
    )
    known = placed.join(ends, ["customer_id", "journey", "visit"])
    known = known.mutate(
        next_stage=known.again.notnull().ifelse(known.stage, known.next_stage),
        until=ibis.coalesce(known.again, known.left),
    )
    known = known.filter(known.next_stage.notnull())
    known = known.mutate(band=(known.silence * STEPS / patience).floor().cast("int64"))
    return known.group_by(["stage", "band", "next_stage"]).agg(
        n=known.count(), days=((known.until - known.at) / DAY).sum()
    )


def outlook(counts: pd.DataFrame, inactivity: dt.timedelta) -> pd.DataFrame:
    """Turn counts by silence into what comes next after *at least* that silence.

    Parameters
    ----------
    counts : DataFrame
        Of :func:`silence_counts`, collected.
    inactivity : timedelta

    Returns
    -------
    DataFrame
        ``stage, band, next_stage, probability, expected_days, n``; probabilities add up to 1 in
        each stage and band. Thin bands lean on the band before.
    """
    width = inactivity.total_seconds() / DAY / STEPS
    rows = []
    for stage, part in counts.groupby("stage", sort=True):
        nexts = sorted(part["next_stage"].unique())
        shape = (STEPS + 1, len(nexts))
        n, days = np.zeros(shape), np.zeros(shape)
        cell = part["band"].clip(0, STEPS), part["next_stage"].map(nexts.index)
        np.add.at(n, cell, part["n"])
        np.add.at(days, cell, part["days"])
        n, days = n[::-1].cumsum(axis=0)[::-1], days[::-1].cumsum(axis=0)[::-1]
        share = n[0] / n[0].sum()
        remaining = days[0] / n[0]
        for band in range(STEPS):
            share = (n[band] + CAUTION * share) / (n[band].sum() + CAUTION)
            seen = n[band] > 0
            remaining = np.where(
                seen, days[band] / np.maximum(n[band], 1) - band * width, remaining
            )
            for i, following in enumerate(nexts):
                rows.append((stage, band, following, share[i], max(remaining[i], 0), n[band, i]))
    columns = ["stage", "band", "next_stage", "probability", "expected_days", "n"]
    return pd.DataFrame(rows, columns=columns)


def next_stages(log) -> pd.DataFrame:
    """Say for every customer with an open journey what comes next.

    Parameters
    ----------
    log : Log

    Returns
    -------
    DataFrame
        ``customer_id, stage`` (where the customer is), ``next_stage`` (the likeliest, ``lost``
        among them; the same stage: another purchase), ``probability``, ``expected_days`` until it,
        given that it comes, ``lost_probability`` and ``silent_days``; by customer.
    """
    inactivity = log.dataset.journey.inactivity
    counts = silence_counts(log.events, log.visits, log.as_of, inactivity)
    table = outlook(counts.to_pandas(), inactivity)
    open_now = log.journeys.filter(log.journeys.end == "open")
    here = open_now.select("customer_id", stage=open_now.last_stage, ended=open_now.ended)
    here = here.order_by("customer_id").to_pandas()
    here["silent_days"] = (log.as_of - here.pop("ended")) / pd.Timedelta(days=1)
    width = inactivity.total_seconds() / DAY / STEPS
    here["band"] = np.floor(here["silent_days"] / width).clip(0, STEPS - 1).astype(int)
    lost = table[table["next_stage"] == LOST].set_index(["stage", "band"])["probability"]
    best = table.sort_values("probability", ascending=False, kind="stable")
    best = best.drop_duplicates(["stage", "band"]).drop(columns="n")
    best["lost_probability"] = [
        lost.get(key, 0.0) for key in best[["stage", "band"]].itertuples(index=False, name=None)
    ]
    return here.merge(best, on=["stage", "band"], how="inner")[COLUMNS]


def summed(nexts: pd.DataFrame, smallest: int) -> pd.DataFrame:
    """Sum up what comes next, without showing a single customer.

    Parameters
    ----------
    nexts : DataFrame
        Of :func:`next_stages`.
    smallest : int
        Customers below which a row is left out.

    Returns
    -------
    DataFrame
        ``stage, next_stage, customers, probability, expected_days`` (means), largest first.
    """
    table = nexts.groupby(["stage", "next_stage"], as_index=False).agg(
        customers=("stage", "size"),
        probability=("probability", "mean"),
        expected_days=("expected_days", "mean"),
    )
    table = table[table["customers"] >= smallest]
    return table.sort_values("customers", ascending=False, kind="stable", ignore_index=True)
