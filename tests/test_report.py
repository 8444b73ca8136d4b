"""What a notebook shows is escaped and stable; what it publishes is promised, safe and private."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest

import cjlib.report
from cjlib.errors import ContractError, ParameterError, PrivacyError
from cjlib.report import TABLES, Report
from cjlib.tables import hash_ids, neutralise

NASTY = "<script>alert(1)</script> *b* [x](http://evil.example) `c` $y$"


def fake_log(customer_ids="keep", columns=("value",)):
    return SimpleNamespace(
        rows={"read": 1000, "kept": 970, "quarantined": 20, "duplicates": 10},
        as_of=pd.Timestamp("2024-03-01"),
        has=lambda column: column in columns,
        dataset=SimpleNamespace(
            privacy=SimpleNamespace(customer_ids=customer_ids, smallest_group=5)
        ),
    )


@pytest.fixture
def shown(monkeypatch):
    """Return the list that every display goes to."""
    bundles = []
    monkeypatch.setattr(
        cjlib.report, "display", lambda bundle, raw: bundles.append(bundle) if raw else None
    )
    return bundles


def test_quality_line_says_counts_that_add_up_and_the_date(shown):
    Report("01", fake_log()).quality_line()
    text = shown[0]["text/plain"]
    assert "1,000" in text
    assert "970 (97.0%)" in text
    assert "1 March 2024" in text


def test_left_out_names_only_columns_the_log_lacks_in_one_line(shown):
    report = Report("01", fake_log())
    report.left_out({"value": "money"})
    assert shown == []
    report.left_out({"value": "money", "sentiment": "the feeling along the way"})
    text = shown[0]["text/plain"]
    assert "sentiment" in text
    assert "money" not in text
    assert "\n" not in text


def test_texts_from_the_data_stay_text_in_sentences(shown):
    Report("01", fake_log()).say("**Most** came from {where}.", where=NASTY)
    markdown = shown[0]["text/markdown"]
    assert markdown.startswith("**Most**")
    assert "<script" not in markdown
    assert r"\*b\*" in markdown
    assert r"\[x\]\(http\:" in markdown
    assert NASTY in shown[0]["text/plain"]


def test_lists_of_texts_are_escaped_too(shown):
    Report("01", fake_log()).say("{where}", where=[NASTY])
    assert "<script" not in shown[0]["text/markdown"]


def test_missing_figures_read_unknown_and_zero_has_no_minus(shown):
    Report("01", fake_log()).say("{a:.0%} {b:.1f} {c}", a=float("nan"), b=-0.001, c=None)
    assert shown[0]["text/plain"] == "unknown 0.0 unknown"


def test_tables_escape_cells_headings_and_captions(shown):
    table = pd.DataFrame({NASTY: [NASTY, None], "n": [12345, 1]})
    Report("01", fake_log()).show(table, caption=NASTY)
    assert "<script" not in shown[0]["text/html"]
    assert "12,345" in shown[0]["text/plain"]


def test_tables_show_formats_labels_and_how_many_rows_there_are(shown):
    table = pd.DataFrame({"share": [0.125] * 30, "n": range(30)})
    Report("01", fake_log()).show(
        table, formats={"share": ".1%", "n": lambda n: f"no. {n}"}, labels={"n": "Number"}, rows=2
    )
    plain = shown[0]["text/plain"].splitlines()
    assert plain == [
        "share  Number",
        "12.5%   no. 0",
        "12.5%   no. 1",
        "The first 2 of 30 rows.",
    ]


def test_a_named_index_is_shown(shown):
    table = pd.DataFrame({"n": [1]}, index=pd.Index(["checkout"], name="touchpoint"))
    Report("01", fake_log()).show(table)
    assert "checkout" in shown[0]["text/html"]


def test_no_customer_id_is_ever_shown():
    with pytest.raises(PrivacyError, match="never shows"):
        Report("01", fake_log()).show(pd.DataFrame({"customer_id": ["a"]}))


def test_findings_are_displayed_and_stored_with_plain_sentences(shown, tmp_path):
    report = Report("02_map", fake_log(), out=tmp_path)
    for value in [0.3, 0.31]:  # run twice in JupyterLab: the later stands
        report.finding(
            "purchase_rate",
            value=value,
            lower=0.29,
            upper=float("nan"),
            unit="share",
            sentence="**{value:.0%}** bought at {place}.",
            place="a*b",
        )
    found = json.loads((tmp_path / "findings" / "02_map.json").read_text())
    assert found == [
        {
            "notebook": "02_map",
            "name": "purchase_rate",
            "value": 0.31,
            "lower": 0.29,
            "upper": None,
            "unit": "share",
            "sentence": "31% bought at a*b.",
        }
    ]
    assert shown[-1]["text/markdown"] == r"**31%** bought at a\*b."


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


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
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
    monkeypatch.setenv("CJ_ID_KEY", "one")
    first = hash_ids(ids)
    monkeypatch.setenv("CJ_ID_KEY", "two")
    assert first[0] == first[3] != first[1]
    assert first[0] != hash_ids(ids)[0]
    assert pd.isna(first[2])
    assert len(first[0]) == 64


def test_hash_mode_publishes_no_raw_id(tmp_path, monkeypatch):
    monkeypatch.setenv("CJ_ID_KEY", "secret")
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
