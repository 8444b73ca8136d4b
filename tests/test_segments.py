"""Three views of the same customers, joined; names from run to run; migration."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from cjlib.errors import ParameterError
from cjlib.segments.behaviour import Feature
from cjlib.segments.experience import usual
from cjlib.segments.personas import cards
from cjlib.segments.profiles import profiles
from cjlib.segments.rfm import NOT_YET
from cjlib.segments.segments import (
    association,
    cluster_names,
    cross_table,
    find_clusters,
    find_segments,
    migration,
    read_centers,
)
from tests.segment_logs import (
    log_of_rows,
    orders_only,
)


class TestViews:
    def test_every_customer_is_in_each_view_once(self, demo, found):
        customers = found.customers
        assert len(customers) == demo.events.customer_id.nunique().execute()
        assert customers["customer_id"].is_monotonic_increasing
        assert customers["customer_id"].is_unique
        assert customers.notna().all(axis=None)
        never = (customers["rfm_segment"] == NOT_YET).sum()
        assert len(customers) - never == len(found.scored)

    @pytest.mark.slow
    def test_two_runs_give_the_same_names_and_numbers(self, demo, found, profile):
        again = find_segments(demo, most_clusters=3, seed=1)
        pd.testing.assert_frame_equal(again.customers, found.customers)
        pd.testing.assert_frame_equal(profiles(demo, again), profile)

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

    def test_cross_table_adds_up(self, found):
        table = cross_table(found.customers, "rfm_segment", "journey_type")
        assert table.to_numpy().sum() == len(found.customers)


class TestClusterNames:
    features = (
        Feature("pace", "pace", "slow", "quick"),
        Feature("channel: app", "channel", "by app", "not app"),
        Feature("channel: web", "channel", "by web", "not web"),
        Feature("events", "depth", "long journeys", "short journeys"),
    )
    spread = pd.Series([1.0, 0.1, 0.1, 1.0], ["pace", "channel: app", "channel: web", "events"])

    def names(self, rows, sizes=None, kept=None):
        centers = pd.DataFrame(rows, columns=list(self.spread.index))
        sizes = pd.Series([100] * len(rows) if sizes is None else sizes)
        return cluster_names(centers, sizes, self.spread, self.features, kept)

    def test_two_kinds_of_feature_that_differ_most(self):
        names = self.names([[-1, 0.8, 0.2, 0.1], [1, 0.2, 0.8, 0]])
        assert names == ["by app, quick", "by web, slow"]

    def test_equal_clusters_get_different_names(self):
        names = self.names([[1, 0.5, 0.5, 0.1]] * 3)
        assert names[0] == "average"
        assert len(set(names)) == 3

    def test_names_of_an_earlier_run_are_kept(self):
        names = self.names([[-1, 0.8, 0.2, 0.1], [1, 0.2, 0.8, 0]], kept={1: "the slow"})
        assert names == ["by app, quick", "the slow"]

    def test_less_than_a_quarter_of_a_spread_from_the_others_is_no_name(self):
        assert self.names([[0.24, 0.5, 0.5, 0], [0, 0.5, 0.5, 0]]) == ["average", "average (2)"]
        assert self.names([[0.26, 0.5, 0.5, 0], [0, 0.5, 0.5, 0]]) == ["slow", "quick"]
        # Against the others, not against everybody: the large cluster is most of everybody.
        assert self.names([[0.3, 0.5, 0.5, 0], [0, 0.5, 0.5, 0]], [990, 10])[0] == "slow"

    def test_the_second_of_three_is_not_named_for_what_another_does_more(self):
        names = self.names([[0, 0.5, 0.5, 0], [0, 0.5, 0.5, 1], [0, 0.5, 0.5, 3]])
        assert names == ["short journeys", "average", "long journeys"]

    def test_a_share_is_called_rare_only_where_it_is(self):
        feature = Feature("t", "t", "more often t", "less often t", "share", "mostly t", "seldom t")
        assert feature.words(0.17, above=False) == "less often t"
        assert feature.words(0.02, above=False) == "seldom t"
        assert feature.words(0.2, above=True) == "more often t"
        assert feature.words(0.6, above=True) == "mostly t"


class TestEarlierRun:
    @pytest.fixture
    def two_kinds(self, tmp_path_factory):
        """A log whose customers either view by web, often, or buy by app, seldom."""
        rng = np.random.default_rng(3)
        parts = []
        for who in range(240):
            often = who % 2 == 0
            size = 12 if often else 4
            days = np.cumsum(rng.integers(1, 4 if often else 20, size=size))
            rows = {
                "customer_id": f"c{who:03d}",
                "timestamp": pd.Timestamp("2025-03-01") + pd.to_timedelta(days, unit="D"),
                "touchpoint": "product_view" if often else "order_placed",
                "channel": "web" if often else "mobile",
                "value": np.nan if often else rng.uniform(20, 30, size),
            }
            parts.append(pd.DataFrame(rows))
        rows = pd.concat(parts, ignore_index=True).assign(sentiment=np.nan)
        rows["event_id"] = range(len(rows))
        return log_of_rows(tmp_path_factory.mktemp("two"), rows)

    def test_clusters_are_found_named_and_keep_their_names(self, two_kinds, tmp_path):
        clusters = find_clusters(two_kinds, most=3)
        assert len(clusters.names) == 2
        members = clusters.assign(two_kinds).set_index("customer_id")["cluster"]
        assert adjusted_rand_score(members, members.index.str[1:].astype(int) % 2) == 1
        texts = [json.dumps(row.to_dict()) for _, row in clusters.centers.iterrows()]
        earlier = pd.DataFrame({"segment": ["the viewers", "the buyers"], "behaviour": texts})
        earlier.assign(segmentation="cluster").to_parquet(tmp_path / "segment_profiles.parquet")
        kept = find_clusters(two_kinds, most=3, previous=tmp_path)
        assert kept.names == ["the viewers", "the buyers"]
        assert len(read_centers(tmp_path)) == 2

    def test_a_folder_without_tables_is_refused(self, tmp_path):
        with pytest.raises(ParameterError, match="no segment_profiles"):
            read_centers(tmp_path)


class TestMigration:
    def test_everybody_of_then_is_somewhere_now(self, demo, found):
        then = demo.as_of - pd.Timedelta(days=60)
        moved, stayed = migration(demo, found, then)
        orders = demo.events.filter(demo.events.purchase, demo.events.timestamp <= then)
        assert moved.to_numpy().sum() == orders.customer_id.nunique().execute()
        assert stayed.estimate == pytest.approx(np.trace(moved) / moved.to_numpy().sum())

    def test_from_now_to_now_nobody_moves(self, demo, found):
        _, stayed = migration(demo, found, demo.as_of)
        assert stayed.estimate == 1

    def test_before_the_first_purchase_nobody_can_move(self, demo, found):
        moved, stayed = migration(demo, found, pd.Timestamp("2000-01-01"))
        assert moved.to_numpy().sum() == 0
        assert np.isnan(stayed.estimate)


def test_a_log_of_orders_alone_has_segments(tmp_path):
    log = orders_only(tmp_path)
    found = find_segments(log, most_clusters=3, most_types=3)
    assert found.types.names == ["all"]
    assert "rfm_segment" in found.views
    profile = profiles(log, found)
    assert profile["value"].isna().all()
    rows = profile[profile["segmentation"] == "rfm"]
    made = cards(log, found, "rfm_segment", rows, usual(log, found))
    assert made
    assert all("Hurts" not in card.lines for card in made)


def test_where_hardly_anybody_buys_twice_buyers_are_shown_by_recency_alone(tmp_path):
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"customer_id": range(200), "touchpoint": "order_placed"})
    rows["timestamp"] = pd.Timestamp("2025-02-01") + pd.to_timedelta(
        rng.integers(360, size=200), unit="D"
    )
    columns = {"customer_id": "customer_id", "touchpoint": "touchpoint"}
    columns["timestamp"] = {"column": "timestamp", "timezone": "UTC"}
    found = find_segments(log_of_rows(tmp_path, rows, columns=columns), most_clusters=2)
    assert found.banded
    recency = found.scored.groupby("rfm_segment", observed=True)["recency_days"].mean()
    assert list(recency.index) == [
        "latest fifth",
        "second fifth",
        "middle fifth",
        "fourth fifth",
        "earliest fifth",
    ]
    assert recency.is_monotonic_increasing
    assert not any(rule.advice for rule in found.rules.rules)
    named = {"rfm": [{"segment": "everyone"}]}  # a company's own table stays
    own = log_of_rows(tmp_path, rows, columns=columns, segments=named)
    assert find_segments(own, most_clusters=2).rules.names == ["everyone"]


def test_a_log_with_returns_keeps_its_names(found):
    assert not found.banded
