"""Three views of the same customers, joined, at any moment."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from cjlib.errors import Unanswerable
from cjlib.segments.rfm import NOT_YET
from cjlib.segments.views import agreement, association
from tests.segment_logs import find_views, orders_only, profile_of


class TestViews:
    def test_every_customer_is_in_each_view_once(self, demo, found):
        customers = found.now
        assert len(customers) == demo.events.customer_id.nunique().execute()
        assert customers["customer_id"].is_monotonic_increasing
        assert customers["customer_id"].is_unique
        assert customers.notna().all(axis=None)
        never = (customers["rfm_segment"] == NOT_YET).sum()
        assert len(customers) - never == len(found.scored)

    def test_an_earlier_moment_knows_who_was_there_and_had_bought(self, demo, found):
        until = demo.as_of - demo.dataset.churn.horizon
        events = demo.events.filter(demo.events.timestamp <= until)
        assert len(found.then) == events.customer_id.nunique().execute()
        bought = events.filter(events.purchase).customer_id.nunique().execute()
        assert (found.then["rfm_segment"] != NOT_YET).sum() == bought

    def test_before_the_log_nobody_is_anywhere(self, demo, found):
        assert found.views.at(demo, until=pd.Timestamp("2000-01-01")).empty

    @pytest.mark.slow
    def test_two_runs_give_the_same_names_and_numbers(self, demo, found, profile):
        again = find_views(demo)
        pd.testing.assert_frame_equal(again.now, found.now)
        pd.testing.assert_frame_equal(profile_of(demo, again), profile)

    def test_stability_is_known_of_every_group_that_tells_apart(self, found):
        known = found.stability.groupby("segmentation")["stability"].count()
        assert known.to_dict() == {"cluster": 0, "journey_type": 4, "rfm": 11}
        assert found.stability["stability"].dropna().between(0, 1).all()


class TestAgreement:
    def test_nested_groups_go_together_and_chance_groups_do_not(self):
        fine = np.arange(600) % 6
        nested = pd.crosstab(fine, fine // 3)
        assert association(nested) == pytest.approx(1, abs=0.01)
        assert adjusted_rand_score(fine, fine // 3) < 0.5
        known = pd.DataFrame([[60, 40], [40, 60]])  # V² = 0.04, less one of 199 for chance
        expected = np.sqrt((0.04 - 1 / 199) / (1 - 1 / 199))
        assert association(known) == pytest.approx(expected)
        rng = np.random.default_rng(0)
        chance = [association(pd.crosstab(fine, rng.permutation(600) % 4)) for _ in range(200)]
        assert np.mean(chance) < 0.03
        assert np.median(chance) < 0.02

    def test_cross_tables_add_up_and_name_their_views(self, found):
        (table,) = found.views.cross_tables(found.now)
        assert (table.index.name, table.columns.name) == ("RFM segments", "journey types")
        assert table.to_numpy().sum() == len(found.now)
        row = agreement([table]).iloc[0]
        assert row["customers"] == len(found.now)

    def test_one_view_has_nothing_to_agree_with(self, found):
        alike = found.now.assign(journey_type="all")
        with pytest.raises(Unanswerable, match="fewer than two views"):
            found.views.cross_tables(alike)
        with pytest.raises(Unanswerable, match="fewer than two views"):
            found.views.cross_tables(alike.assign(rfm_segment="lost"))

    def test_bands_of_the_calendar_are_compared_with_nothing(self, found):
        rules = found.views.rules
        bands = type(rules)([{"segment": "everyone"}], bands=True)
        views = replace(found.views, rules=bands)
        assert views.names["rfm"] == "recency bands"
        with pytest.raises(Unanswerable, match="fewer than two views"):
            views.cross_tables(found.now)


def test_a_log_of_orders_alone_has_segments(tmp_path):
    log = orders_only(tmp_path)
    found = find_views(log, most_types=3)
    assert found.views.types.names == ["all"]
    assert set(found.views.segments(found.now)) == {"all", "RFM segments"}
    profile = profile_of(log, found)
    assert profile["value"].isna().all()
