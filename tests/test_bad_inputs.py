"""Thousands of damaged files: each ends in a log whose counts add up, or in a clear error."""

import os
import sys

import pytest

from cjlib.cli import main
from cjlib.dataset import load_dataset
from cjlib.errors import CjlibError
from cjlib.log import Log, open_log
from cjlib.reading.sources import _text_to_parquet
from tests.mutations import DATASET, HEADER, count_records, mutated, packed

pq = pytest.importorskip("pyarrow.parquet")
FILES = 3_000


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "bad.yml"
    path.write_text(DATASET, encoding="utf-8")
    return path


def write_mutated(folder, seed):
    """Write a damaged file; return its path and the number of records that one may find in it."""
    data, pack = mutated(seed)
    path = folder / (f"{seed}.csv.gz" if pack else f"{seed}.csv")
    path.write_bytes(packed(data, seed) if pack else data)
    return path, data


def assert_adds_up(log: Log) -> None:
    rows = log.rows
    assert rows["read"] == rows["kept"] + rows["quarantined"] + rows["duplicates"]
    assert log.quarantine.count().execute() == rows["quarantined"]
    assert log.events.count().execute() == rows["kept"]
    read, *parts = log.quality["rows"].tolist()
    assert read == rows["read"] == sum(parts)


def assert_clear(error: CjlibError) -> None:
    assert error.exit_code in (2, 3)
    assert len(str(error)) > 20
    assert "Traceback" not in str(error)


def whole_way(dataset, source) -> Log | None:
    """Open a log as a run does; return None where it ends in a clear error."""
    try:
        log = open_log(dataset, source=str(source))
    except CjlibError as error:
        assert_clear(error)
        if hasattr(error, "rows"):
            rows = error.rows
            assert rows["read"] == rows["kept"] + rows["quarantined"] + rows["duplicates"]
            kept = pq.read_metadata(error.folder / "events.parquet").num_rows
            broken = pq.read_metadata(error.folder / "quarantine.parquet").num_rows
            assert (kept, broken) == (rows["kept"], rows["quarantined"])
        return None
    assert_adds_up(log)
    return log


@pytest.mark.slow
def test_thousands_of_damaged_files_are_read_whole_or_refused(tmp_path, dataset):
    """Each file alone to its records, counted anew; then all of them the whole way, in hundreds."""
    described = load_dataset(dataset)
    records, refused = {}, 0
    for seed in range(FILES):
        path, data = write_mutated(tmp_path, seed)
        try:
            _text_to_parquet([path], described, tmp_path / "raw.parquet", lambda rows: None)
        except CjlibError as error:
            assert_clear(error)
            refused += 1
            path.unlink()
            continue
        raw = pq.read_table(tmp_path / "raw.parquet")
        names = [name for name in raw.column_names if not name.startswith("_")]
        assert raw.num_rows == count_records(data, len(names)), f"seed {seed}"
        records[path] = (raw.num_rows, frozenset(names))
    assert 0.02 * FILES < refused < 0.4 * FILES

    same = [path for path, (_, names) in records.items() if names == set(HEADER.split(","))]
    for start in range(0, len(same), 200):
        folder = tmp_path / f"batch{start}"
        folder.mkdir()
        batch = [path.rename(folder / path.name) for path in same[start : start + 200]]
        for ending in (".csv", ".csv.gz"):
            those = [path for path in batch if path.name.endswith(ending)]
            log = whole_way(dataset, folder / f"*{ending}")
            assert log.rows["read"] == sum(records[tmp_path / path.name][0] for path in those)


@pytest.mark.slow
def test_damaged_files_one_by_one_the_whole_way(tmp_path, dataset):
    logs, files = 0, int(os.environ.get("CJ_TEST_FILES", "40"))  # 3000 by hand
    for seed in range(FILES, FILES + files):
        path, data = write_mutated(tmp_path, seed)
        log = whole_way(dataset, path)
        if log is not None:
            logs += 1
            quarantine = log.quarantine.limit(0).execute()
            assert log.rows["read"] == count_records(data, quarantine.shape[1] - 4)
    assert logs > files / 2


def bad_paths(folder):
    """Return what may stand where a log is expected, with the exit code that it ends in."""
    sound = "\n".join([HEADER, "u1,2024-05-01 10:00,buy,web,1,5,e1", ""])
    files = {
        "sound.csv": (sound.encode(), 0),
        "empty.csv": (b"", 3),
        "header.csv": (HEADER.encode() + b"\n", 3),
        "other.csv": (b"a,b\n1,2\n", 2),
        "noise.csv": (bytes(range(256)) * 9, 3),
        "torn.csv.gz": (packed(sound.encode(), 0)[:20], 3),
        "text.csv.gz": (sound.encode(), 3),
        "text.parquet": (sound.encode(), 3),
        "none_kept.csv": (sound.replace("buy", "bye").encode(), 3),
        "program.exe": (b"MZ", 2),
    }
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    (folder / "folder.csv").mkdir()
    (folder / "dangling.csv").symlink_to(folder / "nowhere")
    codes = {name: code for name, (_, code) in files.items()}
    return codes | {"folder.csv": 2, "dangling.csv": 2, "missing.csv": 2, "no*match.csv": 2}


@pytest.mark.slow
def test_the_command_line_ends_with_the_code_that_says_what_is_wrong(
    tmp_path, dataset, monkeypatch, capsys
):
    for name, code in bad_paths(tmp_path).items():
        monkeypatch.setattr(
            sys, "argv", ["cj", "check", str(dataset), "--source", str(tmp_path / name)]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr().err
        assert (name, ended.value.code) == (name, code), told
        assert "Traceback" not in told
        assert "unexpected" not in told
        assert code == 0 or name.replace("none_kept.csv", "bad") in told
