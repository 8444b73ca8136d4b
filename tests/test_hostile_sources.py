"""What a source, a path, a query or a dataset file may hold to mislead or break the reader.

Each ends in the events of the file that was named, or with its own exit code and a remedy.
"""

import gzip
import io
import sys
import time

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cjlib.cli import main
from cjlib.log import open_log

DATASET = """
name: shop
source: {source}
{more}
columns:
  customer_id: user
  timestamp: {{column: at, timezone: UTC{form}}}
  touchpoint: event
touchpoints:
  buy: {{stage: purchase}}
journey: {{inactivity: 30 days, purchase: buy}}
"""
TEXT = "user,at,event\n{user},2024-05-01,buy\n"


def write(folder, source="log.csv", more="", form=""):
    """Write a dataset file."""
    path = folder / "shop.yml"
    path.write_text(DATASET.format(source=source, more=more, form=form), encoding="utf-8")
    return path


def cj(monkeypatch, capsys, *arguments):
    """Return the exit code and the errors of a command; it is never a defect."""
    monkeypatch.setattr(sys, "argv", ["cj", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert "defect" not in told, told.encode("utf-8", "backslashreplace")
    assert "Traceback" not in told
    return ended.value.code, told


def customers(dataset, source=""):
    return sorted(open_log(dataset, source=source).events.execute()["customer_id"])


# -- the file that was named -----------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("named", "others"),
    [
        ("shop[1].{}", ["shop1.{}"]),
        ("a*b.{}", ["axb.{}", "ab.{}"]),
        ("a?b.{}", ["axb.{}"]),
        ("p[1]/log.{}", ["p1/log.{}"]),
        ("p*/log.{}", ["pq/log.{}"]),
    ],
)
def test_the_file_of_the_very_name_is_read_and_no_folder_is_a_pattern(
    tmp_path, named, others, ending
):
    for name in (named, *others):
        path = tmp_path / name.format(ending)
        path.parent.mkdir(exist_ok=True)
        text = TEXT.format(user="right" if name == named else "wrong")
        if ending == "csv":
            path.write_text(text)
        else:
            pd.read_csv(io.StringIO(text)).to_parquet(path)
    dataset = write(tmp_path)
    source = tmp_path / named.format(ending)
    assert customers(dataset, str(source)) == ["right"]
    source.unlink()
    if "/" not in named and "[" not in named:  # then it is a pattern, as documented
        assert set(customers(dataset, str(source))) == {"wrong"}


def test_prepared_logs_in_a_folder_like_a_pattern_are_its_own(tmp_path):
    for name in ("d[1]", "d1", "d*", "d'q", "d,e"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "log.csv").write_text(TEXT.format(user=f'"of {name}"'))
        (folder / "people.csv").write_text(f'id,land\n"of {name}","{name}"\n')
        (folder / "log.sql").write_text("SELECT * FROM read_csv('log.csv', all_varchar = true)")
    for name in ("d[1]", "d1", "d*", "d'q", "d,e"):
        more = "customers: {source: people.csv, columns: {customer_id: id, land: land}}"
        log = open_log(write(tmp_path / name, more=more))
        assert log.events.execute()["customer_id"].tolist() == [f"of {name}"]
        assert log.customers.execute()["land"].tolist() == [name]
        assert customers(write(tmp_path / name, "log.sql")) == [f"of {name}"]


@pytest.mark.parametrize("name", ["a\"'; COPY (SELECT 1) TO 'out.csv' --", "a\\b", "a\nb"])
def test_a_folder_whose_name_cannot_be_quoted_is_refused(tmp_path, monkeypatch, capsys, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "log.csv").write_text(TEXT.format(user="u"))
    (folder / "log.sql").write_text("SELECT * FROM 'log.csv'")
    monkeypatch.chdir(tmp_path)
    for source in ("log.csv", "log.sql"):
        code, told = cj(monkeypatch, capsys, "check", write(folder, source))
        assert code == 2
        assert "Rename the folder" in told
    assert not (tmp_path / "out.csv").exists()


# -- paths -----------------------------------------------------------------------------------------

PATHS = ["~nosuchuser/log.csv", "x" * 5_000 + ".csv", "/".join(["y" * 200] * 30) + ".csv"]


@pytest.mark.parametrize(
    "path", [*PATHS, "a\0b.csv", "\udc80\ud800.csv"], ids=["~", "name", "path", "NUL", "half"]
)
def test_paths_that_can_name_no_file_end_with_2(tmp_path, monkeypatch, capsys, path):
    dataset = write(tmp_path)
    assert cj(monkeypatch, capsys, "check", dataset, "--source", path)[0] == 2
    assert cj(monkeypatch, capsys, "new", path, "--out", tmp_path / "new.yml")[0] == 2
    assert cj(monkeypatch, capsys, "check", path)[0] == 2


@pytest.mark.parametrize("path", PATHS, ids=["~", "name", "path"])
def test_such_paths_in_a_dataset_file_too(tmp_path, monkeypatch, capsys, path):
    (tmp_path / "log.csv").write_text(TEXT.format(user="u"))
    (tmp_path / "log.sql").write_text("SELECT 1")
    more = f"customers: {{source: '{path}', columns: {{customer_id: id}}}}"
    for dataset in (
        lambda: write(tmp_path, f"'{path}'"),
        lambda: write(tmp_path, more=more),
        lambda: write(tmp_path, "log.sql", f"tables: '{path}'"),
    ):
        assert cj(monkeypatch, capsys, "check", dataset())[0] == 2


# -- queries ---------------------------------------------------------------------------------------

OUTSIDE = "'a', '2024-01-01', content FROM read_text('{}')"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1; SELECT 2",
        "COPY (SELECT 1) TO 'out.csv'",
        "CREATE TABLE x AS SELECT 1",
        "SET threads = 1",
        "INSTALL httpfs",
        "",
        "-- nothing",
        "SELECT * FROM read_text('../secret.txt')",
        "SELECT * FROM read_text('{outside}')",
        "SELECT * FROM read_csv('https://example.com/a.csv')",
        "SELECT * FROM glob('/etc/*')",
        "ATTACH 'x.db'",
        "SELECT a, a FROM (SELECT 1 AS a)",
        "SELECT",
        b"SELECT '\xff'",
    ],
)
def test_a_query_is_one_select_that_reads_its_folder_alone(tmp_path, monkeypatch, capsys, query):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    if isinstance(query, str):
        query = query.format(outside=tmp_path / "secret.txt").encode()
    (folder / "log.sql").write_bytes(query)
    dataset = write(folder, "log.sql")
    before = sorted(folder.iterdir())
    code, told = cj(monkeypatch, capsys, "check", dataset)
    assert code == 2, told
    assert "secret" not in told.replace("secret.txt", "")
    assert cj(monkeypatch, capsys, "new", folder / "log.sql", "--out", folder / "n.yml")[0] == 2
    assert sorted(set(folder.iterdir()) - {folder / "prepared"}) == before


def test_a_query_finds_its_tables_in_the_folder_that_the_dataset_file_names(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "log.csv").write_text(TEXT.format(user="u"))
    (tmp_path / "log.sql").write_text("SELECT * FROM read_csv('log.csv', all_varchar = true) -- x")
    log = open_log(write(tmp_path, "log.sql", "tables: raw"))
    assert [source["name"] for source in log.sources] == ["log.sql", "log.csv"]
    assert log.rows["kept"] == 1


# -- dataset files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        "currency: &a EUR\nlanguage: *a",
        'currency: "\\ud800"',
        'currency: "\\0"',
        "as_of: NaT",
        "churn: {horizon: NaT}",
        "churn: {horizon: 1e300 days}",
        "? [a, b]\n: c",
        *(f"encoding: {name}" for name in ("utf-9", "utf 88", "hex", "undefined", "rot13")),
    ],
)
def test_a_dataset_file_that_means_nothing_ends_with_2(tmp_path, monkeypatch, capsys, more):
    (tmp_path / "log.csv").write_text(TEXT.format(user="u"))
    code, told = cj(monkeypatch, capsys, "check", write(tmp_path, more=more))
    assert (code, "shop.yml" in told) == (2, True), told


def test_nested_aliases_are_refused_at_once(tmp_path, monkeypatch, capsys):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    start = time.monotonic()
    assert cj(monkeypatch, capsys, "check", write(tmp_path, more="\n".join(lines)))[0] == 2
    assert time.monotonic() - start < 5


def test_many_keys_take_no_longer_than_their_number(tmp_path, monkeypatch, capsys):
    more = "\n".join(f"k{n}: x" for n in range(20_000))
    start = time.monotonic()
    assert cj(monkeypatch, capsys, "check", write(tmp_path, more=more))[0] == 2
    assert time.monotonic() - start < 30


# -- content ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("filling", [b"x", b"\n", b"u,2024-05-01,buy\n", b'"'])
def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch, capsys, filling):
    path = tmp_path / "log.csv.gz"
    chunk = filling * ((1 << 20) // len(filling))
    with gzip.open(path, "wb", compresslevel=9) as stream:
        stream.write(b"user,at,event\nu,2024-05-01,buy\n")
        for _ in range(80):
            stream.write(chunk)
    assert path.stat().st_size < 1_500_000
    start = time.monotonic()
    code, told = cj(monkeypatch, capsys, "check", write(tmp_path, "log.csv.gz"))
    assert code == 3, told
    assert cj(monkeypatch, capsys, "new", path, "--out", tmp_path / "n.yml")[0] == 3
    assert time.monotonic() - start < 60


def test_a_damaged_page_of_parquet_ends_with_3(tmp_path, monkeypatch, capsys):
    frame = pd.DataFrame({"user": [f"u{n}" for n in range(5_000)], "at": "2024-05-01"})
    path = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_pandas(frame.assign(event="buy")), path, compression="zstd")
    data = bytearray(path.read_bytes())
    data[200:2_000] = bytes(1_800)
    path.write_bytes(data)
    dataset = write(tmp_path, "log.parquet")
    for command in (["check", dataset], ["new", path, "--out", tmp_path / "n.yml"]):
        code, told = cj(monkeypatch, capsys, *command)
        assert (code, "log.parquet" in told) == (3, True), told


@pytest.mark.parametrize("form", ["epoch_s", "epoch_ms"])
def test_an_epoch_out_of_range_is_an_unreadable_time(tmp_path, form):
    moment = "1714550400" + ("000" if form == "epoch_ms" else "")
    rows = [f"u{n},{moment},buy" for n in range(3)] + ["u9,99999999999999,buy"] * 2
    (tmp_path / "log.csv").write_text("\n".join(["user,at,event", *rows, ""]))
    more = "quality: {max_quarantined: 50%, duplicates: keep}"
    log = open_log(write(tmp_path, more=more, form=f", format: {form}"))
    expected = {"unreadable_time"} if form == "epoch_s" else {"time_after_as_of"}
    assert set(log.quarantine.execute()["rule"]) == expected
    assert log.rows == {"read": 5, "kept": 3, "quarantined": 2, "duplicates": 0}


@pytest.mark.parametrize("columns", [600])
def test_hundreds_of_columns_are_read(tmp_path, monkeypatch, capsys, columns):
    names = ",".join(["user", "at", "event", *(f"c{n}" for n in range(columns))])
    rows = [f"u{n % 9},2024-05-{1 + n % 28:02d},buy" + ",x" * columns for n in range(60)]
    (tmp_path / "log.csv").write_text("\n".join([names, *rows, ""]))
    out = tmp_path / "own.yml"
    code, told = cj(monkeypatch, capsys, "new", tmp_path / "log.csv", "--out", out)
    assert code == 0, told
    assert open_log(out).rows["read"] == 60


@pytest.mark.parametrize(
    "rows",
    [
        [",2024-05-01,buy"] * 30,
        ["u,NaT,buy"] * 30,
        ["u,2024-05-01,=1+1"] * 30,
        ["u,2024-05-01"] * 30,
        ["u,99999-05-01,buy"] * 30,
    ],
)
def test_a_log_of_which_no_row_survives_gets_no_draft(tmp_path, monkeypatch, capsys, rows):
    (tmp_path / "log.csv").write_text("\n".join(["user,at,event", *rows, ""]))
    out = tmp_path / "n.yml"
    code, told = cj(monkeypatch, capsys, "new", tmp_path / "log.csv", "--out", out)
    assert (code, "log.csv" in told) == (3, True), told
    assert not out.exists()


def test_a_misspelt_column_ends_with_2_and_the_likely_one(tmp_path, monkeypatch, capsys):
    (tmp_path / "log.csv").write_text(TEXT.format(user="u").replace("user", "usr"))
    code, told = cj(monkeypatch, capsys, "check", write(tmp_path))
    assert code == 2
    assert "names as columns.customer_id; did you mean 'usr'? Its columns: 'usr', 'at'" in told
