"""What segments live through: the planted pain point and no other, where journeys end in vain."""

import numpy as np
import pandas as pd
import pytest

from cjlib.segments.experience import ends_in_vain, touchpoint_effects, usual, whereabouts


@pytest.fixture(scope="module")
def effects(demo, found):
    return touchpoint_effects(demo, found.customers, "journey_type")


class TestEffects:
    def test_the_planted_pain_point_hurts_and_nothing_else_does(self, effects):
        sure = effects[(effects["q_value"] < 0.05) & (effects["difference"] < 0)]
        assert set(sure["touchpoint"]) == {"payment_error"}

    def test_touchpoints_without_effect_help_nobody(self, effects):
        assert not ((effects["q_value"] < 0.05) & (effects["difference"] > 0)).any()

    def test_visits_are_counted_once(self, demo, effects):
        over = demo.journeys.filter(demo.journeys.end == "lost").select("customer_id", "journey")
        late = demo.events.filter(demo.events.touchpoint == "delivery_late")
        late = late.inner_join(over, ["customer_id", "journey"])
        visits = late.select("customer_id", "journey", "visit").distinct().count().execute()
        assert effects.loc[effects["touchpoint"] == "delivery_late", "visits"].sum() == visits

    def test_feelings_of_open_journeys_count_as_on_the_map(self, demo, effects):
        told = demo.events.filter(demo.events.sentiment.notnull()).group_by("touchpoint")
        told = told.aggregate(n=lambda t: t.count(), sum=lambda t: t.sentiment.sum()).to_pandas()
        told = told.set_index("touchpoint").sort_index()
        sums = effects.assign(sum=effects["feeling"] * effects["told"]).groupby("touchpoint")
        counted = sums[["told", "sum"]].sum().loc[told.index]
        assert (counted["told"] == told["n"]).all()
        assert np.allclose(counted["sum"], told["sum"])

    def test_feelings_carry_intervals_on_their_scale(self, effects):
        told = effects[effects["told"] >= 30]
        assert (told["feeling_lower"] <= told["feeling"]).all()
        assert told["feeling"].le(told["feeling_upper"]).all()
        assert effects[["feeling_lower", "feeling_upper"]].abs().max(axis=None) <= 1


def test_whereabouts_are_counts_of_customers(demo, found):
    where = whereabouts(demo, found.customers, "rfm_segment").set_index("segment")
    sizes = found.customers["rfm_segment"].value_counts()
    assert (where["customers"] == sizes[where.index]).all()
    assert (where["at_stage"] <= where["under_way"]).all()
    assert (where["under_way"] <= where["customers"]).all()
    assert where.loc["new", "under_way"] > 0.9 * where.loc["new", "customers"]


class TestEndsInVain:
    def test_shares_add_up_and_agree_with_a_count_by_hand(self, demo, found):
        ends = ends_in_vain(demo, found.customers, "journey_type")
        assert np.allclose(ends.groupby("segment")["share"].sum(), 1)
        vain = demo.journeys.filter(demo.journeys.end == "lost", demo.journeys.purchases == 0)
        counted = vain.group_by("last_stage").aggregate(n=vain.count()).to_pandas()
        everybody = usual(demo, found).ends.set_index("stage")
        shares = counted.set_index("last_stage")["n"] / counted["n"].sum()
        pd.testing.assert_series_equal(
            everybody["share"].sort_index(), shares.sort_index(), check_names=False
        )
        assert everybody["q_value"].isna().all()  # nobody to compare with

    def test_planted_ways_leave_where_they_lead_and_chance_groups_do_not(self, demo, found):
        ends = ends_in_vain(demo, found.customers, "journey_type")
        decision = ends[(ends["segment"] == "start in decision") & (ends["stage"] == "decision")]
        assert decision["q_value"].iloc[0] < 0.001
        assert decision["share"].iloc[0] > decision["others"].iloc[0]
        chance = found.customers[["customer_id"]].assign(
            half=np.random.default_rng(0).permutation(len(found.customers)) % 2
        )
        assert (ends_in_vain(demo, chance, "half")["q_value"] > 0.05).all()
