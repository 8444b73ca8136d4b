"""The scan finds ids, e-mail addresses and phone numbers, and lets figures and times pass."""

import json
import time

import ibis
import pandas as pd
import pytest

from cjlib.errors import PrivacyError
from cjlib.runs.privacy import check, phone_numbers, raw_ids, spans
from cjlib.runs.shown import notebook_pieces, page_text
from cjlib.tables import write_table

IDS = ["anna-0001", "c_17", "17850", "7", "2011", "María López 3", "x@shop.example", "8f3a2c"]


def ids(values):
    return ibis.memtable(pd.DataFrame({"customer_id": values}))


def found(text, values=IDS):
    return raw_ids(set(spans(text)), ids(values))


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("the customer anna-0001, who", "anna-0001"),
        ("(c_17)", "c_17"),
        ("customer 17850 bought", "17850"),
        ("for María López 3: nothing", "María López 3"),
        ("María\tLópez  3", "María López 3"),
        ("to x@shop.example.", "x@shop.example"),
        ("id=8f3a2c;", "8f3a2c"),
    ],
)
def test_ids_are_found_as_whole_words(text, seen):
    assert found(text) == {seen}


@pytest.mark.parametrize(
    "text",
    [
        *("anna-00012", "joanna-0001x", "17,850 customers", "17850.5", "0.17850", "17850% more"),
        *("178501", "the year 2011", "7 days", "María López 33", "8f3a2cd"),
    ],
)
def test_figures_years_and_longer_words_are_no_ids(text):
    assert found(text) == set()


@pytest.mark.parametrize(
    "text",
    [
        *("+34 612 345 678", "+34612345678", "0034 612 345 678", "+1 (212) 555-0123"),
        *("(212) 555-0123", "212-555-0123", "612 345 678", "93 123 45 67", "612-345-678"),
        *("+44 20 7946 0958", "+44 (0)20 7946 0958", "+33 1 23 45 67 89", "+49 (0) 171 1234567"),
        *("01 23 45 67 89", "01.23.45.67.89", "01\u00a023\u00a045\u00a067\u00a089"),
        "06-12-34-56-78",
        *("030 1234567", "(030) 1234567", "0171/1234567", "030 / 123 45 67", "0171 1234567"),
        *("020 7946 0958", "(020) 7946 0958", "07700 900123", "0161 496 0000"),
        "020\u20117946\u20110958",
        *("612\u202f345\u202f678", "+34\u00a0612\u00a0345\u00a0678"),
    ],
)
def test_phone_numbers_are_found(text):
    assert list(phone_numbers(f"call {text}, please"))


@pytest.mark.parametrize(
    "text",
    [
        *("2024-03-01 12:30:45", "2024-03-01T12:30:45.123456", "20261122T025827058Z-32b2"),
        *("12,345,678 rows", "1234567890", "0.612345678", "+12.5%", "-612.345", "+1,234,567"),
        *("from 612 to 678 of 900", "600  123  456", "95% interval 85% to 95%", "1e+10 2e+10"),
        *("2024-01-01 - 2024-12-31", "4.70.1", "[612 345 678 901]", "8f3a2c91-612-345-678"),
        *("01.02.2025", "01/02/2025 - 05/03/2025", "01.02.2025 12:30", "2024-01-02 03:04:05"),
        *("0.05 0.123456789", "00:00:01", "-0.74 (-0.75 to -0.72)", "0 10 20 30 40 50"),
    ],
)
def test_figures_and_times_are_no_phone_numbers(text):
    assert not list(phone_numbers(text))


def test_text_of_a_page_leaves_out_styles_and_pictures_but_not_attributes():
    page = (
        "<style>b{color:red}</style><p title='a title'>Ann&amp;Co <b>bold</b>"
        "<img alt='the words' src='data:image/png;base64,AAAA'></p>"
    )
    text = page_text(page)
    assert "Ann&Co" in text
    assert "a title" in text
    assert "the words" in text
    assert "red" not in text
    assert "AAAA" not in text


def test_text_of_a_notebook_leaves_out_pictures_and_escapes():
    notebook = {
        "cells": [
            {
                "source": ["one\n", "two"],
                "outputs": [
                    {"data": {"image/png": "c_17", "text/markdown": ["anna\\-0001 &lt;b&gt;"]}}
                ],
            }
        ]
    }
    text = "\n".join(piece.text for piece in notebook_pieces(notebook, "n"))
    assert "one\ntwo" in text
    assert "anna-0001 <b>" in text
    assert "c_17" not in text


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "01.html").write_text("<p>12,345 customers</p>")
    return tmp_path


def test_a_clean_report_passes(folder):
    check(folder, ids(IDS), known="", every_file=True)


def test_an_id_is_named_by_page_and_masked(folder):
    (folder / "02.html").write_text("<table><tr><td>anna-0001</td></tr></table>")
    with pytest.raises(PrivacyError, match=r"02\.html: customer id a•••••••1") as caught:
        check(folder, ids(IDS), known="", every_file=False)
    assert "anna" not in str(caught.value)


def test_ids_that_are_words_of_the_notebook_itself_are_passed_over(folder):
    (folder / "02.html").write_text("<p>How many customers bought?</p>")
    check(
        folder, ids(["customers", "bought"]), known="How many customers bought?", every_file=False
    )


def test_addresses_are_never_passed_over(folder):
    (folder / "02.html").write_text("<p>write to data.team@shop.example</p>")
    with pytest.raises(PrivacyError, match="e-mail address"):
        check(folder, ids(IDS), known="data.team@shop.example", every_file=False)


@pytest.mark.parametrize("name", ["tables/a.csv", "tables/a.parquet", "findings.json", "x.txt"])
def test_files_may_hold_ids_only_while_ids_are_kept(folder, name):
    table = pd.DataFrame({"n": [1, 2], "who": ["deep in anna-0001's row", "=c_17\nx"]})
    if name.endswith("csv"):
        table.to_csv(folder / name, index=False)
    elif name.endswith("parquet"):
        table.to_parquet(folder / name)
    else:
        (folder / name).write_text('{"a": "c_17"}')
    check(folder, ids(IDS), known="", every_file=False)
    with pytest.raises(PrivacyError, match=name):
        check(folder, ids(IDS), known="", every_file=True)


@pytest.mark.slow
def test_a_million_ids_are_searched_in_seconds(folder):
    many = ids([f"customer-{number:07}" for number in range(1_000_000)])
    words = " ".join(f"word{number} of 1,{number % 900 + 100}" for number in range(5_000))
    for number in range(5):
        (folder / f"{number}.html").write_text(f"<p>{words}</p>")
    began = time.monotonic()
    check(folder, many, known="", every_file=False)
    assert time.monotonic() - began < 30
    (folder / "9.html").write_text("<p>customer-0999999</p>")
    with pytest.raises(PrivacyError, match=r"9\.html"):
        check(folder, many, known="", every_file=False)


# -- places, pictures and groups


def cell(number, *outputs):
    outputs = [{"output_type": "display_data", "metadata": {}} | one for one in outputs]
    return {"cell_type": "code", "source": "x", "execution_count": number, "outputs": outputs}


def write_notebook(folder, *cells):
    (folder / "02_map.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}}))


TABLE = "<table><tr><th>who</th><th>{}</th></tr><tr><td>{}</td><td>{}</td></tr></table>"


def test_a_stop_says_which_cell_and_column_and_where_in_the_log_it_comes_from(folder):
    html = TABLE.format("n", "c 17", 40)  # names from the log are shown with blanks
    write_notebook(folder, cell(7, {"data": {"text/html": html}}))
    events = ibis.memtable(
        pd.DataFrame({"customer_id": ["c_17", "b"], "touchpoint": ["c_17", "x"]})
    )
    with pytest.raises(PrivacyError) as caught:
        check(folder, events, known="", every_file=False)
    expected = r"02_map.ipynb, cell [7], column who: customer id c••7, a touchpoint of the log"
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("anna-0001", "customer id"),
        ("write to ana@shop.example", "e-mail address"),
        ("write to ana.ruiz@sh…", "e-mail address"),
        ("612 345 678", "phone number"),
        ("anna-000…", "customer id"),  # shortened
    ],
)
def test_what_is_written_in_a_picture_is_read(folder, text, kind):
    picture = {"data": {"image/png": "x"}, "metadata": {"texts": ["a title", text]}}
    write_notebook(folder, cell(3, picture))
    with pytest.raises(PrivacyError, match=rf"cell \[3\], picture: {kind}"):
        check(folder, ids(IDS), known="", every_file=False)


def test_a_picture_that_nobody_read_is_not_published(folder):
    write_notebook(folder, cell(3, {"data": {"image/png": "x"}}))
    with pytest.raises(PrivacyError, match=r"cell \[3\]: unread picture"):
        check(folder, ids(IDS), known="", every_file=False)


@pytest.mark.parametrize(
    "data",
    [
        {"text/html": TABLE.format("customers", "abc", "3")},
        {"text/html": TABLE.format("n", "abc", " 4 ")},
        {"text/plain": "In abc there are 2 customers."},
        {"text/plain": "It fell (n 3)."},
        {"text/html": "<p>Of 3 customers</p>"},
    ],
)
def test_groups_too_small_are_found_in_tables_and_sentences(folder, data):
    write_notebook(folder, cell(3, {"data": data}))
    with pytest.raises(PrivacyError, match=r"cell \[3\].*: too few customers"):
        check(folder, ids(IDS), known="", every_file=False, smallest=5)
    check(folder, ids(IDS), known="", every_file=False, smallest=2)


@pytest.mark.parametrize(
    "data",
    [
        {"text/html": TABLE.format("loan applications", "abc", "3")},
        {"text/plain": "In abc there are 2 loan applications."},
    ],
)
def test_groups_too_small_are_found_under_the_companys_own_words_for_them(folder, data):
    write_notebook(folder, cell(3, {"data": data}))
    asked = {"known": "", "every_file": False, "smallest": 5}
    with pytest.raises(PrivacyError, match=r"cell \[3\].*: too few customers"):
        check(folder, ids(IDS), **asked, words={"customer": "loan application"})
    check(folder, ids(IDS), **asked)


@pytest.mark.parametrize(
    "data",
    [
        {"text/html": TABLE.format("customers", "abc", "1,003")},
        {"text/html": TABLE.format("customers", "abc", "0")},
        {"text/html": TABLE.format("share of customers", "abc", "3")},
        {"text/plain": "Of 1,003 customers 2.3 bought; n 45,004; fewer than 5 customers."},
        {"text/plain": "In 2024 1 003 customers came."},
    ],
)
def test_large_groups_and_other_figures_pass(folder, data):
    write_notebook(folder, cell(3, {"data": data}))
    check(folder, ids(IDS), known="", every_file=False, smallest=5)


def test_counts_and_lines_in_tables_are_no_ids(folder):
    table = pd.DataFrame({"line": [17850, 17851], "rows": [17850, 3], "rule": ["a", "b"]})
    write_table(table, folder / "tables", "quarantine")
    (folder / "manifest.json").write_text(json.dumps({"rows": {"read": 17850}}))
    check(folder, ids(IDS), known="", every_file=True)
    write_table(table.assign(customer=17850), folder / "tables", "quarantine")
    with pytest.raises(PrivacyError, match=r"quarantine\.csv, column customer: customer id"):
        check(folder, ids(IDS), known="", every_file=True)


def test_no_file_names_a_place_on_this_machine(folder):
    (folder / "manifest.json").write_text('{"source": "/home/ana/shop.csv"}')
    check(folder, ids(IDS), known="", every_file=False)
    with pytest.raises(PrivacyError, match=r"manifest\.json: the path /home/ana/"):
        check(folder, ids(IDS), known="", every_file=False, private=["/home/ana/"])
