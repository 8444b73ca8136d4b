"""What a purchase of a customer is worth: the Gamma-Gamma model of mean values."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import gammaln

from cjlib.errors import ContractError


class GammaGamma:
    """Gamma-Gamma model: values vary around each customer's own mean, and these means vary.

    Source: Fader, Hardie & Lee (2005), "RFM and CLV". It assumes that the value of a purchase has
    nothing to do with how often a customer buys.

    Attributes
    ----------
    params_ : Series
        p, q and v.
    log_likelihood_ : float
    mean_ : float
        The plain mean of the means fitted to.
    """

    def fit(self, x: ArrayLike, mean_value: ArrayLike, weights: ArrayLike | None = None):
        """Fit p, q and v by maximum likelihood.

        Parameters
        ----------
        x : array of shape (n_customers,)
            Purchases behind each mean; rows with none are left out.
        mean_value : array of shape (n_customers,)
            Mean value per purchase; rows that are not above zero are left out.
        weights : array of shape (n_customers,), optional
            How many customers each row stands for.

        Raises
        ------
        ContractError
            When fewer than two different positive means are left.
        """
        x, m = np.asarray(x, dtype=float), np.asarray(mean_value, dtype=float)
        weights = np.ones_like(x) if weights is None else np.asarray(weights, dtype=float)
        usable = (x > 0) & (m > 0) & np.isfinite(m)
        x, m, weights = x[usable], m[usable], weights[usable]
        if len(np.unique(m)) < 2:
            raise ContractError(
                "the value of purchases needs at least two customers with different positive "
                "means; check the column that `value` names in the dataset file"
            )
        unit = np.average(m, weights=weights)

        def loss(theta: np.ndarray) -> float:
            params = np.exp(np.clip(theta, -15, 15))
            return -float(np.average(_log_likelihood(params, x, m / unit), weights=weights))

        rough = minimize(loss, np.log([2.0, 2.0, 1.0]), method="Nelder-Mead")
        best = minimize(loss, rough.x, method="BFGS", options={"gtol": 1e-7})
        best = best if best.fun <= rough.fun else rough
        params = np.exp(np.clip(best.x, -15, 15)) * np.array([1, 1, unit])
        self.params_ = pd.Series(params, index=["p", "q", "v"])
        self.mean_ = float(unit)
        self.log_likelihood_ = float(weights @ _log_likelihood(params, x, m))
        return self

    def expected_value(self, x: ArrayLike, mean_value: ArrayLike) -> np.ndarray:
        """Return each customer's expected value per purchase, shrunk towards everybody's.

        A mean of zero or less (all sent back) counts as zero. Customers without a mean get
        everybody's, p v / (q - 1), or the plain mean of the fitted ones where the formula has none
        (q at most 1).
        """
        p, q, v = self.params_
        x, m = np.asarray(x, dtype=float), np.asarray(mean_value, dtype=float)
        known = (x > 0) & np.isfinite(m)
        x, m = np.where(known, x, 0.0), np.where(known, np.maximum(m, 0.0), 0.0)
        weight = p * x + q - 1
        usual = p * v / (q - 1) if q > 1 else self.mean_
        return np.where(weight > 0, p * (v + x * m) / np.where(weight > 0, weight, 1), usual)


def _log_likelihood(params: np.ndarray, x: np.ndarray, m: np.ndarray) -> np.ndarray:
    p, q, v = params
    return (
        gammaln(p * x + q)
        - gammaln(p * x)
        - gammaln(q)
        + q * np.log(v)
        + (p * x - 1) * np.log(m)
        + p * x * np.log(x)
        - (p * x + q) * np.log(v + m * x)
    )
