"""What a notebook shows is stable and private; what it publishes is promised and safe."""

import datetime as dt
import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import cjlib.report
from cjlib.answers import Missing
from cjlib.errors import ContractError, ParameterError, PrivacyError
from cjlib.report import Report
from cjlib.tables import TABLES, hash_ids, neutralise

SHARES = pd.DataFrame(
    {
        "stage": ["a*b", "c"],
        "share": [0.31, 0.02],
        "lower": [0.29, np.nan],
        "upper": [0.33, 0.04],
        "customers": [40, 30],
    }
)


def fake_log(customer_ids="keep", columns=("value",)):
    privacy = SimpleNamespace(customer_ids=customer_ids, smallest_group=5)
    return SimpleNamespace(
        rows={"read": 1000, "kept": 970, "quarantined": 20, "duplicates": 10},
        as_of=pd.Timestamp("2024-03-01"),
        day=dt.date(2024, 3, 1),
        whole_day=False,
        has=lambda column: column in columns,
        label=str,
        dataset=SimpleNamespace(
            currency="EUR",
            words={},
            privacy=privacy,
            churn=SimpleNamespace(horizon=dt.timedelta(days=90)),
            journey=SimpleNamespace(inactivity=dt.timedelta(days=30)),
        ),
    )


@pytest.fixture
def shown(monkeypatch):
    """Return the list that every display goes to."""
    bundles = []
    monkeypatch.setattr(cjlib.report, "display", lambda bundle, **_: bundles.append(bundle))
    return bundles


def said(shown):
    return [bundle["text/plain"] for bundle in shown]


# -- what it says


def test_quality_line_says_counts_that_add_up_and_the_date(shown):
    Report("01", fake_log()).quality_line()
    (text,) = said(shown)
    assert "1,000" in text
    assert "970 (97.0%)" in text
    assert "1 March 2024" in text


def test_left_out_names_only_columns_the_log_lacks_in_one_line(shown):
    report = Report("01", fake_log())
    report.left_out(value="money")
    assert shown == []
    report.left_out(value="money", sentiment="the feeling along the way")
    (text,) = said(shown)
    assert "sentiment" in text
    assert "money" not in text
    assert "\n" not in text


def test_a_sentence_is_said_once_per_row_and_texts_are_escaped(shown):
    Report("01", fake_log()).say(SHARES, "In **{stage}** {share} of {customers}.")
    assert said(shown) == ["In a*b 31.0% of 40.\n\nIn c 2.0% of 30."]
    assert shown[0]["text/markdown"].startswith(r"In **a\*b** 31.0%")


def test_sentences_that_begin_with_a_dash_form_one_list(shown):
    Report("01", fake_log()).say(SHARES, "- {stage}: {share}")
    assert said(shown) == ["- a*b: 31.0%\n- c: 2.0%"]


@pytest.mark.parametrize("rows", [SHARES.iloc[0], dict(SHARES.iloc[0]), SHARES.head(1)])
def test_a_table_a_row_and_a_mapping_are_said_alike(shown, rows):
    Report("01", fake_log()).say(rows, "{stage}: {share}, {customers}")
    assert said(shown) == ["a*b: 31.0%, 40"]


def test_an_empty_table_says_nothing_or_what_is_given_for_that_case(shown):
    report, none = Report("01", fake_log()), SHARES.head(0)
    report.say(none, "{stage}: {share}")
    report.finding("none", none, "{stage}: {share}")
    assert shown == []
    assert report.findings == []
    report.say(none, "{stage}: {share}", otherwise="None within {inactivity}.")
    assert said(shown) == ["None within 30 days."]


def test_what_a_dataset_says_stands_in_every_sentence(shown):
    sentence = "{as_of} {horizon} {inactivity} {currency} {smallest_group}"
    Report("01", fake_log()).say({}, sentence)
    assert said(shown) == ["1 March 2024 90 days 30 days EUR 5"]


def test_pages_speak_of_customers_in_the_companys_own_words(shown, tmp_path, monkeypatch):
    log = fake_log()
    log.dataset.words = {"customer": "applicant"}
    monkeypatch.setattr(Report, "_everybody", lambda self: 1000)
    report = Report("n", log, tmp_path)
    report.say({"customers": 7, "stage": "customer desk"}, "**{customers}** customers at {stage}.")
    report.say({"customers": 3}, "{customers} customers left.")  # too few, by any name
    report.show(pd.DataFrame({"customers": [8]}), "Per customer")
    ax = plt.subplots()[1]
    ax.set(title="Customers", xlabel="share of a customer")
    ax.figure.cj_lacking = 0
    report.show(ax, "Customers by stage")
    said, few, table, _ = shown
    assert said["text/plain"] == "7 applicants at customer desk."
    assert "of fewer than 5 applicants" in few["text/plain"]
    assert table["text/plain"].splitlines()[:2] == ["Per applicant", "applicants"]
    assert (ax.get_title(loc="left"), ax.get_xlabel()) == ("Applicants", "share of an applicant")


def test_a_field_that_the_rows_lack_is_named_with_what_was_meant():
    with pytest.raises(ParameterError, match=r"\{stagge\}.*did you mean 'stage'"):
        Report("01", fake_log()).say(SHARES, "In {stagge}.")


def test_missing_figures_read_unknown(shown):
    row = {"share": float("nan"), "days": None}
    Report("01", fake_log()).say(row, "{share} {days}")
    assert said(shown) == ["unknown unknown"]


def test_findings_are_said_and_kept_with_plain_sentences(shown, tmp_path):
    report = Report("02_map", fake_log(), out=tmp_path)
    for share in [0.3, 0.31]:  # run twice in JupyterLab: the later stands
        rows = SHARES.assign(share=[share, 0.02])
        report.finding("buys", rows, "**{share}** bought at {stage} ({lower} to {upper}).")
    kept = json.loads((tmp_path / "findings" / "02_map.json").read_text())
    first = {"notebook": "02_map", "name": "buys", "value": 0.31, "lower": 0.29, "upper": 0.33}
    first |= {"unit": "share", "sentence": "31.0% bought at a*b (29.0% to 33.0%)."}
    assert kept[0] == first
    assert (kept[1]["name"], kept[1]["lower"], kept[1]["upper"]) == ("buys_2", None, 0.04)
    assert len(kept) == 2
    assert shown[-1]["text/markdown"].startswith(r"**31.0%** bought at a\*b")


@pytest.mark.parametrize(
    ("row", "value", "unit"),
    [
        ({"gap": 0.045}, 4.5, "points"),
        ({"median_days": 12}, 12, "days"),
        ({"value": 120.5}, 120.5, "EUR"),
        ({"sentiment": -0.5}, -0.5, "on a scale from -1 to 1"),
        ({"customers": np.int64(7)}, 7, "customers"),
        ({"journey_types": 3}, 3, "journey types"),
    ],
)
def test_a_finding_counts_what_its_column_says(shown, row, value, unit):
    report = Report("01", fake_log())
    report.finding("x", row, f"It is {{{next(iter(row))}}}.")
    (kept,) = report.findings
    assert (kept["value"], kept["unit"]) == (pytest.approx(value), unit)
    assert (kept["lower"], kept["upper"]) == (None, None)


def test_a_findings_figure_its_limits_and_unit_can_be_named(shown):
    row = {"customers": 10, "gap": 0.1, "gap_lower": 0.05, "gap_upper": 0.2, "lower": 0.9}
    report = Report("01", fake_log())
    report.finding("x", row, "Of {customers} {gap}.", value="gap", unit="points of reach")
    (kept,) = report.findings
    figures = [kept[key] for key in ("value", "lower", "upper")]
    assert figures == pytest.approx([10, 5, 20])
    assert kept["unit"] == "points of reach"


# -- what it shows


def test_a_table_shows_its_first_rows_and_says_how_many_there_are(shown):
    table = pd.DataFrame({"share": [0.125] * 30, "n": range(40, 70)})
    Report("01", fake_log()).show(table, "Shares", rows=2)
    assert said(shown)[0].splitlines() == [
        *["Shares", "share   n", "12.5%  40", "12.5%  41", "The first 2 of 30 rows."]
    ]
    assert "<caption>Shares</caption>" in shown[0]["text/html"]


def test_a_table_without_rows_shows_nothing(shown):
    Report("01", fake_log()).show(pd.DataFrame(columns=["share", "n"]), "Shares")
    assert shown == []


def test_a_named_index_is_shown(shown):
    table = pd.DataFrame({"n": [10]}, index=pd.Index(["checkout"], name="touchpoint"))
    Report("01", fake_log()).show(table)
    assert "checkout" in shown[0]["text/html"]


@pytest.mark.parametrize(
    "pick", [lambda figure, axes: figure, lambda figure, axes: axes, lambda figure, axes: axes[0]]
)
def test_a_picture_is_shown_once_and_closed(shown, pick):
    figure, axes = plt.subplots(1, 2)
    Report("01", fake_log()).show(pick(figure, axes), of=SHARES)
    assert shown == [figure]
    assert not plt.fignum_exists(figure.number)


def test_no_customer_id_is_ever_shown():
    ids = pd.DataFrame({"customer_id": ["a"]})
    for table in (ids, ids.assign(n=1).set_index("customer_id")):
        with pytest.raises(PrivacyError, match="never shows"):
            Report("01", fake_log()).show(table)


# -- what it publishes


def quality(**columns):
    return pd.DataFrame({"rule": ["missing id"], "rows": [-2], "share": [0.1]} | columns)


def test_a_published_table_is_parquet_and_csv(tmp_path):
    Report("01", fake_log(), out=tmp_path).publish("quality", quality())
    assert pd.read_parquet(tmp_path / "tables/quality.parquet").equals(quality())
    assert (tmp_path / "tables/quality.csv").read_text() == "rule,rows,share\nmissing id,-2,0.1\n"


def test_showing_alone_writes_nothing(tmp_path, monkeypatch, shown):
    monkeypatch.chdir(tmp_path)
    report = Report("01", fake_log())
    report.publish("quality", quality())
    report.published()
    assert list(tmp_path.iterdir()) == []
    assert "rule, rows, share" in shown[0]["text/plain"]


def test_a_table_must_be_promised_and_keep_its_promise():
    report = Report("01", fake_log())
    with pytest.raises(ParameterError, match="did you mean 'quality'"):
        report.publish("qualty", quality())
    with pytest.raises(ContractError, match="lacks the column\\(s\\) share"):
        report.publish("quality", quality().drop(columns="share"))


def test_an_answer_that_is_missing_is_published_as_the_table_without_rows(tmp_path):
    Report("01", fake_log(), out=tmp_path).publish("absorption", Missing("two stages are needed"))
    table = pd.read_parquet(tmp_path / "tables/absorption.parquet")
    assert list(table) == TABLES["absorption"]
    assert len(table) == 0


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b"])
def test_no_text_is_a_formula_in_a_spreadsheet(start):
    safe = neutralise(pd.DataFrame({f"{start}head": [f"{start}1+1", "plain"], "n": [-1, 2]}))
    assert safe.columns[0] == f"'{start}head"
    assert safe.iloc[:, 0].tolist() == [f"'{start}1+1", "plain"]
    assert safe["n"].tolist() == [-1, 2]


def test_categories_and_missing_texts_pass_the_neutralising():
    table = pd.DataFrame({"a": pd.Categorical(["=x", None]), "b": [None, "ok"]})
    safe = neutralise(table)
    assert safe["a"].tolist()[0] == "'=x"
    assert safe.isna().sum().sum() == 2


def test_hashed_ids_depend_on_the_key_and_hide_the_id(monkeypatch):
    ids = pd.Series(["007", "7", None, "007"])
    monkeypatch.setenv("CJ_ID_KEY", "one key that is long enough")
    first = hash_ids(ids)
    monkeypatch.setenv("CJ_ID_KEY", "two keys that are long enough")
    assert first[0] == first[3] != first[1]
    assert first[0] != hash_ids(ids)[0]
    assert pd.isna(first[2])
    assert len(first[0]) == 64


def test_hash_mode_publishes_no_raw_id(tmp_path, monkeypatch):
    monkeypatch.setenv("CJ_ID_KEY", "a secret that is long enough")
    report = Report("01", fake_log("hash"), out=tmp_path)
    segments = pd.DataFrame([["anna-1", "champions", 0, "quick"]], columns=TABLES["segments"])
    report.publish("segments", segments)
    report.publish("quarantine", pd.DataFrame({"line": [3], "rule": ["x"], "row": ["anna-1,?"]}))
    for file in (tmp_path / "tables").iterdir():
        assert b"anna-1" not in file.read_bytes()
    assert list(pd.read_csv(tmp_path / "tables/quarantine.csv")) == ["line", "rule"]


def test_hash_mode_without_a_key_says_which_variable_to_set(monkeypatch):
    monkeypatch.delenv("CJ_ID_KEY", raising=False)
    report = Report("01", fake_log("hash"))
    with pytest.raises(ParameterError, match="CJ_ID_KEY"):
        report.publish("segments", pd.DataFrame([list("abcd")], columns=TABLES["segments"]))


def test_small_groups_are_told_from_large_ones():
    report = Report("01", fake_log())
    assert not report.enough(4)
    assert report.enough(pd.Series([4, 5])).tolist() == [False, True]
