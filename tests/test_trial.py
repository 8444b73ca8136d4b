"""The test of an initiative: its size is the published one, and its arms are stable."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from cjlib import initiatives


def test_the_size_is_that_of_the_published_example():
    # R, power.prop.test(p1 = .50, p2 = .75, power = .90): n = 76.7 in each group
    assert initiatives.sample_size(0.5, 0.75, power=0.9) == 2 * 77


@pytest.mark.parametrize("control", [0.5, 0.1])
def test_a_test_of_that_size_finds_the_effect_in_four_of_five_cases(control):
    before, after = 0.3, 0.24
    size = initiatives.sample_size(before, after, control=control)
    alone = round(size * control)
    rng = np.random.default_rng(1)
    left = rng.binomial(alone, before, 20_000) / alone
    acted = rng.binomial(size - alone, after, 20_000) / (size - alone)
    pooled = left * control + acted * (1 - control)
    error = np.sqrt(pooled * (1 - pooled) * (1 / alone + 1 / (size - alone)))
    power = (np.abs(left - acted) / error > norm.isf(0.025)).mean()
    assert power == pytest.approx(0.8, abs=0.02)


def test_half_the_effect_takes_about_four_times_the_customers_and_none_no_number():
    assert initiatives.sample_size(0.3, 0.27) / initiatives.sample_size(0.3, 0.24) > 3.8
    assert np.isnan(initiatives.sample_size([0.3, np.nan], [0.3, 0.2])).all()


def table(*changes: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "change": changes,
            "initiative": [f"{change} something" for change in changes],
            "measure": ["lost" if change == "relieve" else "bought" for change in changes],
            "rate": 0.3,
            "expected": 0.06,
            "customers": 365.25 / 12,
        }
    )


def test_weeks_are_the_customers_over_those_who_come_in_a_week():
    tested = initiatives.with_trials(table("relieve", "strengthen"))
    assert tested["rate_after"].tolist() == pytest.approx([0.24, 0.36])
    assert tested["weeks_for_test"].to_numpy() == pytest.approx(tested["customers_for_test"] / 7)
    assert (tested["customers_for_half"] > tested["customers_for_test"]).all()


def test_arms_stay_as_they_are_and_differ_between_initiatives(demo):
    named = table("relieve", "strengthen")
    arms = initiatives.assignments(demo, named, None)
    wide = arms.pivot_table("arm", "customer_id", "initiative", aggfunc="first")
    assert len(wide) * 2 == len(arms)
    assert wide.notna().all(axis=None)
    shares = (wide == "act").mean()
    assert shares.between(0.46, 0.54).all()
    assert (wide.iloc[:, 0] == wide.iloc[:, 1]).mean() == pytest.approx(0.5, abs=0.04)
    alone = initiatives.assignments(demo, named.tail(1), None)
    again = alone.set_index("customer_id")["arm"]
    assert again.equals(wide["strengthen something"].rename("arm").reindex(again.index))


def test_those_about_to_leave_are_in_the_arms_of_their_list(demo):
    groups = ["contact", "hold out", "leave alone"]
    scores = pd.DataFrame({"customer_id": ["a", "b", "c"], "group": groups})
    arms = initiatives.assignments(demo, table("keep"), scores)
    assert arms.set_index("customer_id")["arm"].to_dict() == {"a": "act", "b": "control"}
