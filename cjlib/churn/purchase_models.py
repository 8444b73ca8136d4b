"""Models of repeat purchases (BG/NBD, MBG/NBD, Pareto/NBD) and of their value (Gamma-Gamma).

A customer buys at random with an own rate until an own, unseen end. All three "buy till you die"
models read three figures per customer: ``x`` repeat purchases, the last of them ``t_x`` after the
first purchase, watched for ``T`` since the first purchase. Any unit of time does, as long as it
stays the same.

Sources of the formulas: Schmittlein, Morrison & Colombo (1987) and Fader & Hardie's notes for
Pareto/NBD; Fader, Hardie & Lee (2005) for BG/NBD; Batislam, Denizel & Filiztekin (2007) for
MBG/NBD; Fader, Hardie & Lee (2005), "RFM and CLV", for Gamma-Gamma.
"""

from contextlib import suppress
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import betaln, gammaln, hyp2f1

from cjlib.errors import Unanswerable

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)


class _RepeatPurchases:
    """What the three models share: the fit by maximum likelihood and all that follows from it.

    The probability of *no* purchase in the next ``horizon`` needs no formula of its own: it is the
    likelihood of the same purchases watched until ``T + horizon`` over that until ``T``.

    Attributes
    ----------
    params_ : Series
        The fitted parameters, by name.
    """

    names: ClassVar[tuple[str, ...]]

    def fit(self, x: ArrayLike, t_x: ArrayLike, T: ArrayLike):
        """Fit the parameters by maximum likelihood.

        Parameters
        ----------
        x, t_x, T : array of shape (n_customers,)
            Repeat purchases, time of the last one since the first purchase, time watched.

        Raises
        ------
        Unanswerable
            When nobody bought again: the rates have no maximum then.
        """
        if not np.any(np.asarray(x) > 0):
            raise Unanswerable("no customer bought a second time")
        rows, weights = np.unique(np.stack([x, t_x, T], axis=1), axis=0, return_counts=True)
        x, t_x, T = rows.astype(float).T
        # Times are fitted in units of their mean and turned back, so that any unit converges alike.
        unit = np.average(T, weights=weights)

        def mean(params: np.ndarray) -> float:
            likelihood = self._log_likelihood(params, x, t_x / unit, T / unit)
            return float(np.average(likelihood, weights=weights))

        steps = {"method": "L-BFGS-B", "options": {"ftol": 1e-11, "gtol": 1e-6}}
        params = _most_likely(mean, [0.5] * len(self.names), {"maxiter": 80}, **steps)
        scale = np.where(np.isin(self.names, ("alpha", "beta")), unit, 1.0)
        self.params_ = pd.Series(params * scale, index=list(self.names))
        return self

    def probability_alive(self, x: ArrayLike, t_x: ArrayLike, T: ArrayLike) -> np.ndarray:
        """Return the probability that a customer has not ended yet (no churn score: see below).

        Who buys rarely is likely alive and likely silent, so this ranks *returns* backwards where
        many bought once; use ``probability_no_purchase`` to score churn.
        """
        params = self.params_.to_numpy()
        return np.exp(self._log_alive(params, x, T) - self._log_likelihood(params, x, t_x, T))

    def probability_no_purchase(
        self, x: ArrayLike, t_x: ArrayLike, T: ArrayLike, horizon: float
    ) -> np.ndarray:
        """Return the probability of no purchase within ``horizon`` after ``T``."""
        params = self.params_.to_numpy()
        longer = self._log_likelihood(params, x, t_x, T + horizon)
        return np.exp(longer - self._log_likelihood(params, x, t_x, T))


class BGNBD(_RepeatPurchases):
    """BG/NBD: ends may follow repeat purchases; rates Gamma(r, alpha), ends Beta(a, b)."""

    names = ("r", "alpha", "a", "b")
    _first_counts = 0  # a customer cannot end before the first repeat purchase

    def _log_alive(self, params, x, T):
        r, alpha, a, b = params
        rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        stays = rate + betaln(a, b + x + self._first_counts) - betaln(a, b)
        return stays - (r + x) * np.log(alpha + T)

    def _log_likelihood(self, params, x, t_x, T):
        r, alpha, a, b = params
        ends = x + self._first_counts  # how many times the customer could have ended
        with np.errstate(divide="ignore"):
            odds = np.where(ends > 0, np.log(a) - np.log(b + np.maximum(ends, 1) - 1), -np.inf)
        gone = odds + (r + x) * (np.log(alpha + T) - np.log(alpha + t_x))
        return self._log_alive(params, x, T) + np.logaddexp(0, gone)

    def expected_purchases(
        self, x: ArrayLike, t_x: ArrayLike, T: ArrayLike, horizon: float
    ) -> np.ndarray:
        """Return the expected number of purchases within ``horizon`` after ``T``."""
        r, alpha, a, b = self.params_
        a = a if abs(a - 1) > 1e-6 else 1 + 1e-6  # the limit exists, the formula divides by zero
        c = a + b + x + self._first_counts - 1
        if_alive = c / (a - 1) * (1 - hyp2f1(r + x, a - 1, c, -horizon / (alpha + T)))
        return self.probability_alive(x, t_x, T) * if_alive


class MBGNBD(BGNBD):
    """MBG/NBD: as BG/NBD, but a customer may already end after the first purchase."""

    _first_counts = 1


class ParetoNBD(_RepeatPurchases):
    """Pareto/NBD: ends may come at any time; rates Gamma(r, alpha), of ends Gamma(s, beta)."""

    names = ("r", "alpha", "s", "beta")

    def _log_alive(self, params, x, T):
        r, alpha, s, beta = params
        rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        return rate + s * np.log(beta) - (r + x) * np.log(alpha + T) - s * np.log(beta + T)

    def _log_likelihood(self, params, x, t_x, T):
        r, alpha, s, beta = params
        rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
        gone = np.log(s) + _log_integral(alpha, r + x, beta, s + 1, t_x, T)
        return np.logaddexp(self._log_alive(params, x, T), rate + gone)


def _log_integral(alpha, k, beta, m, lower, upper):
    """Log of the integral of (alpha + t)^-k (beta + t)^-m over [lower, upper].

    This is the difference of two Gaussian hypergeometric functions in the printed likelihood, which
    cancel badly for active customers. On the scale of log(t) the integrand is smooth, and what lies
    where it has fallen by exp(-45) is nothing.
    """
    near, far = (alpha, beta) if alpha <= beta else (beta, alpha)
    k_near, k_far = (k, m) if alpha <= beta else (m, k)
    start, gap = near + lower, far - near
    length = np.log(near + upper) - np.log(start)
    slope = k_near - 1 + k_far * start / (start + gap)
    with np.errstate(divide="ignore"):
        length = np.minimum(length, np.where(slope > 0, 45 / np.maximum(slope, 1e-12), np.inf))
    # Relative to its start the integrand falls, or grows by less than exp(length): no overflow.
    first = (1 - k_near) * np.log(start) - k_far * np.log(start + gap)
    total = 0.0
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        v = length * (node + 1) / 2
        falls = (1 - k_near) * v - k_far * np.log1p(start * np.expm1(v) / (start + gap))
        total = total + weight * np.exp(falls)
    with np.errstate(divide="ignore"):
        return np.log(length / 2) + first + np.log(total)


def _most_likely(mean, start: ArrayLike, rough_options: dict, **steps) -> np.ndarray:
    """Return the positive parameters of the greatest mean log-likelihood, in two steps."""

    def loss(theta: np.ndarray) -> float:
        return -mean(np.exp(np.clip(theta, -15, 15)))

    rough = minimize(loss, np.log(start), method="Nelder-Mead", options=rough_options)
    best = minimize(loss, rough.x, **steps)
    best = best if best.fun <= rough.fun else rough
    return np.exp(np.clip(best.x, -15, 15))


class GammaGamma:
    """Gamma-Gamma model: values vary around each customer's own mean, and these means vary.

    It assumes that the value of a purchase has nothing to do with how often a customer buys.

    Attributes
    ----------
    params_ : Series
        p, q and v.
    mean_ : float
        The plain mean of the means fitted to.
    """

    def fit(self, x: ArrayLike, mean_value: ArrayLike):
        """Fit p, q and v by maximum likelihood.

        Parameters
        ----------
        x : array of shape (n_customers,)
            Purchases behind each mean; rows with none are left out.
        mean_value : array of shape (n_customers,)
            Mean value per purchase; rows that are not above zero are left out.

        Raises
        ------
        Unanswerable
            When fewer than two different positive means are left.
        """
        x, m = np.asarray(x, dtype=float), np.asarray(mean_value, dtype=float)
        usable = (x > 0) & (m > 0) & np.isfinite(m)
        x, m = x[usable], m[usable]
        if len(np.unique(m)) < 2:
            raise Unanswerable("fewer than two customers have different positive mean values")
        self.mean_ = float(m.mean())

        def mean(params: np.ndarray) -> float:
            return float(_log_density(params, x, m / self.mean_).mean())

        steps = {"method": "BFGS", "options": {"gtol": 1e-7}}
        params = _most_likely(mean, [2.0, 2.0, 1.0], {}, **steps)
        self.params_ = pd.Series(params * [1, 1, self.mean_], index=["p", "q", "v"])
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


def _log_density(params: np.ndarray, x: np.ndarray, m: np.ndarray) -> np.ndarray:
    p, q, v = params
    shape = p * x
    density = gammaln(shape + q) - gammaln(shape) - gammaln(q) + q * np.log(v)
    density = density + (shape - 1) * np.log(m) + shape * np.log(x)
    return density - (shape + q) * np.log(v + m * x)


MODELS = {"bg_nbd": BGNBD, "mbg_nbd": MBGNBD, "pareto_nbd": ParetoNBD}
"""Name of the feature to the model behind it."""
FITTED = 12_000
"""Customers to fit a model to, for time's sake."""


def purchase_model_features(frame: pd.DataFrame, days: float) -> pd.DataFrame:
    """Return each purchase model's probability of no purchase in the coming days.

    The models learn from the purchases up to the cut-off alone, no label is involved, so they are
    fitted anew at every cut-off; to every k-th customer where there are more than ``FITTED``.

    Parameters
    ----------
    frame : DataFrame
        Customers of one cut-off with ``x``, ``t_x`` and ``T`` in days.
    days : float
        The horizon.

    Returns
    -------
    DataFrame
        Same rows: the columns of ``MODELS``, and ``expected_orders`` (of those who order at all
        within the horizon, by MBG/NBD); NaN where nobody bought twice.
    """
    history = frame[["x", "t_x", "T"]].to_numpy(dtype=float)
    every = -(-len(frame) // FITTED)
    cells, where = np.unique(history, axis=0, return_inverse=True)
    table = pd.DataFrame(np.nan, frame.index, [*MODELS, "expected_orders"])
    with suppress(Unanswerable):
        for name, model in MODELS.items():
            fitted = model().fit(*history[::every].T)
            silent = np.clip(fitted.probability_no_purchase(*cells.T, days), 1e-6, 1 - 1e-6)
            table[name] = silent[where.ravel()]
            if model is MBGNBD:
                orders = fitted.expected_purchases(*cells.T, days) / (1 - silent)
                table["expected_orders"] = np.maximum(orders, 1.0)[where.ravel()]
    return table
