"""Features of behaviour: known answers, earlier moments, poor logs."""

import numpy as np
import pandas as pd
import pytest

from cjlib.segments.behaviour import (
    behaviour_features,
    behaviour_table,
    bucket_chunks,
    sample_buckets,
)
from tests.segment_logs import log_of_rows, orders_only


class TestFeatures:
    rows = pd.DataFrame(
        [
            ("a", "2025-03-01", "web_search", "web", None, 0.5),
            ("a", "2025-03-03", "product_view", "web", None, None),
            ("a", "2025-03-05", "web_search", "mobile", None, -0.5),
            ("a", "2025-03-07", "order_placed", "mobile", 9.0, None),
            ("b", "2025-03-01", "product_view", "web", None, None),
            ("b", "2026-01-30", "order_placed", "web", 99.0, None),  # a new journey, still open
        ],
        columns=["customer_id", "timestamp", "touchpoint", "channel", "value", "sentiment"],
    ).assign(event_id=range(6))

    def test_logarithms_are_labelled_as_such(self, tmp_path):
        features = {f.name: f.label for f in behaviour_features(log_of_rows(tmp_path, self.rows))}
        logs = {name for name, label in features.items() if label == f"{name} (log)"}
        assert logs == {"days between events", "events", "value"}
        assert all(features[name] == name for name in features.keys() - logs)

    def test_known_answers(self, tmp_path):
        log = log_of_rows(tmp_path, self.rows)
        table = behaviour_table(log, behaviour_features(log)).set_index("customer_id")
        a = table.loc["a"]
        assert a["stage: awareness"] == 0.5
        assert a["channel: mobile"] == 0.5
        assert a["days between events"] == pytest.approx(np.log1p(2), rel=1e-5)
        assert a["events"] == pytest.approx(np.log1p(4), rel=1e-5)
        assert a["steps back"] == pytest.approx(1 / 3, rel=1e-5)
        assert a["feeling"] == 0
        assert a["value"] == pytest.approx(np.log1p(9), rel=1e-5)
        assert np.isnan(table.loc["b", "feeling"])

    def test_an_earlier_moment_sees_nothing_later(self, tmp_path):
        log = log_of_rows(tmp_path, self.rows)
        then = behaviour_table(log, behaviour_features(log), until=pd.Timestamp("2025-03-04"))
        then = then.set_index("customer_id")
        assert then.loc["a", "stage: awareness"] == 0.5
        assert then.loc["a", "events"] == pytest.approx(np.log1p(2), rel=1e-5)
        assert then.loc["a", "steps back"] == 0  # no visit was settled yet
        assert then["value"].tolist() == [0, 0]

    def test_a_log_of_orders_has_pace_and_depth(self, tmp_path):
        names = [feature.name for feature in behaviour_features(orders_only(tmp_path))]
        assert names == ["days between events", "events"]

    def test_attributes_enter_only_when_asked_for(self, demo):
        assert not any("country" in f.name for f in behaviour_features(demo))
        asked = behaviour_features(demo, attributes=["country"])
        levels = [f for f in asked if f.group == "country"]
        assert levels
        assert behaviour_table(demo, asked, buckets=[1])[levels[0].name].between(0, 1).all()

    def test_sample_and_chunks_are_whole_buckets(self):
        assert sample_buckets(500, 256) == list(range(256))
        assert len(sample_buckets(1_000_000, 256)) == 5
        chunks = bucket_chunks(1_000_000, 256)
        assert len(chunks) == 5
        assert [bucket for chunk in chunks for bucket in chunk] == list(range(256))
