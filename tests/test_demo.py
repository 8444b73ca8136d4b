"""The demo is what its truth says: the same every time, with every planted amount in place."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from cjlib.log import open_log
from data.demo import behaviour as b, files, truth
from data.demo.generate import generate

FOLDER = Path(__file__).parents[1] / "data" / "demo"


@pytest.fixture(scope="module")
def demo():
    return generate()


@pytest.fixture(scope="module")
def large():
    return generate(20_000, seed=11)


@pytest.fixture(scope="module")
def null():
    return generate(20_000, seed=12, kinds=False, change=False, effects=False, dirt=False)


@pytest.fixture(scope="module")
def log():
    return open_log("demo")


def standardised(visits, matrix):
    """How far each cell of a kind's counts lies from the matrix, in customer-level errors."""
    code = {stage: number for number, stage in enumerate([*b.STAGES, "lost"])}
    customer = pd.factorize(visits["customer_id"])[0]
    n = np.zeros((customer.max() + 1, 5, 6))
    cell = (customer, visits["stage"].map(code), visits["next_stage"].map(code))
    np.add.at(n, cell, 1)
    total = n.sum(axis=0)
    rows = total.sum(axis=1, keepdims=True)
    share = total / rows
    error = np.sqrt(((n - n.sum(axis=2, keepdims=True) * share) ** 2).sum(axis=0)) / rows
    use = (matrix > 0) & (total >= 10)
    return ((share - matrix) / np.where(use, error, 1))[use]


@pytest.mark.slow
def test_same_seed_gives_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        files.write(generate(200, seed=3), tmp_path / folder)
    files.write(generate(200, seed=4), tmp_path / "other")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["customers.csv", "events.csv.gz", "truth.yml", "truth_customers.csv.gz"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    one, other = (tmp_path / which / "events.csv.gz" for which in ("one", "other"))
    assert one.read_bytes() != other.read_bytes()


def test_committed_files_are_what_the_generator_writes(demo):
    assert gzip.decompress((FOLDER / "events.csv.gz").read_bytes()) == files.log_bytes(demo)
    assert yaml.safe_load((FOLDER / "truth.yml").read_text()) == demo.truth
    written = pd.read_csv(FOLDER / "truth_customers.csv.gz")
    pd.testing.assert_frame_equal(written, demo.customers, atol=1e-4, check_dtype=False)
    assert (FOLDER / "events.csv.gz").stat().st_size < 1.2e6


def test_the_log_is_of_the_promised_size(demo):
    assert demo.truth["customers"] == 3000
    assert 60_000 <= demo.truth["rows"]["kept"] <= 80_000
    assert 0.25 <= demo.truth["churn"]["observed_share"] <= 0.55
    dirty = demo.truth["rows"]["quarantined"] / demo.truth["rows"]["read"]
    assert 0 < dirty < 0.01


def test_quality_table_counts_the_dirt_as_stated(log):
    stated = yaml.safe_load((FOLDER / "truth.yml").read_text())
    found = dict(zip(log.quality["rule"], log.quality["rows"], strict=True))
    assert {rule: found.get(rule) for rule in stated["dirt"]} == stated["dirt"]
    assert log.rows == stated["rows"]


def test_ids_and_channels_that_are_dangerous_to_show_are_kept(log):
    channels = log.events.channel.value_counts().execute().set_index("channel")["channel_count"]
    assert {name: channels[name] for name in files.CHANNELS_WITH_MARKUP} == (
        files.CHANNELS_WITH_MARKUP
    )
    emails = log.events.filter(log.events.customer_id.contains("@")).customer_id.nunique()
    assert emails.execute() == files.EMAIL_IDS


def test_prepared_visits_are_the_generated_ones(log, demo):
    columns = ["customer_id", "journey", "visit", "stage", "started", "next_stage"]
    prepared = log.visits.select(columns).execute()
    prepared = prepared.sort_values(columns[:3], ignore_index=True)
    prepared = prepared.replace({"next_stage": {"bought": "lost"}})  # the generator's one silence
    generated = demo.visits[columns].sort_values(columns[:3], ignore_index=True)
    for column in columns:
        same = prepared[column].isna() & generated[column].isna()
        assert (same | (prepared[column] == generated[column])).all(), column


def test_nothing_is_planted_when_turned_off():
    off = generate(300, seed=5, kinds=False, change=False, effects=False, dirt=False)
    assert off.truth["dirt"] == {}
    assert off.truth["rows"]["quarantined"] == off.truth["rows"]["duplicates"] == 0
    assert set(off.customers["kind"]) == {"everyone"}
    (kind,) = off.truth["kinds"].values()
    assert kind["transitions"]["before_change"] == kind["transitions"]["after_change"]
    np.testing.assert_allclose(off.behaviour.matrix(True), off.behaviour.rows)
    assert not off.events["customer_id"].str.contains("@").any()
    assert b"script" not in files.log_bytes(off)


@pytest.mark.slow
def test_visits_of_each_kind_follow_the_stated_matrices(large):
    cells = []
    for number, kind in enumerate(large.behaviour.names):
        for changed in (False, True):
            visits = large.visits[large.visits["settled"] & (large.visits["kind"] == kind)]
            visits = visits[(visits["started"] >= b.CHANGE) == changed]
            cells.append(standardised(visits, large.behaviour.matrix(changed)[number]))
    cells = np.concatenate(cells)
    assert 0.90 <= np.mean(np.abs(cells) < 1.96) <= 0.99
    assert np.abs(cells).max() < 4.5


@pytest.mark.slow
def test_without_kinds_the_whole_log_is_one_chain(null):
    cells = standardised(null.visits[null.visits["settled"]], null.behaviour.matrix(True)[0])
    assert np.abs(cells).max() < 3.5


@pytest.mark.slow
@pytest.mark.parametrize(("which", "factor"), [("large", b.ERROR_DROP_OFF), ("null", 1.0)])
def test_payment_error_multiplies_the_drop_off_at_the_checkout(request, which, factor):
    demo = request.getfixturevalue(which)
    v = demo.visit
    settled = (v["stage"] == b.DECISION) & (v["ended"] + b.INACTIVITY < b.END)
    kind = demo.kind[v["customer"]]
    lost = v["next"] == b.LOST
    for number in range(len(demo.behaviour.names)):
        of_kind = settled & (kind == number)
        with_error, without = (lost[of_kind & (v["error"] == e)] for e in (True, False))
        ratio = with_error.mean() / without.mean()
        error = ratio * np.sqrt(
            with_error.var() / with_error.mean() ** 2 / len(with_error)
            + without.var() / without.mean() ** 2 / len(without)
        )
        assert abs(ratio - factor) < 4 * error


@pytest.mark.slow
@pytest.mark.parametrize("which", ["large", "null"])
def test_late_delivery_keeps_customers_away_and_support_brings_them_back(request, which):
    demo = request.getfixturevalue(which)
    v = demo.visit
    ends = (v["next"] == b.LOST) & (v["ended"] < b.END - 250 * b.DAY)  # time to come back
    gone = v["next_started"] > b.END
    factors = 1 + (demo.behaviour.late_leave - 1) * np.array(truth.HURTS)
    for number, leave in enumerate(demo.behaviour.leave):
        of_kind = ends & (demo.kind[v["customer"]] == number)
        for hurt, factor in zip(truth.HURTS, factors, strict=True):
            here = gone[of_kind & np.isclose(v["hurt"], hurt)]
            assert abs(here.mean() - leave * factor) < 4 * np.sqrt(leave * factor / len(here))


@pytest.mark.slow
def test_newsletter_and_affiliate_change_nothing(large):
    v = large.visit
    settled = v["ended"] + b.INACTIVITY < b.END
    kind = large.kind[v["customer"]]
    affiliate = v["channel"] == b.AFFILIATE
    scores = []
    for number in range(len(large.behaviour.names)):
        for stage in (b.AWARENESS, b.CONSIDERATION, b.PURCHASE, b.POST_SALE):
            here = settled & (kind == number) & (v["stage"] == stage)
            lost = v["next"][here] == b.LOST
            idle = affiliate[here]
            gap = lost[idle].mean() - lost[~idle].mean()
            scores.append(gap / np.sqrt(lost.var() * (1 / idle.sum() + 1 / (~idle).sum())))
    assert np.abs(scores).max() < 4
    # opened in the same share of awareness visits by every kind
    events = large.events
    opened = events[events["touchpoint"] == "newsletter_open"].groupby("customer_id").size()
    visits = large.visits[large.visits["stage"] == "awareness"]
    per_kind = (
        visits.groupby(["kind", "customer_id"])
        .size()
        .reset_index(name="n")
        .assign(opened=lambda t: t["customer_id"].map(opened).fillna(0))
        .groupby("kind")[["opened", "n"]]
        .sum()
    )
    np.testing.assert_allclose(per_kind["opened"] / per_kind["n"], b.NEWSLETTER_RATE, atol=0.01)


@pytest.mark.slow
def test_errors_rise_on_mobile_from_the_stated_date(large):
    v = large.visit
    deciding = v["stage"] == b.DECISION
    changed = v["started"] >= b.CHANGED
    for channel, after in ((b.MOBILE, b.ERROR_RATE_MOBILE_AFTER), (b.WEB, b.ERROR_RATE)):
        here = deciding & (v["channel"] == channel)
        assert v["error"][here & ~changed].mean() == pytest.approx(b.ERROR_RATE, abs=0.01)
        assert v["error"][here & changed].mean() == pytest.approx(after, abs=0.02)


@pytest.mark.slow
def test_stated_churn_probabilities_come_true(large):
    came_true = truth.churned(large)
    stated = large.customers["churn_probability"].dropna().to_numpy()
    assert len(stated) == len(came_true)
    in_order = truth.churn_probability(large)[truth.last_visits(large)["customer"]]
    for low in np.arange(0, 1, 0.1):
        here = (in_order >= low) & (in_order < low + 0.1)
        if here.sum() < 100:
            continue
        expected = in_order[here].mean()
        error = np.sqrt(expected * (1 - expected) / here.sum()) + 0.005  # and that of the paths
        assert abs(came_true[here].mean() - expected) < 3.5 * error


@pytest.mark.slow
def test_new_customers_come_in_a_wave(large):
    day = large.visits.groupby("customer_id")["started"].min()
    weekly = day.groupby((day - pd.Timestamp(b.START)).dt.days // 7).size()
    peak = b.WAVE["centre"] // 7
    assert weekly.loc[peak - 1 : peak + 1].mean() > 2 * weekly.loc[8:14].mean()
