"""After the purchase: the first days, who comes back month by month, and who speaks for us."""

import ibis
import numpy as np
import pandas as pd

from cjlib.errors import Unanswerable
from cjlib.journey_map.counts import as_int, put
from cjlib.journey_map.experiences import LEAST, compare, moments, to_come
from cjlib.journeys import DAY, purchase_days
from cjlib.log import Log
from cjlib.uncertainty import bucket_array, proportion

MONTH = 30  # days of a month since the first purchase: as many for every customer
LOYAL = ("review", "referral")


def second_purchase(log: Log, days: float = 30) -> pd.DataFrame:
    """Return what customers meet in the first days after their first purchase, and what follows.

    Parameters
    ----------
    log : Log
    days : float
        Since the first purchase, in which a touchpoint after it counts.

    Returns
    -------
    DataFrame
        One row per touchpoint on a stage after the purchase: ``touchpoint``, ``purpose``,
        ``customers`` who met it in these days before buying again, ``reach`` (of the customers
        whose days are over) with limits, and as in `cjlib.journey_map.experiences.compare`
        ``bought_share`` (who bought a second time within the churn horizon of it),
        ``otherwise_share`` (of like moments without it), ``difference`` with limits, ``q_value``,
        ``verdict``.

    Raises
    ------
    Unanswerable
        If nothing is seen after a first purchase.
    """
    events = moments(log)
    young = events["at"] - events.since <= int(days * DAY)
    events = events.filter((events.role == "after") & young & (events["last"] == events.since))
    first = purchase_days(log.events).group_by("customer_id", "bucket").agg(day=ibis._.day.min())
    over = first.filter(first.day.epoch_seconds() + (days + 1) * DAY <= log.as_of.timestamp())
    buyers = over.group_by("bucket").agg(buyers=over.count()).to_pandas()
    met = events.semi_join(over, "customer_id")
    met = met.group_by("touchpoint", "bucket").agg(customers=met.customer_id.nunique()).to_pandas()
    if met.empty:
        raise Unanswerable("nothing is seen after a first purchase")
    names = np.unique(met["touchpoint"])
    parts = [to_come(events, log, name, events.touchpoint == name) for name in names]
    table = compare(parts, "nothing is seen after a first purchase").drop(columns="customers")
    table = table.rename(columns={"experience": "touchpoint"})
    buckets = buyers["bucket"].tolist()
    levels = {"touchpoint": table["touchpoint"].tolist()}
    reached = bucket_array(met, ["touchpoint"], "customers", buckets=buckets, levels=levels)
    table["customers"] = reached.sum(axis=0).astype(int)
    put(table, "reach", proportion(reached, buyers[["buyers"]].to_numpy(), alike=1.0))
    purposes = {name: one.purpose or "" for name, one in log.dataset.touchpoints.items()}
    table.insert(1, "purpose", table["touchpoint"].map(purposes).fillna(""))
    # what is compared is not buying again; here the other side of it is told
    limits = -table["difference_upper"], -table["difference_lower"]
    table["difference_lower"], table["difference_upper"] = limits
    table["difference"] = -table["difference"]
    table["bought_share"] = 1 - table.pop("gone_share")
    table["otherwise_share"] = 1 - table["otherwise_share"]
    return table.sort_values("reach", ascending=False, ignore_index=True)


def retention(log: Log) -> pd.DataFrame:
    """Return which share of each month's new buyers buys again in the months since.

    Parameters
    ----------
    log : Log

    Returns
    -------
    DataFrame
        One row per ``cohort`` (month of the first purchase) and ``month`` since (1 is the first 30
        days after its day), of customers who were seen to begin (`Log.beginners`): ``customers``
        of the cohort, ``retention_share`` with limits. Months that are not over for the whole
        cohort are left out.

    Raises
    ------
    Unanswerable
        If no cohort was watched for a month, or fewer than 30 customers came back in one.
    """
    days = purchase_days(log.events).semi_join(log.beginners, "customer_id")
    own = ibis.window(group_by="customer_id")
    days = days.mutate(first=days.day.min().over(own))
    passed = (days.day.epoch_seconds() - days["first"].epoch_seconds()) / DAY
    days = days.mutate(
        cohort=days["first"].strftime("%Y-%m"),
        month=(passed > 0).ifelse(((passed - 1) / MONTH).floor() + 1, 0).cast("int64"),
    )
    counted = days.group_by("cohort", "month", "bucket").agg(customers=days.customer_id.nunique())
    counts = counted.to_pandas()
    cohorts = sorted(counts["cohort"].unique())
    ends = [pd.Period(cohort, "M").end_time.normalize() for cohort in cohorts]
    whole = [int((log.as_of - end).total_seconds() // DAY - 1) // MONTH for end in ends]
    back = counts.loc[counts["month"] > 0, "customers"].sum()
    if len(counts) and back < LEAST:
        raise Unanswerable(f"fewer than {LEAST} new buyers have come back in a later month")
    if max(whole, default=0) < 1:
        raise Unanswerable("no month's new buyers have been watched for a month since")
    levels = {"cohort": cohorts, "month": range(max(whole) + 1)}
    array = bucket_array(counts, ["cohort", "month"], "customers", levels=levels)
    back = proportion(array, array[:, :, :1], alike=1.0)
    table = pd.MultiIndex.from_product(levels.values(), names=levels).to_frame(index=False)
    table["customers"] = np.repeat(array[:, :, 0].sum(axis=0).astype(int), max(whole) + 1)
    table["retention_share"] = back.estimate.ravel()
    table["lower"], table["upper"] = back.lower.ravel(), back.upper.ravel()
    seen = table["month"] <= np.repeat(whole, max(whole) + 1)
    return table[seen & (table["month"] > 0)].reset_index(drop=True)


def loyalty(log: Log) -> pd.DataFrame:
    """Return which share of the buyers bought again, reviewed or referred within the churn horizon.

    Parameters
    ----------
    log : Log

    Returns
    -------
    DataFrame
        ``sign`` (``repeat``; ``review`` and ``referral`` where the dataset file gives a touchpoint
        that ``purpose``), ``customers`` who showed it, ``buyers`` whose horizon since the first
        purchase is over, ``share`` with ``lower``, ``upper``.

    Raises
    ------
    Unanswerable
        If no buyer's horizon is over.
    """
    horizon = int(log.dataset.churn.horizon.total_seconds())
    first = purchase_days(log.events).group_by("customer_id").agg(day=ibis._.day.min())
    first = first.filter(first.day.epoch_seconds() + horizon <= int(log.as_of.timestamp()))
    events = log.events.inner_join(first, "customer_id")
    passed = events.timestamp.epoch_seconds() - events.day.epoch_seconds()
    said = {
        sign: [name for name, one in log.dataset.touchpoints.items() if one.purpose == sign]
        for sign in LOYAL
    }
    shown = {"repeat": events.purchase & (events.timestamp.truncate("D") > events.day)}
    shown |= {sign: events.touchpoint.isin(names) for sign, names in said.items() if names}
    inside = (passed >= 0) & (passed <= horizon)
    of = events.group_by("customer_id", "bucket").agg(
        **{sign: as_int(condition & inside).max() for sign, condition in shown.items()}
    )
    sums = of.group_by("bucket").agg(buyers=of.count(), **{sign: of[sign].sum() for sign in shown})
    counts = sums.to_pandas().sort_values("bucket")
    if counts.empty:
        raise Unanswerable(
            "no buyer has been watched for the churn horizon since the first purchase"
        )
    found = proportion(counts[list(shown)], counts[["buyers"]], alike=1.0)
    table = pd.DataFrame({"sign": list(shown), "customers": counts[list(shown)].sum().to_numpy()})
    table["buyers"] = int(counts["buyers"].sum())
    table["share"], table["lower"], table["upper"] = found.estimate, found.lower, found.upper
    return table
