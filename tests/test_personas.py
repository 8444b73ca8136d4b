"""Persona cards: the planted pain point, no others, no small groups."""

import pytest

from cjlib.segments.personas import cards, touchpoint_effects, whereabouts
from tests.segment_logs import demo_log, demo_profile, demo_segments


@pytest.fixture(scope="module")
def demo():
    return demo_log()


@pytest.fixture(scope="module")
def found():
    return demo_segments()


@pytest.fixture(scope="module")
def profile():
    return demo_profile()


class TestPersonas:
    @pytest.fixture
    def effects(self, demo, found):
        return touchpoint_effects(demo, found.customers, "journey_type")

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

    def test_whereabouts_are_shares(self, demo, found):
        where = whereabouts(demo, found.customers, "rfm_segment")
        assert (
            where[["under_way", "stage_share"]]
            .apply(lambda share: share.between(0, 1))
            .all(axis=None)
        )
        assert where.set_index("segment").loc["new", "under_way"] > 0.9

    def test_a_card_per_group_large_enough(self, demo, found, profile):
        rows = profile[profile["segmentation"] == "rfm"]
        made = cards(demo, found, "rfm_segment", rows)
        assert [card.segment for card in made] == rows["segment"].tolist()
        champions = made[0].lines
        assert set(champions) == {"Who", "Where", "Helps", "Hurts", "Next"}
        assert "payment error" in champions["Hurts"]
        few = rows.assign(customers=4)
        assert cards(demo, found, "rfm_segment", few) == []
