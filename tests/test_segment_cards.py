"""Cards: where segments are, what stands out of them and not of everybody; no small groups."""

import numpy as np
import pandas as pd
import pytest

from cjlib.journey_map import touchpoint_table
from cjlib.segments.segment_cards import _share, cards, ends_in_vain, standing_out, whereabouts
from tests.segment_logs import find_views, orders_only, profile_of, shown_of


@pytest.fixture(scope="module")
def shown(demo, found, profile):
    return shown_of(demo, found, profile)


@pytest.fixture(scope="module")
def types(found):
    return found.views.segments(found.now)["journey types"]


@pytest.fixture(scope="module")
def everybody(found):
    return found.now[["customer_id"]].assign(segment="all")


class TestCards:
    def test_a_card_per_group_that_is_shown_everybody_first(self, demo, found, shown):
        made = cards(demo, found.views, found.now, shown)
        assert made["segment"].tolist() == shown["segment"].tolist()
        assert made["segment"].iloc[0] == "all"

    def test_a_log_of_orders_has_cards_and_nothing_that_stands_out(self, tmp_path):
        log = orders_only(tmp_path)
        found = find_views(log, most_types=2)
        shown = shown_of(log, found, profile_of(log, found))
        assert len(cards(log, found.views, found.now, shown)) == len(shown)
        assert standing_out(log, found.views, found.now, shown).empty


class TestWhereabouts:
    def test_they_agree_with_a_count_by_hand(self, demo, everybody):
        row = whereabouts(demo, everybody).iloc[0]
        journeys = demo.journeys.to_pandas().sort_values("journey")
        last = journeys.groupby("customer_id").last()
        going = last[last["end"] == "open"]
        assert row["under_way_share"] == pytest.approx(len(going) / len(last))
        assert row["at_stage"] == going["last_stage"].mode()[0]
        there = (going["last_stage"] == row["at_stage"]).mean()
        assert row["at_stage_share"] == pytest.approx(there)

    @pytest.mark.parametrize(
        ("count", "total", "said"),
        [(0, 33, 0), (3, 33, None), (1, 5, None), (30, 33, None), (33, 33, 1), (5, 50, 0.1)],
    )
    def test_shares_never_tell_a_small_group(self, count, total, said):
        share = _share(pd.Series([count]), pd.Series([total]), 5).iloc[0]
        assert np.isnan(share) if said is None else share == said


class TestEndsInVain:
    def test_of_everybody_the_stage_where_most_ended(self, demo, everybody):
        row = ends_in_vain(demo, everybody).iloc[0]
        vain = demo.journeys.filter(demo.journeys.end == "lost", demo.journeys.purchases == 0)
        stages = vain.to_pandas()["last_stage"]
        assert row["end_stage"] == stages.mode()[0]
        assert row["end_share"] == pytest.approx((stages == row["end_stage"]).mean())
        assert row["end_journeys"] == len(stages)
        assert np.isnan(row["others_share"])  # nobody to compare with

    def test_planted_ways_leave_where_they_lead_and_chance_groups_do_not(self, demo, found, types):
        ends = ends_in_vain(demo, types).set_index("segment")
        assert ends.loc["start in decision", "end_stage"] == "decision"
        assert (ends["end_share"] > ends["others_share"]).all()
        half = np.random.default_rng(0).permutation(len(found.now)) % 2
        assert ends_in_vain(demo, types.assign(segment=half)).empty

    def test_where_journeys_had_no_choice_nothing_is_told(self, tmp_path):
        log = orders_only(tmp_path)
        ids = log.events.select("customer_id").distinct().to_pandas()
        assert ends_in_vain(log, ids.assign(segment="all")).empty


class TestStandingOut:
    def test_what_holds_for_everybody_is_said_once(self, demo, found, shown):
        told = standing_out(demo, found.views, found.now, shown)
        usual = told[told["segment"] == "all"].set_index("verdict")["touchpoint"]
        assert usual["less"] == "payment_error"
        assert usual["worst"] == "delivery_late"
        others = told[told["segment"] != "all"]
        assert not others["touchpoint"].isin(usual).any()

    def test_nothing_is_told_of_purchases_within_groups_made_of_them(
        self, demo, found, shown, monkeypatch
    ):
        self.plant(monkeypatch, "product_view", difference=-0.4, q_value=0.0)
        told = standing_out(demo, found.views, found.now, shown)
        told = told[told["verdict"] == "less"]
        assert set(told["view"]) == {"all", "journey types"}

    @pytest.mark.parametrize(("limit", "is_told"), [(-0.85, True), (-0.5, False)])
    def test_a_feeling_unlike_everybodys_is_told_where_it_is_clearly_so(
        self, demo, found, shown, monkeypatch, limit, is_told
    ):
        self.plant(monkeypatch, "product_view", sentiment=-0.9, upper=limit)
        told = standing_out(demo, found.views, found.now, shown)
        worst = told[(told["verdict"] == "worst") & (told["segment"] == "champions")]
        assert (worst["touchpoint"].tolist() == ["product_view"]) is is_told

    @staticmethod
    def plant(monkeypatch, touchpoint, difference=None, q_value=None, **changes):
        """Change what every segment, but not everybody, meets at a touchpoint."""
        if difference is not None:
            changes |= {"later_purchase": difference, "later_purchase_q": q_value}
            changes |= {"followed_share": 0.5, "moment_of_truth": True}

        def changed(*given, **options):
            table = touchpoint_table(*given, **options)
            there = (table["touchpoint"] == touchpoint) & (table["segment"] != "all")
            if difference is not None:
                there &= table["later_purchase"].notna()
            table.loc[there, list(changes)] = list(changes.values())
            return table

        monkeypatch.setattr("cjlib.segments.segment_cards.touchpoint_table", changed)
