"""Names of clusters: what sets them apart, the same from run to run; everybody's cluster."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from cjlib.errors import ParameterError, Unanswerable
from cjlib.segments.behaviour import behaviour_features, behaviour_sample
from cjlib.segments.cluster_names import (
    _words,
    cluster_names,
    match_clusters,
    name_clusters,
    read_centers,
)
from cjlib.segments.clusters import StableClusters
from cjlib.tables import write_table
from tests.segment_logs import log_of_rows


class TestClusterNames:
    spread = pd.Series(
        [1.0, 0.1, 0.1, 1.0], ["days between events", "channel: app", "channel: web", "events"]
    )

    def names(self, rows, sizes=None, kept=None):
        centers = pd.DataFrame(rows, columns=list(self.spread.index))
        sizes = pd.Series([100] * len(rows) if sizes is None else sizes)
        return cluster_names(centers, sizes, self.spread, str, kept or {})

    def test_two_kinds_of_feature_that_differ_most(self):
        names = self.names([[-1, 0.8, 0.2, 0.1], [1, 0.2, 0.8, 0]])
        assert names == ["mostly by app, events closer", "mostly by web, events further apart"]

    def test_equal_clusters_get_different_names(self):
        names = self.names([[1, 0.5, 0.5, 0.1]] * 3)
        assert names[0] == "average"
        assert len(set(names)) == 3

    def test_names_of_an_earlier_run_are_kept(self):
        names = self.names([[-1, 0.8, 0.2, 0.1], [1, 0.2, 0.8, 0]], kept={1: "the slow"})
        assert names == ["mostly by app, events closer", "the slow"]

    def test_less_than_a_quarter_of_a_spread_from_the_others_is_no_name(self):
        assert self.names([[0.24, 0.5, 0.5, 0], [0, 0.5, 0.5, 0]]) == ["average", "average (2)"]
        assert self.names([[0.26, 0.5, 0.5, 0], [0, 0.5, 0.5, 0]]) == [
            "events further apart",
            "events closer",
        ]
        # Against the others, not against everybody: the large cluster is most of everybody.
        assert (
            self.names([[0.3, 0.5, 0.5, 0], [0, 0.5, 0.5, 0]], [990, 10])[0]
            == "events further apart"
        )

    def test_the_second_of_three_is_not_named_for_what_another_does_more(self):
        names = self.names([[0, 0.5, 0.5, 0], [0, 0.5, 0.5, 1], [0, 0.5, 0.5, 3]])
        assert names == ["fewer contacts", "average", "more contacts"]

    @pytest.mark.parametrize(
        ("feature", "level", "above", "said"),
        [
            ("touchpoint: web_search", 0.17, False, "less often web search"),
            ("touchpoint: web_search", 0.02, False, "seldom web search"),
            ("touchpoint: web_search", 0.2, True, "more often web search"),
            ("touchpoint: web_search", 0.6, True, "mostly web search"),
            ("stage: purchase", 0.01, False, "hardly any Purchase".lower()),
            ("feeling", -0.3, False, "displeased"),
            ("feeling", 0.1, True, "more pleased"),
            ("value", 9.0, True, "higher value"),
            ("country: ES", 0.9, True, "country: ES"),
            ("country: ES", 0.1, False, "not country: ES"),
        ],
    )
    def test_words_say_the_level_only_where_it_is_so(self, feature, level, above, said):
        assert _words(feature, level, above, str) == said


class TestNamesFromRunToRun:
    now = pd.DataFrame({"a": [0.0, 5.0, 9.0], "b": [1.0, 2.0, 3.0]}, index=[0, 1, 2])
    scale = pd.Series({"a": 1.0, "b": 1.0})

    def test_clusters_that_moved_little_are_matched_in_any_order(self):
        then = pd.DataFrame({"a": [5.1, 0.1], "b": [2.0, 1.1]}, index=["quick", "slow"])
        assert match_clusters(self.now, then, self.scale) == {0: "slow", 1: "quick"}

    def test_far_clusters_are_not_matched(self):
        then = pd.DataFrame({"a": [20.0], "b": [-7.0]}, index=["gone"])
        assert match_clusters(self.now, then, self.scale) == {}

    def test_runs_that_share_no_feature_are_not_matched(self):
        then = pd.DataFrame({"c": [1.0]}, index=["other"])
        assert match_clusters(self.now, then, self.scale) == {}


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
        sample = behaviour_sample(two_kinds, behaviour_features(two_kinds))
        model = StableClusters(KMeans(n_init=5), k=(2, 3)).fit(sample)
        clusters = name_clusters(two_kinds, sample, model)
        assert len(clusters.names) == 2
        members = clusters.assign(two_kinds).set_index("customer_id")["cluster"]
        assert adjusted_rand_score(members, members.index.str[1:].astype(int) % 2) == 1
        texts = [json.dumps(row.to_dict()) for _, row in clusters.centers.iterrows()]
        earlier = pd.DataFrame({"segment": ["the viewers", "the buyers"], "behaviour": texts})
        earlier = earlier.assign(segmentation="cluster")
        write_table(earlier, tmp_path / "tables", "segment_profiles")
        kept = name_clusters(two_kinds, sample, model, previous=tmp_path)
        assert kept.names == ["the viewers", "the buyers"]
        row = kept.summary().iloc[0]
        assert row[["clusters", "kept", "method"]].tolist() == [2, 2, "KMeans"]
        assert {"events (log)", "value (log)"} <= set(kept.deviations().index)
        assert len(read_centers(tmp_path)) == 2

    def test_a_folder_without_tables_is_refused(self, tmp_path):
        with pytest.raises(ParameterError, match="no tables/segment_profiles"):
            read_centers(tmp_path)


def test_without_clusters_nothing_sets_them_apart_and_the_best_try_is_told(found):
    clusters = found.views.clusters
    assert clusters.names == ["all"]
    with pytest.raises(Unanswerable, match="no clusters hold"):
        clusters.deviations()
    row = clusters.summary().iloc[0]
    assert row["clusters"] == 0
    assert row["weakest"] == clusters.model.trials_["weakest"].max()
    assert row["weakest_lower"] < row["holds"]  # all of the interval is to lie above
    assert row["most"] == 3
