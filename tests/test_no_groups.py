"""Customers without groups: what one journey brings about is kept, what lasts is not."""

import numpy as np
import pandas as pd
import pytest

from cjlib.segments.behaviour import behaviour_features, behaviour_sample
from cjlib.segments.no_groups import NoGroups, intraclass
from tests.segment_logs import log_of_rows


def test_a_draw_has_the_customers_the_features_and_the_total_of_the_log(demo):
    sample = behaviour_sample(demo, ["events", "stage: purchase", "feeling", "value"])
    reference = NoGroups(demo, sample)
    drawn = reference(np.random.default_rng(1), alike=True)
    assert drawn.shape == sample.shape
    assert np.expm1(drawn["events"]).sum() == pytest.approx(np.expm1(sample["events"]).sum())
    pd.testing.assert_frame_equal(drawn, reference(np.random.default_rng(1), alike=True))


def test_kinds_planted_in_the_demo_are_differences_that_last(demo):
    sample = behaviour_sample(demo, behaviour_features(demo))
    reference = NoGroups(demo, sample)
    assert reference.by_degrees
    assert 0.1 < reference.lasting < 0.2
    rng, spread = np.random.default_rng(0), sample.var()
    alike = (reference(rng, alike=True).var() / spread).mean()
    degrees = (reference(rng).var() / spread).mean()
    assert alike < 0.9  # less than the log's
    assert degrees == pytest.approx(1, abs=0.1)


def test_of_customers_with_one_journey_each_the_draw_is_the_log_in_another_order(tmp_path):
    rng = np.random.default_rng(2)
    who = np.repeat(np.arange(60), 3)
    when = pd.Timestamp("2025-03-01") + pd.to_timedelta(rng.integers(10, size=180), unit="D")
    places = rng.choice(["web_search", "product_view", "order_placed"], 180)
    rows = pd.DataFrame({"customer_id": who, "timestamp": when, "touchpoint": places})
    rows = rows.assign(channel="web", value=1.0, sentiment=np.nan, event_id=range(180))
    log = log_of_rows(tmp_path, rows)
    sample = behaviour_sample(log, behaviour_features(log))
    reference = NoGroups(log, sample)
    drawn = reference(np.random.default_rng(0))
    assert reference.lasting == 0
    assert not reference.by_degrees
    pd.testing.assert_frame_equal(
        drawn.sort_values(list(drawn), ignore_index=True),
        sample.sort_values(list(sample), ignore_index=True),
        check_dtype=False,
        check_names=False,
    )


def test_attributes_stay_with_their_customers(demo):
    sample = behaviour_sample(demo, behaviour_features(demo, attributes=["country"]))
    drawn = NoGroups(demo, sample)(np.random.default_rng(0))
    countries = [name for name in sample if name.startswith("country: ")]
    assert countries
    assert (drawn[countries].to_numpy() == sample[countries].to_numpy()).all()


def test_intraclass_correlation_of_known_variances():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(2000), 4)
    values = rng.normal(size=2000)[group] * 0.5 + rng.normal(size=8000)
    assert intraclass(values[:, None], group) == pytest.approx(0.2, abs=0.02)
    assert intraclass(rng.normal(size=(8000, 1)), group) == pytest.approx(0, abs=0.02)
