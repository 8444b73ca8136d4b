"""Attribution: what the paths are, what each model credits, and how sure the table is."""

from itertools import combinations, permutations, product
from math import factorial
from types import SimpleNamespace

import ibis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from cjlib.attribution.attribution import attribute, attribute_log, model_agreement, paths
from cjlib.attribution.removal_effect import removal_effect
from cjlib.attribution.rules import RULES, touch_weights
from cjlib.attribution.touch_paths import TouchPaths
from cjlib.errors import ParameterError

ALL = (*RULES, "markov_1", "markov_2", "markov_3")


@pytest.fixture(scope="module")
def path_data(shared_data):
    return pd.read_csv(shared_data("attribution/PathData.csv")).rename(
        columns={
            "total_conversions": "conversions",
            "total_conversion_value": "value",
            "total_null": "nulls",
        }
    )


def credited(table, model, column="conversions"):
    return table[table.model == model].set_index("level")[column]


# --- published figures -----------------------------------------------------------------------


def test_rules_give_the_published_conversions(path_data):
    table = attribute(path_data, models=["first", "last", "linear"])
    printed = {
        "eta": (3164, 4167, 3539.951157),
        "iota": (4606, 3355, 3857.096221),
        "alpha": (6308, 8447, 7574.718594),
        "beta": (2831, 989, 2083.500145),
        "theta": (1606, 653, 1022.801394),
    }
    for level, values in printed.items():
        for model, value in zip(("first", "last", "linear"), values, strict=True):
            assert credited(table, model)[level] == pytest.approx(value, abs=5e-7)


def test_removal_effect_of_order_1_is_the_published_one(path_data):
    touches = TouchPaths.from_frame(path_data)
    effect = dict(zip(touches.levels, removal_effect(touches).effect, strict=True))
    printed = dict(
        eta=0.349026, iota=0.405835, alpha=0.558399, beta=0.264039, theta=0.206010,
        **{"lambda": 0.134022}, kappa=0.028663, zeta=0.039811, epsilon=0.062639,
        gamma=0.017880, delta=0.000482, mi=0.000180,
    )  # fmt: skip
    assert effect == pytest.approx(printed, abs=5e-7)
    conversions = credited(attribute(path_data, models=["markov_1"]), "markov_1")
    printed = dict(
        eta=3340.847402, iota=3884.614702, alpha=5344.947682, beta=2527.352167,
        theta=1971.912880, **{"lambda": 1282.847223}, kappa=274.363256, zeta=381.062553,
        epsilon=599.570650, gamma=171.145443, delta=4.613618, mi=1.722425,
    )  # fmt: skip
    assert dict(conversions) == pytest.approx(printed, abs=5e-7)


def test_probability_from_the_start_is_the_share_of_paths_that_bought(path_data):
    touches = TouchPaths.from_frame(path_data)
    for order in (1, 2, 3):
        assert removal_effect(touches, order).probability[0] == pytest.approx(
            19785 / 88387, abs=1e-14
        )


def test_removal_effect_of_order_2_is_the_published_one(path_data):
    conversions = credited(attribute(path_data, models=["markov_2"]), "markov_2")
    printed = {"eta": 3391.858163, "iota": 3810.511044, "alpha": 5617.453854}
    printed |= {"beta": 2439.648976, "theta": 1902.473610}
    assert {level: conversions[level] for level in printed} == pytest.approx(printed, abs=5e-7)


# --- known answers ---------------------------------------------------------------------------


def test_rules_on_one_path_by_hand():
    touches = TouchPaths.from_frame(pd.DataFrame({"path": ["a > b > a > c"], "conversions": [1]}))
    weights = {rule: touch_weights(touches, rule, half_life=1).tolist() for rule in RULES}
    assert weights["first"] == [1, 0, 0, 0]
    assert weights["last"] == [0, 0, 0, 1]
    assert weights["linear"] == [0.25] * 4
    assert weights["time_decay"] == pytest.approx([1 / 15, 2 / 15, 4 / 15, 8 / 15])
    assert weights["position"] == pytest.approx([0.4, 0.1, 0.1, 0.4])
    assert weights["shapley"] == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])


def test_position_shares_one_or_two_touches_equally():
    touches = TouchPaths.from_frame(pd.DataFrame({"path": ["a", "a > b"], "conversions": [1, 1]}))
    assert touch_weights(touches, "position").tolist() == [1, 0.5, 0.5]


def test_shapley_is_the_value_over_all_orders_of_joining():
    rng = np.random.default_rng(3)
    levels = list("abcd")
    frame = pd.DataFrame(
        {
            "path": [list(rng.choice(levels, rng.integers(1, 6))) for _ in range(60)],
            "conversions": rng.integers(0, 9, 60),
        }
    )
    sets = [frozenset(path) for path in frame.path]

    def worth(coalition):
        return sum(n for s, n in zip(sets, frame.conversions, strict=True) if s <= coalition)

    expected = dict.fromkeys(levels, 0.0)
    for order in permutations(levels):
        for i, level in enumerate(order):
            expected[level] += worth(frozenset(order[: i + 1])) - worth(frozenset(order[:i]))
    expected = {level: total / factorial(4) for level, total in expected.items()}
    got = credited(attribute(frame, models=["shapley"]), "shapley")
    assert dict(got) == pytest.approx(expected)


def test_shapley_is_exact_beyond_twelve_levels():
    levels = [f"level {i:02d}" for i in range(14)]
    frame = pd.DataFrame(
        {
            "path": [list(pair) for pair in combinations(levels, 2)] + [levels],
            "conversions": [1] * 91 + [14],
        }
    )
    got = credited(attribute(frame, models=["shapley"]), "shapley")
    assert got.to_numpy() == pytest.approx(13 / 2 + 1)


def test_removal_effect_by_hand():
    # a leads to b or to nothing, b to a purchase half of the time; c never sells
    frame = pd.DataFrame(
        {
            "path": [["a", "b"], ["a"], ["b"], ["c"]],
            "conversions": [1, 0, 1, 0],
            "nulls": [1, 2, 1, 4],
        }
    )
    touches = TouchPaths.from_frame(frame)
    solved = removal_effect(touches)
    assert solved.probability == pytest.approx([0.2, 0.1, 0.0, 0.2])
    assert solved.effect == pytest.approx([0.5, 1.0, 0.0])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_removal_effect_is_what_walking_the_chain_gives(order):
    rng = np.random.default_rng(order)
    frame = pd.DataFrame(
        {
            "path": [list(rng.choice(list("abc"), rng.integers(1, 5))) for _ in range(40)],
            "conversions": rng.integers(0, 3, 40),
            "nulls": rng.integers(0, 3, 40),
        }
    )
    # every path as plain contexts, solved densely with one level sent to nothing
    steps = {}
    for path, bought, lost in frame.itertuples(index=False):
        walk = [()] + [tuple(path[max(0, i - order + 1) : i + 1]) for i in range(len(path))]
        for source, target in zip(walk, [*walk[1:], "end"], strict=True):
            exits = steps.setdefault(source, {})
            for end, n in (("buy", bought), ("nothing", lost)):
                goal = end if target == "end" else target
                exits[goal] = exits.get(goal, 0) + n
    steps = {state: exits for state, exits in steps.items() if sum(exits.values())}
    states = list(steps)

    def probability(removed):
        system, known = np.eye(len(states)), np.zeros(len(states))
        for i, state in enumerate(states):
            total = sum(steps[state].values())
            for target, n in steps[state].items():
                if target == "buy":
                    known[i] += n / total
                elif target in steps and removed not in target:
                    system[i, states.index(target)] -= n / total
        return np.linalg.solve(system, known)[states.index(())]

    solved = removal_effect(TouchPaths.from_frame(frame), order)
    assert solved.probability == pytest.approx([probability(level) for level in (None, *"abc")])


def test_a_chain_that_hardly_ends_is_solved_as_exactly():
    # ten thousand repeats of a and b before each end: sweeps alone would not get there
    frame = pd.DataFrame(
        {"path": [["a", "b"] * 10_000, ["b"]], "conversions": [1, 1], "nulls": [0, 1]}
    )
    solved = removal_effect(TouchPaths.from_frame(frame))
    assert solved.probability[0] == pytest.approx(2 / 3, abs=1e-9)


# --- properties ------------------------------------------------------------------------------

levels = st.sampled_from(["a", "b", "c > d", "=cmd()", "(none)", " "])
rows = st.lists(
    st.tuples(
        st.lists(levels, max_size=5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 9)
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(rows)
def test_every_model_adds_up_to_all_conversions_and_value(rows):
    frame = pd.DataFrame(rows, columns=["path", "conversions", "nulls", "bucket"])
    frame["value"] = frame.conversions * 2.5
    table = attribute(frame, models=ALL, n_resamples=20)
    total = frame.conversions.sum()
    if not total:
        assert table.empty
        return
    assert not table.duplicated(["level", "model"]).any()
    for _, part in table.groupby("model"):
        touched = removal_effect(TouchPaths.from_frame(frame)).effect.sum() > 0
        untouched = frame.path.map(len).eq(0) & frame.conversions.gt(0)
        assert touched or untouched.any()
        assert part.conversions.sum() == pytest.approx(total)
        assert part.value.sum() == pytest.approx(2.5 * total)
        assert (part.conversions >= 0).all()


@settings(max_examples=25, deadline=None)
@given(rows, st.permutations(["a", "b", "c > d", "=cmd()", "(none)", " "]))
def test_relabelling_the_levels_relabels_the_credits(rows, renamed):
    names = dict(zip(["a", "b", "c > d", "=cmd()", "(none)", " "], renamed, strict=True))
    # a path without touches would be given to the level of that very name
    rows = [row[:3] for row in [*rows, (["a", "b"], 1, 1, 0)] if row[0]]
    frame = pd.DataFrame(rows, columns=["path", "conversions", "nulls"])
    before = attribute(frame, models=ALL)
    frame["path"] = [[names[level] for level in path] for path in frame.path]
    after = attribute(frame, models=ALL)
    before["level"] = before.level.map(names)
    keys = ["model", "level"]
    pd.testing.assert_series_equal(
        before.set_index(keys).conversions.sort_index(),
        after.set_index(keys).conversions.sort_index(),
        check_dtype=False,
        rtol=1e-9,
        atol=1e-9,
    )


def test_a_level_that_holds_the_separator_stays_one_level():
    frame = pd.DataFrame({"path": [("shop > cart", "mail"), ("mail",)], "conversions": [1, 1]})
    assert set(attribute(frame).level) == {"shop > cart", "mail"}


def test_a_purchase_without_touches_is_nobodys_merit():
    frame = pd.DataFrame({"path": [[], ["a"], ["a"]], "conversions": [3, 1, 0], "nulls": [0, 0, 4]})
    table = attribute(frame, models=ALL)
    for model in ALL:
        assert dict(credited(table, model)) == {"(none)": 3, "a": 1}


def test_text_paths_may_be_empty():
    frame = pd.DataFrame({"path": ["", "a > b", ""], "conversions": [1, 1, 1]})
    assert dict(credited(attribute(frame), "first")) == {"(none)": 2, "a": 1, "b": 0}


def test_without_buckets_there_is_no_interval():
    table = attribute(pd.DataFrame({"path": ["a", "b"], "conversions": [1, 2]}))
    assert table[["lower", "upper", "rank_stability"]].isna().all(axis=None)


def test_bad_input_says_what_to_write():
    frame = pd.DataFrame({"path": ["a"], "conversions": [1]})
    with pytest.raises(ParameterError, match="markov_0"):
        attribute(frame, models=["markov_0"])
    with pytest.raises(ParameterError, match="conversions"):
        attribute(frame.drop(columns="conversions"))
    with pytest.raises(ParameterError, match="negative"):
        attribute(frame.assign(nulls=-1))


def test_models_that_agree_say_so():
    frame = pd.DataFrame({"path": ["a > b", "b"], "conversions": [3, 1]})
    agreement = model_agreement(attribute(frame, models=["first", "last"])).set_index("level")
    assert agreement.loc["b", ["lowest", "highest"]].tolist() == [0.25, 1.0]
    assert agreement.loc["a", ["best_rank", "worst_rank"]].tolist() == [1, 2]


# --- how sure --------------------------------------------------------------------------------


WALKS = [walk for n in (1, 2, 3) for walk in product("abc", repeat=n)]
CHANCE = np.array([0.1 + 0.3 * (walk[-1] == "b") + 0.1 * ("a" in walk) for walk in WALKS])
WEIGHT = np.array([np.prod([{"a": 0.5, "b": 0.3, "c": 0.2}[x] for x in walk]) for walk in WALKS])


def walked(rng, customers):
    """Simulate paths of customers of unequal activity: a warms up, b sells, c does neither."""
    repeats = 1 + np.minimum(rng.pareto(2.5, customers).astype(int), 20)
    owner = np.repeat(rng.integers(0, 256, customers), repeats)
    walk = rng.choice(len(WALKS), len(owner), p=WEIGHT / WEIGHT.sum())
    bought = rng.random(len(owner)) < CHANCE[walk]
    cell, rows = np.unique(owner * len(WALKS) + walk, return_inverse=True)
    return pd.DataFrame(
        {
            "path": [WALKS[i] for i in cell % len(WALKS)],
            "bucket": cell // len(WALKS),
            "conversions": np.bincount(rows, bought),
            "nulls": np.bincount(rows, ~bought),
        }
    )


def test_contributions_of_the_buckets_are_the_derivative_of_the_probabilities():
    frame = walked(np.random.default_rng(0), 400)
    touches, buckets = TouchPaths.from_frame(frame), np.unique(frame.bucket)
    step = 1e-6
    for order in (1, 2):
        solved = removal_effect(touches, order, buckets)
        assert solved.by_bucket.sum(axis=0) == pytest.approx(solved.probability)
        moved = frame.astype({"conversions": float, "nulls": float})
        moved.loc[frame.bucket == buckets[7], ["conversions", "nulls"]] *= 1 + step
        after = removal_effect(TouchPaths.from_frame(moved), order).probability
        expected = solved.by_bucket[7] - solved.probability / len(buckets)
        assert (after - solved.probability) / step == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_intervals_cover_at_the_nominal_rate():
    models = ["markov_1", "markov_2", "linear"]
    expected = {"path": WALKS, "conversions": WEIGHT * CHANCE, "nulls": WEIGHT * (1 - CHANCE)}
    truth = attribute(pd.DataFrame(expected), models=models).set_index(["model", "level"]).share
    inside = []
    for seed in range(200):
        frame = walked(np.random.default_rng(seed), 1_500)
        table = attribute(frame, models=models, n_resamples=400).set_index(["model", "level"])
        table = table.loc[truth.index]
        inside.append((table.lower <= truth) & (truth <= table.upper))
    coverage = pd.concat(inside, axis=1).mean(axis=1).groupby("model").mean()
    assert coverage.between(0.925, 0.975).all(), coverage


def test_rank_stability_tells_a_clear_order_from_a_tie():
    clear = pd.DataFrame(
        {"path": ["a", "b"] * 100, "bucket": range(200), "conversions": [9, 1] * 100}
    )
    tied = clear.assign(conversions=[5, 5] * 100)
    assert attribute(clear, models=["linear"]).rank_stability.min() == 1
    assert attribute(tied, models=["linear"]).rank_stability.max() < 0.75


# --- paths of a log --------------------------------------------------------------------------


def small_log(events, ends):
    """Build what ``paths`` reads of a log; events as (customer, journey, minute, what, channel)."""
    frame = pd.DataFrame(events, columns=["customer_id", "journey", "at", "touchpoint", "channel"])
    frame["timestamp"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(frame["at"], unit="min")
    frame["line"] = range(len(frame))
    frame["bucket"] = 7
    frame["purchase"] = frame.touchpoint == "buy"
    frame["value"] = np.where(frame.purchase, 10.0, np.nan)
    frame["channel"] = frame.channel.astype("string")
    journeys = pd.DataFrame(ends, columns=["customer_id", "journey", "end"])
    con = ibis.duckdb.connect()
    return SimpleNamespace(
        events=con.create_table("events", frame.drop(columns="at")),
        journeys=con.create_table("journeys", journeys),
    )


def collected(table):
    frame = table.to_pandas()
    frame["path"] = frame.path.map(tuple)
    return {row.path: (row.conversions, row.value, row.nulls) for row in frame.itertuples()}


EVENTS = [
    ("x", 0, 0, "ad", "social"),
    ("x", 0, 1, "visit", "social"),
    ("x", 0, 1, "visit", "mail > news"),
    ("x", 0, 2, "buy", "shop"),
    ("x", 0, 3, "help", "phone"),
    ("x", 1, 90, "buy", None),
    ("y", 0, 0, "ad", "social"),
    ("y", 0, 1, "visit", None),
    ("z", 0, 0, "visit", "shop"),
]
ENDS = [("x", 0, "lost"), ("x", 1, "lost"), ("y", 0, "lost"), ("z", 0, "open")]


def test_paths_of_channels_split_at_purchases_and_leave_open_ends_out():
    assert collected(paths(small_log(EVENTS, ENDS), "channel")) == {
        ("social", "mail > news", "shop"): (1, 10, 0),
        ("phone",): (0, 0, 1),
        (): (1, 10, 0),
        ("social",): (0, 0, 1),
    }


def test_paths_of_touchpoints_hold_no_purchase():
    assert collected(paths(small_log(EVENTS, ENDS), "touchpoint")) == {
        ("ad", "visit"): (1, 10, 1),
        ("help",): (0, 0, 1),
        (): (1, 10, 0),
    }


def test_paths_of_a_log_are_attributed_as_they_are():
    table = attribute(paths(small_log(EVENTS, ENDS), "channel").to_pandas(), models=ALL)
    assert table.groupby("model").conversions.sum().to_numpy() == pytest.approx(2)


def test_levels_that_too_few_customers_met_are_one():
    rows = [(f"c{i}", 0, 0, "ad", "social") for i in range(6)]
    rows += [(f"c{i}", 0, 1, "buy", channel) for i, channel in enumerate("aaabbb")]
    log = small_log(rows, [(f"c{i}", 0, "lost") for i in range(6)])
    assert collected(paths(log, "channel", smallest=4)) == {("social", "(other)"): (6, 60, 0)}
    assert ("social", "a") in collected(paths(log, "channel", smallest=3))
    # nine have met b, of whom three bought: the others do not make the three many
    lookers = [(f"l{i}", 0, 0, "ad", "b") for i in range(6)]
    many = small_log(rows + lookers, [(c, 0, "lost") for c in {row[0] for row in rows + lookers}])
    assert ("b",) not in collected(paths(many, "channel", smallest=4))
    # too few even together are no touch
    assert collected(paths(log, "channel", smallest=7)) == {(): (6, 60, 0)}


def test_levels_credited_with_too_few_purchases_are_one_and_no_amount_is_a_customers():
    ways = ["a", "a", "a", "b", "b", "c"]
    rows = [(f"c{i}", 0, 0, "ad", way) for i, way in enumerate(ways * 2)]
    rows += [(f"c{i}", 0, 1, "buy", None) for i in range(6)]
    log = small_log(rows, [(f"c{i}", 0, "lost") for i in range(12)])
    log.events = log.events.mutate(role=log.events.purchase.ifelse("purchase", "before"))
    log.dataset = SimpleNamespace(privacy=SimpleNamespace(smallest_group=3))
    table = attribute_log(log, models=["last"]).set_index("level")
    assert table["conversions"].to_dict() == {"a": 3, "(other)": 3}
    log.dataset.privacy.smallest_group = 2
    table = attribute_log(log, models=["last"]).set_index("level")
    assert table["conversions"].to_dict() == {"a": 3, "b": 2, "(none)": 1}
    assert np.isnan(table["value"]["(none)"])


@pytest.mark.parametrize(("role", "shared"), [("before", True), ("after", False)])
def test_no_credit_is_shared_without_touchpoints_before_the_purchase(role, shared):
    log = small_log(EVENTS, ENDS)
    log.events = log.events.mutate(role=log.events.purchase.ifelse("purchase", role))
    log.dataset = SimpleNamespace(privacy=SimpleNamespace(smallest_group=1))
    assert attribute_log(log).empty != shared


def test_an_unknown_dimension_is_refused():
    with pytest.raises(ParameterError, match="channel, touchpoint"):
        paths(small_log(EVENTS, ENDS), "campaign")
