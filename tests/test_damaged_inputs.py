"""Damaged dataset files, Parquet, parameters and file names: a clear error, never a defect."""

import os
import random

import pytest

from cjlib.dataset import load_dataset
from cjlib.errors import CjlibError, ParameterError
from cjlib.log import open_log
from cjlib.runs.plan import Request, make_plan
from cjlib.runs.run import report
from tests.conftest import ROOT
from tests.mutations import DATASET, HEADER, ODD_FIELDS, mutated, sound_rows
from tests.test_bad_inputs import assert_clear, whole_way

pd = pytest.importorskip("pandas")
TIMES = int(os.environ.get("CJ_TEST_DAMAGED", "1"))
"""How many times as many as in every run of the tests, by hand."""
ODD_YAML = [
    *("~", "[]", "{}", "[[[[", "&a [*a]", "*b", "!!python/object:os.system x", "? x", "- -", "%"),
    *(
        "1e999",
        "0x7fffffffffffffff",
        ".inf",
        ".nan",
        "2024-02-30",
        "9" * 400,
        "-0",
        "yes",
        "|",
        ">",
    ),
    *("'", '"', "{a: {b: {c: 1}}}", "[1, [2]]", "1 day", "-3 days", "\t", "# x", "\x07", "\ud800"),
]


def sound_csv(seed: int) -> str:
    rows = [",".join(row) for row in sound_rows(random.Random(seed))]
    return "\n".join([HEADER, *rows, ""])


def damaged_yaml(rng: random.Random) -> bytes:
    """Return the text of a dataset file after one to three mishaps."""
    lines = DATASET.strip().splitlines()
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        match rng.randrange(7):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, rng.choice(lines))
            case 2:
                lines[at] = lines[at].partition(":")[0] + ": " + rng.choice(ODD_YAML)
            case 3:
                lines[at] = rng.choice(ODD_YAML) + ": " + lines[at].partition(":")[2]
            case 4:
                lines[at] = " " * rng.randint(0, 9) + lines[at].strip()
            case 5:
                lines[at] = lines[at].replace(rng.choice(lines[at] or " "), rng.choice(ODD_FIELDS))
            case _:
                lines = lines[: at + 1]
        lines = lines or [""]
    content = bytearray("\n".join(lines).encode("utf-8", "surrogatepass"))
    if rng.random() < 0.2 and content:
        content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content)


@pytest.mark.slow
def test_damaged_dataset_files_are_read_or_refused(tmp_path):
    read, number = 0, 3_000 * TIMES
    for seed in range(number):
        path = tmp_path / "bad.yml"
        path.write_bytes(damaged_yaml(random.Random(seed)))
        try:
            load_dataset(path)
            read += 1
        except CjlibError as error:
            assert_clear(error)
    assert 0.02 * number < read < 0.9 * number


@pytest.mark.slow
def test_damaged_parquet_files_are_read_whole_or_refused(tmp_path):
    dataset = tmp_path / "bad.yml"
    dataset.write_text(DATASET)
    path, read, number = tmp_path / "log.parquet", 0, 40 * TIMES
    for seed in range(number):
        rng = random.Random(seed)
        (tmp_path / "log.csv").write_text(sound_csv(seed))
        frame = pd.read_csv(tmp_path / "log.csv", dtype=None if seed % 2 else str)
        frame.to_parquet(path, compression=rng.choice(["snappy", "gzip", None]))
        content = bytearray(path.read_bytes())
        for _ in range(rng.choice([0, 1, 1, 5, 40])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content[: rng.choice([len(content), len(content), rng.randrange(999)])])
        read += whole_way(dataset, path) is not None
    assert 0.1 * number < read < 0.9 * number


@pytest.mark.slow
def test_odd_parameters_are_read_or_refused_before_anything_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    plan = make_plan(Request("demo"), ROOT / "notebooks")
    names = sorted({name for given in plan.parameters.values() for name in given})
    taken, number = 0, 500 * TIMES
    for seed in range(number):
        rng = random.Random(seed)
        name = rng.choice(names)
        name = name if rng.random() < 0.9 else name[:-1]
        value = rng.choice([*ODD_FIELDS, *ODD_YAML, "0", "-1", "1", "0.5", "true", "90 days"])
        request = Request("demo", parameters=(f"{name}={value}",))
        try:
            make_plan(request, ROOT / "notebooks")
            taken += 1
        except ParameterError as error:
            assert_clear(error)
    assert 0.05 * number < taken < 0.9 * number


@pytest.mark.slow
def test_files_of_any_name_are_read_or_refused(tmp_path):
    letters = [*"ab é'\"[]{}*?!$&;,=#%\\:~-+@|<>`^()", "\n", "\t", "\u202e", "\udc80", "👩", "\x01"]
    for seed in range(30 * TIMES):
        rng = random.Random(seed)
        name = "".join(rng.choices(letters, k=rng.randint(1, 12)))
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        try:
            (folder / f"{name}.csv").write_text(sound_csv(seed))
            (folder / "bad.yml").write_text(DATASET)
            log = open_log(folder / "bad.yml", source=str(folder / f"{name}.csv"))
            assert log.rows["read"] == sound_csv(seed).count("\n") - 1
        except CjlibError as error:
            assert_clear(error)


@pytest.mark.slow
def test_damaged_logs_make_whole_reports_or_none(tmp_path, monkeypatch):
    """Those that can be read at all go through every notebook."""
    monkeypatch.chdir(ROOT)
    (tmp_path / "bad.yml").write_text(DATASET)
    made = seed = 0
    while made < TIMES:
        seed += 1
        (tmp_path / "log.csv").write_bytes(mutated(seed)[0])
        if whole_way(tmp_path / "bad.yml", tmp_path / "log.csv") is None:
            continue
        done = report(Request(str(tmp_path / "bad.yml"), out=tmp_path / "reports"))
        assert (done.folder / "index.html").exists()
        made += 1
