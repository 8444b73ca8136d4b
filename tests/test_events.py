"""Every rule of the event log, on logs small enough to count by hand."""

import pandas as pd
import pytest

from cjlib.log import open_log
from cjlib.reading.events import RULES

HEADER = "user,at,event,channel,amount,score,id"
DATASET = """
name: shop
source: log.csv
columns:
  customer_id: user
  timestamp: {column: at}
  touchpoint: event
  channel: channel
  value: amount
  sentiment: {column: score, scale: [1, 5]}
  event_id: id
touchpoints:
  view: {stage: awareness, initiator: company, medium: online}
  buy: {stage: purchase}
journey: {inactivity: 30 days, purchase: buy}
quality: {max_quarantined: 100%, earliest: 2020-01-01}
"""


@pytest.fixture
def shop(tmp_path):
    """Return a function that opens a log of these lines with a dataset file changed a little."""

    def opened(lines, *changes, header=HEADER, **options):
        text = DATASET
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "shop.yml").write_text(text, encoding="utf-8")
        content = "\n".join([header, *lines]) + "\n"
        (tmp_path / "log.csv").write_bytes(content.encode("utf-8", "surrogateescape"))
        return open_log(tmp_path / "shop.yml", **options)

    return opened


def kept(log, *columns):
    return log.events.order_by("line").execute()[list(columns)]


SOUND = "u1,2024-05-01 10:00Z,view,web,1.5,3,e0"
BROKEN = {
    "too_few_fields": "u1,2024-05-01 10:00Z,view",
    "too_many_fields": "u1,2024-05-01 10:00Z,view,web,1,234.5,3,e2",
    "bad_quoting": 'u1,2024-05-01 10:00Z,"view,web,1,3,e3',
    "field_too_long": f"u1,2024-05-01 10:00Z,view,{'x' * 140_000},1,3,e4",
    "bad_encoding": "u1,2024-05-01 10:00Z,view,caf\udce9,1,3,e5",
    "missing_customer_id": " ,2024-05-01 10:00Z,view,web,1,3,e6",
    "unreadable_time": "u1,2024-06-31 10:00Z,view,web,1,3,e7",
    "time_without_zone": "u1,2024-05-01 10:00,view,web,1,3,e8",
    "time_too_early": "u1,1970-01-01 00:00Z,view,web,1,3,e9",
    "time_after_as_of": "u1,2999-01-01 10:00Z,view,web,1,3,e10",
    "missing_touchpoint": "u1,2024-05-01 10:00Z,NULL,web,1,3,e11",
    "unmapped_touchpoint": "u1,2024-05-01 10:00Z,vew,web,1,3,e12",
    "unreadable_value": "u1,2024-05-01 10:00Z,view,web,1 EUR,3,e13",
    "unreadable_sentiment": "u1,2024-05-01 10:00Z,view,web,1,good,e14",
    "sentiment_out_of_range": "u1,2024-05-01 10:00Z,view,web,1,6,e15",
    "conflicting_event_id": "u2,2024-05-01 10:00Z,view,web,1,3,e0",
}


def test_there_is_a_row_for_every_rule():
    other = {"bad_json", "missing_journey_id"}  # of another kind of file, and of logs with cases
    assert list(BROKEN) == [rule for rule in RULES if rule not in other]


def test_every_rule_names_its_row_with_its_line_and_the_counts_add_up(shop):
    log = shop([SOUND, *BROKEN.values(), SOUND])
    quarantined = log.quarantine.execute()
    assert dict(zip(quarantined["rule"], quarantined["line"], strict=True)) == {
        rule: line for line, rule in enumerate(BROKEN, start=3)
    }
    assert log.rows == {"read": 18, "kept": 1, "quarantined": 16, "duplicates": 1}
    counts = log.quality.set_index("rule")["rows"]
    assert counts.to_dict() == {"read": 18, "kept": 1, "duplicate": 1} | dict.fromkeys(BROKEN, 1)
    assert log.quality["share"].tolist() == pytest.approx((log.quality["rows"] / 18).tolist())
    assert kept(log, "event_id")["event_id"].tolist() == ["e0"]
    # and the quarantine shows the rows as they were read
    rows = quarantined.set_index("rule")
    assert rows.loc["too_few_fields", "text"] == BROKEN["too_few_fields"]
    assert rows.loc["bad_quoting", "text"] == BROKEN["bad_quoting"]
    assert "caf\\udce9" in rows.loc["bad_encoding", "text"]
    assert rows.loc["unreadable_value", ["user", "amount"]].tolist() == ["u1", "1 EUR"]
    assert rows.loc["missing_touchpoint", "event"] == "NULL"
    assert rows.loc["missing_customer_id", "user"] == " "
    assert set(rows["file"]) == {"log.csv"}


def test_of_repeated_rows_the_first_stays(shop):
    row = "u1,2024-05-01 10:00Z,view,web,1,3,"
    log = shop([row + "a", row + "b", row + "a", row, row, row + "b", row])
    assert log.rows == {"read": 7, "kept": 3, "quarantined": 0, "duplicates": 4}
    assert kept(log, "line")["line"].tolist() == [0, 1, 3]


def test_an_event_id_with_other_content_is_a_conflict_and_its_copies_too(shop):
    row = "u1,2024-05-01 10:00Z,view,web,{},3,a"
    log = shop([row.format(amount) for amount in (1, 2, 1, 2)])
    assert log.rows == {"read": 4, "kept": 1, "quarantined": 2, "duplicates": 1}
    assert log.quarantine.execute()["amount"].tolist() == ["2", "2"]
    assert kept(log, "value")["value"].tolist() == [1.0]


def test_a_broken_row_counts_once_under_its_first_rule_and_is_no_original_of_others(shop):
    row = "u1,2024-05-01 10:00Z,{},web,1,3,a"
    log = shop([row.format("vew"), row.format("view"), ",never,nothing,web,much,6,a"])
    assert log.rows == {"read": 3, "kept": 1, "quarantined": 2, "duplicates": 0}
    assert log.quarantine.execute()["rule"].tolist() == [
        "unmapped_touchpoint",
        "missing_customer_id",
    ]


def test_duplicates_can_be_kept_but_never_those_of_an_event_id(shop):
    row = "u1,2024-05-01 10:00Z,view,web,1,3,"
    keep = ("max_quarantined", "duplicates: keep, max_quarantined")
    assert shop([row, row, row], keep).rows["kept"] == 3
    assert shop([row + "a", row + "a", row], keep).rows["duplicates"] == 1


def test_rows_differing_only_in_where_a_delimiter_falls_are_no_duplicates(shop):
    rows = [
        f"u1,2024-05-01 10:00Z,view,{channel},{more},3,"
        for channel, more in (("1", ""), ("", "1"), ("", ""))
    ]
    assert shop(rows).rows["kept"] == 3


def test_unmapped_touchpoints_can_be_put_on_a_stage(shop):
    lines = ["u1,2024-05-01 10:00Z,scroll,web,1,3,a", "u1,2024-05-01 11:00Z,,web,1,3,b"]
    log = shop(lines, ("max_quarantined", "unmapped: consideration, max_quarantined"))
    assert kept(log, "touchpoint", "stage", "role", "purchase").to_numpy().tolist() == [
        ["scroll", "consideration", "before", False]
    ]
    assert log.quarantine.execute()["rule"].tolist() == ["missing_touchpoint"]


@pytest.mark.parametrize(
    ("scale", "texts"),
    [("[1, 5]", ["1", "3", "4", "5"]), ("[-1, 1]", ["-1", "0.0", "+.5", "1"])],
)
def test_a_scale_maps_its_ends_to_minus_one_and_one(shop, scale, texts):
    lines = [f"u1,2024-05-01 10:00Z,view,web,1,{text},{text}" for text in texts]
    log = shop(lines, ("[1, 5]", scale))
    assert kept(log, "sentiment")["sentiment"].tolist() == [-1.0, 0.0, 0.5, 1.0]


def test_labels_map_to_feelings_and_others_are_unreadable(shop):
    lines = [
        f"u1,2024-05-01 10:00Z,view,web,1,{label},{label}" for label in ("bad", "ok", "Good", "")
    ]
    log = shop(lines, ("scale: [1, 5]", "labels: {bad: -1, ok: 0.5}"))
    feelings = kept(log, "event_id", "sentiment")
    assert feelings["sentiment"].tolist()[:2] == [-1.0, 0.5]
    assert pd.isna(feelings["sentiment"].tolist()[2])
    assert log.quarantine.execute()["score"].tolist() == ["Good"]


@pytest.mark.parametrize(
    ("decimal", "readable", "unreadable"),
    [
        (
            ".",
            {"1.5": 1.5, "-2": -2.0, "+1e3": 1000.0, ".5": 0.5, "7.": 7.0, "nan": None},
            ["inf", "1e999", '"1,5"', "0x10", "1_000", "=1+1", "1 EUR", "--1", "1e"],
        ),
        (",", {'"1,5"': 1.5, '"1.234,5"': 1234.5, "12": 12.0, '"-0,5"': -0.5}, ['"1,2,3"', "x"]),
    ],
)
def test_numbers_are_read_as_written_or_not_at_all(shop, decimal, readable, unreadable):
    lines = [
        f"u1,2024-05-01 10:00Z,view,web,{text},3,{place}"
        for place, text in enumerate([*readable, *unreadable])
    ]
    log = shop(lines, ("value: amount", f'value: {{column: amount, decimal: "{decimal}"}}'))
    found = kept(log, "value")["value"].astype(object).where(lambda column: column.notna(), None)
    assert found.tolist() == list(readable.values())
    assert log.quarantine.execute()["rule"].tolist() == ["unreadable_value"] * len(unreadable)


def test_ids_stay_text_whatever_they_look_like(shop):
    ids = ["007", "7", "1e5", "ana@example.org", "=1+1", "<b>x</b>", "Ñandú 9", "nan1"]
    lines = [f"{name},2024-05-01 10:00Z,view,web,1,3," for name in ids]
    assert kept(shop(lines), "customer_id")["customer_id"].tolist() == ids


def test_blanks_around_a_field_and_declared_words_for_nothing_are_dropped(shop):
    log = shop(
        ["  u1 , 2024-05-01T10:00Z , view , - , - , 3 , a", "-,2024-05-01 10:00Z,view,,,3,b"],
        ("max_quarantined", "missing: ['-'], max_quarantined"),
    )
    row = kept(log, "customer_id", "touchpoint", "channel", "value").iloc[0]
    assert row[["customer_id", "touchpoint"]].tolist() == ["u1", "view"]
    assert row[["channel", "value"]].isna().all()
    assert log.quarantine.execute()["rule"].tolist() == ["missing_customer_id"]


def test_a_log_of_orders_alone_takes_its_touchpoint_from_the_dataset_file(shop):
    log = shop(
        ["u1,2024-05-01 10:00Z", "u1,2024-05-02 10:00Z", ",2024-05-02 10:00Z"],
        ("touchpoint: event", "touchpoint: {value: buy}"),
        ("  channel: channel\n  value: amount\n", ""),
        ("  sentiment: {column: score, scale: [1, 5]}\n  event_id: id\n", ""),
        header="user,at",
    )
    assert log.rows == {"read": 3, "kept": 2, "quarantined": 1, "duplicates": 0}
    assert (
        kept(log, "touchpoint", "stage", "purchase").to_numpy().tolist()
        == [["buy", "purchase", True]] * 2
    )
    assert not log.has("channel")
    assert log.events.channel.execute().isna().all()


def test_events_carry_what_the_dataset_file_says_of_their_touchpoint(shop):
    log = shop([SOUND, "u1,2024-05-03T12:00+02:00,buy,,10,,"])
    rows = kept(log, "timestamp", "stage", "position", "role", "purchase", "initiator", "medium")
    assert rows.iloc[0].tolist() == [
        pd.Timestamp("2024-05-01 10:00"), "awareness", 0, "before", False, "company", "online",
    ]  # fmt: skip
    assert rows.iloc[1].tolist()[:5] == [
        pd.Timestamp("2024-05-03 10:00"), "purchase", 3, "purchase", True,
    ]  # fmt: skip


def test_the_table_of_quality_has_a_row_for_what_did_not_happen(shop):
    log = shop([SOUND, SOUND.replace("e0", "e1")])
    assert log.quality.set_index("rule")["rows"].to_dict() == {"read": 2, "kept": 2, "duplicate": 0}
    assert log.quality["share"].tolist() == [1, 1, 0]


def test_rules_broken_come_most_frequent_first(shop):
    early, vague = BROKEN["time_too_early"], BROKEN["time_without_zone"]
    log = shop([early, SOUND, vague, vague.replace("e8", "e18")])
    assert log.quality["rule"].tolist()[3:] == ["time_without_zone", "time_too_early"]


def test_events_at_the_very_limits_of_time_are_kept(shop):
    times = [
        "2019-12-31 23:59:59Z",
        "2020-01-01 00:00Z",
        "2024-05-01 10:00Z",
        "2024-05-01 10:00:01Z",
    ]
    lines = [f"u1,{at},view,web,1,3,{place}" for place, at in enumerate(times)]
    log = shop(lines, as_of="2024-05-01 10:00")
    assert kept(log, "event_id")["event_id"].tolist() == ["1", "2"]
    assert log.quarantine.execute()["rule"].tolist() == ["time_too_early", "time_after_as_of"]


def test_a_scale_ends_where_it_says(shop):
    texts = ["1", "2", "5", "0.99", "5.01"]
    log = shop([f"u1,2024-05-01 10:00Z,view,web,1,{text},{text}" for text in texts])
    assert kept(log, "sentiment")["sentiment"].tolist() == [-1, -0.5, 1]
    assert log.quarantine.execute()["score"].tolist() == ["0.99", "5.01"]


def test_refunds_are_values_below_zero(shop):
    lines = [f"u1,2024-05-01 10:00Z,buy,web,{text},3,{text}" for text in ("-12.5", "-0", "1e14")]
    assert kept(shop(lines), "value")["value"].tolist() == [-12.5, 0, 1e14]


def test_where_cases_are_declared_a_row_without_one_is_quarantined(shop):
    rows = ["u1,2024-05-01 10:00Z,view,web,1,3,e1", "u1,2024-05-02 10:00Z,view,,1,3,e2"]
    cases = ("channel: channel", "journey_id: channel")
    assert shop(rows, cases).quarantine.execute()["rule"].tolist() == ["missing_journey_id"]
