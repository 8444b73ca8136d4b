"""Strange logs as a newcomer brings them: `cj new`, `cj check`, and the counts of pandas."""

import json

import duckdb
import pandas as pd
import pytest
from click.testing import CliRunner

from cjlib.cli import cli, main
from cjlib.dataset import load_dataset
from cjlib.log import open_log
from tests.strange_logs import (
    dates_only,
    leads,
    marketplace,
    order_lines,
    process_log,
    tickets,
)
from tests.test_hostile_sources import cj


@pytest.fixture
def drafted(tmp_path, monkeypatch, capsys):
    """Draft and check a log as a newcomer does; return the log, the draft and what was told."""

    def draft(source, *options):
        out = tmp_path / "own.yml"
        code, told = cj(monkeypatch, capsys, "new", source, "--out", out, *options)
        assert code == 0, told
        assert cj(monkeypatch, capsys, "check", out)[0] == 0
        return open_log(out), out.read_text(encoding="utf-8"), told

    return draft


def adds_up(log):
    rows = log.rows
    return rows["read"] == rows["kept"] + rows["quarantined"] + rows["duplicates"]


def test_a_process_log_is_read_by_its_own_names_and_an_event_is_a_completed_step(drafted, tmp_path):
    frame = process_log()
    frame.to_csv(tmp_path / "log.csv", index=False)
    log, text, _ = drafted(tmp_path / "log.csv")
    assert log.dataset.columns.sources == {
        "customer_id": "case:concept:name",
        "timestamp": "time:timestamp",
        "touchpoint": "concept:name",
    }
    whole = frame[frame["lifecycle:transition"] == "COMPLETE"]
    assert log.rows["left_out"] == len(frame) - len(whole) > 0
    assert log.rows["read"] == log.rows["kept"] == len(whole)
    found = log.events.execute()
    expected = whole["concept:name"].value_counts()
    assert found["touchpoint"].value_counts().to_dict() == expected.to_dict()
    first = pd.to_datetime(whole["time:timestamp"], utc=True).dt.tz_localize(None).min()
    assert found["timestamp"].min() == first
    assert "CHECK: rows with START are left out" in text
    assert log.dataset.journey.ends == ["A_DECLINED"]
    visits = log.visits.filter(log.visits["last"]).execute().set_index("customer_id")
    declined = {str(case) for case in whole[whole["concept:name"] == "A_DECLINED"].iloc[:, 0]}
    assert set(visits.index[visits["next_stage"] == "A_DECLINED"]) == declined
    bought = visits.loc[visits.index.difference(declined), "next_stage"].dropna()
    assert set(bought) == {"bought"}


def test_tickets_are_cases_that_may_overlap_and_be_worked_on_after_they_were_closed(
    drafted, tmp_path
):
    frame = tickets()
    frame.to_csv(tmp_path / "log.csv", index=False)
    log, text, _ = drafted(tmp_path / "log.csv")
    assert "journey_id: ticket_id  # CHECK: is each one journey, however long it is silent?" in text
    assert log.dataset.journey.ends == ["ticket_closed"]
    journeys = log.journeys.execute()
    assert len(journeys) == frame["ticket_id"].nunique()
    assert (journeys["events"].sum(), journeys["customer_id"].nunique()) == (
        len(frame),
        frame["customer_no"].nunique(),
    )
    closed = frame[frame["activity"] == "ticket_closed"]["ticket_id"].nunique()
    assert (journeys["end"] == "ticket_closed").sum() == closed
    bought = frame[frame["activity"] == "order_placed"].groupby("ticket_id")["created_at"]
    silent = log.as_of - pd.to_datetime(bought.max()) > log.dataset.journey.inactivity
    assert (journeys["end"] == "bought").sum() == silent.sum()


def test_the_check_warns_of_labels_that_are_customers_ids(tmp_path, monkeypatch, capsys):
    frame = tickets()
    frame["channel"] = frame["customer_no"].where(frame.index < 7, "phone")
    frame.to_csv(tmp_path / "log.csv", index=False)
    out = tmp_path / "own.yml"
    assert cj(monkeypatch, capsys, "new", tmp_path / "log.csv", "--out", out)[0] == 0
    told = CliRunner().invoke(cli, ["check", str(out)])
    number = frame["customer_no"][:7].nunique()
    assert told.exit_code == 0
    assert f"channel: {number} of its texts are customers' ids." in told.output
    assert "touchpoint:" not in told.output


def test_order_lines_are_one_event_an_order_and_refunds_are_returns(drafted, tmp_path):
    frame = order_lines()
    frame.to_csv(tmp_path / "log.csv", index=False)
    log, text, _ = drafted(tmp_path / "log.csv")
    worth = (frame["Quantity"] * frame["UnitPrice"]).groupby(frame["InvoiceNo"]).sum()
    found = log.events.execute()
    assert log.rows == {
        "read": len(frame), "kept": len(frame), "quarantined": 0, "duplicates": 0,
        "events": len(worth),
    }  # fmt: skip
    counts = found["touchpoint"].value_counts().to_dict()
    assert counts == {"purchase": (worth > 0).sum(), "return": (worth < 0).sum()}
    assert sorted(found["value"].round(2)) == pytest.approx(sorted(worth.round(2)))
    assert set(found.loc[found["touchpoint"] == "return", "value"] < 0) == {True}
    assert "order_id: InvoiceNo  # CHECK" in text


def test_order_lines_taken_for_purchases_are_refused_with_the_remedy(
    drafted, tmp_path, monkeypatch, capsys
):
    order_lines().to_csv(tmp_path / "log.csv", index=False)
    _, text, _ = drafted(tmp_path / "log.csv")
    own = tmp_path / "own.yml"
    wrong = "\n".join(line for line in text.splitlines() if "order_id" not in line)
    own.write_text(wrong)
    code, told = cj(monkeypatch, capsys, "check", own)
    assert code == 3
    assert "Write order_id: InvoiceNo under columns of own.yml" in told
    own.write_text(wrong.replace("columns:", "columns:\n  event_id: InvoiceNo"))
    code, told = cj(monkeypatch, capsys, "check", own)
    assert code == 3
    assert "see columns.order_id" in told


def test_a_marked_cancellation_counts_as_negative(tmp_path):
    rows = ["a,2023-01-01,paid,o1,2,3", "a,2023-01-01,paid,o1,1,5", "a,2023-02-01,void,o2,2,3"]
    rows += ["b,2023-01-05,paid,o1,1,7", "b,2023-01-06,paid,,1,7", "b,2023-01-06,paid,,,7"]
    rows += ["b,2023-01-07,paid,o9,x,7"]
    (tmp_path / "log.csv").write_text("\n".join(["who,day,status,order,qty,price", *rows, ""]))
    (tmp_path / "own.yml").write_text("""
name: own
source: log.csv
columns:
  customer_id: who
  timestamp: {column: day, timezone: UTC}
  touchpoint: status
  value: {product: [qty, price], refunds: void}
  order_id: order
touchpoints: {paid: {stage: purchase}, void: {stage: post_sale}}
journey: {inactivity: 30 days, purchase: paid}
quality: {max_quarantined: 50%}
""")
    log = open_log(tmp_path / "own.yml")
    found = log.events.order_by("timestamp", "value").execute()
    assert found[["customer_id", "touchpoint"]].agg(" ".join, axis=1).tolist() == [
        "a paid", "b paid", "b paid", "b paid", "a void",
    ]  # fmt: skip
    assert found["value"].fillna(0).tolist() == [11, 7, 7, 0, -6]
    assert log.rows == {"read": 7, "kept": 6, "quarantined": 1, "duplicates": 0, "events": 5}
    assert log.quarantine.execute()["rule"].tolist() == ["unreadable_value"]


def test_dates_alone_are_purchases(drafted, tmp_path):
    frame = dates_only()
    frame.to_csv(tmp_path / "log.csv", sep=";", index=False)
    log, text, _ = drafted(tmp_path / "log.csv")
    assert (log.rows["kept"], log.rows["read"]) == (len(frame), len(frame))
    assert log.events.customer_id.nunique().execute() == frame["household"].nunique()
    assert "no column is named like what happened (considered: none)" in text


def test_a_table_of_leads_takes_the_lead_for_the_customer(drafted, tmp_path):
    found, _ = leads()
    found.to_csv(tmp_path / "leads.csv", index=False)
    log, text, _ = drafted(tmp_path / "leads.csv")
    columns = log.dataset.columns
    assert (columns.customer_id, columns.channel) == ("mql_id", "origin")
    assert columns.touchpoint.value == "purchase"
    assert "considered: landing_page_id, origin" in text
    assert list(log.dataset.touchpoints) == ["purchase"]
    log, _, _ = drafted(tmp_path / "leads.csv", "--touchpoint", "origin", "--customer", "mql_id")
    expected = found["origin"].value_counts().to_dict()
    assert log.events.execute()["touchpoint"].value_counts().to_dict() == expected


def test_leads_and_deals_in_a_folder_become_one_log(drafted, tmp_path):
    folder = tmp_path / "funnel"
    folder.mkdir()
    found, deals = leads()
    found.to_csv(folder / "leads.csv", index=False)
    deals.to_parquet(folder / "deals.parquet")
    log, _, _ = drafted(folder)
    events = log.events.execute()
    counts = {"first_contact": len(found), "won": len(deals)}
    assert events["touchpoint"].value_counts().to_dict() == counts
    assert set(events["customer_id"]) == set(found["mql_id"])
    assert log.dataset.journey.purchase == ["won"]
    channels = found["origin"].value_counts().to_dict()
    assert events["channel"].value_counts().to_dict() == channels


def test_a_folder_of_tables_is_joined_by_its_keys(drafted, tmp_path):
    folder = tmp_path / "shop [1]"
    folder.mkdir()
    tables = marketplace(folder)
    log, text, _ = drafted(folder)
    orders = tables["orders"].merge(tables["customers"])
    events = log.events.execute()
    assert events["touchpoint"].value_counts().to_dict() == {
        "order_placed": len(orders),
        "order_delivered": (orders["order_delivered_at"] != "").sum(),
        "review_written": len(tables["reviews"]),
    }
    bought = events[events["touchpoint"] == "order_placed"]
    expected = orders["customer_unique_id"].value_counts().to_dict()
    assert bought["customer_id"].value_counts().to_dict() == expected
    assert events["value"].sum() == pytest.approx(tables["payments"]["payment_value"].sum())
    scores = (tables["reviews"]["review_score"] - 3) / 2
    assert events["sentiment"].sum() == pytest.approx(scores.sum())
    assert "tables: " in text
    assert adds_up(log)


# -- forms of files --------------------------------------------------------------------------------

ROWS = [
    {"user": 7, "at": "2024-05-01T10:00:00", "event": "view", "amount": None, "who": {"a": 1}},
    {"user": 7, "at": "2024-05-02T10:00:00", "event": "purchase", "amount": 12.5, "tags": ["a"]},
    {"user": 12345678901234567890, "at": "2024-05-03T10:00:00", "event": "view", "amount": 1e3},
]


@pytest.mark.parametrize("form", ["list.json", "pretty.json", "lines.jsonl", "lines.json"])
def test_json_gives_its_objects_with_numbers_as_written(drafted, tmp_path, form):
    path = tmp_path / form
    if form.startswith("lines"):
        path.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    else:
        path.write_text("\n " + json.dumps(ROWS, indent=2 if form.startswith("pretty") else None))
    log, _, _ = drafted(path)
    events = log.events.order_by("timestamp").execute()
    assert events["customer_id"].tolist() == ["7", "7", "12345678901234567890"]
    assert events["value"].fillna(0).tolist() == [0, 12.5, 1000]
    assert log.rows["kept"] == 3


def test_broken_lines_of_json_cost_themselves_alone(tmp_path):
    rows = [json.dumps({"who": f"u{n}", "day": "2024-05-01", "what": "buy"}) for n in range(4)]
    bad = ["{", "[1]", "7", '{"who": "\\ud800", "day": "x"}', "[" * 5_000, "nonsense"]
    (tmp_path / "log.jsonl").write_text("\n".join([rows[0], *bad, *rows[1:], ""]))
    (tmp_path / "own.yml").write_text("""
name: own
source: log.jsonl
columns: {customer_id: who, timestamp: {column: day, timezone: UTC}, touchpoint: what}
touchpoints: {buy: {stage: purchase}}
journey: {inactivity: 30 days, purchase: buy}
quality: {max_quarantined: 70%}
""")
    log = open_log(tmp_path / "own.yml")
    assert log.rows == {"read": 10, "kept": 4, "quarantined": 6, "duplicates": 0}
    broken = log.quarantine.execute()
    assert broken["line"].tolist() == [2, 3, 4, 5, 6, 7]
    assert broken["rule"].tolist() == ["bad_json"] * 3 + ["bad_encoding"] + ["bad_json"] * 2


def test_a_workbook_gives_the_rows_of_its_first_sheet(drafted, tmp_path):
    pytest.importorskip("openpyxl")
    frame = order_lines()
    with pd.ExcelWriter(tmp_path / "log.xlsx") as book:
        frame.to_excel(book, sheet_name="lines", index=False, startrow=2)
        frame.head(3).to_excel(book, sheet_name="other")
    log, _, _ = drafted(tmp_path / "log.xlsx")
    worth = (frame["Quantity"] * frame["UnitPrice"]).groupby(frame["InvoiceNo"]).sum()
    assert log.rows["kept"] == len(frame)
    found = log.events.execute()
    assert (len(found), round(found["value"].sum(), 2)) == (len(worth), round(worth.sum(), 2))
    assert set(found["customer_id"]) == set(frame["CustomerID"].astype(str))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no workbook"])
def test_what_is_no_workbook_ends_with_3(tmp_path, monkeypatch, capsys, content):
    pytest.importorskip("openpyxl")
    (tmp_path / "log.xlsx").write_bytes(content)
    code, told = cj(monkeypatch, capsys, "new", tmp_path / "log.xlsx", "--out", tmp_path / "n.yml")
    assert (code, "no readable workbook" in told) == (3, True), told


# -- what is said ----------------------------------------------------------------------------------


def test_touchpoints_on_no_stage_are_ready_to_paste(tmp_path, monkeypatch, capsys):
    rows = ["u,2024-05-01,purchase", *["u,2024-05-02,ad click"] * 2, "u,2024-05-03,x: y"]
    (tmp_path / "log.csv").write_text("\n".join(["user,at,event", *rows, ""]))
    own = tmp_path / "own.yml"
    own.write_text("""
name: own
source: log.csv
columns: {customer_id: user, timestamp: {column: at, timezone: UTC}, touchpoint: event}
touchpoints:
  purchase: {stage: purchase}
journey: {inactivity: 30 days, purchase: purchase}
quality: {duplicates: keep}
""")
    monkeypatch.setattr("sys.argv", ["cj", "check", str(own)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().out
    assert ended.value.code == 3
    lines = [line for line in told.splitlines() if "# CHECK: its stage" in line]
    assert [line.rpartition(" ")[2] for line in lines] == ["2", "1"]
    text = own.read_text().replace("journey:", "\n".join([*lines, "journey:"]))
    own.write_text(text)
    assert open_log(own).rows["kept"] == 4
    assert load_dataset(own).touchpoints["ad click"].stage == "awareness"


# -- the real case ---------------------------------------------------------------------------------

INVOICES = """
SELECT InvoiceNo, CustomerID, min(CAST(InvoiceDate AS TIMESTAMP)) AS at,
    InvoiceNo LIKE 'C%' AS cancelled,
    round(sum(CAST(Quantity AS DECIMAL(18, 2)) * CAST(UnitPrice AS DECIMAL(18, 4))), 2) AS amount
FROM read_csv('{}', all_varchar = true)
WHERE InvoiceNo NOT LIKE 'A%' AND CustomerID <> ''
GROUP BY InvoiceNo, CustomerID, Country
HAVING sum(CAST(UnitPrice AS DECIMAL(18, 4))) > 0
"""


@pytest.mark.slow
def test_online_retail_gives_the_invoices_that_sql_by_hand_gives(shared_data):
    path = shared_data("online_retail/online_retail.csv.gz")
    log = open_log("online_retail", source=str(path.parent))
    with duckdb.connect() as con:
        truth = con.sql(INVOICES.format(path)).df()
    found = log.events.execute()
    assert (log.rows["events"], len(found)) == (len(truth), len(truth)) == (22_186, 22_186)
    assert (found["touchpoint"] == "return").sum() == truth["cancelled"].sum()
    assert found["value"].sum() == pytest.approx(float(truth["amount"].sum()))
    assert set(found["customer_id"]) == set(truth["CustomerID"])
    assert adds_up(log)
