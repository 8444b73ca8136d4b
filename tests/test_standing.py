"""What a customer was when a journey began, by hand; and logs that begin in the middle of lives."""

from types import SimpleNamespace

import ibis
import pandas as pd
import pytest

from cjlib.markov.standing import standing

BEGIN = pd.Timestamp("2025-01-01")
SILENCE = pd.Timedelta(days=10)


def strata(journeys: dict[str, list[int]], days: int = 360) -> dict[tuple[str, int], float]:
    """Return the strata of journeys, given by the days on which each customer began one."""
    rows = [(who, n, day) for who, began in journeys.items() for n, day in enumerate(began)]
    visits = pd.DataFrame(rows, columns=["customer_id", "journey", "day"])
    visits["started"] = BEGIN + pd.to_timedelta(visits.pop("day"), unit="D")
    log = SimpleNamespace(
        visits=ibis.duckdb.connect().create_table("visits", visits),
        as_of=BEGIN + pd.Timedelta(days=days),
        dataset=SimpleNamespace(journey=SimpleNamespace(inactivity=SILENCE)),
    )
    found = standing(log).to_pandas().set_index(["customer_id", "journey"])["stratum"]
    return found.to_dict()


STEADY = {f"n{day}": [day] for day in range(360)}


def test_first_second_and_later_journeys_are_told_apart_by_how_often_one_came():
    found = strata(STEADY | {"often": [0, 20, 40, 60], "seldom": [0, 200], "between": [9, 99]})
    assert {found[who, 0] for who in ("often", "seldom", "n10")} == {0}
    assert (found["seldom", 1], found["between", 1], found["often", 1]) == (1, 2, 3)
    assert [found["often", 2], found["often", 3]] == [4, 5]


def test_a_log_that_begins_in_the_middle_does_not_know_its_early_first_journeys():
    crowd = {f"o{n}": [n % 20, 150 + n] for n in range(60)}
    found = strata(STEADY | crowd | {"new": [200, 230], "late": [210, 300]})
    assert pd.isna(found["o3", 0])
    assert (found["new", 0], found["late", 0]) == (0, 0)  # by then they are known to be new
    assert found["o3", 1] in (7, 8, 9)  # seen early: perhaps long a customer
    assert found["new", 1] in (1, 2, 3)


@pytest.mark.parametrize("customers", [{"a": [0]}, {"a": [0], "b": [5]}])
def test_few_customers_have_a_standing_too(customers):
    assert len(strata(customers)) == len(customers)
