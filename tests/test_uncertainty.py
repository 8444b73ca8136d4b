import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cjlib.uncertainty import (
    benjamini_hochberg,
    bucket_array,
    difference_test,
    proportion,
    ratio,
    ratio_test,
    resample,
)


def share(totals):
    return totals[..., 0] / totals[..., 1]


def test_bucket_array_puts_buckets_first_and_cells_in_the_order_asked():
    frame = pd.DataFrame(
        {
            "bucket": [0, 0, 2, 2],
            "stage": ["a", "b", "b", "other"],
            "n": [1, 2, 3, 9],
            "value": [0.5, None, 1.5, 9.0],
        }
    )
    counts = bucket_array(frame, ["stage"], "n", buckets=3, levels={"stage": ["b", "a"]})
    assert counts.tolist() == [[2, 1], [0, 0], [3, 0]]
    both = bucket_array(frame, ["stage"], ["n", "value"])
    assert both.shape == (2, 3, 2)
    assert both.sum(axis=(0, 1)).tolist() == [15, 11]


def test_bucket_array_of_an_empty_frame_is_all_zero():
    frame = pd.DataFrame({"bucket": [], "stage": [], "n": []})
    counts = bucket_array(frame, ["stage"], "n", buckets=4, levels={"stage": ["a"]})
    assert counts.tolist() == [[0], [0], [0], [0]]


@pytest.mark.parametrize(("successes", "trials"), [(0, 40), (40, 40), (1, 40), (2, 200)])
def test_nearly_empty_cells_get_the_jeffreys_interval(successes, trials):
    """One trial per bucket: the effective sample size is the sample size."""
    hits = np.zeros(trials)
    hits[:successes] = 1
    found = proportion(hits, np.ones(trials))
    low, high = stats.beta.ppf([0.025, 0.975], successes + 0.5, trials - successes + 0.5)
    near = {"rel": 0.03}  # the design effect of a bucket is B / (B - 1), not 1
    assert found.lower == pytest.approx(0 if successes == 0 else low, **near)
    assert found.upper == pytest.approx(1 if successes == trials else high, **near)


def test_an_empty_cell_borrows_the_design_effect_of_its_neighbours():
    rng = np.random.default_rng(0)
    likes = rng.random(200) < 0.3  # ten trials a bucket, all alike
    trials = np.full((200, 2), 10.0)
    found = proportion(np.column_stack([likes * 10.0, np.zeros(200)]), trials)
    assert found.lower[1] == 0
    assert found.upper[1] == pytest.approx(stats.beta.ppf(0.975, 0.5, 200.5), rel=0.03)


def test_a_share_is_near_its_binomial_interval_when_trials_are_independent():
    rng = np.random.default_rng(1)
    trials = np.full(256, 40.0)
    successes = rng.binomial(40, 0.3, 256)
    found = proportion(successes, trials)
    error = np.sqrt(0.3 * 0.7 / trials.sum())
    assert (found.upper - found.lower) / (2 * 1.96 * error) == pytest.approx(1, abs=0.1)


def test_no_trials_say_nothing():
    none = np.zeros((8, 2))
    for found in (proportion(none, none), ratio(none, none)):
        assert np.isnan([found.estimate, found.lower, found.upper]).all()
    assert np.isnan(difference_test(none, none, none + 1, none + 2).p_value).all()


def test_a_mean_has_the_interval_of_students_t_when_customers_are_alike():
    rng = np.random.default_rng(2)
    values = rng.normal(3.0, 2.0, 250)
    found = ratio(values, np.ones(250))
    low, high = stats.t.interval(0.95, 249, values.mean(), stats.sem(values))
    assert [found.lower, found.upper] == pytest.approx([low, high], abs=0.02)


def test_a_mean_of_a_single_bucket_has_no_interval():
    found = ratio(np.array([6.0, 0.0]), np.array([3.0, 0.0]))
    assert found.estimate == 2
    assert np.isnan(found.lower)


def test_resampling_agrees_with_the_linearised_interval_of_a_ratio():
    rng = np.random.default_rng(3)
    trials = rng.poisson(20, 256) + 1.0
    successes = rng.binomial(trials.astype(int), 0.4)
    by_draws = resample(np.column_stack([successes, trials]), share, seed=5, n_resamples=4000)
    by_formula = proportion(successes, trials)
    assert by_draws.estimate == by_formula.estimate
    assert by_draws.lower == pytest.approx(by_formula.lower, abs=0.002)
    assert by_draws.upper == pytest.approx(by_formula.upper, abs=0.002)


def test_resampling_is_deterministic_and_keeps_its_replicates():
    counts = np.random.default_rng(4).poisson(3, (64, 2, 2)).astype(float) + 1
    first, second = (resample(counts, share, seed=9, n_resamples=50) for _ in range(2))
    other = resample(counts, share, seed=10, n_resamples=50)
    assert first.replicates.shape == (50, 2)
    assert (first.replicates == second.replicates).all()
    assert (first.lower == second.lower).all()
    assert (first.lower != other.lower).any()


def test_resampling_in_chunks_changes_nothing(monkeypatch):
    counts = np.random.default_rng(5).poisson(3, (64, 2)).astype(float) + 1
    whole = resample(counts, share, n_resamples=100)
    monkeypatch.setattr("cjlib.uncertainty.CHUNK", 14)
    pieces = resample(counts, share, n_resamples=100)
    assert (whole.replicates == pieces.replicates).all()
    assert (whole.upper == pieces.upper).all()


def test_undefined_replicates_are_left_out_and_past_half_the_interval_is_too():
    counts = np.zeros((40, 2))
    counts[:, 1] = [1.0] * 2 + [0.0] * 38  # in 13 % of the draws neither bucket is there
    counts[0, 0] = 1.0
    some = resample(counts, share)
    assert np.isnan(some.replicates).any()
    assert 0 <= some.lower <= some.upper <= 1
    counts[1] = 0  # now in 36 %; and with a condition on top in more than half
    seldom = resample(counts, lambda t: np.where(t[..., 1] == 2, share(t), np.nan))
    assert np.isnan(seldom.lower)
    assert np.isnan(seldom.upper)


def test_a_planted_difference_is_found_with_its_size():
    rng = np.random.default_rng(6)
    trials = rng.poisson(12, (2, 256))
    successes = rng.binomial(trials, [[0.30], [0.20]])
    found = difference_test(successes[0], trials[0], successes[1], trials[1])
    assert found.lower < 0.10 < found.upper
    assert found.p_value < 1e-6


def test_shared_customers_make_a_difference_surer():
    rng = np.random.default_rng(7)
    taste = rng.beta(1, 1, (256, 1))
    trials = np.full((256, 2), 30)
    successes = rng.binomial(trials, taste)
    paired = difference_test(successes[:, 0], trials[:, 0], successes[:, 1], trials[:, 1])
    mixed = rng.permutation(256)
    unpaired = difference_test(successes[:, 0], trials[:, 0], successes[mixed, 1], trials[mixed, 1])
    assert paired.upper - paired.lower < 0.5 * (unpaired.upper - unpaired.lower)


def test_an_empty_cell_is_no_proof_of_a_difference():
    bucket = np.arange(200)
    found = difference_test(np.zeros(200), 1.0 * (bucket < 4), 1.0 * (bucket < 40), np.ones(200))
    assert found.effect == pytest.approx(-0.2)
    assert found.p_value > 0.05


def test_a_coefficient_has_the_limits_of_its_ratio():
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(2, 256, 3))
    found, expected = ratio_test(x * (y + 0.2 * x), x**2), ratio(x * (y + 0.2 * x), x**2)
    np.testing.assert_array_equal(found.effect, expected.estimate)
    np.testing.assert_array_equal([found.lower, found.upper], [expected.lower, expected.upper])
    edge = ratio_test(x * (y + 0.2 * x), x**2, level=1 - found.p_value[0])
    assert edge.lower[0] * edge.upper[0] == pytest.approx(0)
    assert np.isnan(ratio_test(np.zeros(9), np.zeros(9)).p_value)


# ---- closed forms


def of_a_share(successes, trials):
    """Return what every customer of a share adds to its error, with one trial each."""
    hits = np.arange(trials) < successes
    return (hits - successes / trials) / np.sqrt(trials * (trials - 1))


def degrees_left(influence):
    """Return Satterthwaite's degrees of freedom: twice the buckets over their kurtosis less 1."""
    influence = np.asarray(influence)
    return 2 * len(influence) / ((influence**4).mean() / (influence**2).mean() ** 2 - 1)


def test_a_mean_leaves_the_degrees_of_freedom_of_its_kurtosis():
    values = np.append(np.arange(29.0), 200)
    found = ratio(values, np.ones(30), level=0.9)
    df = degrees_left(values - values.mean())
    assert df < 10
    low, high = stats.t.interval(0.9, df, values.mean(), stats.sem(values))
    assert [found.lower, found.upper] == pytest.approx([low, high], rel=1e-9)


def test_limits_of_a_mean_stay_on_its_scale():
    found = ratio(np.array([1, 1, 1, 0.5]), np.ones(4), scale=(-1, 1))
    assert found.upper == 1
    assert found.lower < 0.875
    assert ratio(-np.array([1, 1, 1, 0.5]), np.ones(4), scale=(-1, 1)).lower == -1


def test_a_share_of_customers_has_jeffreys_limits_at_its_effective_size():
    found = proportion(np.arange(100) < 40, np.ones(100), level=0.9)
    widened = stats.t.isf(0.05, degrees_left(of_a_share(40, 100))) / stats.norm.isf(0.05)
    size = 99 / widened**2
    limits = stats.beta.ppf([0.05, 0.95], 0.4 * size + 0.5, 0.6 * size + 0.5)
    assert [found.lower, found.upper] == pytest.approx(limits.tolist(), rel=1e-9)


@pytest.mark.parametrize("successes", [1, 38])
def test_a_nearly_empty_or_full_cell_is_not_widened_on_top(successes):
    found = proportion(np.arange(40) < successes, np.ones(40))
    share = successes / 40
    limits = stats.beta.ppf([0.025, 0.975], share * 39 + 0.5, (1 - share) * 39 + 0.5)
    assert [found.lower, found.upper] == pytest.approx(limits.tolist(), rel=1e-9)


@pytest.mark.parametrize("successes", [0, 1, 13, 39])
def test_failures_are_successes_turned_round(successes):
    hits = (np.arange(40) < successes) * 1.0
    one, other = proportion(hits, np.ones(40)), proportion(1 - hits, np.ones(40))
    assert [one.lower, one.upper] == pytest.approx([1 - other.upper, 1 - other.lower])


@pytest.mark.parametrize(("alike", "size"), [(None, 4), (1.0, 40)])
def test_where_no_cell_tells_its_design_a_bucket_counts_as_one_unless_said(alike, size):
    found = proportion(np.zeros(4), np.full(4, 10.0), alike=alike)
    assert found.upper == pytest.approx(stats.beta.ppf(0.975, 0.5, size + 0.5))


def test_a_borrowed_design_effect_never_exceeds_one_trial_a_bucket():
    likes = np.random.default_rng(0).random(200) < 0.3
    found = proportion(
        np.column_stack([likes * 10.0, np.zeros(200)]), np.tile([10.0, 1.0], (200, 1))
    )
    assert found.upper[1] == pytest.approx(stats.beta.ppf(0.975, 0.5, 200.5))


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_a_resampled_mean_is_the_normal_one_widened_to_t(level):
    values = 5 + stats.norm.ppf((np.arange(12) + 0.5) / 12)
    found = resample(np.column_stack([values, np.ones(12)]), share, n_resamples=20_000, level=level)
    reach = stats.t.isf((1 - level) / 2, degrees_left(values - 5)) * values.std() / np.sqrt(12)
    assert [5 - found.lower, found.upper - 5] == pytest.approx([reach, reach], rel=0.04)


def test_limits_of_a_resample_lie_between_its_replicates_in_their_order():
    counts = np.random.default_rng(11).poisson(3, (30, 2)) + 1.0
    found = resample(counts, share, n_resamples=200)
    assert found.replicates.min() < found.lower < found.estimate
    assert found.estimate < found.upper < found.replicates.max()
    sure = resample(counts, share, n_resamples=200, level=1.0)
    assert [sure.lower, sure.upper] == [found.replicates.min(), found.replicates.max()]


def test_what_is_undefined_without_one_customer_is_as_sure_as_the_others_make_it():
    values = np.append(np.zeros(9), [-0.01, 0.01])  # two stand out: few degrees of freedom
    counts = np.column_stack([values, np.ones(11), np.arange(11) == 0])
    found = resample(
        counts, lambda t: np.where(t[..., 2] > 0, share(t), np.nan), n_resamples=20_000
    )
    whole = resample(counts, share, n_resamples=20_000)
    width = found.upper - found.lower
    assert np.isnan(found.replicates).mean() == pytest.approx((10 / 11) ** 11, abs=0.01)
    assert width == pytest.approx(whole.upper - whole.lower, rel=0.07)


@pytest.mark.parametrize(("undefined", "known"), [(50, True), (51, False)])
def test_an_interval_needs_half_of_its_replicates(undefined, known):
    counts = np.random.default_rng(14).poisson(3, (30, 2)) + 1.0

    def statistic(totals):
        shares = share(totals)
        return np.where((np.arange(len(shares)) < undefined) & (len(shares) == 100), np.nan, shares)

    found, sure = (resample(counts, statistic, n_resamples=100, level=at) for at in (0.95, 1.0))
    assert np.isfinite([found.lower, found.upper]).all() == known
    assert not known or sure.upper == np.nanmax(sure.replicates)


def test_two_shares_of_the_same_customers_are_a_paired_t_test():
    rng = np.random.default_rng(12)
    one, other = rng.random((2, 80)) < [[0.6], [0.4]]
    change = one.astype(float) - other
    found = difference_test(one, np.ones(80), other, np.ones(80), level=0.9)
    df, error = degrees_left(change - change.mean()), stats.sem(change)
    assert found.effect == pytest.approx(change.mean())
    assert found.p_value == pytest.approx(2 * stats.t.sf(change.mean() / error, df))
    limits = stats.t.interval(0.9, df, change.mean(), error)
    assert [found.lower, found.upper] == pytest.approx(list(limits))


@pytest.mark.parametrize("successes", [0, 2])
def test_a_nearly_empty_group_is_no_surer_than_jeffreys_estimate(successes):
    """50 customers against 100 others, of whom 40: only the first share is nearly empty."""
    first, second = np.arange(150) < 50, np.arange(150) >= 50
    hits = [np.arange(150) < successes, second & (np.arange(150) < 90)]
    found = difference_test(hits[0], first, hits[1], second)
    size = 49 if successes else 50
    smoothed = (successes / 50 * size + 0.5) / (size + 1)
    own, other = of_a_share(successes, 50), of_a_share(40, 100)
    error = np.sqrt(smoothed * (1 - smoothed) / size + (other**2).sum())
    df = degrees_left(np.append(own, other))
    assert found.upper - found.effect == pytest.approx(stats.t.isf(0.025, df) * error)
    assert found.p_value == pytest.approx(2 * stats.t.sf((0.4 - successes / 50) / error, df))


def test_nearly_empty_cells_tested_at_once_are_as_tested_one_by_one():
    rng = np.random.default_rng(13)
    trials = rng.random((2, 60, 3)) < 0.5
    hits = trials & (rng.random((2, 60, 3)) < 0.08)
    parts = hits[0], trials[0], hits[1], trials[1]
    together = difference_test(*parts)
    alone = [difference_test(*(part[:, i] for part in parts)) for i in range(3)]
    np.testing.assert_allclose(together.p_value, [one.p_value for one in alone])
    np.testing.assert_allclose(together.lower, [one.lower for one in alone])


def test_one_trial_is_enough_to_compare_and_proves_nothing():
    single, many = np.arange(60) < 1, np.ones(60)
    for turned in (1, -1):
        groups = [(single, single), (np.arange(60) % 2, many)][::turned]
        found = difference_test(*groups[0], *groups[1])
        assert found.effect == pytest.approx(0.5 * turned)
        assert found.p_value > 0.1


def _unequal_customers(rng, logs, customers, buckets=256):
    """Return trials by (log, bucket, 2 random groups) with customers of very unequal activity."""
    activity = np.minimum((1 - rng.random((logs, customers))) ** (-1 / 1.5), 100).astype(int)
    taste = rng.beta(2, 4, (logs, customers, 1))
    trials = rng.binomial(activity[..., None], [0.5, 0.5])
    successes = rng.binomial(trials, taste)
    where = (np.arange(logs)[:, None], rng.integers(0, buckets, (logs, customers)))
    totals = np.zeros((2, logs, buckets, 2))
    np.add.at(totals[0], where, successes)
    np.add.at(totals[1], where, trials)
    return totals.transpose(0, 2, 1, 3)


@pytest.mark.slow
def test_without_a_difference_p_values_are_uniform():
    successes, trials = _unequal_customers(np.random.default_rng(8), 1500, 600)
    groups = successes[..., 0], trials[..., 0], successes[..., 1], trials[..., 1]
    p = difference_test(*groups).p_value
    shares = [(p < level).mean() for level in (0.01, 0.05, 0.5)]
    print("null p-values below .01, .05, .5:", shares)
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert 0.03 < shares[1] < 0.07


def test_benjamini_hochberg_gives_the_known_answer():
    """The example of the 1995 paper: 15 tests, the first four found at a rate of 5 %."""
    p = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
        0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000,
    ]  # fmt: skip
    q = benjamini_hochberg(p)
    assert (q < 0.05).sum() == 4
    assert q[3] == pytest.approx(0.0095 * 15 / 4)
    with_gap = benjamini_hochberg(np.array([[np.nan, 0.01], [0.04, np.nan]]))
    assert with_gap[0, 1] == pytest.approx(0.02)
    assert with_gap[1, 0] == pytest.approx(0.04)
    assert np.isnan(with_gap).sum() == 2


CHAIN = np.array(
    [[0.2, 0.4, 0.2, 0.05, 0.15], [0.1, 0.3, 0.3, 0.15, 0.15], [0.1, 0.2, 0.2, 0.3, 0.2]]
)


def _simulate_logs(rng, logs, customers, buckets):
    """Customers with a Pareto number of steps and each with an own chain (Dirichlet) and mood.

    Three stages and two ends, after which a new journey begins. Returns transitions
    (logs, buckets, 3, 5) and sums and counts of sentiment (logs, buckets, 2).
    """
    steps = np.minimum((1 - rng.random((logs, customers))) ** (-1 / 1.5), 200).astype(int)
    own = rng.standard_gamma(np.broadcast_to(5 * CHAIN, (logs, customers, 3, 5)))
    limits = (own / own.sum(axis=-1, keepdims=True)).cumsum(axis=-1)
    mood = rng.normal(0, 0.4, (logs, customers))
    bucket = rng.integers(0, buckets, (logs, customers))
    moves, feeling = np.zeros((logs, buckets, 3, 5)), np.zeros((logs, buckets, 2))
    state = np.zeros((logs, customers), dtype=int)
    for step in range(steps.max()):
        log, who = np.nonzero(steps > step)
        at = state[log, who]
        to = (rng.random((len(log), 1)) > limits[log, who, at]).sum(axis=1).clip(0, 4)
        where = (log, bucket[log, who])
        np.add.at(moves, (*where, at, to), 1)
        felt = np.clip(mood[log, who] + rng.normal(0, 0.5, len(log)), -1, 1)
        np.add.at(feeling, where, np.column_stack([felt, np.ones(len(log))]))
        state[log, who] = np.where(to >= 3, 0, to)
    return moves, feeling


def _absorbed(totals):
    """Return the chance to end in the first of the two ends, from each stage."""
    chances = totals / totals.sum(axis=-1, keepdims=True)
    return np.linalg.solve(np.eye(3) - chances[..., :3], chances[..., 3:])[..., 0]


@pytest.mark.slow
@pytest.mark.parametrize("customers", [300, 1500])
def test_intervals_cover_the_truth_in_95_of_100_logs(customers):
    """Customers of unequal activity and unequal chains, hashed into 256 buckets.

    Multinomial intervals, which take transitions for independent, cover about 80 % here.
    """
    rng = np.random.default_rng(20)
    large = [_simulate_logs(rng, 1, 250_000, 256) for _ in range(2)]
    moves, feeling = (sum(part[i].sum(axis=(0, 1)) for part in large) for i in (0, 1))
    truth = {
        "transition probability": moves / moves.sum(axis=-1, keepdims=True),
        "mean sentiment": feeling[0] / feeling[1],
        "absorption probability": _absorbed(moves[None])[0],
    }
    covered = {name: [] for name in truth}
    for moves, feeling in zip(*_simulate_logs(rng, 300, customers, 256), strict=True):
        intervals = {
            "transition probability": proportion(moves, moves.sum(axis=-1, keepdims=True)),
            "mean sentiment": ratio(feeling[:, 0], feeling[:, 1]),
            "absorption probability": resample(moves, _absorbed, seed=1),
        }
        for name, found in intervals.items():
            covered[name].append(
                np.mean((found.lower <= truth[name]) & (truth[name] <= found.upper))
            )
    shares = {name: float(np.mean(inside)) for name, inside in covered.items()}
    print(f"{customers} customers, 300 logs:", {k: f"{v:.1%}" for k, v in shares.items()})
    assert all(0.93 <= value <= 0.97 for value in shares.values()), shares
