"""Attribution: what the paths are, what each model credits, and how sure the table is."""

from itertools import combinations, permutations, product
from math import factorial
from types import SimpleNamespace

import ibis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from cjlib import attribution, plots
from cjlib.attribution import (
    Position,
    RemovalEffect,
    TimeDecay,
    credit_range,
    first_touch,
    last_touch,
    linear,
    shapley,
    touch_paths,
)
from cjlib.attribution.removal_effect import purchase_probabilities, removal_effects
from cjlib.attribution.touch_paths import touches_of
from cjlib.errors import ParameterError, Unanswerable

RULES = {
    "first": first_touch,
    "last": last_touch,
    "linear": linear,
    "time_decay": TimeDecay(half_life=2),
    "position": Position(ends=0.4),
    "shapley": shapley,
}
ALL = RULES | {f"markov_{order}": RemovalEffect(order) for order in (1, 2, 3)}


def some(*names):
    return {name: ALL[name] for name in names}


def attribute(frame, rules=RULES, **options):
    """Credit paths of one dimension, everything that a log would tell being optional."""
    frame = pd.DataFrame(frame)
    told = {"dimension": "channel", "bucket": range(len(frame)), "value": 0.0, "nulls": 0}
    return attribution.attribute(pd.DataFrame(told | dict(frame)), rules, **options)


def chances(frame, order=1):
    """Return the probability of a purchase with all levels and without each, by bucket."""
    told = {"bucket": 0, "nulls": 0} | dict(frame)
    paths = pd.DataFrame(told, index=range(len(frame)))
    touches = touches_of(paths)
    return pd.DataFrame(
        purchase_probabilities(paths, touches, order),
        columns=["all", *touches["level"].cat.categories],
    )


@pytest.fixture(scope="module")
def path_data(shared_data):
    names = {"total_conversions": "conversions", "total_null": "nulls"}
    names |= {"total_conversion_value": "value"}
    data = pd.read_csv(shared_data("attribution/PathData.csv")).rename(columns=names)
    return data.assign(path=data["path"].str.split(" > "), bucket=0)


def credited(table, model, column="conversions"):
    return table[table.model == model].set_index("level")[column]


# --- published figures -----------------------------------------------------------------------


def test_rules_give_the_published_conversions(path_data):
    table = attribute(path_data, some("first", "last", "linear"), n_resamples=2)
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
    solved = chances(path_data).sum()
    effect = dict(zip(solved.index[1:], removal_effects(solved.to_numpy()), strict=True))
    printed = dict(
        eta=0.349026, iota=0.405835, alpha=0.558399, beta=0.264039, theta=0.206010,
        **{"lambda": 0.134022}, kappa=0.028663, zeta=0.039811, epsilon=0.062639,
        gamma=0.017880, delta=0.000482, mi=0.000180,
    )  # fmt: skip
    assert effect == pytest.approx(printed, abs=5e-7)
    conversions = credited(attribute(path_data, some("markov_1"), n_resamples=2), "markov_1")
    printed = dict(
        eta=3340.847402, iota=3884.614702, alpha=5344.947682, beta=2527.352167,
        theta=1971.912880, **{"lambda": 1282.847223}, kappa=274.363256, zeta=381.062553,
        epsilon=599.570650, gamma=171.145443, delta=4.613618, mi=1.722425,
    )  # fmt: skip
    assert dict(conversions) == pytest.approx(printed, abs=5e-7)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probability_from_the_start_is_the_share_of_paths_that_bought(path_data, order):
    assert chances(path_data, order)["all"].sum() == pytest.approx(19785 / 88387, abs=1e-14)


def test_removal_effect_of_order_2_is_the_published_one(path_data):
    conversions = credited(attribute(path_data, some("markov_2"), n_resamples=2), "markov_2")
    printed = {"eta": 3391.858163, "iota": 3810.511044, "alpha": 5617.453854}
    printed |= {"beta": 2439.648976, "theta": 1902.473610}
    assert {level: conversions[level] for level in printed} == pytest.approx(printed, abs=5e-7)


# --- known answers ---------------------------------------------------------------------------


def test_rules_on_one_path_by_hand():
    touches = touches_of(pd.DataFrame({"path": [list("abac")]}))
    weights = {name: np.asarray(rule(touches), float).tolist() for name, rule in RULES.items()}
    assert weights["first"] == [1, 0, 0, 0]
    assert weights["last"] == [0, 0, 0, 1]
    assert weights["linear"] == [1, 1, 1, 1]
    assert TimeDecay(half_life=1)(touches).tolist() == [1 / 8, 1 / 4, 1 / 2, 1]
    assert weights["position"] == pytest.approx([0.4, 0.1, 0.1, 0.4])
    assert weights["shapley"] == [1, 1, 0, 1]


def test_position_shares_one_or_two_touches_equally():
    touches = touches_of(pd.DataFrame({"path": [["a"], ["a", "b"]]}))
    assert Position()(touches).tolist() == [1, 1, 1]


def test_a_rule_of_ones_own_is_any_function_of_the_touches():
    frame = pd.DataFrame({"path": [list("abc"), list("b")], "conversions": [2, 3]})
    table = attribute(frame, {"second": lambda touches: touches["place"] == 1})
    assert dict(credited(table, "second")) == {"b": 5, "a": 0, "c": 0}


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
    assert dict(credited(attribute(frame), "shapley")) == pytest.approx(expected)


def test_shapley_is_exact_beyond_twelve_levels():
    levels = [f"level {i:02d}" for i in range(14)]
    paths = [list(pair) for pair in combinations(levels, 2)] + [levels]
    frame = pd.DataFrame({"path": paths, "conversions": [1] * 91 + [14]})
    assert credited(attribute(frame), "shapley").to_numpy() == pytest.approx(13 / 2 + 1)


def test_removal_effect_by_hand():
    # a leads to b or to nothing, b to a purchase half of the time; c never sells
    frame = {"path": [["a", "b"], ["a"], ["b"], ["c"]], "conversions": [1, 0, 1, 0]}
    solved = chances(pd.DataFrame(frame | {"nulls": [1, 2, 1, 4]})).sum()
    assert solved.to_numpy() == pytest.approx([0.2, 0.1, 0.0, 0.2])
    assert removal_effects(solved.to_numpy()) == pytest.approx([0.5, 1.0, 0.0])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_removal_effect_is_what_walking_the_chain_gives(order):
    rng = np.random.default_rng(order)
    frame = pd.DataFrame(
        {
            "path": [list(rng.choice(list("abc"), rng.integers(1, 5))) for _ in range(40)],
            "conversions": rng.integers(0, 3, 40),
            "nulls": rng.integers(1, 3, 40),
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

    solved = chances(frame, order).sum()
    assert solved.to_numpy() == pytest.approx([probability(level) for level in (None, *"abc")])


def test_a_chain_that_hardly_ends_is_solved_as_exactly():
    # ten thousand repeats of a and b before each end
    frame = {"path": [["a", "b"] * 10_000, ["b"]], "conversions": [1, 1], "nulls": [0, 1]}
    assert chances(pd.DataFrame(frame))["all"].sum() == pytest.approx(2 / 3, abs=1e-9)


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
    seen = frame[frame.conversions + frame.nulls > 0]
    total = frame.conversions.sum()
    if not total or len({*touches_of(seen)["level"]}) < 2:
        with pytest.raises(Unanswerable):
            attribute(frame, ALL, n_resamples=2)
        return
    table = attribute(frame, ALL, n_resamples=20)
    assert not table.duplicated(["level", "model"]).any()
    for _, part in table.groupby("model"):
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
    before = attribute(frame, ALL, n_resamples=2)
    frame["path"] = [[names[level] for level in path] for path in frame.path]
    after = attribute(frame, ALL, n_resamples=2)
    before["level"] = before.level.map(names)
    before, after = (
        table.set_index(["model", "level"]).conversions.sort_index() for table in (before, after)
    )
    pd.testing.assert_series_equal(before, after, check_dtype=False, rtol=1e-9, atol=1e-9)


def test_a_purchase_without_touches_is_nobodys_merit():
    frame = pd.DataFrame({"path": [[], ["a"], ["a"]], "conversions": [3, 1, 0], "nulls": [0, 0, 4]})
    table = attribute(frame, ALL)
    for model in ALL:
        assert dict(credited(table, model)) == {"(none)": 3, "a": 1}


def test_a_memory_of_no_touch_is_refused():
    with pytest.raises(ParameterError, match="1 or more"):
        RemovalEffect(order=0)


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
    frame["bucket"] = np.unique(frame["bucket"], return_inverse=True)[1]
    step = 1e-6
    for order in (1, 2):
        by_bucket = chances(frame, order)
        solved = by_bucket.sum()
        moved = frame.astype({"conversions": float, "nulls": float})
        moved.loc[frame.bucket == 7, ["conversions", "nulls"]] *= 1 + step
        after = chances(moved, order).sum()
        expected = by_bucket.loc[7] - solved / len(by_bucket)
        assert ((after - solved) / step).to_numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_intervals_cover_at_the_nominal_rate():
    rules = some("markov_1", "markov_2", "linear")
    expected = {"path": WALKS, "conversions": WEIGHT * CHANCE, "nulls": WEIGHT * (1 - CHANCE)}
    truth = attribute(pd.DataFrame(expected), rules, n_resamples=2)
    truth = truth.set_index(["model", "level"]).share
    inside = []
    for seed in range(200):
        frame = walked(np.random.default_rng(seed), 1_500)
        table = attribute(frame, rules, n_resamples=400).set_index(["model", "level"])
        table = table.loc[truth.index]
        inside.append((table.lower <= truth) & (truth <= table.upper))
    coverage = pd.concat(inside, axis=1).mean(axis=1).groupby("model").mean()
    assert coverage.between(0.925, 0.975).all(), coverage


def test_rank_stability_tells_a_clear_order_from_a_tie():
    clear = pd.DataFrame({"path": [["a"], ["b"]] * 100, "conversions": [9, 1] * 100})
    tied = clear.assign(conversions=[5, 5] * 100)
    assert attribute(clear, some("linear")).rank_stability.min() == 1
    assert attribute(tied, some("linear")).rank_stability.max() < 0.75


# --- paths of a log --------------------------------------------------------------------------


def small_log(events, ends, smallest=1, before=("ad", "visit"), cut=("nobody",)):
    """Build what `touch_paths` reads of a log; events: (customer, journey, minute, what, way).

    Customers in `cut` were not seen to begin.
    """
    frame = pd.DataFrame(events, columns=["customer_id", "journey", "at", "touchpoint", "channel"])
    frame["timestamp"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(frame["at"], unit="min")
    frame["line"] = range(len(frame))
    frame["bucket"] = 7
    frame["purchase"] = frame.touchpoint == "buy"
    frame["value"] = np.where(frame.purchase, 10.0, np.nan)
    frame["channel"] = frame.channel.astype("string")
    frame["role"] = np.where(frame.touchpoint.isin(before), "before", "after")
    journeys = pd.DataFrame(ends, columns=["customer_id", "journey", "end"])
    con = ibis.duckdb.connect()
    privacy = SimpleNamespace(smallest_group=smallest)
    events = con.create_table("events", frame.drop(columns="at"))
    return SimpleNamespace(
        events=events,
        beginners=events.filter(~events.customer_id.isin(cut)).select("customer_id").distinct(),
        journeys=con.create_table("journeys", journeys),
        dataset=SimpleNamespace(privacy=privacy),
    )


def test_a_journey_that_may_have_begun_before_the_log_has_no_path():
    events = [("a", 0, 0, "ad", "web"), ("a", 0, 1, "buy", "shop")]
    events += [("a", 1, 9, "ad", "app"), ("a", 1, 10, "buy", "shop"), ("b", 0, 5, "buy", "shop")]
    ends = [("a", 0, "lost"), ("a", 1, "lost"), ("b", 0, "lost")]
    paths = paths_of(small_log(events, ends, cut=("a",)))
    assert set(paths) == {("app", "shop"), ("shop",)}


def paths_of(log, dimension="channel"):
    frame = touch_paths(log).query("dimension == @dimension")
    frame["path"] = frame.path.map(tuple)
    return {row.path: (row.conversions, row.value, row.nulls) for row in frame.itertuples()}


DAY = 1_440
EVENTS = [
    ("x", 0, 0, "ad", "social"),
    ("x", 0, 1, "visit", "social"),
    ("x", 0, 1, "visit", "mail > news"),
    ("x", 0, 2, "buy", "shop"),
    ("x", 0, 3, "help", "phone"),
    ("x", 1, 90 + DAY, "buy", None),
    ("y", 0, 0, "ad", "social"),
    ("y", 0, 1, "visit", None),
    ("z", 0, 0, "visit", "shop"),
]
ENDS = [("x", 0, "lost"), ("x", 1, "lost"), ("y", 0, "lost"), ("z", 0, "open")]


def test_paths_of_channels_split_at_purchases_and_leave_open_ends_out():
    assert paths_of(small_log(EVENTS, ENDS)) == {
        ("social", "mail > news", "shop"): (1, 10, 0),
        ("phone",): (0, 0, 1),
        (): (1, 10, 0),
        ("social",): (0, 0, 1),
    }


def test_paths_of_touchpoints_hold_no_purchase():
    assert paths_of(small_log(EVENTS, ENDS), "touchpoint") == {
        ("ad", "visit"): (1, 10, 1),
        ("help",): (0, 0, 1),
        (): (1, 10, 0),
    }


def test_the_purchases_of_one_day_are_one_with_the_value_of_all():
    rows = [("x", 0, 0, "ad", "social"), ("x", 0, 1, "buy", "shop"), ("x", 0, 1, "buy", "shop")]
    rows += [("x", 0, 5, "visit", "shop"), ("x", 0, 6, "buy", "shop"), ("x", 0, DAY, "buy", "shop")]
    assert paths_of(small_log(rows, [("x", 0, "lost")]), "touchpoint") == {
        ("ad", "visit"): (1, 30, 0),
        (): (1, 10, 0),
    }


def test_paths_of_a_log_are_attributed_as_they_are():
    table = attribution.attribute(touch_paths(small_log(EVENTS, ENDS)), ALL, n_resamples=2)
    assert table.groupby(["dimension", "model"]).conversions.sum().to_numpy() == pytest.approx(2)


def test_levels_that_too_few_customers_met_are_one():
    rows = [(f"c{i}", 0, 0, "ad", "social") for i in range(6)]
    rows += [(f"c{i}", 0, 1, "buy", channel) for i, channel in enumerate("aaabbb")]
    ends = [(f"c{i}", 0, "lost") for i in range(6)]
    assert paths_of(small_log(rows, ends, smallest=4)) == {("social", "(other)"): (6, 60, 0)}
    assert ("social", "a") in paths_of(small_log(rows, ends, smallest=3))
    # nine have met b, of whom three bought: the others do not make the three many
    lookers = [(f"l{i}", 0, 0, "ad", "b") for i in range(6)]
    ends_of_all = [(customer, 0, "lost") for customer in {row[0] for row in rows + lookers}]
    assert ("b",) not in paths_of(small_log(rows + lookers, ends_of_all, smallest=4))
    # too few even together are no touch
    assert paths_of(small_log(rows, ends, smallest=7)) == {(): (6, 60, 0)}


def test_levels_credited_with_too_few_purchases_are_one_and_no_amount_is_a_customers():
    frame = pd.DataFrame({"path": [list("ab"), list("cd"), ["a"], []], "conversions": [4, 4, 9, 1]})
    paths = frame.assign(dimension="channel", bucket=range(4), value=frame.conversions, nulls=0)
    paths.attrs["smallest_group"] = 3
    rules = some("linear")
    table = attribution.attribute(paths, rules).set_index("level")
    assert table["conversions"].to_dict() == {"a": 11, "(other)": 6, "(none)": 1}
    assert np.isnan(table["value"]["(none)"])
    assert table["value"]["a"] == 11


@pytest.mark.parametrize("dimension", ["channel", "touchpoint"])
def test_no_credit_is_shared_without_touchpoints_before_the_purchase(dimension):
    with pytest.raises(Unanswerable, match="before"):
        touch_paths(small_log(EVENTS, ENDS, before=()))


# --- what the models agree on ------------------------------------------------------------------


def told(**touchpoints):
    """Build what `credit_range` asks a log; touchpoints as stage and initiator."""
    known = {
        name: SimpleNamespace(stage=stage, initiator=initiator)
        for name, (stage, initiator) in touchpoints.items()
    }
    roles = {"look": "before", "use": "after"}
    dataset = SimpleNamespace(touchpoints=known)
    return SimpleNamespace(dataset=dataset, stages=SimpleNamespace(roles=roles))


def test_the_range_over_the_models_leads_and_holds_every_interval():
    frame = pd.DataFrame({"path": [["a", "b"], ["b"]] * 20, "conversions": [6, 3] * 20})
    table = attribute(frame, some("first", "last"))
    lead = credit_range(table, "channel", None).iloc[0]
    assert (lead["channel"], lead["n"]) == ("b", 180)
    assert (lead["lowest_share"], lead["lowest_model"]) == (pytest.approx(1 / 3), "first")
    assert (lead["highest_share"], lead["highest_model"]) == (1, "last")
    assert lead["lower"] < 1 / 3 < lead["upper"] == 1


def test_unnamed_levels_come_last():
    paths = [["a"], [], ["b"], ["(other)"]]
    frame = pd.DataFrame({"path": paths, "conversions": [2, 5, 1, 4], "nulls": 0})
    ranges = credit_range(attribute(frame, ALL), "channel", None)
    assert ranges["channel"].tolist() == ["a", "b", "(none)", "(other)"]
    assert np.allclose(ranges["lowest_share"], ranges["highest_share"])


def test_touchpoints_tell_who_starts_them_and_when():
    paths = [["parcel", "ad", "cart"], ["parcel", "parcel", "cart"], ["cart"]]
    frame = pd.DataFrame({"path": paths, "conversions": [3, 2, 9], "dimension": "touchpoint"})
    steps = {"parcel": ("use", "company"), "ad": ("look", "company"), "cart": ("look", "customer")}
    ranges = credit_range(attribute(frame), "touchpoint", told(**steps)).set_index("touchpoint")
    assert ranges.index[0] == "cart"
    assert ranges["initiator"].to_dict() == {name: who for name, (_, who) in steps.items()}
    assert ranges.loc["parcel", "role"] == "after"


def test_a_dimension_that_shares_nothing_is_not_answered():
    with pytest.raises(Unanswerable, match="touchpoint"):
        credit_range(attribute({"path": [["a"], ["b"]], "conversions": [1, 1]}), "touchpoint", None)


def test_the_picture_shows_the_range_and_a_mark_of_every_model(canvas):
    frame = pd.DataFrame({"path": [["a", "b"], ["b"]], "conversions": [6, 3], "nulls": 1})
    table = attribute(frame, ALL, n_resamples=2)
    ax = plots.credit_ranges(attribution.in_words(table), "channel")
    named = [text.get_text() for text in ax.get_legend().get_texts()]
    assert {"time decay", "removal effect", "removal effect of 2 touches"} < set(named)
    assert len(named) == len(ALL)
    spans = {tuple(np.round(one[:, 0], 9)) for one in ax.collections[0].get_segments()}
    shares = table.groupby("level")["share"].agg(["min", "max"]).round(9)
    assert spans == set(shares.itertuples(index=False, name=None))
