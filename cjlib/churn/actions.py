"""From scores to a list a team can act on, and from an earlier list to what came of it."""

import hashlib
from collections.abc import Callable

import numpy as np
import pandas as pd
from ibis.expr.types import Table

from cjlib.churn.cut_offs import DAY, labels
from cjlib.churn.evaluation import equal_groups
from cjlib.churn.value import GammaGamma
from cjlib.errors import ContractError, ParameterError

CONTACT, HOLD_OUT, LEAVE, GONE = "contact", "hold out", "leave alone", "long gone"
FITTED = 30_000
"""Customers to fit the value of orders to; every k-th when there are more."""


def expected_values(frame: pd.DataFrame, *, value: bool) -> np.ndarray:
    """Return what each customer brings over the horizon if kept, array of shape (n,).

    Expected orders of those who order at all, from the purchase model (``expected_orders``), times
    the expected value of an order (Gamma-Gamma); orders alone where the log has no values.

    Parameters
    ----------
    frame : DataFrame
        ``customers_at``.
    value : bool
        Whether the log has values.
    """
    orders = frame["expected_orders"].fillna(1.0).to_numpy(dtype=float)
    if not value:
        return orders
    mean = frame["purchase_value"].to_numpy(dtype=float)
    count = frame["purchases"].to_numpy(dtype=float)
    try:
        every = -(-len(frame) // FITTED)
        worth = GammaGamma().fit(count[::every], mean[::every]).expected_value(count, mean)
    except ContractError:
        worth = np.full(len(frame), max(float(np.mean(mean)), 0.0))
    return orders * worth


def held_out(customers: pd.Series, share: float, *, seed: int = 0) -> np.ndarray:
    """Return who is held out, the same customers from run to run, array of bool.

    A customer's draw is a hash of the seed and the id, so it needs no memory and no order.

    Raises
    ------
    ParameterError
        When the share is not between 0 and 1.
    """
    if not 0 <= share < 1:
        raise ParameterError(f"hold_out must be a share from 0 to below 1, not {share}")
    draws = [
        int.from_bytes(hashlib.md5(f"{seed}:{customer}".encode()).digest()[:6])
        for customer in customers
    ]
    return np.asarray(draws, dtype=float) / 2**48 < share


def action_list(
    frame: pd.DataFrame,
    probability: np.ndarray,
    value: np.ndarray,
    reasons: pd.DataFrame,
    *,
    contact_share: float,
    hold_out: float,
    as_of: pd.Timestamp,
    horizon: pd.Timedelta,
    longest_silence: float = np.inf,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the published table of scores, the most value at risk first.

    Those silent for too long are no longer about to leave: they are *long gone*, and the list of
    contacts leaves them to another kind of campaign.

    Parameters
    ----------
    frame : DataFrame
        ``customers_at`` the moment of the report.
    probability, value : array, shape (n,)
        Of churn; over the horizon if kept.
    reasons : DataFrame
        reason_1 to reason_3, same rows.
    contact_share : float
        Share of the customers who are not long gone to put on the list, by value at risk.
    hold_out : float
        Share of these left alone at random, to measure the uplift of acting.
    as_of, horizon
        Kept in the table, so that a later run can score it.
    longest_silence : float
        Days since the last order beyond which a customer is long gone.

    Returns
    -------
    DataFrame
        customer_id, churn_probability, decile (10: the riskiest), expected_value, value_at_risk,
        reason_1 to reason_3, group ("contact", "hold out", "leave alone" or "long gone"), as_of,
        horizon_days.
    """
    at_risk = probability * np.maximum(value, 0)
    order = np.argsort(-at_risk, kind="stable")
    gone = frame["recency_days"].to_numpy() > longest_silence
    listed = order[~gone[order]]
    worth = np.zeros(len(frame), dtype=bool)
    worth[listed[: round(contact_share * len(listed))]] = True
    apart = held_out(frame["customer_id"], hold_out, seed=seed)
    table = pd.DataFrame(
        {
            "customer_id": frame["customer_id"].to_numpy(),
            "churn_probability": probability,
            "decile": equal_groups(probability, 10) + 1,
            "expected_value": value,
            "value_at_risk": at_risk,
            **{name: reasons[name].to_numpy() for name in reasons},
            "group": np.select([gone, worth & apart, worth], [GONE, HOLD_OUT, CONTACT], LEAVE),
            "as_of": as_of,
            "horizon_days": horizon / DAY,
        }
    )
    return table.iloc[order].reset_index(drop=True)


def brought(events: Table, as_of: pd.Timestamp, horizon: pd.Timedelta) -> float:
    """Return what purchases less refunds brought in the horizon before the report, in currency."""
    late = (events.timestamp > as_of - horizon) & (events.timestamp <= as_of)
    return float(
        events.value.sum(where=late & (events.purchase | (events.value < 0))).execute() or 0
    )


def rank_list(
    frame: pd.DataFrame, reasons: pd.DataFrame, *, as_of: pd.Timestamp, horizon: pd.Timedelta
) -> pd.DataFrame:
    """Return the same table where no score could be tested or none ranks: deciles by recency."""
    unknown = np.full(len(frame), np.nan)
    table = action_list(
        *(frame, unknown, unknown, reasons),
        contact_share=0.0,
        hold_out=0.0,
        as_of=as_of,
        horizon=horizon,
    )
    table["group"] = ""
    recency = frame.set_index("customer_id")["recency_days"].reindex(table["customer_id"])
    table["decile"] = equal_groups(recency.to_numpy(dtype=float), 10) + 1
    return table.sort_values("decile", ascending=False, kind="stable", ignore_index=True)


def came_true(
    earlier: pd.DataFrame,
    events: Table,
    as_of: pd.Timestamp,
    *,
    contact: str = "",
    hide: Callable[[pd.Series], pd.Series] | None = None,
) -> pd.DataFrame:
    """Add to an earlier run's scores what became of the customers.

    Parameters
    ----------
    earlier : DataFrame
        ``churn_scores`` as an earlier run published it.
    events : Table
    as_of : Timestamp
        The moment of this report; the earlier horizon must have closed by then.
    contact : str
        Touchpoint by which the team contacts customers; empty: the log does not show it.
    hide : callable, optional
        From ids to what stands for them in published tables, where a log keeps its ids private.

    Returns
    -------
    DataFrame
        The earlier columns, bucket, churned and contacted (bool), value_after; customers the log
        no longer knows are left out.

    Raises
    ------
    ParameterError
        When a column is missing, no customer is known, or the horizon is still open.
    """
    missing = {"customer_id", "churn_probability", "group", "as_of", "horizon_days"} - set(earlier)
    if missing:
        raise ParameterError(
            f"earlier: the table has no {', '.join(sorted(missing))}; give a churn_scores.parquet "
            "that this notebook published"
        )
    then = pd.Timestamp(earlier["as_of"].iloc[0])
    horizon = float(earlier["horizon_days"].iloc[0]) * DAY
    if then + horizon > as_of:
        raise ParameterError(
            f"earlier: its horizon closes on {then + horizon:%Y-%m-%d}, after this report of "
            f"{as_of:%Y-%m-%d}; score it then"
        )
    within = (events.timestamp > then) & (events.timestamp <= then + horizon)
    known = events.group_by("customer_id").aggregate(
        bucket=events.bucket.min(), contacted=(within & (events.touchpoint == contact)).any()
    )
    known = known.execute()
    after = labels(events, then, horizon).execute()
    if hide:
        known["customer_id"] = hide(known["customer_id"])
        after["customer_id"] = hide(after["customer_id"])
    joined = earlier.merge(known, on="customer_id").merge(after, on="customer_id", how="left")
    if joined.empty:
        raise ParameterError(
            "earlier: none of its customers is in this log; is it of the same dataset, with the "
            "same way of keeping ids?"
        )
    joined["churned"] = joined["orders_after"].isna()
    return joined.drop(columns="orders_after").fillna({"value_after": 0.0})
