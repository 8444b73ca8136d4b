"""Features of behaviour: known answers, earlier moments, poor logs."""

import numpy as np
import pandas as pd
import pytest

from cjlib.segments.behaviour import (
    behaviour_chunks,
    behaviour_features,
    behaviour_sample,
    behaviour_table,
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
        assert behaviour_features(orders_only(tmp_path)) == ["days between events", "events"]

    def test_attributes_enter_only_when_asked_for(self, demo):
        assert not any("country" in name for name in behaviour_features(demo))
        asked = behaviour_features(demo, attributes=["country"])
        levels = [name for name in asked if name.startswith("country: ")]
        assert levels
        assert behaviour_table(demo, asked, buckets=[1])[levels[0]].between(0, 1).all()
        assert behaviour_features(demo, attributes=[""]) == behaviour_features(demo)

    def test_a_sample_is_whole_buckets_without_gaps(self, demo):
        features = behaviour_features(demo)
        everyone = behaviour_table(demo, features).set_index("customer_id")
        assert behaviour_sample(demo, features).index.equals(everyone.index)
        some = behaviour_sample(demo, features, size=500, seed=1)
        assert 300 < len(some) < 700
        assert some.notna().all(axis=None)
        buckets = set(everyone.loc[some.index, "bucket"])
        assert everyone["bucket"].isin(buckets).sum() == len(some)

    def test_chunks_hold_everybody_once(self, demo):
        chunks = list(behaviour_chunks(demo, ["events"], size=1000))
        assert len(chunks) == 3
        assert pd.concat(chunks)["customer_id"].is_unique
        assert sum(map(len, chunks)) == demo.events.customer_id.nunique().execute()
