"""After the purchase: cohorts, second purchases and signs of loyalty, as far as seen."""

from types import SimpleNamespace

import numpy as np
import pytest

from cjlib.errors import Unanswerable
from cjlib.journey_map import loyalty, retention, second_purchase
from tests.test_journey_map import make_log

POINTS = {
    "order": ("purchase", "customer"),
    "delivery": ("post_sale", "company"),
    "guide": ("post_sale", "company"),
    "review": ("post_sale", "customer"),
}


def log_of(rows, days=200, since=None):
    log = make_log(rows, touchpoints=POINTS, days=days)
    purposes = {"review": "review", "guide": "onboarding"}
    log.dataset.touchpoints = {n: SimpleNamespace(purpose=purposes.get(n)) for n in POINTS}
    first = log.events.group_by("customer_id").agg(first=log.events.journey.min())
    log.beginners = first.select("customer_id") if since is None else since(log)
    return log


def test_a_cell_is_the_share_of_its_cohort_that_buys_in_that_month():
    rows = []
    for customer in range(100):
        rows += [(customer, 5, "order"), (customer, 5, "order")]  # on one day twice
        back = {0: 30, 1: 31, 2: 60, 3: 61}.get(customer % 10)
        rows += [] if back is None else [(customer, 5 + back, "order")]
    table = retention(log_of(rows)).set_index("month")
    assert table["customers"].unique().tolist() == [100]
    assert table["retention_share"].head(3).tolist() == [0.1, 0.2, 0.1]


def test_months_that_are_not_over_for_the_whole_cohort_are_left_out():
    begins = [0, 30, 61]  # 1 January, 31 January, 3 March 2025
    rows = [
        (f"{n} {day}", day + back, "order") for n in range(20) for day in begins for back in (0, 9)
    ]
    table = retention(log_of(rows, days=125))  # until 6 May
    months = table.groupby("cohort")["month"].max()
    assert months.to_dict() == {"2025-01": 3, "2025-03": 1}
    with pytest.raises(Unanswerable, match="watched"):
        retention(log_of([row for row in rows if row[1] < 45], days=45))


def test_only_who_was_seen_to_begin_is_in_a_cohort():
    rows = [(customer, day, "order") for customer in range(100, 160) for day in (2, 20)]
    log = log_of(rows, since=lambda log: log.events.filter(log.events.customer_id < "140"))
    assert retention(log)["customers"].unique().tolist() == [40]


def test_loyalty_counts_whom_the_horizon_was_watched():
    rows = [(customer, 0, "order") for customer in range(8)] + [(9, 190, "order")]
    rows += [
        (0, 20, "order"),
        (1, 0, "order"),
        (2, 60, "order"),
        (0, 5, "review"),
        (3, 9, "review"),
    ]
    table = loyalty(log_of(rows)).set_index("sign")
    assert table["buyers"].tolist() == [8, 8]
    assert table["customers"].to_dict() == {"repeat": 1, "review": 2}


def first_days(rng, customers, effect=0.0, heavy=0.0):
    rows = []
    for customer in range(customers):
        busy, day = rng.random() < 0.5, int(rng.integers(0, 100))
        rows.append((customer, day, "order"))
        guided = False
        for number in range(1 + int(heavy > 0 and busy) * 3):
            guide = rng.random() < 0.3
            rows.append((customer, day + 2 + number / 8, "guide" if guide else "delivery"))
            guided |= guide
        chance = 0.4 + (heavy if busy else -heavy) + effect * guided
        rows += [(customer, day + 25, "order")] * (rng.random() < chance)
    return rows


def test_what_goes_with_a_second_purchase_is_found_with_its_size():
    table = second_purchase(log_of(first_days(np.random.default_rng(1), 2000, effect=0.2)))
    table = table.set_index("touchpoint")
    assert table.loc["guide", ["purpose", "verdict"]].tolist() == ["onboarding", "found"]
    assert table.loc["guide", "difference_lower"] < 0.2 < table.loc["guide", "difference_upper"]
    assert table.loc["guide", "reach"] == pytest.approx(0.3, abs=0.04)
    assert table.loc["delivery", "difference"] < 0  # in place of which it stands


def test_heavy_users_alone_make_no_touchpoint_go_with_a_second_purchase():
    table = second_purchase(log_of(first_days(np.random.default_rng(2), 2000, heavy=0.3)))
    assert set(table["verdict"]) == {"none"}


def test_without_anything_after_the_purchase_it_says_so():
    with pytest.raises(Unanswerable):
        second_purchase(log_of([(customer, 0, "order") for customer in range(50)]))
