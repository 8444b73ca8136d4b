"""Profiles of segments: figures that agree with a count by hand, intervals, honest churn."""

import numpy as np
import pandas as pd
import pytest

from cjlib.segments.findings import with_value_share
from cjlib.segments.profiles import (
    MEASURES,
    against_others,
    attribute_shares,
    churn_by_segment,
    outcomes,
    repeat_share,
    typical_journeys,
)
from cjlib.uncertainty import ratio


class TestProfiles:
    def test_columns_promised_and_shares_that_add_up(self, profile, found):
        promised = "segmentation segment customers share recency_days frequency value stability"
        assert set(promised.split()) <= set(profile.columns)
        shares = profile.groupby("segmentation")["share"].sum()
        assert np.allclose(shares, 1)
        assert with_value_share(profile)["value_share"].sum() == pytest.approx(1)

    def test_measures_agree_with_a_count_by_hand(self, demo, profile):
        known = outcomes(demo)
        everybody = profile[profile["segmentation"] == "all"].iloc[0]
        bought = demo.events.filter(demo.events.purchase).value.sum().execute()
        assert everybody["value"] * everybody["customers"] == pytest.approx(bought)
        assert everybody["conversion"] == pytest.approx(
            known["bought"].sum() / known["ended"].sum()
        )
        told = demo.events.sentiment.mean().execute()
        assert everybody["feeling"] == pytest.approx(told)

    def test_intervals_hold_their_estimates(self, profile):
        for name in ("value", "conversion", "feeling", "churn"):
            rows = profile[profile[name].notna()]
            assert (rows[f"{name}_lower"] <= rows[name] + 1e-9).all()
            assert (rows[name] <= rows[f"{name}_upper"] + 1e-9).all()

    def test_feelings_end_where_their_scale_ends(self):
        told = np.eye(12)[:, :1] * 0 + 1.0
        told[0] = 0.2
        limits = ratio(told, np.ones_like(told), scale=(-1, 1))
        assert limits.upper == 1
        assert -1 <= limits.lower < limits.estimate < 1

    def test_planted_differences_are_told_from_chance(self, profile):
        types = profile[profile["segmentation"] == "journey_type"].set_index("segment")
        assert types.loc["start in decision", "churn_q"] < 0.001
        assert types.loc["start in decision", "conversion_q"] < 0.001
        everybody = profile[profile["segmentation"] == "all"]
        assert everybody[[f"{name}_q" for name in MEASURES]].isna().all(axis=None)

    def test_groups_drawn_at_random_seldom_differ(self):
        rng = np.random.default_rng(5)
        q_values = []
        for _ in range(200):
            trials = rng.integers(1, 6, size=(200, 4))
            q_values.append(against_others(rng.binomial(trials, 0.3), trials))
        # Benjamini-Hochberg: under the null a whole view has a false find in 5 % of the cases.
        assert 0.01 <= np.mean(np.min(q_values, axis=1) < 0.05) <= 0.09

    def test_churn_is_measured_on_those_who_had_bought_one_horizon_ago(self, demo, found):
        churn = churn_by_segment(demo, found)
        cutoff = demo.as_of - demo.dataset.churn.horizon
        orders = demo.events.filter(demo.events.purchase).select("customer_id", "timestamp")
        orders = orders.to_pandas()
        before = set(orders.loc[orders["timestamp"] <= cutoff, "customer_id"])
        after = set(orders.loc[orders["timestamp"] > cutoff, "customer_id"])
        everybody = churn[churn["segmentation"] == "all"].iloc[0]
        assert everybody["churn_buyers"] == len(before)
        assert everybody["churn"] == pytest.approx(len(before - after) / len(before))
        for _, rows in churn.groupby("segmentation"):
            assert rows["churn_buyers"].sum() == len(before)

    def test_repeat_share(self):
        scored = pd.DataFrame({"bucket": np.arange(200), "frequency": np.repeat([1, 2], [150, 50])})
        share = repeat_share(scored)
        assert share.estimate == 0.25
        assert 0.18 < share.lower < 0.21
        assert 0.29 < share.upper < 0.33

    def test_attributes_tied_to_a_kind_are_seen(self, demo, found):
        known = attribute_shares(demo, found, "journey_type")
        young = known[(known["attribute"] == "age_band") & (known["level"] == "18-29")]
        top = young.loc[young["difference"].idxmax()]
        assert top["segment"] == "straight from awareness to decision"
        assert top["q_value"] < 0.001

    def test_typical_journeys_are_the_most_frequent(self, demo, found):
        typical = typical_journeys(demo, found.customers, "journey_type", most=2)
        assert typical.groupby("segment").size().eq(2).all()
        assert typical.groupby("segment")["journeys"].is_monotonic_decreasing.all()

    def test_typical_journeys_are_shares_of_the_journeys_whose_beginning_is_known(
        self, demo, found
    ):
        visits = demo.visits.to_pandas()
        journeys = visits.groupby(["customer_id", "journey"]).agg(
            visits=("visit", "size"), over=("next_stage", lambda ends: ends.eq("lost").any())
        )
        known = int((journeys["over"] | (journeys["visits"] >= 5)).sum())
        typical = typical_journeys(demo, found.customers, "journey_type")
        assert typical.groupby("segment")["of"].first().sum() == known
        assert np.allclose(typical["share"] * typical["of"], typical["journeys"])
