"""What contacting is worth: expected values of customers, profit by the share contacted."""

import numpy as np
import pandas as pd

from cjlib.churn.cut_offs import Samples
from cjlib.churn.evaluation import riskiest_first
from cjlib.churn.purchase_models import GammaGamma
from cjlib.errors import Unanswerable

FITTED = 30_000
"""Customers to fit the value of orders to; every k-th when there are more."""
UNPRICED_SHARE = 0.2
"""Share of customers to contact where the log has no values to find a better one by."""


def expected_values(samples: Samples, frame: pd.DataFrame) -> np.ndarray:
    """Return what each customer brings over the horizon if kept, array of shape (n,).

    Expected orders of those who order at all, from the purchase model (``expected_orders``), times
    the expected value of an order (Gamma-Gamma); orders alone where the log has no values.
    """
    orders = frame["expected_orders"].fillna(1.0).to_numpy(dtype=float)
    if not samples.words.value:
        return orders
    count, mean = frame[["purchase_days", "purchase_value"]].to_numpy(dtype=float).T
    every = -(-len(frame) // FITTED)
    try:
        worth = GammaGamma().fit(count[::every], mean[::every]).expected_value(count, mean)
    except Unanswerable:  # the orders of all have one value
        worth = max(float(np.mean(mean)), 0.0)
    return orders * worth


def long_gone(samples: Samples, frame: pd.DataFrame, longest_silence: float) -> np.ndarray:
    """Return who has been silent for more than so many horizons, array of bool."""
    return frame["recency_days"].to_numpy() > longest_silence * samples.days


def profit_curves(
    samples: Samples,
    probability,
    contact_cost: float,
    offer_cost: float,
    acceptance: float,
    longest_silence: float,
) -> pd.DataFrame:
    """Return what contacting would have earned in the test, by share contacted and acceptance.

    Parameters
    ----------
    samples : Samples
    probability : array, shape (n,)
        Of churn, of the customers of the test.
    contact_cost, offer_cost : float
        Per contact, per accepted offer.
    acceptance : float
        Share of the leaving customers whom the offer keeps; half of it and half as much again are
        drawn beside it.
    longest_silence : float
        Horizons without an order after which a customer is long gone, and left out.

    Returns
    -------
    DataFrame
        acceptance, contacted, profit.

    Raises
    ------
    Unanswerable
        Where the log has no values.
    """
    if not samples.words.value:
        raise Unanswerable("what acting is worth needs the value of orders")
    test = samples.test
    value, lately = expected_values(samples, test), ~long_gone(samples, test, longest_silence)
    judged = test["churned"][lately], np.asarray(probability)[lately], value[lately]
    curves = (
        profit_curve(*judged, contact_cost, offer_cost, share).assign(acceptance=share)
        for share in (acceptance / 2, acceptance, min(1.5 * acceptance, 1.0))
    )
    return pd.concat(curves, ignore_index=True)


def profit_curve(
    churned, probability, value, contact_cost: float, offer_cost: float, acceptance: float
) -> pd.DataFrame:
    """Return what contacting the riskiest share earns per customer of the whole base.

    A contacted customer costs ``contact_cost``. Of those about to leave, the share ``acceptance``
    stays, takes the offer and brings its value; all others who would have stayed anyway take the
    offer too.

    Parameters
    ----------
    churned, probability : array, shape (n,)
    value : array, shape (n,)
        What a customer who is kept brings over the horizon, in currency.
    contact_cost, offer_cost : float
        Per contact, per accepted offer.
    acceptance : float
        Share, 0 to 1.

    Returns
    -------
    DataFrame
        contacted (share of customers, riskiest first by probability x value), profit per customer.
    """
    value = np.asarray(value, dtype=float)
    kept = acceptance * (value - offer_cost)
    earned = np.where(np.asarray(churned, dtype=bool), kept, -offer_cost) - contact_cost
    risk = np.asarray(probability) * np.maximum(value, 0)
    return riskiest_first(risk, earned / len(value), "profit")


def best_shares(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the most profitable cut of each of `profit_curves`.

    Returns
    -------
    DataFrame
        acceptance_rate, contacted_share, profit, and near_low_share and near_high_share, between
        which the profit is within a twentieth of the best.
    """
    rows = []
    for accepts, curve in curves.groupby("acceptance"):
        best = curve.loc[curve["profit"].idxmax()]
        near = curve.loc[curve["profit"] >= 0.95 * best["profit"], "contacted"]
        rows.append((accepts, best["contacted"], best["profit"], near.min(), near.max()))
    shares = ["acceptance_rate", "contacted_share", "profit", "near_low_share", "near_high_share"]
    return pd.DataFrame(rows, columns=shares)


def contact_share(samples: Samples, *judged) -> float:
    """Return the share to contact that earns most, or ``UNPRICED_SHARE`` in a log without values.

    Parameters
    ----------
    samples, *judged
        Of `profit_curves`.
    """
    if not samples.words.value:
        return UNPRICED_SHARE
    return float(best_shares(profit_curves(samples, *judged))["contacted_share"].iloc[1])
