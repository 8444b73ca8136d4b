from pathlib import Path
from types import SimpleNamespace

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from cjlib.errors import ParameterError, Unanswerable
from cjlib.segments.rfm import (
    RULES,
    RuleTable,
    migration,
    purchase_history,
    quantile_scores,
    read_rules,
    repeat_share,
    rfm_groups,
    rfm_rules,
    rfm_scores,
    score_ranges,
)

AS_OF = pd.Timestamp("2024-03-01")


def events_table(rows):
    """Events from (customer, day, purchase, value); enough columns for RFM."""
    frame = pd.DataFrame(rows, columns=["customer_id", "timestamp", "purchase", "value"])
    frame["timestamp"] = pd.to_datetime(frame["timestamp"])
    frame["bucket"] = frame["customer_id"].rank(method="dense").astype(int) - 1
    return ibis.memtable(pa.Table.from_pandas(frame.astype({"value": float})))


def log_of(events, as_of=AS_OF, value=True, segments=None, folder="."):
    dataset = SimpleNamespace(segments=segments, path=Path(folder) / "dataset.yml")
    return SimpleNamespace(events=events, as_of=as_of, dataset=dataset, has=lambda name: value)


def everybody(n):
    return n > 0


def scored_of(frequency, value=True, rules=None):
    """Scores of buyers of whom the first bought last, each `frequency` times, on other days."""
    rows = [
        (f"c{who:03d}", AS_OF - pd.Timedelta(days=who + 200 * day), True, len(frequency) - who)
        for who, times in enumerate(frequency)
        for day in range(times)
    ]
    return rfm_scores(log_of(events_table(rows), value=value), rules or read_rules(RULES))


class TestPurchaseHistory:
    events = events_table(
        [
            ("a", "2024-02-01 10:00", True, 10),
            ("a", "2024-02-01 10:00", True, 5),  # a second line of the same order
            ("a", "2024-02-01 18:30", True, 0),  # and another order of that day
            ("a", "2024-02-20 09:00", True, 1),
            ("a", "2024-02-21 09:00", False, -4),  # a refund
            ("a", "2024-02-22 09:00", False, 99),  # the price of something looked at
            ("b", "2024-02-28 09:00", False, None),  # has not bought
            ("c", "2024-02-29 01:00", True, None),
            ("d", "2024-03-05 00:00", True, 7),  # after the report
        ]
    )

    def test_counts_days_of_purchase_and_value_less_refunds(self):
        found = purchase_history(log_of(self.events)).to_pandas().set_index("customer_id")
        assert found.loc["a", ["recency_days", "frequency", "value"]].tolist() == [9, 2, 12]
        assert found.loc["c", ["recency_days", "frequency"]].tolist() == [0, 1]

    def test_reads_nobody_without_purchase_and_nothing_after_the_report(self):
        found = purchase_history(log_of(self.events)).to_pandas()
        assert sorted(found["customer_id"]) == ["a", "c"]

    def test_value_is_null_in_a_log_without_values(self):
        found = purchase_history(log_of(self.events, value=False)).to_pandas()
        assert found["value"].isna().all()


class TestTieRule:
    def test_distinct_values_give_five_equal_fifths(self):
        assert np.bincount(quantile_scores(np.arange(100.0)))[1:].tolist() == [20] * 5

    def test_a_value_on_a_cut_point_belongs_to_the_lower_fifth(self):
        # Quintiles of 1..6 are 2, 3, 4, 5: each whole number up to 5 lies on its cut point.
        assert quantile_scores(np.arange(1, 7)).tolist() == [1, 1, 2, 3, 4, 5]

    def test_equals_cut_point_plus_one_for_whole_numbers(self):
        values = np.random.default_rng(1).poisson(4, 995)
        cuts = np.quantile(values, [0.2, 0.4, 0.6, 0.8])
        # With interpolated cut points too: x >= cut + 1 iff x > cut, when the cut is whole.
        published = 1 + (values[:, None] >= np.floor(cuts) + 1).sum(axis=1)
        assert (quantile_scores(values) == published).all()

    def test_equal_values_get_equal_scores_when_half_bought_once(self):
        frequency = np.repeat([1, 2, 3, 8], [50, 15, 15, 20])
        scores = quantile_scores(frequency)
        assert [set(scores[frequency == n].tolist()) for n in (1, 2, 3, 8)] == [{1}, {3}, {4}, {5}]

    def test_low_days_score_high(self):
        assert quantile_scores(np.arange(5.0), low_is_good=True).tolist() == [5, 4, 3, 2, 1]

    @pytest.mark.parametrize("low_is_good", [False, True])
    def test_all_equal_values_share_one_score(self, low_is_good):
        assert len(set(quantile_scores(np.ones(9), low_is_good=low_is_good))) == 1

    def test_nobody_is_scored_without_buyers(self):
        assert not len(quantile_scores(np.array([])))


class TestRules:
    def test_default_table_has_the_eleven_names(self):
        assert read_rules(RULES).names == [
            "champions",
            "cannot lose",
            "loyal",
            "at risk",
            "potential loyalists",
            "new",
            "promising",
            "need attention",
            "about to sleep",
            "hibernating",
            "lost",
        ]

    def test_every_default_segment_can_occur_with_and_without_value(self):
        assert len(np.unique(read_rules(RULES).lookup(3))) == 11
        assert len(np.unique(read_rules(RULES).lookup(2))) >= 9

    def test_first_rule_that_fits_names_the_customer(self):
        rules = RuleTable([{"segment": "top", "recency": 5}, {"segment": "rest"}])
        scores = pd.DataFrame({"recency_score": [5, 4], "frequency_score": [1, 5]})
        assert list(rules.assign(scores)) == ["top", "rest"]

    @pytest.mark.parametrize(
        ("rules", "message"),
        [
            ([{"segment": "top", "recency": 5}], "no rule names the scores recency 1"),
            ([{"recency": 5}], "rule 1: segment: Field required"),
            ([{"segment": "a", "recency": 6}], "6 is no score"),
            ([{"segment": "a", "recency": [4, 2]}], "is no score"),
            ([{"segment": "a", "recency": True}], "is no score"),
            ([{"segment": " "}], "rule 1: segment: String should have at least 1"),
            ([{"segment": "a", "monetary": 3}], "monetary: Extra inputs are not permitted"),
            ({"segment": "a"}, "write a list of rules"),
        ],
    )
    def test_wrong_tables_are_refused_with_the_place(self, rules, message):
        with pytest.raises(ParameterError, match=message):
            RuleTable(rules)

    def test_a_table_that_is_missing_is_refused(self, tmp_path):
        with pytest.raises(ParameterError, match="no such file"):
            read_rules(tmp_path / "absent.yml")

    def test_a_company_names_its_own_in_the_dataset_file(self, tmp_path):
        (tmp_path / "mine.yml").write_text(
            "- {segment: ours, recency: [3, 5]}\n- segment: theirs\n"
        )
        events = TestPurchaseHistory.events
        for setting in (
            "mine.yml",
            [{"segment": "ours", "recency": ["3", "5"]}, {"segment": "theirs"}],
        ):
            log = log_of(events, segments={"rfm": setting}, folder=tmp_path)
            found = rfm_scores(log, rfm_rules(log))
            assert set(found["rfm_segment"]) <= {"ours", "theirs"}

    def test_default_rules_speak_of_the_other_buyers_and_promise_no_spending(self):
        for rule in read_rules(RULES).rules:
            assert "buyers" in rule.means
            assert "Spend nothing" not in rule.advice
        table = read_rules(RULES).to_frame().set_index("segment")
        for name in ("lost", "hibernating"):
            assert "little to win" in table.loc[name, "advice"]


class TestScores:
    def test_names_champions_and_lost(self):
        found = scored_of(range(60, 0, -1)).set_index("customer_id")["rfm_segment"]
        assert found["c000"] == "champions"
        assert found["c059"] == "lost"

    def test_without_values_recency_and_frequency_suffice(self):
        found = scored_of(range(60, 0, -1), value=False)
        assert "value_score" not in found
        assert found["rfm_segment"].iloc[0] == "champions"

    def test_ranges_state_what_every_score_stands_for_but_of_few(self):
        found = score_ranges(scored_of([1] * 10), everybody).set_index("score")
        assert found.loc[1, ["frequency_from", "frequency_to"]].tolist() == [1, 1]
        assert found.loc[5, "frequency_from":"frequency_to"].isna().all()  # nobody scored 5
        assert found.loc[5, ["recency_days_from", "recency_days_to"]].tolist() == [0, 1]
        assert score_ranges(scored_of([1] * 10), lambda n: n > 2)["recency_days_from"].isna().all()

    def test_groups_bring_shares_that_add_up_and_purchases_stand_in_for_value(self):
        for value in (True, False):
            groups = rfm_groups(scored_of(range(60, 0, -1), value=value), read_rules(RULES))
            assert groups[["share_of_buyers", "share_of_sales"]].sum().tolist() == pytest.approx(
                [1, 1]
            )
            best = groups.set_index("segment").loc["champions"]
            assert best["share_of_sales"] > best["share_of_buyers"]
            assert best["advice"].startswith("Thank them first")

    def test_share_of_repeat_buyers(self):
        buyers = pd.DataFrame({"bucket": np.arange(200), "frequency": np.repeat([1, 2], [150, 50])})
        share = repeat_share(buyers).iloc[0]
        assert share["share"] == 0.25
        assert 0.18 < share["lower"] < 0.21
        assert 0.29 < share["upper"] < 0.33
        with pytest.raises(Unanswerable, match="nobody has bought"):
            repeat_share(buyers.iloc[:0])


class TestWhereHardlyAnybodyBuysTwice:
    log = log_of(events_table([(f"c{who:02d}", AS_OF, True, 1) for who in range(50)]))

    def test_buyers_are_told_apart_by_recency_alone(self):
        rules = rfm_rules(self.log)
        assert rules.bands
        assert [name.split()[0] for name in rules.names] == [
            "latest",
            "second",
            "middle",
            "fourth",
            "earliest",
        ]
        assert not any(rule.advice or rule.means for rule in rules.rules)
        scored = rfm_scores(self.log, rules)
        with pytest.raises(Unanswerable, match="nearly all bought once"):
            migration(scored, scored, rules)

    def test_a_companys_own_table_stays(self):
        self.log.dataset.segments = {"rfm": [{"segment": "everyone"}]}
        assert rfm_rules(self.log).names == ["everyone"]
        self.log.dataset.segments = None


class TestMigration:
    def test_everybody_of_then_is_somewhere_now(self, demo, found):
        rules = found.views.rules
        then = demo.as_of - pd.Timedelta(days=60)
        moved, stayed = migration(rfm_scores(demo, rules, as_of=then), found.scored, rules)
        orders = demo.events.filter(demo.events.purchase, demo.events.timestamp <= then)
        assert moved.to_numpy().sum() == orders.customer_id.nunique().execute()
        same = sum(moved.loc[name, name] for name in moved.index)
        assert stayed["share"].iloc[0] == pytest.approx(same / moved.to_numpy().sum())

    def test_from_now_to_now_nobody_moves(self, found):
        _, stayed = migration(found.scored, found.scored, found.views.rules)
        assert stayed["share"].iloc[0] == 1

    def test_before_the_first_purchase_nobody_can_move(self, found):
        with pytest.raises(Unanswerable, match="nobody had bought"):
            migration(found.scored.iloc[:0], found.scored, found.views.rules)


def test_an_earlier_moment_uses_only_what_was_known_then():
    log = log_of(TestPurchaseHistory.events)
    earlier = rfm_scores(log, read_rules(RULES), as_of=pd.Timestamp("2024-02-10")).set_index(
        "customer_id"
    )
    assert earlier.index.tolist() == ["a"]
    assert earlier.loc["a", "frequency"] == 1


def test_scores_of_cdnow_look_sane_though_half_bought_once(shared_data):
    orders = pd.read_csv(
        shared_data("cdnow/CDNOW_master.txt"),
        sep=r"\s+",
        skiprows=1,
        names=["customer_id", "timestamp", "items", "value"],
        dtype={"customer_id": str, "timestamp": str},
    ).drop_duplicates()
    orders["timestamp"] = pd.to_datetime(orders["timestamp"], format="%Y%m%d")
    orders = orders.assign(purchase=True)[["customer_id", "timestamp", "purchase", "value"]]
    found = rfm_scores(log_of(events_table(orders), pd.Timestamp("1998-06-30")), read_rules(RULES))
    once = found[found["frequency"] == 1]
    assert len(found) == 23570
    assert 0.45 < len(once) / len(found) < 0.55
    assert set(once["frequency_score"]) == {1}
    assert found.groupby("frequency")["frequency_score"].nunique().max() == 1
    segments = found["rfm_segment"].value_counts(normalize=True)
    assert 0.15 < segments["champions"] < 0.3  # who buys often bought late, here more than most
    assert segments["new"] == 0  # a cohort of early 1997: nobody is new in 1998
    assert set(found.loc[found["rfm_segment"] == "lost", "frequency_score"]) <= {1, 2}
    median = found.groupby("rfm_segment", observed=True)["value"].median()
    assert median["champions"] > 5 * median["lost"]


def test_scores_of_online_retail_look_sane(shared_data):
    path = shared_data("online_retail/online_retail.csv.gz")
    lines = ibis.duckdb.connect().read_csv(path, all_varchar=True)
    lines = lines.filter(
        lines.CustomerID.notnull(),
        ~lines.InvoiceNo.startswith("C"),
    )
    orders = lines.group_by(customer_id=lines.CustomerID, invoice=lines.InvoiceNo).aggregate(
        timestamp=lines.InvoiceDate.min(),
        value=(lines.Quantity.cast("float64") * lines.UnitPrice.cast("float64")).sum(),
    )
    frame = orders.drop("invoice").to_pandas().assign(purchase=True)
    events = events_table(frame[["customer_id", "timestamp", "purchase", "value"]])
    found = rfm_scores(log_of(events, pd.Timestamp("2011-12-10")), read_rules(RULES))
    assert len(found) == 4339
    shares = found["recency_score"].value_counts(normalize=True)
    assert shares.between(0.15, 0.25).all()
    value = found.groupby("rfm_segment", observed=True)["value"].sum() / found["value"].sum()
    assert value.idxmax() == "champions"
