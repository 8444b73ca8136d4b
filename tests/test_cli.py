"""The command line: what it takes, what it says, and how it ends."""

import io
import os
import signal
import subprocess
import sys
import time

import nbformat
import pandas as pd
import pytest

from cjlib import cli
from cjlib.errors import ContractError, LockedError, ParameterError, PrivacyError
from cjlib.runs.execution import Outcome
from tests.conftest import ROOT

DATASET = """
name: tiny
title: Tiny shop
source: tiny.csv
columns: {customer_id: who, timestamp: {column: at, timezone: UTC}, touchpoint: what}
touchpoints:
  look: {stage: consideration}
  buy: {stage: purchase}
journey: {inactivity: 30 days, purchase: [buy]}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "notebooks/01_none.ipynb")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/tiny.yml").write_text(DATASET)
    write_log(tmp_path, ["look", "buy"] * 20)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_log(project, touchpoints):
    times = pd.date_range("2024-01-01", periods=len(touchpoints), freq="5h")
    times = times.strftime("%Y-%m-%d %H:%M:%S")
    log = pd.DataFrame({"who": "anna-0001", "at": times, "what": touchpoints})
    log.to_csv(project / "data/tiny.csv", index=False)


def run(monkeypatch, capsys, *arguments):
    """Run ``cj`` in this process; return exit code, output and error output."""
    monkeypatch.setattr(sys, "argv", ["cj", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    printed = capsys.readouterr()
    return end.value.code, printed.out, printed.err


def test_help_names_every_command_and_comes_at_once():
    began = time.monotonic()
    code = "import sys; sys.argv = ['cj', '--help']; from cjlib.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert time.monotonic() - began < 5
    assert done.returncode == 0
    for command in ("report", "check", "new", "list"):
        assert command in done.stdout


def test_check_prints_the_quality_table(project, monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "check", "tiny")
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[:4]] == [
        ["rule", "rows", "share"],
        ["read", "40", "100%"],
        ["kept", "40", "100%"],
        ["duplicate", "0", "0%"],
    ]


def test_check_ends_with_3_past_the_limit_and_still_prints_the_table(project, monkeypatch, capsys):
    write_log(project, ["look", "buy", "?", "buy"] * 10)
    code, out, err = run(monkeypatch, capsys, "check", "tiny")
    assert code == 3
    assert "unmapped_touchpoint" in out
    assert "25.00%" in err


def test_list_names_datasets_also_broken_ones(project, monkeypatch, capsys):
    (project / "data/broken.yml").write_text("name: broken\n")
    code, out, _ = run(monkeypatch, capsys, "list")
    assert code == 0
    assert "tiny" in out
    assert "Tiny shop" in out
    assert "not valid" in next(line for line in out.splitlines() if line.startswith("broken"))


def test_new_writes_a_draft_that_check_reads_and_never_overwrites(project, monkeypatch, capsys):
    log = str(project / "data/tiny.csv")
    code, out, err = run(monkeypatch, capsys, "new", log, "--out", "data/mine.yml")
    assert code == 0, err
    assert out.strip() == "data/mine.yml"
    assert "cj check data/mine.yml" in err
    code, _, err = run(
        monkeypatch, capsys, "new", log, "--out", "data/mine.yml", "--customer", "nobody"
    )
    assert code == 2
    assert "no column 'nobody'" in err
    code, _, err = run(monkeypatch, capsys, "new", log, "--out", "data/mine.yml")
    assert code == 0, err  # nobody has edited it
    mine = project / "data/mine.yml"
    mine.write_text(mine.read_text().replace("title:", "title: My", 1))
    code, _, err = run(monkeypatch, capsys, "new", log, "--out", "data/mine.yml")
    assert code == 2
    assert "there already" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "tinny"], "did you mean 'tiny'"),
        (["report"], "Missing argument"),
        (["report", "tiny", "--jobs", "0"], "--jobs"),
        (["report", "tiny", "--timeout", "0"], "--timeout"),
        (["report", "tiny", "--nonsense"], "No such option"),
        (["report", "tiny", "-p", "x=1"], "no notebook has this parameter"),
        (["report", "data/absent.yml"], "absent.yml"),
        (["check", "tiny", "--source", "absent.csv"], "absent.csv"),
        (["new", "absent.csv"], "absent.csv"),
        (["nonsense"], "No such command"),
    ],
)
def test_what_is_wrong_ends_with_2_and_a_message(project, monkeypatch, capsys, arguments, message):
    code, _, err = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ParameterError("x"), 2),
        (ContractError("x"), 3),
        (PrivacyError("x"), 4),
        (LockedError("x"), 75),
        (KeyboardInterrupt(), 130),
        (PermissionError(13, "Permission denied", "reports"), 74),
        (RuntimeError("IO Error: No space left on device"), 74),
        (RuntimeError("x"), 1),
    ],
)
def test_every_error_has_its_exit_code_and_no_traceback(project, monkeypatch, capsys, error, code):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("cjlib.runs.run.report", fail)
    ended, _, err = run(monkeypatch, capsys, "report", "tiny")
    assert ended == code
    assert err.lstrip().startswith("cj: ")
    assert "Traceback" not in err


ENDLESS = """
from cjlib import cli
from cjlib.dataset import connect, load_dataset

@cli.cli.command()
def wait():
    con = connect(load_dataset("tiny"))
    print("begins", flush=True)
    con.raw_sql("SELECT count(*) FROM range(1000000000000) AS r WHERE r.range % 7 = 3")

cli.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_query_can_be_interrupted(project, number):
    command = [sys.executable, "-c", ENDLESS, "wait"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(
        command, cwd=project, env=os.environ | {"PYTHONPATH": str(ROOT)}, **options
    )
    assert process.stdout.readline() == "begins\n"
    time.sleep(0.5)
    process.send_signal(number)
    assert process.wait(timeout=20) == 128 + number
    assert "interrupted; nothing was published" in process.stderr.read()


def test_another_folder_can_be_named(project, monkeypatch, capsys, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    code, _, _ = run(monkeypatch, capsys, "check", "tiny")
    assert code == 2
    code, out, _ = run(monkeypatch, capsys, "-C", str(project), "check", "tiny")
    assert code == 0
    assert "kept" in out


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_the_notebook_and_its_cell(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with cli.watch() as progress:
        progress.begin(12)
        time.sleep(0.2)
        progress.cell("01_event_log", 3, "Who came?")
        progress.ended(Outcome("01_event_log", 0, 1.23))
        shown = sys.stderr.getvalue()
    assert "01_event_log · cell 3 · Who came?" in shown
    assert "25%" in shown
    assert "01_event_log done in 1.2 s" in shown


def test_elsewhere_there_is_one_line_a_notebook(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with cli.watch() as progress:
        progress.cell("01_event_log", 3, "Who came?")
        progress.ended(Outcome("01_event_log", 1, 1.23))
        assert sys.stderr.getvalue() == "01_event_log failed in 1.2 s\n"
