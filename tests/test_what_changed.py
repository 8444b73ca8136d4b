"""What is planted between two moments is found, in its cells only; what is not planted is not."""

import json
from types import SimpleNamespace

import ibis
import numpy as np
import pandas as pd
import pytest

from cjlib import comparison
from cjlib.errors import Unanswerable
from cjlib.log import open_log
from cjlib.shelf import EarlierReport
from cjlib.tables import TABLES, hash_ids, write_table
from tests.conftest import ROOT

BEFORE, AFTER = pd.Timestamp("2025-08-20"), pd.Timestamp("2025-12-31")


def measured(rows, days=90):
    """Return measures from (of, item, stratum, bucket, n); a missing item is what is divided."""
    table = pd.DataFrame(rows, columns=["of", "item", "stratum", "bucket", "n"])
    return table.assign(measure="move", segment="all", window_days=days)


def drawn(seed, share, *, customers=2_000, visits=3, stratum="0", item="lost", of="decision"):
    """Return the measures of customers who each make some visits, a share of them with the item."""
    rng = np.random.default_rng(seed)
    bucket = np.arange(customers) % 256
    hits = rng.binomial(visits, share, customers)
    base = np.bincount(bucket, minlength=256) * visits
    made = np.bincount(bucket, weights=hits, minlength=256)
    rows = [(of, None, stratum, f"{b:02x}", n) for b, n in enumerate(base) if n]
    return measured(rows + [(of, item, stratum, f"{b:02x}", n) for b, n in enumerate(made) if n])


@pytest.fixture(scope="module")
def demo_measures():
    log = open_log("demo")
    return {when: comparison.measures(log, 90, when) for when in (BEFORE, AFTER)}


def moved(table):
    return table[table["verdict"] != "same"]


def test_a_difference_is_told_with_its_interval_and_verdict():
    table = comparison.changes(drawn(1, 0.2), drawn(2, 0.3))
    row = table.iloc[0]
    assert row["verdict"] == "moved"
    assert row["lower"] < 0.1 < row["upper"]
    assert row["effect"] == pytest.approx(row["after"] - row["before"])
    assert set(TABLES["changes"]) <= set(table)


def test_a_small_difference_is_the_same_however_sure():
    table = comparison.changes(drawn(1, 0.2, customers=80_000), drawn(2, 0.22, customers=80_000))
    assert table["q_value"].item() < 0.001
    assert table["verdict"].item() == "same"
    matters = comparison.THRESHOLDS | {"share": 0.01}
    both = drawn(1, 0.2, customers=80_000), drawn(2, 0.22, customers=80_000)
    assert comparison.changes(*both, thresholds=matters)["verdict"].item() == "moved"


def test_other_customers_are_no_change():
    """Two kinds with shares of their own, one in ten before and nine in ten since."""
    before = pd.concat([drawn(1, 0.2, customers=4_000), drawn(2, 0.6, customers=400, stratum="1")])
    after = pd.concat([drawn(3, 0.2, customers=400), drawn(4, 0.6, customers=4_000, stratum="1")])
    table = comparison.changes(before, after)
    assert abs(table["effect"].item()) < 0.04
    assert table["verdict"].item() == "same"


def test_who_is_in_both_windows_counts_once():
    same = drawn(1, 0.3)
    table = comparison.changes(same, same)
    assert table["effect"].item() == 0
    assert table["upper"].item() == pytest.approx(0, abs=1e-9)
    assert table["verdict"].item() == "same"


def test_what_all_but_vanishes_broke():
    before, after = drawn(1, 0.3, item="voucher"), drawn(2, 0.02, item="voucher")
    before, after = before.assign(measure="touchpoint"), after.assign(measure="touchpoint")
    assert comparison.changes(before, after)["verdict"].item() == "broken"
    whole = after[after["item"].isna()]  # not met at all
    table = comparison.changes(before, whole)
    assert (table["after"].item(), table["verdict"].item()) == (0, "broken")
    assert comparison.changes(whole, before)["verdict"].item() == "moved"  # a new one


def test_few_customers_are_not_compared():
    few = drawn(1, 0.3, customers=10)
    with pytest.raises(Unanswerable, match="too few customers"):
        comparison.changes(few, few)
    rare = drawn(1, 0.5, customers=15, item="rare", of="post_sale")
    table = comparison.changes(pd.concat([drawn(1, 0.3), rare]), drawn(2, 0.3), smallest_group=20)
    assert set(table["item"]) == {"lost"}


def test_a_window_of_an_earlier_moment_is_what_a_report_of_then_would_have_counted(demo_measures):
    then = open_log("demo", as_of="2025-08-19")  # its end
    counted = comparison.measures(then, 90, BEFORE)
    pd.testing.assert_frame_equal(counted, demo_measures[BEFORE])


def test_the_change_of_the_demo_is_found_in_its_cells_only(demo_measures):
    found = moved(comparison.changes(demo_measures[BEFORE], demo_measures[AFTER]))
    cells = set(found[["measure", "segment", "of", "item"]].itertuples(index=False, name=None))
    assert ("touchpoint", "mobile", "decision", "payment_error") in cells
    assert ("move", "mobile", "decision", "lost") in cells
    assert set(found["of"]) == {"decision"}
    assert set(found["segment"]) <= {"all", "mobile"}
    assert (found["verdict"] == "moved").all()


def test_random_halves_of_the_customers_are_the_same(demo_measures):
    table = demo_measures[AFTER].query("measure in ['move', 'purchase'] and segment == 'all'")
    buckets, found, p_values = np.array(sorted(table["bucket"].unique())), 0, []
    for seed in range(20):
        half = table["bucket"].isin(np.random.default_rng(seed).permutation(buckets)[::2])
        halves = comparison.changes(table[half], table[~half])
        found += len(moved(halves)) > 0
        p_values.append(halves["p_value"])
    assert found <= 3  # of 20, at a false discovery rate of one in twenty
    p_values = pd.concat(p_values)
    assert (p_values < 0.05).mean() == pytest.approx(0.05, abs=0.03)


def test_a_first_report_of_a_short_log_says_so():
    with pytest.raises(Unanswerable, match="this is the first report"):
        comparison.earlier_measures(open_log("demo"), None, 300, 330)


def on_shelf(folder, as_of, **tables):
    for name, table in tables.items():
        write_table(table, folder / "tables", name)
    manifest = {"as_of": str(as_of), "day": str(as_of.date())}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return EarlierReport(folder, as_of)


def test_measures_of_a_report_that_counts_otherwise_are_not_compared_with(demo_measures, tmp_path):
    log = open_log("demo")
    report = on_shelf(tmp_path, BEFORE, measures=demo_measures[BEFORE])
    table = comparison.earlier_measures(log, report, 90, 180)
    assert set(table["source"]) == {"report"}
    assert str(comparison.moments(log, table, report)["day"].item()) == "2025-08-20"
    other = on_shelf(tmp_path, BEFORE, measures=demo_measures[BEFORE].assign(definitions="other"))
    assert set(comparison.earlier_measures(log, other, 90, 180)["source"]) == {"log"}


def test_rows_added_since_are_held_against_those_of_then(tmp_path):
    log = open_log("demo")
    quality = log.quality.assign(rows=(log.quality["rows"] // 2))
    report = on_shelf(tmp_path, BEFORE, quality=quality)
    dirt = comparison.dirt_before_and_after(log, report)
    assert dirt["effect"].abs().max() < 0.001
    clean = on_shelf(
        tmp_path, BEFORE, quality=quality.assign(rows=[70_000, 70_000] + [0] * (len(quality) - 2))
    )
    dirt = comparison.dirt_before_and_after(log, clean).set_index("item")
    broken = log.quality.set_index("rule")["rows"]["unmapped_touchpoint"]
    added = log.rows["read"] - 70_000
    assert dirt.loc["unmapped_touchpoint", "after"] == pytest.approx(broken / added)
    assert comparison.dirt_before_and_after(log, None).empty


# -- promises --------------------------------------------------------------------------------------

SINCE = pd.Timestamp("2025-03-01")


def carried_out(folder, lift, *, hashed=False, customers=4_000, seed=1):
    """Return a log of ninety days after an assignment, and the report that made it."""
    rng = np.random.default_rng(seed)
    ids = [f"c{number}" for number in range(customers)]
    acted = rng.random(customers) < 0.5
    rows = []
    for number in range(customers):
        for day in range(0, 90, 5):
            if rng.random() < 0.05 + lift * acted[number]:
                rows.append((ids[number], SINCE + pd.Timedelta(days=day)))
    seen = [(one, SINCE - pd.Timedelta(days=9)) for one in ids]
    events = pd.DataFrame(seen + rows, columns=["customer_id", "timestamp"])
    events = events.assign(purchase=True, value=1.0)
    events["bucket"] = pd.factorize(events["customer_id"])[0] % 256
    privacy = SimpleNamespace(customer_ids="hash" if hashed else "keep")
    log = SimpleNamespace(
        events=ibis.duckdb.connect().create_table("events", events),
        as_of=SINCE + pd.Timedelta(days=90),
        dataset=SimpleNamespace(privacy=privacy),
    )
    arms = pd.DataFrame({"customer_id": ids, "initiative": "relieve", "since": SINCE})
    arms["arm"] = np.where(acted, "act", "control")
    if hashed:
        arms["customer_id"] = hash_ids(arms["customer_id"])
    promise = {"initiative": "relieve", "extra_purchases": 480.0, "lower": 300.0, "upper": 700.0}
    tables = {"initiatives": pd.DataFrame([promise]), "initiative_assignments": arms}
    return log, on_shelf(folder, SINCE, **tables)


def test_a_promise_carried_out_is_kept_and_one_that_was_not_is_broken(tmp_path):
    log, report = carried_out(tmp_path, 0.02)  # six chances a month: 0.12 purchases more each
    row = comparison.initiatives_met([report], log).iloc[0]
    assert row["verdict"] == "kept"
    assert row["lower"] < 480 < row["upper"]
    assert row["months"] == 3
    log, report = carried_out(tmp_path, 0.0)
    row = comparison.initiatives_met([report], log).iloc[0]
    assert row["verdict"] == "broken"
    assert row["lower"] < 0 < row["upper"]


def test_with_few_customers_a_promise_stays_open(tmp_path):
    log, report = carried_out(tmp_path, 0.02, customers=150)
    tables = {name: report.table(name) for name in ("initiatives", "initiative_assignments")}
    tables["initiatives"] = tables["initiatives"].assign(extra_purchases=18, lower=2, upper=30)
    report = on_shelf(tmp_path, SINCE, **tables)
    assert comparison.initiatives_met([report], log)["verdict"].item() == "open"


def test_hashed_ids_meet_their_customers_and_the_first_assignment_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("CJ_ID_KEY", "a secret that is long enough")
    log, report = carried_out(tmp_path / "one", 0.02, hashed=True, customers=600)
    again = {name: report.table(name) for name in ("initiatives", "initiative_assignments")}
    later = SINCE + pd.Timedelta(days=30)
    again["initiative_assignments"] = again["initiative_assignments"].assign(since=later)
    second = on_shelf(tmp_path / "two", later, **again)
    row = comparison.initiatives_met([report, second], log).iloc[0]
    assert (row["customers"], row["months"]) == (600, 3)


def test_without_an_earlier_report_nothing_was_promised():
    log = SimpleNamespace(as_of=SINCE)
    for asked in (comparison.initiatives_met, comparison.churn_list, comparison.forecast_and_seen):
        with pytest.raises(Unanswerable, match="no earlier report"):
            asked([], log)
    with pytest.raises(Unanswerable, match="two earlier reports"):
        comparison.figures_of_reports([])


# -- ecom ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_payment_incident_and_the_checkout_bug_are_seen_while_they_last(shared_data):
    """The bug lasts from 9 April to 9 May on mobile, the incident from 19 May to 7 June."""
    source = shared_data("ecom/ecom.csv.gz")
    log = open_log(ROOT / "data" / "ecom.yml", source=str(source))
    ends = {
        "before": "2024-04-08",
        "bug": "2024-05-09",
        "incident": "2024-06-07",
        "after": "2024-07-20",
    }
    patience = log.dataset.journey.inactivity
    windows = {
        name: comparison.measures(log, 30, pd.Timestamp(day) + patience)
        for name, day in ends.items()
    }

    def found(one, other):
        table = moved(comparison.changes(windows[one], windows[other]))
        return {(row.segment, row.item): row.effect for row in table.itertuples()}

    bug = found("before", "bug")
    assert bug["mobile", "checkout_bug"] > 0.05
    assert ("all", "payment_error") not in bug
    incident = found("before", "incident")
    assert incident["all", "payment_error"] > 0.05
    gone = found("incident", "after")
    assert gone["all", "payment_error"] < -0.05
