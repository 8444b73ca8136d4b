"""A figure takes the form of its column's name, a text from the data stays text."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from cjlib.forms import (
    Wording,
    figure,
    html_table,
    kind_of,
    main_figure,
    number,
    plain_table,
    shared_sentences,
    shortened,
    table_texts,
    trust_sentence,
)

NASTY = "<script>alert(1)</script> *b* [x](http://evil.example) `c` $y$"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *[("churn_probability", "share"), ("churn_lower", "share"), ("share", "share")],
        *[("pain", "points"), ("difference_upper", "points"), ("share_difference", "points")],
        *[("q_value", "p-value"), ("p_value", "p-value"), ("median_days", "days")],
        *[("value", "money"), ("value_at_risk", "money"), ("sentiment", "feeling")],
        *[("customers", "number"), ("shared", "number"), ("evaluation", "number")],
    ],
)
def test_the_words_of_a_name_say_what_its_figures_are(name, kind):
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        *[("share", 0.1234, "12.3%"), ("share", 0.0, "0%"), ("share", 1.0, "100%")],
        *[("share", 0.0001, "under 0.1%"), ("share", 0.99996, "over 99.9%")],
        *[("points", 0.045, "+4.5 points"), ("points", -0.00001, "0.0 points")],
        *[("days", 10.5, "10.5 days"), ("days", 1, "1 day"), ("days", 5 / 24, "5 hours")],
        *[("days", 123.4, "123 days"), ("days", 21.04, "21 days"), ("days", 3.0, "3 days")],
        *[("money", 1234.5, "1,234 EUR"), ("money", 12.345, "12.35 EUR")],
        *[("feeling", 0.42, "+0.42"), ("feeling", -1, "-1.00")],
        *[("p-value", 0.0004, "below 0.001"), ("p-value", 0.03, "0.030")],
        *[("number", 1234, "1,234"), ("number", 0.3456, "0.346"), ("number", 12345.6, "12,346")],
        *[("number", True, "yes"), ("number", np.int64(7), "7"), ("number", "text", "text")],
        *[("number", dt.date(2025, 5, 3), "3 May 2025"), ("number", dt.timedelta(90), "90 days")],
        *[("share", None, "unknown"), ("days", float("nan"), "unknown"), ("x", pd.NaT, "unknown")],
    ],
)
def test_every_kind_of_figure_has_its_form(kind, value, text):
    assert figure(kind, value, currency="EUR") == text


def test_a_unit_can_be_left_to_the_heading():
    assert figure("money", 1234.5, currency="EUR", unit=False) == "1,234"
    assert figure("share", 0.5, unit=False) == "50.0%"


@pytest.mark.parametrize(
    ("value", "kept"),
    [(np.int64(3), 3), (np.float64(0.5), 0.5), (float("inf"), None), (pd.NA, None), (None, None)],
)
def test_numbers_are_kept_as_json_knows_them(value, kept):
    assert number(value) == kept
    assert type(number(value)) is type(kept)


def test_a_text_is_cut_between_words():
    assert shortened("the answer is no purchase", 16) == "the answer is…"
    assert shortened("x" * 40, 10) == "x" * 9 + "…"
    assert shortened("short", 10) == "short"
    assert shortened(" two\nlines ", 20) == "two lines"


# -- sentences


def test_a_sentence_takes_figures_labels_and_lists_from_its_row():
    wording = Wording({"post_sale": "after sale"}.get, "EUR")
    row = {"stage": "post_sale", "share": 0.25, "value": 12000.0, "who": ["a", "b"], "n": 1200}
    filled = wording.sentence("**{stage}**: {share}, {value}, {who}, n {n}.", row)
    assert filled == "after sale: 25.0%, 12,000 EUR, a, b, n 1,200."


def test_limits_take_the_form_of_the_first_figure_and_one_unit():
    row = {"days": 40, "gap": 0.1, "lower": 0.081, "upper": 0.16, "gap_lower": 0.081}
    assert Wording().sentence("{gap} ({lower} to {upper})", row) == (
        "+10.0 points (+8.1 to +16.0 points)"
    )
    assert Wording().sentence("{gap_lower}", row) == "+8.1"


def test_a_sentence_may_ask_for_another_form():
    assert Wording().sentence("{share:.0%} {x:.1f}", {"share": 0.256, "x": -0.01}) == "26% 0.0"


def test_texts_from_the_data_stay_text_in_markdown():
    row = {"where": NASTY, "list": [NASTY]}
    markdown = Wording().sentence("**Most** came from {where}, {list}.", row, markdown=True)
    assert markdown.startswith("**Most**")
    assert "<script" not in markdown
    assert r"\*b\*" in markdown
    assert r"\[x\]\(http\:" in markdown
    assert NASTY in Wording().sentence("{where}", row)


def test_missing_figures_read_unknown_whatever_form_was_asked_for():
    row = {"a": float("nan"), "b": None, "c": pd.NaT}
    assert Wording().sentence("{a:.0%} {b} {c}", row) == "unknown unknown unknown"


def test_the_main_figure_is_the_first_that_is_no_text_and_no_limit():
    row = {"stage": "x", "lower": 0.1, "won": True, "probability": 0.2, "n": 5}
    assert main_figure("{stage} {lower} {won} {probability} {n}", row) == "probability"
    assert main_figure("{stage}", row) == ""


def test_the_trust_sentence_never_says_all_when_some_were_left_out():
    rows = {"read": 100_000, "kept": 99_999, "quarantined": 1, "duplicates": 0}
    sentence, values = trust_sentence(rows)
    assert "over 99.9%" in Wording().sentence(sentence, values)
    sentence, _ = trust_sentence({"read": 5, "kept": 5, "quarantined": 0, "duplicates": 0})
    assert sentence == shared_sentences()["trust_all"]


# -- tables


def texts_of(table, wording=None):
    return table_texts(table, wording or Wording())


def test_a_table_takes_its_forms_from_its_headings():
    table = pd.DataFrame(
        {"stage": ["a"], "churn_share": [0.125], "lower": [0.1], "value": [1234.5], "n": [12345]}
    )
    headings, cells, are_text = zip(*texts_of(table, Wording(str.upper, "EUR")), strict=True)
    assert headings == ("stage", "churn share", "lower", "value", "n")
    assert [cell for (cell,) in cells] == ["A", "12.5%", "10.0%", "1,234 EUR", "12,345"]
    assert are_text == (True, False, False, False, False)


def test_tables_escape_cells_headings_captions_and_notes():
    table = pd.DataFrame({NASTY: [NASTY, None], "n": [12345, 1]})
    html = html_table(texts_of(table), NASTY, NASTY)
    assert "<script" not in html
    assert html.count("&lt;script") == 4
    assert "–" in html


def test_a_plain_table_is_aligned():
    table = pd.DataFrame([["read", 1234567], ["kept", 7]], columns=["rule", "rows"])
    lines = plain_table(texts_of(table), "Rules", "All of them.").splitlines()
    assert lines == [
        "Rules",
        "rule       rows",
        "read  1,234,567",
        "kept          7",
        "All of them.",
    ]
