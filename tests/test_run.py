"""A run publishes a whole report or nothing, says why, and never confuses the two."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from cjlib.answers import MARK
from cjlib.dataset import find_datasets, load_dataset
from cjlib.errors import ContractError, LockedError, ParameterError, PrivacyError
from cjlib.runs.execution import _sockets
from cjlib.runs.plan import Request, find_project, make_plan
from cjlib.runs.run import NotebookError, ReportFolder, report
from cjlib.tables import TABLES

NOTEBOOKS = Path(__file__).parent / "notebooks"

DATASET = """
name: tiny
title: Tiny <b>shop</b>
source: tiny.csv
columns: {customer_id: who, timestamp: {column: at, timezone: UTC}, touchpoint: what}
touchpoints:
  look: {stage: consideration}
  buy: {stage: purchase}
journey: {inactivity: 30 days, purchase: [buy]}
quality: {max_quarantined: 5%}
"""


def tiny_log(rows=60):
    times = pd.date_range("2024-01-01", periods=rows, freq="7h")
    return pd.DataFrame(
        {
            "who": [f"anna-{number % 12:04}" for number in range(rows)],
            "at": times.strftime("%Y-%m-%d %H:%M:%S"),
            "what": ["look", "look", "buy"] * (rows // 3),
        }
    )


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a project of its own with a small log; the caller adds notebooks."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tiny.yml").write_text(DATASET)
    tiny_log().to_csv(tmp_path / "data" / "tiny.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def add(project, *names):
    for name in names:
        number = name if name[0].isdigit() else f"09_{name}"
        shutil.copy(NOTEBOOKS / f"{name}.ipynb", project / "notebooks" / f"{number}.ipynb")


def names(project):
    return sorted(path.name for path in (project / "reports" / "tiny").iterdir())


def is_whole(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    pages = {f"{notebook['name']}.html" for notebook in manifest["notebooks"]}
    return (folder / "index.html").read_text().rstrip().endswith("</html>") and all(
        (folder / page).read_text().rstrip().endswith("</html>") for page in pages
    )


@pytest.mark.slow
def test_a_report_is_published_whole(project):
    add(project, "01_small", "02_second")
    published = report(Request("tiny", parameters=("word=007", "limit=2")))
    folder = published.folder
    assert published.index == project / "reports/tiny/latest/index.html"
    assert is_whole(folder)
    assert {path.name for path in folder.iterdir()} == {
        *("01_small.html", "01_small.ipynb", "02_second.html", "02_second.ipynb"),
        *("index.html", "findings.json", "manifest.json", "tables"),
    }
    assert names(project) == sorted([".lock", folder.name, "latest"])

    manifest = json.loads((folder / "manifest.json").read_text())
    rows = manifest["rows"]
    assert rows["read"] == rows["kept"] + rows["quarantined"] + rows["duplicates"] == 60
    assert manifest["seed"] == 1
    assert manifest["parameters"] == {"word": "007", "limit": "2"}
    assert manifest["notebooks"][0]["parameters"]["word"] == "007"
    assert manifest["notebooks"][0]["parameters"]["limit"] == 2
    findings = json.loads((folder / "findings.json").read_text())
    assert [finding["name"] for finding in findings] == ["kept"]
    assert "word 007." in findings[0]["sentence"]

    index = (folder / "index.html").read_text()
    assert "Tiny &lt;b&gt;shop&lt;/b&gt;" in index
    assert "Can the log be trusted?" in index
    for page in folder.glob("*.html"):
        text = page.read_text()
        assert "<script" not in text
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert "https://" not in text
        assert str(project) not in text
    small = (folder / "01_small.html").read_text()
    assert 'alt="How many bought?"' in small
    assert 'href="02_second.html"' in small
    assert str(project) not in (folder / "01_small.ipynb").read_text()


FAILURES = {
    "failing_cell": "cell [3] # divide\n  ZeroDivisionError: division by zero",
    "hidden_error": "cell [3] 1 / 0\n  ZeroDivisionError",
    "hanging_cell": "took longer than 3 seconds",
    "dying_kernel": "kernel died",
    "wrong_parameter": "ParameterError: order must be 1, 2 or 3.",
}


@pytest.mark.slow
def test_broken_notebooks_publish_nothing_and_each_is_named_with_its_cell(project):
    add(project, *FAILURES)
    with pytest.raises(NotebookError) as caught:
        report(Request("tiny", timeout=3))
    assert caught.value.exit_code == 138  # of the first in order: the kernel that died
    (left,) = set(names(project)) - {".lock"}
    assert left.startswith("failed-")
    page = (project / "reports/tiny" / left / "index.html").read_text()
    for broken, message in FAILURES.items():
        assert message in str(caught.value)
        assert f"09_{broken}" in page
        assert (project / "reports/tiny" / left / f"09_{broken}.ipynb").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "code"),
    [("failing_cell", 1), ("hanging_cell", 124), ("wrong_parameter", 2)],
)
def test_the_exit_code_says_how_a_notebook_failed(project, broken, code):
    add(project, broken)
    with pytest.raises(NotebookError) as caught:
        report(Request("tiny", timeout=2))
    assert caught.value.exit_code == code


@pytest.mark.slow
def test_a_notebook_that_breaks_its_promise_is_not_published(project):
    add(project, "missing_table", "missing_column")
    with pytest.raises(NotebookError) as caught:
        report(Request("tiny"))
    assert "09_missing_column\n  Incomplete: tables/quality.parquet lacks share" in str(
        caught.value
    )
    (project / "notebooks/09_missing_column.ipynb").unlink()
    with pytest.raises(NotebookError, match=r"tables/quality\.parquet is missing"):
        report(Request("tiny"))


@pytest.mark.slow
def test_what_was_made_of_the_same_is_not_made_again(project):
    add(project, "01_small")
    first = report(Request("tiny", parameters=("word=a",)))
    same = report(Request("tiny", parameters=("word=a",)))
    assert (same.folder, same.latest, same.again) == (first.folder, True, True)
    log, dataset = project / "data/tiny.csv", project / "data/tiny.yml"
    others = [
        lambda: report(Request("tiny", parameters=("word=b",))),
        lambda: report(Request("tiny", parameters=("word=a",), force=True)),
    ]
    runs = [first.folder, *(make().folder for make in others)]
    dataset.write_text(dataset.read_text().replace("Tiny", "Small"))
    runs.append(report(Request("tiny", parameters=("word=a",))).folder)
    log.write_text(log.read_text() + log.read_text().splitlines()[-1] + "\n")
    runs.append(report(Request("tiny", parameters=("word=a",))).folder)
    notebook = project / "notebooks/01_small.ipynb"
    notebook.write_text(notebook.read_text().replace("# ", "# On ", 1))
    runs.append(report(Request("tiny", parameters=("word=a",))).folder)
    assert len(set(runs)) == len(runs)


@pytest.mark.slow
def test_with_another_key_for_ids_a_report_is_made_anew(project, monkeypatch):
    add(project, "01_small")
    dataset = project / "data/tiny.yml"
    dataset.write_text(dataset.read_text() + "privacy: {customer_ids: hash}\n")
    runs = []
    for key in ("a key of some length", "a key of some length", "another of that length"):
        monkeypatch.setenv("CJ_ID_KEY", key)
        runs.append(report(Request("tiny")).folder)
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.slow
def test_what_the_log_cannot_answer_is_published_as_a_table_without_rows(project):
    add(project, "unanswered")
    folder = report(Request("tiny")).folder
    for table in ("absorption", "stage_forecast"):
        published = pd.read_parquet(folder / f"tables/{table}.parquet")
        assert list(published) == TABLES[table]
        assert published.empty
        assert (folder / f"tables/{table}.csv").exists()
    page = (folder / "09_unanswered.html").read_text()
    assert "How do journeys end?" in page
    assert "The picture shows" not in page
    assert "the log has <b>one</b> stage".replace("<", "&lt;").replace(">", "&gt;") in page
    executed = (folder / "09_unanswered.ipynb").read_text()
    assert "The picture shows" in executed
    assert MARK in executed


@pytest.mark.slow
def test_what_must_stay_private_stops_the_publication(project):
    add(project, "02_second", "shows_id", "shows_email", "shows_phone")
    with pytest.raises(PrivacyError) as caught:
        report(Request("tiny"))
    message = str(caught.value)
    assert "09_shows_id.html: customer id a•••••••" in message
    assert "09_shows_email.html: e-mail address" in message
    assert "09_shows_phone.html: phone number" in message
    assert "02_second" not in message
    assert "anna" not in message
    assert names(project) == [".lock"]


@pytest.mark.slow
def test_with_hashed_ids_no_file_holds_a_raw_id(project, monkeypatch):
    monkeypatch.setenv("CJ_ID_KEY", "a secret that is long enough")
    (project / "data/tiny.yml").write_text(DATASET + "privacy: {customer_ids: hash}\n")
    add(project, "publishes_id")
    with pytest.raises(PrivacyError, match=r"tables/note\.txt: customer id"):
        report(Request("tiny"))


@pytest.mark.slow
def test_pages_are_inert_whatever_a_notebook_shows(project):
    add(project, "shows_script")
    page = (report(Request("tiny")).folder / "09_shows_script.html").read_text()
    assert "bold" in page
    for danger in ("<script", "onclick", "<iframe", "h.example"):
        assert danger not in page.partition('<div class="scroll">')[2].partition("</main>")[0]


def test_data_that_break_the_contract_leave_their_tables_where_the_message_says(project):
    add(project, "01_small")
    log = tiny_log()
    log.loc[:9, "what"] = "=unknown"
    log.to_csv(project / "data/tiny.csv", index=False)
    with pytest.raises(ContractError) as caught:
        report(Request("tiny"))
    place = Path(str(caught.value).rpartition(": ")[2])
    assert place.parent.name.startswith("failed-")
    assert pd.read_csv(place / "quality.csv")["rows"].sum() >= 60
    assert "'=unknown" in (place / "quarantine.csv").read_text()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"parameters": ("limt=2",)}, "did you mean 'limit'"),
        ({"parameters": ("limit=two",)}, "takes a whole number, like 3"),
        ({"parameters": ("speed=nan",)}, "takes a number"),
        ({"parameters": ("loud=perhaps",)}, "true or false"),
        ({"parameters": ("limit",)}, "name=value"),
        ({"parameters": ("limit=1", "limit=2")}, "given twice"),
        ({"parameters": ("out=elsewhere",)}, "--out instead"),
        ({"parameters": ("import os;x=1",)}, "no notebook has this parameter"),
        ({"only": ("07",)}, "no such notebook"),
        ({"as_of": "yesterday"}, "is no date"),
        ({"parameters": ("limit=-1",)}, "limit is from 0"),
        ({"parameters": ("horizon=soon",)}, "churn.horizon.*no length of time"),
        ({"parameters": ("inactivity=-3 days",)}, "journey.inactivity.*longer than nothing"),
        ({"parameters": ("language=de",)}, "language: 'de'"),
    ],
)
def test_wrong_requests_are_refused_before_anything_runs(project, request_, message):
    add(project, "01_small")
    with pytest.raises(ParameterError, match=message):
        report(Request("tiny", **request_))
    assert not (project / "reports").exists()


@pytest.mark.parametrize("key", ["", "x"])
def test_a_key_that_is_missing_or_short_is_refused_before_anything_runs(project, monkeypatch, key):
    monkeypatch.setenv("CJ_ID_KEY", key)
    (project / "data/tiny.yml").write_text(DATASET + "privacy: {customer_ids: hash}\n")
    add(project, "01_small")
    with pytest.raises(ParameterError, match="16 characters"):
        report(Request("tiny"))
    assert not (project / "reports").exists()


def test_horizon_and_inactivity_can_be_set_for_one_run(project):
    add(project, "01_small")
    request = Request("tiny", parameters=("horizon=30 days", "inactivity=2 weeks"))
    plan = make_plan(request, project / "notebooks")
    dataset = load_dataset(**plan.log)
    assert (dataset.churn.horizon.days, dataset.journey.inactivity.days) == (30, 14)
    assert plan.parameters["01_small"]["horizon"] == "30 days"


def test_only_the_project_at_hand_is_run(project, monkeypatch):
    add(project, "01_small")
    assert find_project() == project
    monkeypatch.chdir(project / "data")
    assert find_project() != project  # but the library's own
    assert "tiny" not in find_datasets()


def test_a_second_run_at_the_same_time_is_refused_at_once(project):
    add(project, "01_small")
    reports = ReportFolder(project / "reports/tiny")
    with reports.locked(), pytest.raises(LockedError, match="Another run"):
        report(Request("tiny"))


# -- the reports, without notebooks


def finished(reports, run_id, as_of):
    scratch = reports.scratch(run_id)
    (scratch / "manifest.json").write_text(json.dumps({"as_of": as_of}))
    reports.publish(run_id)
    return reports.point_latest(run_id)


def run_id(number):
    return f"20240101T00000000{number}Z-00aa"


def test_latest_moves_forward_only(tmp_path):
    reports = ReportFolder(tmp_path / "tiny")
    with reports.locked():
        assert finished(reports, run_id(1), "2024-02-01")
        assert finished(reports, run_id(2), "2024-02-01")
        assert not finished(reports, run_id(3), "2024-01-01")
        assert reports.latest() == run_id(2)
        assert finished(reports, run_id(4), "2024-03-01")
        assert reports.latest() == run_id(4)


def test_pruning_keeps_the_newest_and_the_latest(tmp_path):
    reports = ReportFolder(tmp_path / "tiny")
    with reports.locked():
        finished(reports, run_id(1), "2024-03-01")  # the latest by its moment
        for number in range(2, 6):
            finished(reports, run_id(number), "2024-02-01")
        reports.prune(keep=2)
        assert reports.runs() == [run_id(1), run_id(4), run_id(5)]


def test_a_folder_called_latest_is_not_overwritten(tmp_path):
    reports = ReportFolder(tmp_path / "tiny")
    (reports.folder / "latest").mkdir(parents=True)
    with pytest.raises(ParameterError, match="must be a link"), reports.locked():
        pass


@pytest.mark.parametrize("broken", ["", "[]", '{"a": 1}', "{", "\x00"])
def test_latest_moves_on_from_a_broken_manifest(tmp_path, broken):
    reports = ReportFolder(tmp_path / "tiny")
    with reports.locked():
        finished(reports, run_id(1), "2024-03-01")
        (reports.folder / run_id(1) / "manifest.json").write_text(broken)
        assert finished(reports, run_id(2), "2024-02-01")
        assert reports.latest() == run_id(2)


def test_files_of_dead_runs_kernels_are_swept_and_those_of_living_ones_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with _sockets() as living:
        home = Path(living).parent
        dead = home / "run-dead"
        dead.mkdir()
        (dead / "0.json").write_text("a key")
        assert home.stat().st_mode & 0o077 == 0
        with _sockets() as other:
            assert not dead.exists()
            assert Path(living).is_dir()
            assert len(f"{other}/9-5") < 100
    assert [path.name for path in home.iterdir()] == ["lock"]


def test_what_dead_runs_left_is_swept_at_the_next_run(tmp_path):
    reports = ReportFolder(tmp_path / "tiny")
    with reports.locked():
        reports.scratch("dead")
        (reports.folder / ".latest-dead").symlink_to("dead")
    with reports.locked():
        assert [path.name for path in reports.folder.iterdir()] == [".lock"]


# -- whole processes


# What runs in the background of a shell ignores Ctrl-C, and so would a run started from there.
START = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
START += "; from cjlib.cli import main; main()"


def start(project, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", START, "report", "tiny", "--force", *arguments],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )


def whole_runs(project):
    reports = ReportFolder(project / "reports/tiny")
    for run in reports.runs():
        assert is_whole(reports.folder / run)
    if (reports.folder / "latest").is_symlink():
        assert is_whole(reports.folder / "latest")
    return reports.runs()


@pytest.mark.slow
def test_a_killed_run_leaves_no_half_report_and_the_next_succeeds(project, monkeypatch):
    add(project, "02_second")
    folder = project / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    moments = int(os.environ.get("CJ_TEST_KILLS", "3"))  # a hundred and more by night
    rng = random.Random(0)
    began = time.monotonic()
    assert start(project).wait() == 0
    whole = time.monotonic() - began
    for moment in range(moments):
        process = start(project)
        time.sleep(whole * (moment + rng.random()) / moments)  # at random, in every part of a run
        process.send_signal(signal.SIGKILL)
        process.wait()
        whole_runs(project)
    before = whole_runs(project)
    process = start(project)
    assert process.wait() == 0, process.stderr.read()
    assert len(whole_runs(project)) == len(before) + 1
    nothing_left(project, folder)


def nothing_left(project, folder):
    """Assert that beside whole runs there is nothing: no scratch, no key of a kernel."""
    assert not list((project / "reports/tiny").glob(".scratch-*"))
    assert not list((project / "data/prepared/tiny").glob(".scratch-*"))
    assert not list(folder.glob("cj-*/run-*"))


@pytest.mark.slow
def test_runs_started_at_once_end_in_done_or_locked_and_all_published_are_whole(project):
    add(project, "02_second")
    processes = [start(project) for _ in range(int(os.environ.get("CJ_TEST_RUNS", "3")))]
    codes = [process.wait() for process in processes]
    told = [
        p.stderr.read() for p, code in zip(processes, codes, strict=True) if code not in (0, 75)
    ]
    assert not told, told
    assert len(whole_runs(project)) == codes.count(0) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_run_cleans_up(project, monkeypatch, number):
    (project / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(project / "tmp"))
    add(project, "hanging_cell")
    process = start(project)
    while not list((project / "reports/tiny").glob(".scratch-*/*.ipynb")):
        time.sleep(0.2)
        assert process.poll() is None, process.stderr.read()
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number
    assert names(project) == [".lock"]
    nothing_left(project, project / "tmp")
