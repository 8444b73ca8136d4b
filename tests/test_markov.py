"""The chain learned from unfinished journeys: printed answers, coverage, shrinkage, contract."""

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

from cjlib.errors import ParameterError
from cjlib.markov import MarkovChain, fit_by_segment, purchase_or_end
from cjlib.stages import load_stage_model

SIX_JOURNEYS = ["abcce", "abde", "acbcd", "abbdbcde", "accdd", "acddbbe"]


def table(counts, names, **columns) -> pd.DataFrame:
    origin, target = np.nonzero(np.asarray(counts))
    names = np.array(names, object)
    frame = {"from_stage": names[origin], "to_stage": names[target]}
    return pd.DataFrame(frame | {"n": np.asarray(counts)[origin, target]} | columns)


def simulate(matrix, generator, customers=300, visits=20.0, concentration=None):
    """Return bucket counts (256, S, S) of customers of unequal activity (Pareto-like)."""
    size = len(matrix)
    active = 1 + generator.poisson(visits * generator.gamma(0.7, 1 / 0.7, customers))
    exits = generator.multinomial(active, np.full(size, 1 / size))
    own = np.broadcast_to(matrix, (customers, size, size))
    if concentration:
        noise = generator.gamma(np.maximum(concentration * own, 1e-12))
        own = noise / noise.sum(-1, keepdims=True)
    moves = generator.multinomial(exits, own)
    counts = np.zeros((256, size, size))
    np.add.at(counts, generator.permutation(customers) % 256, moves)
    return counts


def frame_of(counts, names) -> pd.DataFrame:
    bucket, origin, target = np.nonzero(counts)
    names = np.array(names, object)
    return pd.DataFrame(
        {
            "bucket": bucket,
            "from_stage": names[origin],
            "to_stage": names[target],
            "n": counts[bucket, origin, target],
        }
    )


# ---- printed answers


def test_rain_as_printed_by_r_markovchain(shared_data):
    days = pd.read_csv(shared_data("markov/rain.csv"))["rain"].astype(str)
    chain = MarkovChain(states=["0", "1-5", "6+"], prior=0).fit([list(days)])
    printed = [[362, 126, 60], [136, 90, 68], [50, 79, 124]]
    np.testing.assert_array_equal(chain.counts_, printed)
    np.testing.assert_array_equal(
        chain.transition_matrix_[0].round(7), [0.6605839, 0.2299270, 0.1094891]
    )
    assert round((chain.counts_ * np.log(chain.transition_matrix_)).sum(), 3) == -1040.419
    steady = np.linalg.matrix_power(chain.transition_matrix_, 200)[0]
    np.testing.assert_array_equal(steady.round(8), [0.50088706, 0.26936561, 0.22974733])


def test_rain_from_its_counts_alone():
    counts = [[362, 126, 60], [136, 90, 68], [50, 79, 124]]
    chain = MarkovChain(prior=0).fit(table(counts, ["0", "1-5", "6+"]))
    # the standard error is sqrt(p(1-p)/n of the row), not p/sqrt(n)
    width = chain.summary().query("from_stage == '0' and to_stage == '0'").iloc[0]
    half = 1.959964 * np.sqrt(0.6605839 * (1 - 0.6605839) / 548)
    assert (width["upper"] - width["lower"]) / 2 == pytest.approx(half, rel=0.01)


def test_six_journeys_whose_ends_are_open_unless_declared_absorbing():
    chain = MarkovChain(prior=0, absorbing=("e",)).fit(SIX_JOURNEYS)
    third = 1 / 3
    printed = [
        [0, 0.5, 0.5, 0, 0],
        [0, 0.25, 0.375, 0.25, 0.125],
        [0, 0.125, 0.25, 0.5, 0.125],
        [0, third, 0, third, third],
        [0, 0, 0, 0, 1],
    ]
    np.testing.assert_allclose(chain.transition_matrix_, printed, rtol=1e-15)


def test_seventeen_letters():
    letters = ["a", "b", "a", "a", "a", "a", "b", "a", "b", "a", "b", "a", "a", "b", "b", "b", "a"]
    chain = MarkovChain(prior=0).fit([letters])
    np.testing.assert_array_equal(chain.counts_, [[4, 5], [5, 2]])


def test_preproglucacon(shared_data):
    bases = pd.read_csv(shared_data("markov/preproglucacon.csv")).iloc[:, 1]
    chain = MarkovChain(states=list("ACGT"), prior=0).fit([list(bases)])
    known = [[185, 74, 86, 171], [101, 41, 6, 115], [69, 45, 34, 78], [161, 103, 100, 202]]
    np.testing.assert_array_equal(chain.counts_, known)


def test_craigsendi():
    counts = [[682, 33, 25], [154, 64, 47], [19, 19, 43]]
    chain = MarkovChain(prior=0).fit(table(counts, ["0-49", "50-74", "75-UP"]))
    printed = [
        [0.92162, 0.04459, 0.03378],
        [0.58113, 0.24151, 0.17736],
        [0.23457, 0.23457, 0.53086],
    ]
    np.testing.assert_array_equal(chain.transition_matrix_.round(5), printed)


# ---- what is unknown stays unknown


def test_a_state_without_exits_is_named_and_stays_unknown():
    with pytest.warns(UserWarning, match="no exit seen from e"):
        chain = MarkovChain().fit(SIX_JOURNEYS)
    assert chain.unresolved_ == ["e"]
    assert np.isnan(chain.transition_matrix_[4]).all()
    ways = chain.absorption({"goal": ["d"]})
    assert set(ways["outcome"]) == {"goal", "open"}
    np.testing.assert_allclose(ways.groupby("from_stage")["probability"].sum(), 1)


def test_the_prior_is_spread_over_what_can_happen():
    counts = np.array([[0, 8, 2], [0, 0, 0], [4, 6, 0]])
    chain = MarkovChain(absorbing=("lost",)).fit(table(counts, ["a", "lost", "b"]))
    assert list(chain.states_) == ["a", "b", "lost"]
    np.testing.assert_allclose(chain.transition_matrix_[0], [0, 2.5 / 11, 8.5 / 11])
    np.testing.assert_array_equal(chain.transition_matrix_[2], [0, 0, 1])
    heavier = MarkovChain(prior=5.0).fit(table(counts, ["a", "lost", "b"]))
    np.testing.assert_allclose(heavier.transition_matrix_[0], [0, 7 / 20, 13 / 20])


def test_wrong_input_is_refused_with_its_remedy():
    with pytest.raises(ParameterError, match="declared absorbing, yet the data leave it"):
        MarkovChain(absorbing=("b",)).fit(["abc"])
    with pytest.raises(ParameterError, match="prior"):
        MarkovChain(prior=-1).fit(["abc"])
    with pytest.raises(ParameterError, match="not among"):
        MarkovChain(states=["a", "b"]).fit(["abc"])
    with pytest.raises(ParameterError, match="negative"):
        MarkovChain().fit(pd.DataFrame({"from_stage": ["a"], "to_stage": ["b"], "n": [-1]}))


# ---- properties


@given(
    st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=8), min_size=1, max_size=12),
    st.permutations("abcd"),
)
@settings(max_examples=60, deadline=None)
def test_rows_sum_to_one_and_relabelling_relabels(sequences, letters):
    renamed = dict(zip("abcd", letters, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chain = MarkovChain().fit(sequences)
        other = MarkovChain(states=[renamed[s] for s in chain.states_]).fit(
            [[renamed[s] for s in one] for one in sequences]
        )
    sums = chain.transition_matrix_.sum(1)
    known = ~np.isnan(sums)
    np.testing.assert_allclose(sums[known], 1, atol=1e-12)
    np.testing.assert_array_equal(known, chain.counts_.sum(1) > 0)
    np.testing.assert_allclose(other.transition_matrix_, chain.transition_matrix_)
    lower, upper = chain.interval()
    inside = (lower <= chain.transition_matrix_ + 1e-12) & (
        chain.transition_matrix_ <= upper + 1e-12
    )
    assert inside[known].all()


# ---- recovery


MATRIX = np.array(
    [
        [0.00, 0.60, 0.25, 0.03, 0.12],
        [0.30, 0.00, 0.50, 0.05, 0.15],
        [0.10, 0.20, 0.00, 0.52, 0.18],
        [0.05, 0.15, 0.10, 0.00, 0.70],
        [0.40, 0.30, 0.20, 0.10, 0.00],
    ]
)
NAMES = ["a", "b", "c", "d", "e"]


@pytest.mark.slow
@pytest.mark.parametrize("concentration", [None, 15.0], ids=["one chain", "unequal chains"])
def test_planted_matrices_lie_inside_the_intervals_at_the_nominal_rate(concentration):
    inside, cells = 0, MATRIX > 0
    for seed in range(150):
        counts = simulate(MATRIX, np.random.default_rng(seed), 600, concentration=concentration)
        lower, upper = MarkovChain().fit(frame_of(counts, NAMES)).interval()
        inside += ((lower <= MATRIX) & (upper >= MATRIX))[cells].mean()
    assert 0.93 <= inside / 150 <= 0.97


@pytest.mark.slow
def test_planted_absorption_lies_inside_the_intervals_at_the_nominal_rate():
    matrix = MATRIX.copy()
    matrix[4] = np.eye(5)[4]
    truth = MarkovChain(states=NAMES, absorbing=("e",), prior=0)
    truth.fit(table(np.round(matrix[:4] * 1e6).astype(int), NAMES))
    known = truth.absorption({"d": ["d"], "e": ["e"]})["probability"]
    hits = []
    for seed in range(80):
        counts = simulate(matrix, np.random.default_rng(seed), 500, concentration=15.0)
        counts[:, 4] = 0
        chain = MarkovChain(absorbing=("e",), seed=seed).fit(frame_of(counts, NAMES))
        ways = chain.absorption({"d": ["d"], "e": ["e"]})
        hits.append((ways["lower"] <= known) & (known <= ways["upper"]))
    assert 0.92 <= np.mean(hits) <= 0.98


# ---- shrinkage


def test_small_segments_are_pulled_towards_everybody_and_large_ones_hardly():
    generator = np.random.default_rng(3)
    everybody = MarkovChain().fit(frame_of(simulate(MATRIX, generator, 4000), NAMES))
    small = frame_of(simulate(MATRIX, generator, 8, 5), NAMES)
    raw, shrunk = MarkovChain(states=NAMES).fit(small), MarkovChain().fit(small, base=everybody)
    far = np.abs(raw.transition_matrix_ - MATRIX).sum()
    near = np.abs(shrunk.transition_matrix_ - MATRIX).sum()
    assert near < 0.5 * far
    other = np.roll(MATRIX[:, ::-1], 1, 1)
    np.fill_diagonal(other, 0)
    other /= other.sum(1, keepdims=True)
    large = frame_of(simulate(other, generator, 2000), NAMES)
    own = MarkovChain().fit(large, base=everybody)
    assert np.abs(own.transition_matrix_ - other).max() < 0.03
    lower, upper = own.interval()
    assert ((lower <= own.transition_matrix_) & (own.transition_matrix_ <= upper)).all()


@pytest.mark.slow
def test_shrunken_segments_are_covered_too():
    generator = np.random.default_rng(5)
    everybody = MarkovChain().fit(frame_of(simulate(MATRIX, generator, 20_000), NAMES))
    inside = []
    for _ in range(150):
        own = generator.dirichlet
        matrix = np.stack([own(40 * row + 1e-9) for row in MATRIX])
        segment = frame_of(simulate(matrix, generator, 120, 10), NAMES)
        chain = MarkovChain().fit(segment, base=everybody)
        lower, upper = chain.interval()
        inside.append(((lower <= matrix) & (matrix <= upper))[MATRIX > 0].mean())
    assert 0.92 <= np.mean(inside) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("unlike", [0.0, 0.3], ids=["alike", "unlike"])
def test_the_intervals_of_groups_hold_for_their_own_chains(unlike):
    generator, inside, sizes = np.random.default_rng(9), [], (40, 120, 600)
    for _ in range(50):
        own = [generator.dirichlet(60 * row + 1e-9, len(sizes)) for row in MATRIX]
        truths = (1 - unlike) * MATRIX + unlike * np.stack(own, 1)
        counts = [
            simulate(truth, generator, size, concentration=15.0)
            for truth, size in zip(truths, sizes, strict=True)
        ]
        everybody = MarkovChain().fit(frame_of(np.sum(counts, 0), NAMES))
        for truth, part in zip(truths, counts, strict=True):
            lower, upper = MarkovChain().fit(frame_of(part, NAMES), base=everybody).interval()
            inside.append(((lower <= truth) & (truth <= upper))[MATRIX > 0].mean())
    assert 0.93 <= np.mean(inside) <= 0.97


def test_a_group_like_everybody_is_no_surer_than_its_own_moves_make_it():
    everybody = MarkovChain(states=NAMES).fit(
        frame_of(simulate(MATRIX, np.random.default_rng(0), 20_000), NAMES)
    )
    part = frame_of(simulate(MATRIX, np.random.default_rng(1), 20, 4), NAMES)
    joined, alone = MarkovChain().fit(part, base=everybody), MarkovChain(states=NAMES).fit(part)
    widths = [(upper - lower)[MATRIX > 0] for lower, upper in (joined.interval(), alone.interval())]
    assert (widths[0] >= 0.95 * widths[1]).all()
    never = part[(part["from_stage"] != "a") | (part["to_stage"] != "d")]
    lower, upper = MarkovChain().fit(never, base=everybody).interval()
    assert lower[0, 3] == 0
    assert upper[0, 3] > 0.05


def test_a_large_group_keeps_the_share_it_was_seen_with():
    counts = np.array([[0, 40, 60], [50, 0, 50], [0, 0, 0]])
    names = ["a", "b", "lost"]
    everybody = MarkovChain().fit(table(counts * 100, names))
    group = table([[0, 1200, 1200], [900, 0, 1100], [0, 0, 0]], names)
    chain = MarkovChain().fit(group, base=everybody)
    assert chain.transition_matrix_[0, 1] == pytest.approx(0.5, abs=0.0005)


def test_a_segment_without_exits_takes_the_row_of_everybody():
    everybody = MarkovChain().fit(table([[0, 6, 4], [5, 0, 5], [0, 0, 0]], ["a", "b", "lost"]))
    part = MarkovChain().fit(table([[0, 3], [0, 0]], ["a", "b"]), base=everybody)
    np.testing.assert_allclose(part.transition_matrix_[1], everybody.transition_matrix_[1])
    assert part.unresolved_ == []
    # and knows nothing of it: the row is not published as the segment's
    assert [limit[1, 0] for limit in part.interval()] == [0, 1]
    assert set(part.summary()["from_stage"]) == {"a"}


def test_what_follows_from_a_cell_never_seen_is_no_surer_than_the_cell():
    # eleven customers who all came back: resampling them can show nothing else
    frame = pd.DataFrame({"bucket": range(11), "from_stage": "after", "to_stage": "buy", "n": 1})
    other = pd.DataFrame({"bucket": range(11), "from_stage": "buy", "n": 1})
    frame = pd.concat([frame, other.assign(to_stage=["after", "lost"] * 5 + ["after"])])
    chain = MarkovChain(states=["buy", "after", "lost"]).fit(frame)
    ways = chain.absorption({"buy": ["buy"], "lost": ["lost"]}, starts=["after"])
    lower, upper = (limit[1, 2] for limit in chain.interval())
    lost = ways[ways["outcome"] == "lost"].iloc[0]
    assert (lost["lower"], lost["upper"]) == pytest.approx((lower, upper))
    assert lost["upper"] > 0.15
    back = ways[ways["outcome"] == "buy"].iloc[0]
    assert back["lower"] == pytest.approx(1 - upper)


def test_what_customers_agree_on_is_surer_than_the_cells_on_the_way():
    # half of them are lost early, half late: of either half 32 % buy in the end
    rows = [
        (b, *move)
        for b in range(60)
        for move in (
            ("a", "b", 8 if b % 2 else 4),
            ("a", "lost", 2 if b % 2 else 6),
            ("b", "buy", 4 if b % 2 else 8),
            ("b", "lost", 6 if b % 2 else 2),
        )
    ]
    frame = pd.DataFrame(rows, columns=["bucket", "from_stage", "to_stage", "n"])
    chain = MarkovChain(absorbing=("buy", "lost"), prior=0).fit(frame)
    way = chain.absorption({"buy": ["buy"]}, starts=["a"]).iloc[0]
    lower, upper = (limit[0, 1] for limit in chain.interval())
    assert way["probability"] == pytest.approx(0.36)
    assert way["upper"] - way["lower"] < 0.5 * 0.6 * (upper - lower)


@pytest.mark.parametrize(("unlike", "least", "most"), [(0, 9.9, 10), (1, 0.3, 3)])
def test_a_segment_leans_on_everybody_as_far_as_it_is_like_them(unlike, least, most):
    everybody = MarkovChain().fit(
        table([[0, 600, 400], [500, 0, 500], [0, 0, 0]], ["a", "b", "lost"])
    )
    part = [[0, 60, 40], [50, 0, 50], [0, 0, 0]], [[0, 1, 99], [99, 0, 1], [0, 0, 0]]
    chain = MarkovChain().fit(table(part[unlike], ["a", "b", "lost"]), base=everybody)
    assert least <= chain.pull_ <= most


def test_the_end_of_a_walk_is_certain_and_an_unknown_row_stays_unknown():
    with pytest.warns(UserWarning, match="no exit seen from b"):
        chain = MarkovChain().fit(table([[0, 3, 2], [0, 0, 0], [0, 0, 0]], ["a", "b", "lost"]))
    for limit in chain.interval():
        np.testing.assert_array_equal(limit[1:], [[np.nan] * 3, [0, 0, 1]])


def test_sequences_tell_neither_days_nor_customers():
    chain = MarkovChain(absorbing=("e",)).fit(SIX_JOURNEYS)
    assert not chain.days_.any()
    assert not chain.customers_.any()


def test_customers_of_sequences_are_the_unit_of_the_interval():
    alike = MarkovChain(absorbing=("b", "c")).fit(["ab"] * 6 + ["ac"] * 4)
    assert alike.bucket_counts_.shape[0] == 10
    np.testing.assert_array_equal(alike.bucket_counts_.sum((1, 2)), 1)


# ---- tables and standard questions


def test_summary_has_the_published_columns():
    counts = simulate(MATRIX, np.random.default_rng(0))
    found = MarkovChain().fit(frame_of(counts, NAMES).assign(customers=1)).summary("loyal")
    assert list(found.columns) == [
        "segment",
        "from_stage",
        "to_stage",
        "n",
        "customers",
        "probability",
        "lower",
        "upper",
    ]
    assert (found["segment"] == "loyal").all()
    assert found["n"].sum() == counts.sum()
    np.testing.assert_allclose(found.groupby("from_stage")["probability"].sum(), 1)


def journeys_chain() -> tuple[MarkovChain, object]:
    stages = load_stage_model("five_phases")
    before, goal, after = stages.before, stages.purchase[0], stages.after
    generator, rows = np.random.default_rng(1), []
    names = [*stages.names, "lost"]
    for bucket in range(64):
        for origin in stages.names:
            chance = generator.dirichlet(np.ones(len(names)))
            rows += [
                (bucket, origin, target, n)
                for target, n in zip(names, generator.multinomial(30, chance), strict=True)
                if target != origin and n
            ]
    frame = pd.DataFrame(rows, columns=["bucket", "from_stage", "to_stage", "n"])
    assert before
    assert after
    assert goal
    return MarkovChain(states=names).fit(frame), stages


def test_purchase_or_loss_is_asked_of_every_stage_by_its_role():
    chain, stages = journeys_chain()
    chain.days_ = np.full((len(chain.states_),) * 2, 2.0)
    table = purchase_or_end({"all": chain, "some": chain}, stages)
    assert list(dict.fromkeys(table["from_stage"])) == stages.names
    assert list(dict.fromkeys(table["segment"])) == ["all", "some"]
    assert set(table["outcome"]) == {"purchase", "lost"}
    sums = table.groupby(["segment", "from_stage"])["probability"].sum()
    np.testing.assert_allclose(sums, 1)
    assert (table["lower"] <= table["probability"]).all()
    assert (table["probability"] <= table["upper"]).all()
    np.testing.assert_allclose(table["expected_days"], 2 * table["expected_steps"])


def test_a_log_of_purchases_alone_still_tells_who_buys_again():
    frame = pd.DataFrame(
        {
            "bucket": np.repeat(np.arange(30), 2),
            "from_stage": "purchase",
            "to_stage": ["purchase", "lost"] * 30,
            "n": [3, 2] * 30,
            "days": [12.0, 40.0] * 30,
        }
    )
    stages = SimpleNamespace(before=[], purchase=["purchase"], after=[])
    table = purchase_or_end({"all": MarkovChain(prior=0).fit(frame)}, stages)
    back = table.set_index("outcome").loc["purchase"]
    assert back["probability"] == pytest.approx(0.6)
    assert (back["expected_steps"], back["expected_days"]) == (1, 4)


def test_mean_days_of_moves_never_seen_fall_back_on_their_stage():
    moves = table([[0, 2, 1], [0, 0, 0], [0, 0, 0]], ["a", "b", "lost"], days=[6.0, 21.0])
    days = MarkovChain(absorbing=("b", "lost")).fit(moves).days_
    np.testing.assert_allclose(days, [[9, 3, 21], [0, 0, 0], [0, 0, 0]])


def test_segments_lean_on_the_chain_of_everybody_and_take_its_parameters():
    part = table([[0, 3, 1], [2, 0, 2], [0, 0, 0]], ["a", "b", "lost"], segment="all")
    moves = pd.concat([part, part.assign(segment="new", n=1), part.assign(segment="old")])
    chains = fit_by_segment(MarkovChain(prior=0, seed=5), moves)
    assert list(chains) == ["all", "new", "old"]
    assert chains["all"].transition_matrix_[0, 1] == 0.75
    assert 0.5 < chains["new"].transition_matrix_[0, 1] < 0.75
    assert {chain.seed for chain in chains.values()} == {5}


# ---- the estimator's contract

EXPECTED = {
    "check_array_api_input": "needs SCIPY_ARRAY_API, which nothing here uses",
}


@parametrize_with_checks([MarkovChain(absorbing=())], expected_failed_checks=lambda _: EXPECTED)
@pytest.mark.filterwarnings("ignore:no exit seen")
def test_it_keeps_scikit_learns_contract(estimator, check):
    check(estimator)
