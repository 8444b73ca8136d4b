"""One bad experience: who is compared with whom, and that nothing is found where nothing is."""

import datetime as dt
from types import SimpleNamespace

import numpy as np
import pytest

from cjlib.errors import Unanswerable
from cjlib.journey_map import one_bad_experience, won_back
from tests.test_journey_map import make_log

POINTS = {
    "view": ("consideration", "customer"),
    "order": ("purchase", "customer"),
    "good": ("post_sale", "company"),
    "bad": ("post_sale", "company"),
    "solved": ("post_sale", "company"),
    "asked": ("post_sale", "customer"),
}


def log_of(rows, sentiment=None, resolving=(), days=400):
    log = make_log(
        rows, touchpoints=POINTS, days=days, **({"sentiment": sentiment} if sentiment else {})
    )
    purposes = {name: "resolution" if name in resolving else None for name in POINTS}
    log.dataset.touchpoints = {n: SimpleNamespace(purpose=p) for n, p in purposes.items()}
    return log


def world(rng, customers, effect=0.0, heavy=0.0, solved=0.0):
    """Customers who buy every 40 days; a delivery may be bad, and then fewer buy again.

    The heavy have more touchpoints after a purchase, buy more surely, and so meet more of all.
    """
    rows = []
    for customer in range(customers):
        busy = rng.random() < 0.5
        day = float(rng.integers(0, 20))
        while day < 330:
            rows.append((customer, day, "order"))
            hurt = False
            for number in range(1 + int(heavy > 0 and busy) * 3):
                bad = rng.random() < 0.15
                rows.append((customer, day + 1 + number / 10, "bad" if bad else "good"))
                hurt |= bad
            if hurt:  # they ask, and are answered or not
                rows.append((customer, day + 1.5, "asked"))
            if hurt and rng.random() < 0.5:
                rows.append((customer, day + 2, "solved"))
                hurt = rng.random() >= solved
            chance = 0.6 + (heavy if busy else -heavy) - effect * hurt
            if rng.random() > chance:
                break
            day += 20
    return rows


def test_the_share_gone_is_counted_from_the_customers_own_next_purchases():
    rows = []
    for customer in range(200):
        bad, again = customer % 2, customer % 10 < (3 if customer % 2 else 8)
        rows += [(customer, 0, "order"), (customer, 1, "bad" if bad else "good")]
        rows += [(customer, 20, "order")] * again
    (row,) = one_bad_experience(log_of(rows), ["bad"]).to_dict("records")[-1:]
    assert (row["experience"], row["customers"], row["n"]) == ("bad", 100, 100)
    assert row["gone_share"] == pytest.approx(0.8)  # 1 of 1, 3, 5, 7, 9 buys again
    assert row["otherwise_share"] == pytest.approx(0.2)
    assert row["difference"] == pytest.approx(0.6)
    assert row["verdict"] == "found"


def test_only_the_first_experience_of_a_look_back_counts_and_only_where_the_horizon_is_over():
    rows = []
    for customer in range(80):
        kind = "bad" if customer % 2 else "good"
        rows += [(customer, 0, "order"), (customer, 1, kind), (customer, 5, kind)]
        rows += [(customer, 25, "order"), (customer, 390, kind)]
    (row,) = one_bad_experience(log_of(rows), ["bad"]).to_dict("records")[-1:]
    assert (row["customers"], row["n"]) == (40, 40)


def test_who_has_never_bought_has_nothing_to_come_back_to():
    rows = [(customer, day, "bad") for customer in range(50) for day in (1, 3)]
    with pytest.raises(Unanswerable):
        one_bad_experience(log_of(rows), ["bad"])


def test_feelings_below_zero_are_experiences_too():
    rows, feelings = [], []
    for customer in range(200):
        feeling = -0.5 if customer % 2 else 0.5
        rows += [(customer, 0, "order"), (customer, 1, "good")]
        feelings += [None, feeling]
        if feeling > 0:
            rows.append((customer, 20, "order"))
            feelings.append(None)
    table = one_bad_experience(log_of(rows, feelings))
    assert table["experience"].tolist() == ["bad_feeling"]
    assert table["difference"].item() == pytest.approx(1.0)


def test_a_planted_effect_is_found_with_its_size_and_what_resolution_wins_back():
    rng = np.random.default_rng(2)
    rows = world(rng, 1500, effect=0.3, solved=1.0)
    log = log_of(rows, resolving=["solved"])
    row = one_bad_experience(log, ["bad"]).set_index("experience").loc["bad"]
    assert row["verdict"] == "found"
    assert row["difference_lower"] < 0.15 < row["difference_upper"]  # half of them were resolved
    back = won_back(log, ["bad"]).set_index("experience").loc["bad"]
    assert back["verdict"] == "found"
    assert back["difference_lower"] < -0.3 < back["difference_upper"]


def test_nothing_is_found_though_heavy_users_meet_everything_more_often():
    rng = np.random.default_rng(3)
    log = log_of(world(rng, 1500, heavy=0.25), resolving=["solved"])
    row = one_bad_experience(log, ["bad"]).set_index("experience").loc["bad"]
    assert row["verdict"] == "none"
    assert row["difference_lower"] < 0 < row["difference_upper"]


def test_who_is_silent_after_it_is_no_measure_of_who_was_answered():
    rng, rows = np.random.default_rng(4), []
    for customer in range(600):
        leaves = customer % 2  # at once, whatever is done
        rows += [(customer, 0, "order"), (customer, 1, "bad")]
        if not leaves:
            rows.append((customer, 2, "asked"))
            rows += [(customer, 3, "solved")] * (rng.random() < 0.5)
            rows += [(customer, 20, "order")] * (rng.random() < 0.6)
    back = won_back(log_of(rows, resolving=["solved"]), ["bad"])
    assert back["verdict"].item() == "none"
    assert back["difference_lower"].item() < 0 < back["difference_upper"].item()


def test_a_next_feeling_above_zero_resolves_where_no_touchpoint_is_named():
    rows, feelings = [], []
    for customer in range(120):
        better = customer % 2
        rows += [(customer, 0, "order"), (customer, 1, "bad"), (customer, 2, "good")]
        feelings += [None, -0.5, 0.5 if better else -0.5]
        if better:
            rows.append((customer, 25, "order"))
            feelings.append(None)
    (row,) = won_back(log_of(rows, feelings), ["bad_feeling"]).to_dict("records")
    assert (row["customers"], row["gone_share"], row["otherwise_share"]) == (60, 0.0, 1.0)


def test_without_any_resolution_it_says_so():
    rows = [
        (customer, day, name) for customer in range(50) for day, name in ((0, "order"), (1, "bad"))
    ]
    with pytest.raises(Unanswerable, match="resolved"):
        won_back(log_of(rows, resolving=["solved"]), ["bad"])


def test_the_horizon_is_that_of_churn():
    rows = []
    for customer in range(100):
        rows += [(customer, 0, "order"), (customer, 1, "bad" if customer % 2 else "good")]
        rows += [(customer, 25 if customer % 2 else 40, "order")]
    log = log_of(rows)
    log.dataset.churn.horizon = dt.timedelta(days=30)
    assert one_bad_experience(log, ["bad"])["gone_share"].item() == 0.0
