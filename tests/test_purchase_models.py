"""The purchase models: figures in print, recovery of planted parameters, extreme customers."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad

from cjlib.churn.purchase_models import BGNBD, MBGNBD, GammaGamma, ParetoNBD, _log_density
from cjlib.errors import Unanswerable

MODELS = [BGNBD, MBGNBD, ParetoNBD]


def with_params(model, *values):
    model = model()
    model.params_ = pd.Series(values, index=list(model.names))
    return model


def log_likelihood(model, x, t_x, T):
    """Return each customer's log-likelihood."""
    return model._log_likelihood(model.params_.to_numpy(), *map(np.asarray, (x, t_x, T)))


@pytest.fixture(scope="module")
def orders(shared_data):
    path = shared_data("cdnow/CDNOW_sample.txt")
    names = ["master", "customer", "date", "items", "value"]
    orders = pd.read_csv(path, sep=r"\s+", header=None, names=names)
    orders["date"] = pd.to_datetime(orders["date"].astype(str))
    orders = orders[orders["date"] <= "1997-09-30"]
    return orders.groupby(["master", "date"], as_index=False)["value"].sum()


@pytest.fixture(scope="module")
def cdnow(orders):
    first = orders.groupby("master")["date"].agg(["min", "max", "size"])
    weeks = pd.Timedelta(7, "D")
    watched = (pd.Timestamp("1997-09-30") - first["min"]) / weeks
    return first["size"] - 1, (first["max"] - first["min"]) / weeks, watched


@pytest.mark.parametrize(
    ("model", "params", "total"),
    [
        (BGNBD, [0.2425945, 4.4136019, 0.7929199, 2.4258881], -9582.429),
        (ParetoNBD, [0.55315, 10.57633, 0.60625, 11.67150], -9594.976),
        (MBGNBD, [0.525, 6.183, 0.891, 1.614], -9582.133),
    ],
)
def test_fit_gives_the_published_cdnow_parameters(cdnow, model, params, total):
    fitted = model().fit(*cdnow)
    np.testing.assert_allclose(fitted.params_, params, rtol=1e-3)
    assert log_likelihood(fitted, *cdnow).sum() == pytest.approx(total, abs=5e-3)


def test_gamma_gamma_gives_the_published_cdnow_parameters(orders):
    first = orders.groupby("master")["date"].transform("min")
    means = orders[orders["date"] > first].groupby("master")["value"].agg(["size", "mean"])
    fitted = GammaGamma().fit(means["size"], means["mean"])
    assert len(means) == 946
    np.testing.assert_allclose(fitted.params_, [6.25, 3.74, 15.44], rtol=2e-3)
    total = _log_density(fitted.params_.to_numpy(), means["size"], means["mean"]).sum()
    assert total == pytest.approx(-4055.918, abs=1e-3)


def test_published_points():
    bg = with_params(BGNBD, 0.2425945, 4.4136019, 0.7929199, 2.4258881)
    pareto = with_params(ParetoNBD, 0.55315, 10.57633, 0.60625, 11.67150)
    assert bg.expected_purchases(2, 30.43, 38.86, 39) == pytest.approx(1.226, abs=5e-4)
    assert bg.expected_purchases(26, 30.857, 31, 52) == pytest.approx(25.75659, rel=5e-5)
    assert bg.probability_alive(26, 30.857, 31) == pytest.approx(0.9688523, abs=2e-6)
    assert pareto.probability_alive(26, 30.857, 31) == pytest.approx(0.997874, abs=5e-6)
    # no page needs what a Pareto/NBD customer will buy: Schmittlein, Morrison & Colombo (1987)
    (r, alpha, s, beta), (x, T, t) = pareto.params_, (26, 31, 52)
    alive = pareto.probability_alive(x, 30.857, T)
    rate = (r + x) / (alpha + T) * (beta + T) / (s - 1)
    bought = rate * (1 - ((beta + T) / (beta + T + t)) ** (s - 1)) * alive
    assert bought == pytest.approx(25.45647, rel=5e-5)


def test_bg_log_likelihood_at_the_published_extremes():
    bg = with_params(BGNBD, 0.25, 4, 0.8, 2.5)
    found = log_likelihood(bg, [0, 200], [0, 38], 40)
    np.testing.assert_allclose(found, [-0.59947382, 100.7957], rtol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_extreme_customers_stay_finite_and_within_bounds(model):
    fitted = with_params(model, 0.5, 8.0, 0.7, 3.0)
    x = np.array([0, 0, 1, 200, 200, 2000])
    t_x, T = np.array([0, 0, 1e-9, 38, 1, 39.9]), np.array([1e-6, 5000, 40, 40, 400, 40])
    assert np.isfinite(log_likelihood(fitted, x, t_x, T)).all()
    for chance in (
        fitted.probability_alive(x, t_x, T),
        fitted.probability_no_purchase(x, t_x, T, 30),
    ):
        assert (chance >= 0).all()
        assert (chance <= 1 + 1e-12).all()
    if model is not ParetoNBD:
        expected = fitted.expected_purchases(x, t_x, T, 30)
        assert np.isfinite(expected).all()
        assert (expected >= 0).all()


@pytest.mark.parametrize("model", MODELS)
def test_longer_horizons_are_consistent(model):
    fitted = with_params(model, 0.5, 8.0, 0.7, 3.0)
    chances = [fitted.probability_no_purchase(3, 20, 30, h) for h in (0, 1, 10, 100)]
    assert chances[0] == pytest.approx(1)
    assert np.all(np.diff(chances) < 0)


@pytest.mark.parametrize("model", [BGNBD, MBGNBD])
def test_a_first_purchase_is_nearly_all_there_is_to_expect_of_a_short_horizon(model):
    fitted, brief = with_params(model, 0.5, 8.0, 0.7, 3.0), 1e-4
    assert fitted.expected_purchases(3, 20, 30, brief) == pytest.approx(
        1 - fitted.probability_no_purchase(3, 20, 30, brief), rel=1e-3
    )


def test_pareto_likelihood_agrees_with_direct_integration():
    r, alpha, s, beta = 0.6, 9.0, 0.4, 2.0
    for x, t_x, T in [(0, 0, 30), (4, 21, 30)]:
        gone, _ = quad(lambda t, x=x: (alpha + t) ** -(r + x) * (beta + t) ** -(s + 1), t_x, T)
        alive = (alpha + T) ** -(r + x) * (beta + T) ** -s
        rate = np.prod(r + np.arange(x)) * alpha**r * beta**s
        model = with_params(ParetoNBD, r, alpha, s, beta)
        assert log_likelihood(model, x, t_x, T) == pytest.approx(np.log(rate * (alive + s * gone)))


def simulated(n, *, rng, early):
    """Return x, t_x, T of customers who follow (M)BG/NBD with r .8, alpha 6, a .9, b 2."""
    rate, end = rng.gamma(0.8, 1 / 6, n), rng.beta(0.9, 2.0, n)
    watched = rng.uniform(30, 60, n)
    x, t_x = np.zeros(n), np.zeros(n)
    alive = rng.random(n) > end if early else np.ones(n, dtype=bool)
    time = np.zeros(n)
    while alive.any():
        time = time + rng.exponential(1 / rate)
        alive &= time <= watched
        x, t_x = x + alive, np.where(alive, time, t_x)
        alive &= rng.random(n) > end
    return x, t_x, watched


@pytest.mark.slow
@pytest.mark.parametrize(("model", "early"), [(BGNBD, False), (MBGNBD, True)])
def test_fit_recovers_planted_parameters_in_any_unit_of_time(model, early):
    x, t_x, T = simulated(20_000, rng=np.random.default_rng(5), early=early)
    weeks, days = model().fit(x, t_x, T), model().fit(x, t_x * 7, T * 7)
    np.testing.assert_allclose(weeks.params_, [0.8, 6, 0.9, 2.0], rtol=0.15)
    np.testing.assert_allclose(days.params_, weeks.params_ * [1, 7, 1, 1], rtol=2e-3)
    chance = weeks.probability_no_purchase(x, t_x, T, 10)
    np.testing.assert_allclose(
        chance, days.probability_no_purchase(x, t_x * 7, T * 7, 70), rtol=2e-3
    )


@pytest.mark.parametrize("model", MODELS)
def test_nobody_buying_again_is_said(model):
    with pytest.raises(Unanswerable, match="no customer bought a second time"):
        model().fit([0, 0, 0], [0, 0, 0], [5, 6, 7])


def test_gamma_gamma_recovers_and_shrinks():
    rng = np.random.default_rng(7)
    x = rng.integers(1, 8, 20_000)
    rate = rng.gamma(4.0, 1 / 15.0, len(x))
    mean = rng.gamma(6.0 * x, 1 / (x * rate))
    fitted = GammaGamma().fit(x, mean)
    np.testing.assert_allclose(fitted.params_, [6, 4, 15], rtol=0.08)
    everybody = 6 * 15 / 3
    few, many = fitted.expected_value([1, 50], [100.0, 100.0])
    assert everybody < few < many < 100
    assert fitted.expected_value([0], [np.nan])[0] == pytest.approx(everybody, rel=0.05)


def test_gamma_gamma_leaves_out_values_that_are_not_positive():
    x, mean = np.array([1, 2, 3, 4, 1]), np.array([10.0, 12.0, 9.0, -5.0, 0.0])
    assert np.isfinite(GammaGamma().fit(x, mean).expected_value(x, mean)).all()
    with pytest.raises(Unanswerable, match="two customers"):
        GammaGamma().fit([1, 1], [-3.0, 0.0])
