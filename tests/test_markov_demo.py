"""What the demo planted in the moves between stages is found, and nothing where nothing is."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from cjlib.markov import changes, markov_tests
from cjlib.markov.chain import MarkovChain
from cjlib.markov.continuum import choose_components
from cjlib.markov.mixture import MarkovMixture
from cjlib.markov.transitions import TransitionData
from data.demo.behaviour import STAGES
from data.demo.generate import generate

NAMES = [*STAGES, "lost"]
CHANGE = pd.Timestamp("2025-09-01")

pytestmark = pytest.mark.slow


def settled_visits(demo) -> pd.DataFrame:
    visits = demo.visits
    visits = visits[visits["settled"]]
    return visits.assign(
        bucket=pd.factorize(visits["customer_id"])[0] % 256,
        period=visits["started"].dt.to_period("M").dt.start_time,
        from_stage=visits["stage"],
        to_stage=visits["next_stage"],
    )


def counted(visits: pd.DataFrame, *by: str) -> pd.DataFrame:
    return visits.groupby([*by, "bucket", "from_stage", "to_stage"]).size().reset_index(name="n")


def starts_and_moves(demo) -> tuple[TransitionData, np.ndarray]:
    """Return every customer's counts, and their kinds."""
    visits = demo.visits
    customer, ids = pd.factorize(visits["customer_id"])
    place = {name: i for i, name in enumerate(NAMES)}
    starts, moves = np.zeros((len(ids), 6)), np.zeros((len(ids), 6, 6))
    origin = visits["stage"].map(place).to_numpy()
    first, seen = (visits["visit"] == 0).to_numpy(), visits["settled"].to_numpy()
    np.add.at(starts, (customer[first], origin[first]), 1)
    target = visits.loc[seen, "next_stage"].map(place).to_numpy()
    np.add.at(moves, (customer[seen], origin[seen], target), 1)
    kind = visits.groupby("customer_id")["kind"].first().reindex(ids).to_numpy()
    counts = sparse.csr_array(np.hstack([starts, moves.reshape(len(ids), -1)]))
    return TransitionData(tuple(NAMES), counts, ids), kind


def test_the_planted_matrices_lie_inside_the_intervals_at_the_nominal_rate():
    hits = []
    for seed in range(6):
        demo = generate(3000, seed, dirt=False)
        visits = settled_visits(demo)
        for changed in (False, True):
            period = visits[(visits["started"] >= CHANGE) == changed]
            for name, truth in zip(
                demo.behaviour.names, demo.behaviour.matrix(changed), strict=True
            ):
                chain = MarkovChain(states=NAMES).fit(counted(period[period["kind"] == name]))
                lower, upper = (limit[:5] for limit in chain.interval())
                hits += ((lower <= truth) & (truth <= upper))[truth > 0].tolist()
    assert 0.93 <= np.mean(hits) <= 0.97


def test_the_planted_change_is_found_at_its_date_over_seeds():
    found = []
    for seed in range(1, 13):
        visits = settled_visits(generate(3000, seed, dirt=False))
        points = changes.change_points(counted(visits, "period"), n_permutations=199)
        surest = points.loc[points["z"].abs().idxmax()]
        if surest["p_value"] <= 0.05:
            found.append((surest, points.loc[points["plausible"], "period"]))
    assert len(found) >= 10  # the change is small: about four points in one cell
    assert {(one["from_stage"], one["to_stage"]) for one, _ in found} == {("decision", "lost")}
    assert sum(one["period"] == CHANGE for one, _ in found) >= 9
    assert all((dates.min() <= CHANGE) & (dates.max() >= CHANGE) for _, dates in found)


def test_the_planted_change_of_the_demo_is_found_in_its_cells():
    by_month = counted(settled_visits(generate(3000, 7, dirt=False)), "period")
    halves = by_month.assign(period=by_month["period"] >= CHANGE)
    moved = markov_tests.moved_cells(halves, "period")
    first = moved[moved["period"]].iloc[0]
    assert (first["from_stage"], first["to_stage"]) == ("decision", "lost")
    assert first["q_value"] < 1e-4
    assert 0.02 < first["difference"] < 0.06
    sure = moved[moved["period"] & (moved["q_value"] <= 0.01)]
    assert set(sure["from_stage"]) == {"decision"}


def test_without_a_change_one_is_found_no_more_often_than_stated():
    found = []
    for seed in range(100):
        visits = settled_visits(generate(800, seed, change=False, kinds=False, dirt=False))
        points = changes.change_points(counted(visits, "period"), n_permutations=199)
        found.append((points["p_value"] <= 0.05).any())
    assert sum(found) <= 10  # of 100 at 5 %: more than ten with a chance near 1 %


def test_the_four_kinds_are_found_and_told_apart():
    data, kind = starts_and_moves(generate(3000, 7, dirt=False))
    table = choose_components(data, (1, 3, 4, 5), n_init=4)
    assert table.loc[table["chosen"], "components"].item() == 4
    model = MarkovMixture(4).fit(data)
    assert adjusted_rand_score(kind, model.labels_) > 0.6
    busy = np.asarray(data.counts.sum(1)).ravel() >= 20
    assert adjusted_rand_score(kind[busy], model.labels_[busy]) > 0.9


def test_of_one_kind_of_customer_one_is_found():
    data, _ = starts_and_moves(generate(3000, 3, kinds=False, change=False, dirt=False))
    table = choose_components(data, (1, 2, 3), n_init=4)
    assert table.loc[table["chosen"], "components"].item() == 1


def test_where_customers_are_of_one_kind_the_last_stage_suffices():
    visits = settled_visits(generate(3000, 5, kinds=False, change=False, dirt=False))
    visits = visits.assign(
        stage_1=visits.groupby(["customer_id", "journey"])["stage"].shift(), stage_2=visits["stage"]
    ).dropna(subset="stage_1")
    grams = (
        visits.groupby(["bucket", "stage_1", "stage_2", "to_stage"]).size().reset_index(name="n")
    )
    row = markov_tests.order_test(grams).iloc[0]
    assert row["order"] == 1
    assert row["p_value"] > 0.01
