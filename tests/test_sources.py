"""One log in every form that a source may take gives the same events."""

import gzip

import duckdb
import ibis
import pandas as pd
import pytest

from cjlib.dataset import load_dataset
from cjlib.errors import ContractError, ParameterError
from cjlib.log import open_log
from cjlib.reading.sources import fingerprint, table_fingerprint

ROWS = [
    ("007", "2024-05-01 10:00:00", "view", "web", "1.5"),
    ("u2", "2024-05-01 10:00:00", "view", "app", None),
    ("007", "2024-07-02 00:30:00", "buy", "store", "20.0"),
    ("u2", "2024-12-03 23:59:59", "buy", "web", "3.25"),
]
NAMES = ["user", "at", "event", "channel", "amount"]
DATASET = """
name: shop
source: {source}
{more}
columns:
  customer_id: user
  timestamp: {{column: at, timezone: Europe/Madrid}}
  touchpoint: event
  channel: channel
  value: amount
touchpoints:
  view: {{stage: awareness}}
  buy: {{stage: purchase}}
journey: {{inactivity: 30 days, purchase: buy}}
"""
UTC = ["2024-05-01 08:00:00", "2024-05-01 08:00:00", "2024-07-01 22:30:00", "2024-12-03 22:59:59"]
EXPECTED = [
    (user, pd.Timestamp(at), event, channel, amount and float(amount))
    for (user, _, event, channel, amount), at in zip(ROWS, UTC, strict=True)
]


def opened(folder, source, more="", tables=""):
    (folder / "shop.yml").write_text(DATASET.format(source=source, more=more), encoding="utf-8")
    return open_log(folder / "shop.yml", source=tables)


def events(log):
    """Return the events of a log as tuples, in an order that no source decides."""
    columns = ["customer_id", "timestamp", "touchpoint", "channel", "value"]
    frame = log.events.order_by("timestamp", "customer_id").execute()[columns]
    frame = frame.astype(object).where(frame.notna(), None)
    return list(frame.itertuples(index=False, name=None))


def text(delimiter=",", names=NAMES, rows=ROWS):
    places = [NAMES.index(name) for name in names]
    lines = [names, *([row[place] or "" for place in places] for row in rows)]
    return "".join(delimiter.join(line) + "\n" for line in lines)


@pytest.mark.parametrize(
    ("name", "delimiter", "more"),
    [
        ("log.csv", ",", ""),
        ("log.csv.gz", ",", ""),
        ("log.csv", ";", 'delimiter: ";"'),
        ("log.tsv", "\t", "delimiter: tab"),
    ],
)
def test_delimited_text_plain_or_packed_gives_the_events(tmp_path, name, delimiter, more):
    content = text(delimiter).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    log = opened(tmp_path, name, more)
    assert events(log) == EXPECTED
    assert log.sources[0]["rows"] == 4


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_told_by_their_mark_or_declared(tmp_path, encoding):
    (tmp_path / "log.csv").write_bytes(text().replace("web", "café €").encode(encoding))
    log = opened(tmp_path, "log.csv", "encoding: cp1252" if encoding == "cp1252" else "")
    assert [row[3] for row in events(log)] == ["café €", "app", "store", "café €"]


def test_a_file_without_header_separated_by_blanks_takes_its_names_from_the_dataset_file(tmp_path):
    lines = [f"  {user}   {at.replace(' ', 'T')} {event} {c} 1\n" for user, at, event, c, _ in ROWS]
    (tmp_path / "log.txt").write_text("".join(lines))
    log = opened(tmp_path, "log.txt", f"delimiter: whitespace\nheader: {NAMES}".replace("'", ""))
    assert [row[:4] for row in events(log)] == [row[:4] for row in EXPECTED]


def test_several_files_are_one_log_whatever_the_order_of_their_columns(tmp_path):
    (tmp_path / "part1.csv").write_text(text(rows=ROWS[:2]))
    (tmp_path / "part2.csv").write_text(text(names=NAMES[::-1], rows=[*ROWS[2:], ("x",) * 5]))
    log = opened(tmp_path, "part*.csv", "quality: {max_quarantined: 50%}")
    assert events(log) == EXPECTED
    place = log.quarantine.execute()[["file", "line"]].to_numpy().tolist()
    assert place == [["part2.csv", 4]]
    assert [source["name"] for source in log.sources] == ["part1.csv", "part2.csv"]


def test_files_with_other_columns_are_refused(tmp_path):
    (tmp_path / "part1.csv").write_text(text())
    (tmp_path / "part2.csv").write_text(text().replace("channel", "medium", 1))
    with pytest.raises(ContractError, match="'channel'"):
        opened(tmp_path, "part*.csv")


@pytest.mark.parametrize("zone", [None, "Europe/Madrid"])
def test_parquet_with_times_as_such_gives_the_events(tmp_path, zone):
    frame = pd.DataFrame(ROWS, columns=NAMES)
    frame["at"] = pd.to_datetime(frame["at"]).dt.tz_localize(zone)
    frame["amount"] = frame["amount"].astype(float)
    frame.to_parquet(tmp_path / "log.parquet")
    log = opened(tmp_path, "log.parquet")
    assert events(log) == EXPECTED


def test_a_column_with_a_name_of_ours_in_parquet_is_not_taken_for_ours(tmp_path):
    frame = pd.DataFrame(ROWS, columns=NAMES).assign(_problem="none", _row=1)
    frame.to_parquet(tmp_path / "log.parquet")
    assert events(opened(tmp_path, "log.parquet")) == EXPECTED


def test_the_quarantine_of_parquet_names_file_and_row(tmp_path):
    rows = [*ROWS, ("u9", "never", "view", "web", "1")]
    pd.DataFrame(rows, columns=NAMES).to_parquet(tmp_path / "log.parquet")
    log = opened(tmp_path, "log.parquet", "quality: {max_quarantined: 50%}")
    place = log.quarantine.execute()[["file", "line", "rule"]].to_numpy().tolist()
    assert place == [["log.parquet", 5, "unreadable_time"]]


def test_sql_builds_the_log_from_tables_that_may_lie_in_another_folder(tmp_path):
    tables = tmp_path / "elsewhere"
    tables.mkdir()
    (tables / "visits.csv").write_text(text(rows=ROWS[:2]))
    (tables / "orders.csv").write_text(text(rows=ROWS[2:]))
    query = " UNION ALL ".join(
        f"SELECT * FROM read_csv('{name}.csv', all_varchar = true)" for name in ("visits", "orders")
    )
    (tmp_path / "log.sql").write_text(query + ";\n")
    log = opened(tmp_path, "log.sql", tables=str(tables))
    assert events(log) == EXPECTED
    assert [source["name"] for source in log.sources] == ["log.sql", "orders.csv", "visits.csv"]
    with pytest.raises(ParameterError, match="the SQL fails"):
        opened(tmp_path, "log.sql")


def test_a_table_of_an_engine_gives_the_events(tmp_path):
    with duckdb.connect(str(tmp_path / "company.duckdb")) as con:
        frame = pd.DataFrame(ROWS, columns=NAMES)  # noqa: F841 - read by the SQL
        con.sql("CREATE TABLE touches AS SELECT * FROM frame")
    log = opened(tmp_path, "touches", f"engine: duckdb://{tmp_path}/company.duckdb")
    assert events(log) == EXPECTED
    with duckdb.connect(str(tmp_path / "company.duckdb")) as con:
        con.sql("UPDATE touches SET event = 'view'")
    log = opened(tmp_path, "touches", f"engine: duckdb://{tmp_path}/company.duckdb")
    assert {row[2] for row in events(log)} == {"view"}
    with pytest.raises(ParameterError, match="'touchs' is neither a file"):
        opened(tmp_path, "touchs", f"engine: duckdb://{tmp_path}/company.duckdb")


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path):
    (tmp_path / "log.csv").write_text(text(";"))
    with pytest.raises(ParameterError, match=r"no column 'user'.*is the delimiter ',' right"):
        opened(tmp_path, "log.csv")
    (tmp_path / "log.csv").write_text(text().replace("channel", "_row", 1))
    with pytest.raises(ContractError, match="'_row' has a name of ours"):
        opened(tmp_path, "log.csv")


def test_attributes_of_customers_come_with_the_log_and_one_row_each(tmp_path):
    (tmp_path / "log.csv").write_text(text())
    more = "customers: {source: people.csv, columns: {customer_id: id, country: land}}"
    (tmp_path / "people.csv").write_text("id,land,age\n007,ES,30\nu2,AD,31\n")
    log = opened(tmp_path, "log.csv", more)
    found = log.customers.order_by("customer_id").execute()
    assert found[["customer_id", "country"]].to_numpy().tolist() == [["007", "ES"], ["u2", "AD"]]
    (tmp_path / "people.csv").write_text("id,land\n007,ES\n007,AD\n")
    with pytest.raises(ContractError, match="more than one row"):
        opened(tmp_path, "log.csv", more)
    (tmp_path / "people.csv").write_text("id,country\n007,ES\n")
    with pytest.raises(ParameterError, match=r"customers\.columns\.country"):
        opened(tmp_path, "log.csv", more)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, ParameterError),
        (b"", ParameterError),
        (b'id,land\n007,ES,30,1,2\nu2\n"u3', ParameterError),
        (b"id,land\n" + b"".join(b"%d,ES\n" % i for i in range(60_000)) + b"u2\n", ContractError),
        (bytes(range(256)) * 9, ContractError),
    ],
    ids=["missing", "empty", "ragged", "ragged late", "noise"],
)
def test_a_table_of_customers_that_cannot_be_read_is_named(tmp_path, content, error):
    (tmp_path / "log.csv").write_text(text())
    if content is not None:
        (tmp_path / "people.csv").write_bytes(content)
    more = "customers: {source: people.csv, columns: {customer_id: id, country: land}}"
    with pytest.raises(error, match=r"people\.csv"):
        opened(tmp_path, "log.csv", more)


def test_endings_count_whatever_their_case(tmp_path):
    (tmp_path / "LOG.CSV").write_text(text())
    with gzip.open(tmp_path / "LOG.CSV.GZ", "wt") as stream:
        stream.write(text())
    assert events(opened(tmp_path, "LOG.CSV")) == events(opened(tmp_path, "LOG.CSV.GZ")) != []


def test_sql_that_fails_says_what_is_wrong_with_it(tmp_path):
    (tmp_path / "log.sql").write_text("SELECT * FROM nowhere")
    with pytest.raises(ParameterError, match=r"log\.sql: the SQL fails: .*nowhere does not exist"):
        opened(tmp_path, "log.sql")


def test_the_hint_at_the_delimiter_comes_only_where_everything_is_one_column(tmp_path):
    (tmp_path / "log.csv").write_text(text().replace("user", "client", 1))
    with pytest.raises(
        ParameterError, match=r"no column 'user'.*Its columns: 'client', 'at'"
    ) as told:
        opened(tmp_path, "log.csv")
    assert "is the delimiter" not in str(told.value)


@pytest.mark.parametrize("header", [True, False])
def test_a_quarantined_line_has_the_number_an_editor_shows(tmp_path, header):
    rows = [*ROWS[:2], ("x", "never", "view", "web", "1"), *ROWS[2:]]
    lines = text(rows=rows).splitlines(keepends=True)
    (tmp_path / "log.csv").write_text("".join(lines if header else lines[1:]))
    more = "" if header else f"header: {NAMES}".replace("'", "")
    log = opened(tmp_path, "log.csv", more + "\nquality: {max_quarantined: 50%}")
    assert log.quarantine.execute()["line"].tolist() == [4 if header else 3]
    assert events(log) == EXPECTED


def test_rows_of_several_files_keep_their_order_when_times_are_equal(tmp_path):
    rows = [("u", "2024-05-01 10:00:00", "view", str(place), "1") for place in range(6)]
    (tmp_path / "part1.csv").write_text(text(rows=rows[:3]))
    (tmp_path / "part2.csv").write_text(text(rows=rows[3:]))
    log = opened(tmp_path, "part*.csv")
    found = log.events.order_by("timestamp", "line").execute()
    assert found["channel"].tolist() == ["0", "1", "2", "3", "4", "5"]
    assert found["line"].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("content", ["", "\n", "user,at,event,channel,amount\n"])
def test_a_file_without_an_event_is_refused(tmp_path, content):
    (tmp_path / "log.csv").write_text(content)
    with pytest.raises(ContractError, match=r"log\.csv: (is empty|has a header and no events)"):
        opened(tmp_path, "log.csv")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["user", "AT", "at", "event", "channel", "amount"], "column '(AT|at)' stands twice"),
        (["user", "at", "event", "channel", "amount", "_Line"], "'_Line' has a name of ours"),
    ],
)
def test_columns_that_an_engine_would_take_for_one_another_are_refused(tmp_path, names, told):
    (tmp_path / "log.csv").write_text(",".join(names) + "\n" + "x," * 5 + "x\n")
    with pytest.raises(ContractError, match=told):
        opened(tmp_path, "log.csv")


def test_a_column_without_a_name_is_called_by_its_place(tmp_path):
    lines = text().splitlines()
    (tmp_path / "log.csv").write_text("\n".join(line + "," for line in [*lines, "x,,,,"]) + "\n")
    log = opened(tmp_path, "log.csv", "quality: {max_quarantined: 50%}")
    assert events(log) == EXPECTED
    assert list(log.quarantine.columns)[4:] == [*NAMES, "column_6"]


def test_a_torn_gzip_file_is_named(tmp_path):
    packed = gzip.compress(text().encode())
    for torn in (packed[:-9], packed[:40] + b"\0\0\0\0" + packed[44:]):
        (tmp_path / "log.csv.gz").write_bytes(torn)
        with pytest.raises(ContractError, match=r"log\.csv\.gz: is no whole gzip file"):
            opened(tmp_path, "log.csv.gz")


def test_the_fingerprint_of_a_table_is_that_of_its_rows_in_any_order(tmp_path):
    (tmp_path / "shop.yml").write_text(DATASET.format(source="touches", more="engine: duckdb"))
    dataset = load_dataset(tmp_path / "shop.yml")

    def of(rows, names=NAMES):
        con = ibis.duckdb.connect()
        con.create_table("touches", pd.DataFrame(rows, columns=names))
        return table_fingerprint(con, dataset)

    whole = of(ROWS)
    assert of(ROWS[::-1]) == whole
    others = [
        of(ROWS[:3]),
        of([*ROWS, ROWS[0]]),
        of([*ROWS[:3], (*ROWS[3][:4], "3.26")]),
        of([*ROWS[:3], (*ROWS[3][:3], "we", "b3.25")]),
        of(ROWS, [*NAMES[:4], "price"]),
    ]
    assert len({whole, *others}) == 6


def test_the_fingerprint_of_a_file_is_its_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # the example of FIPS 180
    assert fingerprint(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_a_table_of_customers_that_breaks_off_is_told_by_its_line(tmp_path):
    (tmp_path / "log.csv").write_text(text())
    (tmp_path / "people.csv").write_text("id,land\n" + "007,ES\n" * 60_000 + "u2\n")
    more = "customers: {source: people.csv, columns: {customer_id: id, country: land}}"
    with pytest.raises(ContractError, match=r"people\.csv: .*CSV Error on Line: 60002"):
        opened(tmp_path, "log.csv", more)
