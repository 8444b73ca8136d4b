"""Journey types: what is planted is found, and nothing where nothing is."""

import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from cjlib.segments.journey_types import _move, find_journey_types
from tests.conftest import ROOT
from tests.segment_logs import log_of_demo


class TestJourneyTypes:
    def test_planted_kinds_of_the_demo_are_found(self, demo, found):
        kinds = pd.read_csv(ROOT / "data" / "demo" / "truth_customers.csv.gz")
        kinds = kinds.set_index("customer_id")["kind"].reindex(found.customers["customer_id"])
        assert len(found.types.names) == kinds.nunique()
        assert adjusted_rand_score(kinds, found.customers["journey_type"]) >= 0.8
        assert (found.types.stability > 0.85).all()

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", [11, 12, 13, 14])
    def test_planted_kinds_of_other_demos_are_found(self, tmp_path, seed):
        made, log = log_of_demo(tmp_path, seed=seed, customers=2500)
        types, members = find_journey_types(log, most=5, seed=seed, n_bootstraps=1)
        kinds = made.customers.set_index("customer_id")["kind"].reindex(members["customer_id"])
        assert len(types.names) == kinds.nunique()
        assert adjusted_rand_score(kinds, members["journey_type"]) >= 0.8

    @pytest.mark.slow
    def test_without_kinds_there_is_one_type(self, tmp_path):
        _, log = log_of_demo(tmp_path, kinds=False, customers=2500)
        types, members = find_journey_types(log, most=4, n_bootstraps=1)
        assert types.names == ["all"]
        assert (members["journey_type"] == "all").all()

    def test_names_say_what_is_done_and_differ(self, found):
        assert len(set(found.types.names)) == len(found.types.names)
        assert "back from decision to consideration" in found.types.names

    def test_an_end_is_named_against_the_other_types(self, demo):
        states = [*demo.stages.names, "lost"]
        origin = states.index("purchase") + 1
        assert _move(states, demo, origin, len(states) - 1) == "more often end in purchase"

    def test_memberships_are_probabilities(self, found):
        surest = found.customers["type_probability"]
        assert surest.between(1 / len(found.types.names), 1 + 1e-6).all()
