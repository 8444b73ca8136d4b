"""Memory, stationarity, homogeneity: printed statistics, uniform under no difference, power."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cjlib.errors import Unanswerable
from cjlib.markov import changes, markov_tests
from cjlib.markov.independence import (
    count_array,
    departures,
    expected_counts,
    held_out_gain,
    independence_test,
)
from cjlib.markov.markov_tests import corrected_together as corrected
from cjlib.tables import TABLES

KULLBACK_1 = [
    [22, 11, 24, 2, 2, 7],
    [5, 23, 15, 3, 42, 6],
    [4, 21, 190, 25, 20, 34],
    [0, 2, 14, 56, 14, 28],
    [32, 15, 20, 10, 56, 14],
    [5, 22, 31, 18, 13, 134],
]
KULLBACK_2 = [
    [3, 6, 9, 3, 0, 8],
    [1, 9, 3, 12, 27, 5],
    [2, 9, 208, 32, 5, 18],
    [0, 14, 32, 108, 40, 40],
    [22, 14, 9, 26, 224, 14],
    [1, 5, 13, 53, 13, 116],
]


def grams(sequence, order: int) -> pd.DataFrame:
    sequence, size = list(sequence), len(sequence) - order
    columns = {f"stage_{i + 1}": sequence[i : i + size] for i in range(order)}
    frame = pd.DataFrame(columns | {"to_stage": sequence[order:]})
    return frame.value_counts().rename("n").reset_index().assign(bucket=0)


def pearson(frame: pd.DataFrame) -> float:
    """Return Pearson's statistic of histories of two stages."""
    counts = count_array(frame.rename(columns={"stage_2": "from_stage"}), "stage_1")[0].sum(0)
    expected = expected_counts(counts)
    return ((counts - expected)[expected > 0] ** 2 / expected[expected > 0]).sum()


def counts_frame(counts, group="segment") -> pd.DataFrame:
    """Return a table from counts of shape (B, G, C, J)."""
    places = np.nonzero(counts)
    names = ["bucket", group, "from_stage", "to_stage"]
    frame = pd.DataFrame(dict(zip(names, places, strict=True)))
    return frame.assign(
        n=counts[places],
        from_stage="s" + frame["from_stage"].astype(str),
        to_stage="s" + frame["to_stage"].astype(str),
    )


def simulate(generator, customers=300, groups=2, size=4, own=20.0, share=None, shift=0.0):
    """Customers of unequal activity, each with a chain of its own around one, in one group each.

    ``shift`` moves probability from state 0's first to its last outcome in the last group.
    """
    base = np.tile(np.arange(1, size + 1) / (size * (size + 1) / 2), (size, 1))
    group = generator.choice(groups, customers, p=share)
    center = np.tile(base, (customers, 1, 1))
    last = group == groups - 1
    center[last, 0, -1] -= shift
    center[last, 0, 0] += shift
    noise = generator.gamma(own * center)
    active = 1 + generator.poisson(generator.gamma(0.5, 40, customers))
    exits = generator.multinomial(active, np.full(size, 1 / size))
    moves = generator.multinomial(exits, noise / noise.sum(-1, keepdims=True))
    counts = np.zeros((256, groups, size, size))
    np.add.at(counts, (generator.permutation(customers) % 256, group), moves)
    return counts


# ---- printed answers


def test_homogeneity_as_printed_by_kullback_kupperman_and_ku():
    result = independence_test(np.array([[KULLBACK_1, KULLBACK_2]]))
    assert round(result["statistic"], 3) == 160.961
    # printed with 30; one move was never made in either table, so it can show no difference
    assert result["df"] == 30 - 1


def test_rain_remembers_a_second_day(shared_data):
    rain = pd.read_csv(shared_data("markov/rain.csv"))["rain"].astype(str)
    row = markov_tests.order_test(grams(rain, 2)).iloc[0]
    assert (round(pearson(grams(rain, 2)), 5), round(row["statistic"], 5)) == (26.09575, 25.83702)
    assert row["df"] == 12
    row = markov_tests.order_test(grams(rain, 1)).iloc[0]
    assert (round(row["statistic"], 5), row["df"]) == (192.07359, 4)
    assert row["test"] == "order 1 against 0"


def test_seventeen_letters():
    letters = ["a", "b", "a", "a", "a", "a", "b", "a", "b", "a", "b", "a", "a", "b", "b", "b", "a"]
    row = markov_tests.order_test(grams(letters, 2)).iloc[0]
    assert (round(pearson(grams(letters, 2)), 2), round(row["statistic"], 6)) == (0.63, 0.599161)
    assert row["df"] == 2


def test_preproglucacon(shared_data):
    bases = pd.read_csv(shared_data("markov/preproglucacon.csv")).iloc[:, 1]
    row = markov_tests.order_test(grams(bases, 2)).iloc[0]
    assert (round(pearson(grams(bases, 2)), 4), round(row["statistic"], 4)) == (52.8378, 55.6627)
    assert row["df"] == 36


def customers_of_one_move(*groups) -> pd.DataFrame:
    """Return a table of groups in which every customer moves once: (to s0, to s1) of each."""
    rows = [
        (group, f"s{target}")
        for group, made in enumerate(groups)
        for target, n in enumerate(made)
        for _ in range(n)
    ]
    table = pd.DataFrame(rows, columns=["segment", "to_stage"])
    return table.assign(bucket=table.index, from_stage="s0", n=1)


def test_cells_of_two_groups_are_compared_as_by_pearson():
    """With one move a customer: the test of the two-by-two table."""
    table = markov_tests.moved_cells(customers_of_one_move((30, 20), (18, 32)), "segment")
    chi2 = stats.chi2_contingency([[30, 20], [18, 32]], correction=False)
    np.testing.assert_allclose(table["p_value"], chi2.pvalue)
    first = table.query("segment == 0 and to_stage == 's0'").iloc[0]
    figures = first[["n", "probability", "share_elsewhere", "difference"]].tolist()
    assert figures == pytest.approx([30, 0.6, 0.36, 0.24])
    assert first["verdict"] == "higher"


def test_a_move_hardly_expected_and_never_made_proves_nothing():
    # 12 of 400 went there, none of the 40 of the other group: by chance 1.1 were to be expected
    table = markov_tests.moved_cells(customers_of_one_move((40, 0), (388, 12)), "segment")
    assert table["p_value"].min() > 0.2
    assert set(table["verdict"]) == {"none"}


@pytest.mark.parametrize(("moves", "compared"), [(4, False), (5, True)])
def test_a_cell_is_compared_from_five_moves_on(moves, compared):
    table = markov_tests.moved_cells(customers_of_one_move((30, moves), (30, 0)), "segment")
    rare = table[table["to_stage"] == "s1"]
    assert rare["p_value"].notna().tolist() == [compared] * 2


def test_each_segment_is_compared_with_all_others_together():
    groups = [(30, 20), (18, 32), (10, 25)]
    table = markov_tests.homogeneity_test(customers_of_one_move(*groups))
    tables = [groups]
    tables += [[one, np.sum(groups, 0) - one] for one in np.array(groups)]
    known = [stats.chi2_contingency(t, correction=False, lambda_="log-likelihood") for t in tables]
    np.testing.assert_allclose(table["statistic"], [one.statistic for one in known])
    np.testing.assert_allclose(table["p_asymptotic"], [one.pvalue for one in known])
    assert table["df"].tolist() == [2, 1, 1, 1]


def test_what_chance_alone_would_show_is_the_mean_gap_of_coins_tossed():
    """Two groups of 50 customers, one move each: the gap is that of a hundred coins."""
    result = independence_test(count_array(customers_of_one_move((25, 25), (25, 25)), "segment")[0])
    heads = np.arange(101)
    gap = np.abs(heads - 50) @ stats.binom.pmf(heads, 100, 0.5) / 2  # in moves, of each cell
    assert result["effect_by_chance"] == pytest.approx(4 * gap / 200, rel=0.05)
    assert (result["effect"], result["p_value"]) == (0, 1)


def test_the_surest_of_all_permutations_is_one_of_them_itself():
    counts = customers_of_one_move((40, 0), (0, 40))
    assert independence_test(count_array(counts, "segment")[0])["p_value"] == 1 / 1000
    points = changes.change_points(changing(3, 0.2), n_permutations=99)
    assert points["p_value"].min() == 1 / 100


def test_departures_of_the_buckets_add_up_to_observed_less_expected():
    counts = simulate(np.random.default_rng(10), 60, groups=3)
    total = counts.sum(0)
    moved = departures(counts)
    np.testing.assert_allclose(moved.sum(0), total - expected_counts(total), atol=1e-9)
    # and what the shared chain absorbs is taken out of every bucket
    np.testing.assert_allclose(moved.sum(1), 0, atol=1e-9)
    np.testing.assert_allclose(moved.sum(-1), 0, atol=1e-9)


# ---- under no difference


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"customers": 300},
        {"customers": 100},
        {"customers": 600, "share": [0.85, 0.15]},
        {"groups": 5},
        {"own": 1e6},
    ],
    ids=["two", "few customers", "unequal", "five", "one chain"],
)
def test_permutation_p_values_are_uniform_under_no_difference(options):
    results = [
        independence_test(
            simulate(np.random.default_rng(seed), **options), n_permutations=299, seed=seed
        )
        for seed in range(200)
    ]
    by_customer = np.array([result["p_value"] for result in results])
    assert stats.kstest(by_customer, "uniform").pvalue > 0.01
    assert 0.01 <= (by_customer <= 0.05).mean() <= 0.10
    if options.get("own") != 1e6:  # where customers differ, transitions are not independent
        assert np.mean([result["p_asymptotic"] <= 0.05 for result in results]) > 0.15


@pytest.mark.slow
def test_a_change_is_found_by_chance_no_more_often_than_stated():
    found = []
    for seed in range(100):
        counts = simulate(np.random.default_rng(seed), 200, groups=6)
        points = changes.change_points(counts_frame(counts, "period"), n_permutations=99, seed=seed)
        found.append((points["p_value"] <= 0.05).any())
    assert np.mean(found) <= 0.11


# ---- what is planted is found


def test_a_planted_difference_is_found_in_its_cells():
    counts = simulate(np.random.default_rng(1), 1500, groups=3, shift=0.15)
    frame = counts_frame(counts)
    table = corrected(lambda: markov_tests.homogeneity_test(frame))
    assert list(table.columns[:7]) == TABLES["markov_tests"]
    assert table["segment"].tolist() == ["all", "0", "1", "2"]
    assert table.loc[0, "p_value"] == 0.001
    assert table.loc[3, "q_value"] <= 0.01
    assert (table["effect"] > table["effect_by_chance"])[[0, 3]].all()
    moved = markov_tests.moved_cells(frame, "segment")
    first = moved[(moved["segment"] == 2) & (moved["q_value"] <= 0.01)]
    assert first.set_index("to_stage")["verdict"].to_dict() == {"s0": "higher", "s3": "lower"}
    assert (first["lower"] <= first["probability"]).all()
    assert (first["probability"] <= first["upper"]).all()
    assert set(zip(first["from_stage"], first["to_stage"], strict=True)) == {
        ("s0", "s0"),
        ("s0", "s3"),
    }
    np.testing.assert_allclose(first.set_index("to_stage")["difference"]["s0"], 0.15, atol=0.05)


def test_a_planted_change_is_dated():
    generator = np.random.default_rng(2)
    before, after = (simulate(generator, 800, groups=1, shift=shift) for shift in (0.0, 0.12))
    thin = [generator.binomial(before.astype(int), 0.25) for _ in range(4)]
    thin += [generator.binomial(after.astype(int), 0.25) for _ in range(4)]
    counts = np.concatenate(thin, axis=1)
    frame = counts_frame(counts, "period")
    tests = corrected(lambda: changes.stationarity_test(frame))
    assert tests.loc[0, "p_value"] <= 0.005
    found = changes.dated_change(changes.change_points(frame), tests).iloc[0]
    assert (found["period"], found["verdict"]) == (4, "change")


def changing(seed: int, shift: float, customers: int = 400) -> pd.DataFrame:
    """Eight periods, from the fifth on with a move more or less likely by ``shift``."""
    generator = np.random.default_rng(seed)
    periods = [simulate(generator, customers, groups=1, shift=s) for s in [0] * 4 + [shift] * 4]
    return counts_frame(np.concatenate(periods, axis=1), "period")


def test_a_sure_change_has_a_date_and_its_interval():
    points = changes.change_points(changing(3, 0.2, 800))
    found = points.loc[points["z"].abs().idxmax()]
    plausible = points.loc[points["plausible"], "period"].tolist()
    assert found["period"] == 4
    assert 4 in plausible
    assert len(plausible) <= 2
    assert 0.14 < abs(found["share_after"] - found["share_before"]) < 0.26
    limits = sorted(found[["difference_lower", "difference_upper"]].abs())
    assert 0 < limits[0] < 0.2 < limits[1]


@pytest.mark.slow
def test_the_plausible_dates_hold_the_planted_one():
    held, several = [], []
    for seed in range(60):
        points = changes.change_points(changing(seed, 0.05, 300), n_permutations=199)
        plausible = points.loc[points["plausible"], "period"]
        held.append(plausible.min() <= 4 <= plausible.max())
        several.append(len(plausible) > 1)
    assert np.mean(held) >= 0.9
    assert np.mean(several) > 0.5


def kinds_of_customers(seed: int, customers: int = 600) -> pd.DataFrame:
    """Six periods; new customers go one way, and give way to old ones, who go the other."""
    generator = np.random.default_rng(seed)
    rows = []
    for period, old in enumerate([0.1, 0.2, 0.4, 0.6, 0.8, 0.9]):
        stratum = (generator.random(customers) < old).astype(int)
        onward = generator.random(customers) < np.where(stratum, 0.7, 0.4)
        bucket = generator.permutation(customers) % 256
        rows.append(pd.DataFrame({"bucket": bucket, "stratum": stratum, "onward": onward}))
        rows[-1]["period"] = period
    table = pd.concat(rows)
    table["to_stage"] = np.where(table.pop("onward"), "on", "lost")
    table["from_stage"] = np.where(generator.random(len(table)) < 0.5, "one", "other")
    return table.value_counts().rename("n").reset_index()


def test_who_the_customers_are_is_no_change_of_what_they_do():
    moves = kinds_of_customers(1)
    tests = corrected(lambda: changes.stationarity_test(moves))
    assert changes.dated_change(changes.change_points(moves), tests).empty
    raw = moves.drop(columns="stratum")
    tests = corrected(lambda: changes.stationarity_test(raw))
    assert (tests["q_value"] <= 0.005).all()
    # and a stratum that is not known is left out
    unknown = moves.assign(stratum=moves["stratum"].where(moves["stratum"] == 1))
    assert changes.stationarity_test(unknown)["n"][0] == moves.query("stratum == 1")["n"].sum()


def test_a_raw_change_is_what_customers_alike_do_and_who_they_are():
    # before: 30 of 50 and 20 of 100; since: 70 of 100 and 15 of 50; one customer a move
    pair = np.zeros((600, 2, 2, 2))
    groups = {(0, 0): (30, 20), (0, 1): (20, 80), (1, 0): (70, 30), (1, 1): (15, 35)}
    customers = iter(range(600))
    for (since, stratum), made in groups.items():
        for target, number in enumerate(made):
            for _ in range(number):
                pair[next(customers), since, stratum, target] = 1
    found = {name: part[0, 0] for name, part in changes.like_with_like(pair, strata=2).items()}
    assert found["raw_difference"] == pytest.approx(85 / 150 - 50 / 150)
    assert found["difference"] == pytest.approx(0.1)  # in both strata
    assert found["mix_difference"] == pytest.approx(35 / 150 - 0.1)
    assert found["share_after"] - found["share_before"] == pytest.approx(0.1)
    error = np.sqrt((0.6 * 0.4 / 50 + 0.7 * 0.3 / 100 + 0.2 * 0.8 / 100 + 0.3 * 0.7 / 50) / 4)
    half = (found["difference_upper"] - found["difference_lower"]) / 2
    assert half == pytest.approx(stats.norm.isf(0.025) * error, rel=0.02)


@pytest.mark.slow
def test_the_size_of_a_chosen_change_is_not_overstated():
    stated, held = [], []
    for seed in range(60):
        points = changes.change_points(changing(seed, 0.08, 300), n_permutations=99, seed=seed)
        found = points.loc[points["z"].abs().idxmax()]
        if found["p_value"] <= 0.05 and found["period"] == 4 and found["to_stage"] in ("s0", "s3"):
            truth = {"s0": 0.08, "s3": -0.08}[found["to_stage"]]
            held.append(found["difference_lower"] <= truth <= found["difference_upper"])
            stated.append(found["difference"] / truth)
    assert len(stated) > 15
    assert np.mean(stated) == pytest.approx(1, abs=0.2)
    assert np.mean(held) >= 0.87


def test_the_surest_date_is_one_test_among_others():
    points = changes.change_points(changing(3, 0.2))
    row = changes.stationarity_test(changing(3, 0.2)).iloc[1]
    assert (row["test"], row["p_value"]) == ("change", points["p_value"].min())
    assert row["statistic"] == points["z"].abs().max()


@pytest.mark.parametrize(
    ("date", "together", "verdict"),
    [(0.001, 0.01, "change"), (0.04, 0.2, "hint")],
)
def test_a_date_is_a_change_only_where_the_page_bears_it(date, together, verdict):
    # its own p-value allowed for the search of a date, not for the other tests
    points = changes.change_points(changing(3, 0.2))
    tests = pd.DataFrame(
        {"test": ["change", "stationarity"], "segment": "all", "q_value": [date, together]}
    )
    found = changes.dated_change(points, tests).iloc[0]
    assert (found["verdict"], found["q_value"]) == (verdict, date)
    assert found["difference"] == found["share_after"] - found["share_before"]
    assert found["first"] <= found["period"] <= found["last"]
    assert changes.dated_change(points, tests.assign(q_value=[0.2, together])).empty
    apart = points.assign(difference_lower=-0.1, difference_upper=0.1)  # those who did not choose
    assert changes.dated_change(apart, tests)["verdict"].item() == "hint"


def test_what_moved_is_told_where_there_is_a_date_alone():
    frame = changing(3, 0.2)
    change = pd.DataFrame({"period": [4]})
    cells = changes.moved_since(frame, change)
    surest = cells.iloc[0]
    assert (surest["from_stage"], surest["to_stage"][:1]) == ("s0", "s")
    assert abs(surest["difference"]) == pytest.approx(0.2, abs=0.06)
    assert changes.moved_since(frame, change[:0]).empty


def chains_with_memory(generator, weight: float, customers: int = 400) -> pd.DataFrame:
    """Two-state chains in which the stage before last matters by ``weight``."""
    state = generator.integers(0, 2, (customers, 2))
    older, last = state.T
    rows = []
    for _ in range(12):
        chance = 0.3 + 0.2 * last + weight * (older - 0.5)
        new = (generator.random(customers) < chance).astype(int)
        rows.append(
            pd.DataFrame({"stage_1": older, "stage_2": last, "to_stage": new})
            .assign(bucket=np.arange(customers) % 256)
            .astype({"stage_1": str, "stage_2": str, "to_stage": str})
        )
        older, last = last, new
    return pd.concat(rows).value_counts().rename("n").reset_index()


def test_memory_is_found_where_planted_and_not_where_absent():
    planted = markov_tests.order_test(chains_with_memory(np.random.default_rng(0), 0.3)).iloc[0]
    assert planted["p_value"] <= 0.005
    assert planted["held_out_lower"] > 0
    assert planted["order"] == 2
    absent = markov_tests.order_test(chains_with_memory(np.random.default_rng(1), 0.0)).iloc[0]
    assert absent["order"] == 1
    assert absent["held_out_gain"] < 0.001


def test_customers_not_learned_from_decide_not_the_sample():
    # ten groups without any difference: fitted they always look better, held out they do not
    counts = simulate(np.random.default_rng(3), 300, groups=10, own=1e6)
    fitted = independence_test(counts, n_permutations=1)["statistic"]
    assert fitted > 0
    assert held_out_gain(counts).upper < 0.002
    assert np.isnan(held_out_gain(counts[:5]).estimate)


def test_a_history_that_the_last_stage_already_tells_gains_nothing():
    # two stages that only ever follow each other: the stage before last is known anyway
    rows = [(b, "b", "a", "b", 30) for b in range(64)] + [(b, "a", "b", "a", 20) for b in range(64)]
    rows += [(b, "a", "b", "lost", 10) for b in range(64)]
    grams = pd.DataFrame(rows, columns=["bucket", "stage_1", "stage_2", "to_stage", "n"])
    row = markov_tests.order_test(grams).iloc[0]
    assert row["df"] == 0
    assert row["order"] == 1
    tests = corrected(lambda: markov_tests.order_test(grams))
    assert markov_tests.memory(tests)["verdict"].tolist() == ["no choice"]


def test_what_memory_helps_follows_the_customers_held_out():
    rows = {"test": ["order 2 against 1", "order 3 against 2"], "df": 4, "q_value": 0.0001, "n": 9}
    held_out = {"held_out_gain": [0.02, 0.01], "held_out_lower": [0.01, 0.0]}
    tests = pd.DataFrame(rows | held_out | {"held_out_upper": 0.03})
    found = markov_tests.memory(tests)
    assert found["verdict"].tolist() == ["helps", "does not help"]
    assert found[["longer", "shorter"]].to_numpy().tolist() == [[2, 1], [3, 2]]
    with pytest.raises(Unanswerable, match="three stages"):
        markov_tests.memory(tests[:0])


# ---- properties


def test_relabelling_and_order_of_groups_change_nothing():
    counts = simulate(np.random.default_rng(5))
    one = independence_test(counts, seed=3)
    other = independence_test(counts[:, ::-1][:, :, [2, 0, 3, 1]][..., [3, 2, 1, 0]], seed=3)
    assert other == pytest.approx(one)


def test_expected_counts_keep_the_margins():
    total = simulate(np.random.default_rng(6)).sum(0)
    total[:, 1:3] = 0  # a context never met, and one met once
    total[1, 2, 0] = 1
    expected = expected_counts(total)
    np.testing.assert_allclose(expected.sum(0), total.sum(0))
    np.testing.assert_allclose(expected.sum(-1), total.sum(-1))
    several = expected_counts(np.stack([total, total[..., ::-1]]))
    np.testing.assert_allclose(several, np.stack([expected, expected[..., ::-1]]))


def test_total_variation_is_the_share_that_goes_elsewhere():
    counts = np.array([[[[60.0, 40.0]], [[40.0, 60.0]]]])
    assert independence_test(counts)["effect"] == pytest.approx(0.1)


def test_families_are_corrected_together():
    one = markov_tests.homogeneity_test(counts_frame(simulate(np.random.default_rng(8), groups=2)))
    everybody = counts_frame(simulate(np.random.default_rng(8))).assign(segment="all")
    joined = corrected(
        lambda: one,
        lambda: markov_tests.homogeneity_test(everybody),  # cannot be answered: left out
        lambda: one.assign(p_value=1.0),
    )
    assert len(joined) == 2
    assert corrected(lambda: markov_tests.homogeneity_test(everybody)).empty
    np.testing.assert_allclose(joined["q_value"], stats.false_discovery_control(joined["p_value"]))


def test_one_group_alone_has_nothing_to_be_compared_with():
    counts = simulate(np.random.default_rng(9), groups=1)
    result = independence_test(counts)
    assert result["df"] == 0
    assert np.isnan(result["p_value"])
    for question in (changes.change_points, changes.stationarity_test):
        with pytest.raises(Unanswerable, match="two stages"):
            question(counts_frame(counts, "period"))
    with pytest.raises(Unanswerable, match="tell these groups"):
        markov_tests.moved_cells(counts_frame(counts), "segment")
