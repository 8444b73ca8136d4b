"""A log is prepared once, whole or not at all, and its counts say what was left out."""

import gc
import os
import signal
import subprocess
import sys
import time
import weakref

import pandas as pd
import pytest

from cjlib.errors import ContractError
from cjlib.log import KEPT_PREPARED, open_log
from cjlib.markov import of_segment
from tests.conftest import ROOT

DATASET = """
name: shop
source: log.csv
columns:
  customer_id: user
  timestamp: {column: at, timezone: UTC}
  touchpoint: event
touchpoints:
  view: {stage: awareness}
  buy: {stage: purchase}
journey: {inactivity: 30 days, purchase: buy}
quality: {max_quarantined: 50%}
"""
LINES = ["u1,2024-05-01,view", "u1,2024-05-03,buy", "u2,2024-06-01,view", "u2,2024-07-15 12:00,buy"]


@pytest.fixture
def shop(tmp_path):
    """Return a dataset file beside a log of four events."""
    (tmp_path / "shop.yml").write_text(DATASET, encoding="utf-8")
    write(tmp_path, LINES)
    return tmp_path / "shop.yml"


def write(folder, lines):
    (folder / "log.csv").write_text("\n".join(["user,at,event", *lines, ""]), encoding="utf-8")


def prepared(shop):
    """Return the prepared logs by name, with the moment that each was made."""
    made = (shop.parent / "prepared" / "shop").glob("*/log.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in made}


def test_a_log_is_prepared_once_for_each_content_dataset_and_moment(shop):
    first = open_log(shop)
    made = prepared(shop)
    steps = []
    again = open_log(shop, language="es", progress=steps.append)
    assert prepared(shop) == made
    assert steps == []
    assert again.events.count().execute() == 4
    assert again.rows == first.rows
    pd.testing.assert_frame_equal(again.quality, first.quality)

    open_log(shop, as_of="2024-06-15")
    assert len(prepared(shop)) == 2
    write(shop.parent, LINES[:3])
    assert open_log(shop).rows["kept"] == 3
    assert len(prepared(shop)) == 3


def test_the_last_used_logs_stay_and_older_ones_go(shop):
    days = [f"2024-07-{day}" for day in range(10, 12 + KEPT_PREPARED)]
    folders = [open_log(shop, as_of=days[0]).folder]
    for day in days[1:]:
        folders.append(open_log(shop, as_of=day).folder)
        assert open_log(shop, as_of=days[0]).folder == folders[0]
    assert set(prepared(shop)) == {
        folder.name for folder in [folders[0], *folders[1 - KEPT_PREPARED :]]
    }
    assert not list(folders[0].parent.glob(".scratch-*"))


def test_the_moment_is_the_last_time_that_is_not_in_the_future(shop):
    write(shop.parent, [*LINES, "u3,2999-01-01,view"])
    log = open_log(shop)
    assert log.as_of == pd.Timestamp("2024-07-15 12:00")
    assert log.quarantine.execute()[["line", "rule"]].to_numpy().tolist() == [
        [6, "time_after_as_of"]
    ]
    assert log.rows == {"read": 5, "kept": 4, "quarantined": 1, "duplicates": 0}
    assert log.events.timestamp.max().execute() == log.as_of


def test_a_declared_moment_cuts_the_future_which_is_no_dirt(shop):
    log = open_log(shop, as_of="2024-05-02 00:00")
    assert log.as_of == pd.Timestamp("2024-05-02")
    assert not log.whole_day
    assert log.rows == {"read": 4, "kept": 1, "quarantined": 3, "duplicates": 0}
    assert log.journeys.execute()["end"].tolist() == ["open"]


def test_a_day_means_its_end_on_the_clocks_of_the_log(shop):
    shop.write_text(shop.read_text().replace("timezone: UTC", "timezone: America/Sao_Paulo"))
    write(shop.parent, ["u1,2024-05-01 23:30,view", "u2,2024-05-02 00:30,view"])
    log = open_log(shop, as_of="2024-05-01")
    assert log.as_of == pd.Timestamp("2024-05-02 02:59:59.999999")
    assert (str(log.day), log.whole_day) == ("2024-05-01", True)
    assert log.events.customer_id.execute().tolist() == ["u1"]


def test_past_the_limit_the_error_says_where_the_tables_are(shop):
    write(shop.parent, [*LINES[:2], "u1,never,view", ",2024-05-01,view", "u1,2024-05-01,vew"])
    for _ in range(2):  # the second time it comes from the prepared log
        with pytest.raises(ContractError, match=r"60\.00% of 5 rows break a rule") as stopped:
            open_log(shop)
        error = stopped.value
        assert error.exit_code == 3
        assert error.rows == {"read": 5, "kept": 2, "quarantined": 3, "duplicates": 0}
        assert error.quality["rows"].tolist()[:3] == [5, 2, 0]
        rows = pd.read_parquet(error.folder / "quarantine.parquet")
        assert rows[["line", "rule"]].to_numpy().tolist() == [
            [4, "unreadable_time"],
            [5, "missing_customer_id"],
            [6, "unmapped_touchpoint"],
        ]


def test_a_log_without_a_row_to_keep_is_an_error(shop):
    with pytest.raises(ContractError, match="none of 4 rows could be kept"):
        open_log(shop, as_of="2020-01-01")


def opening(shop):
    """Start a process that opens the log and prints the rows kept."""
    code = "import sys; from cjlib.log import open_log; print(open_log(sys.argv[1]).rows['kept'])"
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, str(shop)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_processes_that_prepare_at_once_make_one_log(shop):
    processes = [opening(shop) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in processes] == ["4"] * 3
    assert len(prepared(shop)) == 1
    assert not list((shop.parent / "prepared" / "shop").glob(".scratch-*"))


@pytest.mark.slow
def test_a_killed_preparation_leaves_nothing_under_the_final_name(shop):
    lines = [f"u{place % 999},2024-05-01,view" for place in range(400_000)]
    write(shop.parent, lines)
    home = shop.parent / "prepared" / "shop"
    process = opening(shop)
    while not list(home.glob(".scratch-*/aside/raw.parquet")):
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert prepared(shop) == {}
    write(shop.parent, LINES)
    assert open_log(shop).rows["kept"] == 4
    assert not list(home.glob(".scratch-*"))  # the next one sweeps what it left


def test_what_is_in_use_is_never_pruned(shop):
    used = open_log(shop, as_of="2024-07-01")
    for day in range(10, 12 + KEPT_PREPARED):
        open_log(shop, as_of=f"2024-07-{day}")
    assert used.folder.name in prepared(shop)
    assert used.events.count().execute() > 0
    folder = used.folder.name
    del used
    open_log(shop, as_of="2024-07-20")
    assert folder not in prepared(shop)


@pytest.mark.slow
def test_the_log_of_a_segment_holds_its_customers_alone():
    log = open_log("demo")
    part = of_segment(log, "first_channel", "store")
    first = log.events.order_by("timestamp", "line").to_pandas().drop_duplicates("customer_id")
    theirs = set(first.loc[first["channel"] == "store", "customer_id"])
    for table in (part.events, part.visits, part.journeys):
        assert set(table.customer_id.to_pandas()) == theirs
    assert part.run_in.equals(log.run_in)
    whole = weakref.ref(log)
    everybody = log.journeys.customer_id.nunique().execute()
    del log
    gc.collect()
    assert whole() is not None  # its files stay in use
    assert 0 < len(theirs) < everybody
