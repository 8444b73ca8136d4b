"""Journey types: what is planted is found, and nothing where nothing is."""

import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from cjlib.errors import Unanswerable
from cjlib.markov.mixture import MarkovMixture
from cjlib.segments.journey_types import _move, find_journey_types
from tests.conftest import ROOT
from tests.segment_logs import log_of_demo


class TestJourneyTypes:
    def test_planted_kinds_of_the_demo_are_found(self, demo, found):
        kinds = pd.read_csv(ROOT / "data" / "demo" / "truth_customers.csv.gz")
        kinds = kinds.set_index("customer_id")["kind"].reindex(found.now["customer_id"])
        assert len(found.views.types.names) == kinds.nunique()
        assert adjusted_rand_score(kinds, found.now["journey_type"]) >= 0.8
        assert (found.views.types.stability > 0.85).all()

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", [11, 12, 13, 14])
    def test_planted_kinds_of_other_demos_are_found(self, tmp_path, seed):
        made, log = log_of_demo(tmp_path, seed=seed, customers=2500)
        types = find_journey_types(log, MarkovMixture(seed=seed), seed=seed)
        members = types.assign(log)
        kinds = made.customers.set_index("customer_id")["kind"].reindex(members["customer_id"])
        assert len(types.names) == kinds.nunique()
        assert adjusted_rand_score(kinds, members["journey_type"]) >= 0.8

    @pytest.mark.slow
    def test_without_kinds_there_is_one_type(self, tmp_path):
        _, log = log_of_demo(tmp_path, kinds=False, customers=2500)
        types = find_journey_types(log, MarkovMixture(), numbers=range(1, 5))
        members = types.assign(log)
        assert types.names == ["all"]
        assert (members["journey_type"] == "all").all()
        with pytest.raises(Unanswerable, match="one type of journey"):
            types.chains()

    def test_names_say_what_is_done_and_differ(self, found):
        assert len(set(found.views.types.names)) == len(found.views.types.names)
        assert "back from decision to consideration" in found.views.types.names

    def test_an_end_is_named_against_the_other_types(self, demo):
        states = [*demo.stages.names, "lost"]
        origin = states.index("purchase") + 1
        assert _move(states, demo, origin, len(states) - 1) == "more often end in purchase"

    def test_memberships_are_probabilities(self, found):
        surest = found.now["type_probability"]
        assert surest.between(1 / len(found.views.types.names), 1 + 1e-6).all()

    def test_the_summary_and_the_chains_follow_from_the_model(self, found):
        types = found.views.types
        row = types.summary().iloc[0]
        assert row["types"] == len(types.names) == 4
        assert row["verdict"] == "highly stable"
        assert row["sure_share"] == pytest.approx((found.now["type_probability"] >= 0.8).mean())
        assert list(types.chains()) == types.names
        assert types.chains()["start in decision"].loc["decision"].sum() == pytest.approx(1)
