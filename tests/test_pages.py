"""Pages are inert and say what a notebook said; the index rounds as a headline does."""

import json
from types import SimpleNamespace

import pytest

from cjlib.forms import shortened, trust_line
from cjlib.notebooks import source_of
from cjlib.runs.index_page import SCALES, error_html, figure, index_html, interval_bar
from cjlib.runs.pages import (
    Page,
    describe,
    inert,
    shown_output,
    to_html,
    without_silent_sections,
)

PICTURE = "iVBORw0KGgo="
EVIL = "<script>x()</script>"


def output(**data):
    data = {name.replace("_", "/"): text for name, text in data.items()}
    return {"output_type": "display_data", "data": data, "metadata": {"alt": "Who bought?"}}


NOTEBOOK = {
    "cells": [
        {
            "cell_type": "markdown",
            "metadata": {},
            "id": "c01",
            "source": "# Who *left*?\n\nFor the **shop**: it decides.\nStill.\n\nMore.",
        },
        {"cell_type": "markdown", "metadata": {}, "id": "c02", "source": "## Who bought?\nSee."},
        {
            "cell_type": "code",
            "metadata": {},
            "id": "c03",
            "execution_count": 1,
            "source": "secret = 1",
            "outputs": [output(image_png=PICTURE), output(text_markdown="**9** of `x`")],
        },
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


@pytest.mark.parametrize(
    ("fragment", "left"),
    [
        (EVIL, ""),
        ("<p onclick='x()'>a</p>", "<p>a</p>"),
        ("<a href='javascript:x()'>a</a>", "<a>a</a>"),
        ("<img src=x onerror=x()>b", "b"),
        ("<style>p{}</style><p>a</p>", "<p>a</p>"),
        ("<iframe src='//h.example'></iframe>c", "c"),
        ("<svg><script>x()</script></svg>d", "d"),
        ("<td style='text-align:right;background:url(//h.example)'>1</td>", None),
        ("<link rel=stylesheet href=//h.example>e", "e"),
        ("<meta http-equiv=refresh content=0>f", "f"),
    ],
)
def test_nothing_that_acts_or_asks_another_host_is_left(fragment, left):
    clean = inert(fragment)
    assert "h.example" not in clean
    assert "x()" not in clean
    if left is not None:
        assert clean == left


def test_links_are_left_in_authors_text_only():
    link = '<a href="https://example.org">a</a>'
    assert inert(link, links=True) == link
    assert inert(link) == "<a>a</a>"


def test_the_richest_harmless_form_of_an_output_is_shown():
    assert shown_output(output(image_png=PICTURE, text_plain="<Axes>")) == (
        f'<figure><img alt="Who bought?" src="data:image/png;base64,{PICTURE}"></figure>'
    )
    assert "<script" not in shown_output(output(text_html=EVIL + "<b>b</b>", text_plain="b"))
    assert "&lt;script" in shown_output(output(text_plain=EVIL))
    assert shown_output(output(application_javascript="x()")) == '<pre class="plain"></pre>'
    assert '"' not in shown_output(output(image_png='x" onerror="x()', text_plain="p"))[20:]


def test_complaints_of_libraries_stay_in_the_notebook():
    stream = {"output_type": "stream", "text": ["a\n", EVIL]}
    assert shown_output(stream | {"name": "stderr"}) == ""
    assert "&lt;script" in shown_output(stream | {"name": "stdout"})


def test_a_notebook_is_described_by_its_title_first_words_and_picture():
    page = describe("02_x", NOTEBOOK)
    assert page == Page(
        "02_x", "Who left?", "For the shop: it decides. Still.", PICTURE, "Who bought?"
    )
    assert page.file == "02_x.html"


def test_a_page_carries_all_it_needs_and_hides_its_code(tmp_path):
    (tmp_path / "02_x.ipynb").write_text(json.dumps(NOTEBOOK))
    context = {"dataset": EVIL, "as_of": "1 May 2024", "run_id": "r", "previous": None}
    context["next"] = Page("03_y", "What <next>?")
    page = to_html(tmp_path / "02_x.ipynb", describe("02_x", NOTEBOOK), context)
    assert page.lower().startswith("<!doctype html>")
    assert '<html lang="en">' in page
    assert "default-src 'none'" in page
    assert '<img alt="Who bought?"' in page
    assert "<strong>9</strong> of <code>x</code>" in page
    assert ".source { display: none" in page
    assert "secret" in page
    assert 'href="03_y.html"' in page
    assert "What &lt;next&gt;? →" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def manifest():
    return {
        "run_id": "r1",
        "title": EVIL,
        "as_of": "2024-05-01T00:00:00",
        "started": "2024-05-02T00:00:00+00:00",
        "finished": "2024-05-02T00:00:09+00:00",
        "parameters": {"word": EVIL},
        "seed": 1,
        "sources": [{"name": EVIL, "sha256": None, "rows": 10}],
        "rows": {"read": 10, "kept": 8, "quarantined": 1, "duplicates": 1},
        "notebooks": [{"name": "02_x", "seconds": 1.2}],
        "versions": {"cjlib": "0.1.0"},
        "commit": None,
    }


def test_the_index_shows_findings_pages_tables_and_provenance_escaped():
    found = {"notebook": "02_x", "name": "n", "unit": "share", "sentence": EVIL}
    found |= {"value": 0.31, "lower": 0.29, "upper": 0.33}
    bare = found | {"lower": None, "upper": None, "value": 1234.5, "unit": "EUR"}
    tables = [{"name": "quality", "rows": 12345, "columns": ["rule", EVIL]}]
    page = index_html(manifest(), [found, bare], [describe("02_x", NOTEBOOK)], tables)
    assert "<script" not in page
    for text in ("31%", "29% to 33%", "1,234", "Who left?", "12,345", "1 May 2024", "9 seconds"):
        assert text in page
    assert page.count("<svg") == 1
    assert 'href="tables/quality.csv"' in page


def test_the_error_page_escapes_what_failed():
    failure = SimpleNamespace(
        name="02_x", cell=3, line=EVIL, error="KeyError", message=EVIL, traceback=EVIL
    )
    assert "<script" not in error_html(EVIL, "r1", [failure])


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        *[(0.314, "share", "31%"), (0.031, "share", "3.1%"), (0.994, "share", "99.4%")],
        *[(0.99996, "share", "over 99.9%")],
        *[
            (1.0, "share", "100%"),
            (0.0, "share", "0%"),
            (0, "clusters", "none"),
            (217554.3, "EUR", "217,554"),
        ],
        *[(17.23, "points", "17.2"), (0.034, "", "0.034"), (3000, "customers", "3,000")],
        *[(None, "days", "unknown"), (-0.5, "share", "-50%")],
    ],
)
def test_figures_are_rounded_as_headlines(value, unit, text):
    assert figure(value, unit) == text


@pytest.mark.parametrize("numbers", [(0.9, 0.8, 1.0), (0, 0, 0), (0.1, -0.2, 0.4), (1, 0.9, 1.1)])
@pytest.mark.parametrize("unit", SCALES)
def test_interval_bars_stay_within_their_line(numbers, unit):
    bar = interval_bar(*numbers, unit=unit)["picture"]
    places = [float(part.split('"')[0]) for part in bar.split(' x="')[1:]]
    assert all(0 <= place <= 240 for place in places)


def test_equal_shares_stand_at_equal_places_whatever_their_intervals():
    narrow, wide = (interval_bar(0.2, 0.2 - r, 0.2 + r, unit="share") for r in (0.01, 0.15))
    places = [bar["picture"].rpartition('<rect x="')[2].split('"')[0] for bar in (narrow, wide)]
    assert places[0] == places[1] == "48.9"  # a fifth of the line, from nothing to all
    assert (narrow["start"], narrow["end"]) == ("0%", "100%")


def test_a_unit_without_a_scale_has_no_picture():
    assert interval_bar(120.0, 100.0, 140.0, unit="EUR") == {}


def test_a_section_whose_code_had_nothing_to_show_is_named_and_left_out():
    def section(title, *outputs):
        code = {"cell_type": "code", "source": "x", "outputs": list(outputs)}
        return [{"cell_type": "markdown", "source": f"## {title}\n\nWhy it matters."}, code]

    words = {"cell_type": "markdown", "source": "## What this does not tell you\n\nMuch."}
    first = {"cell_type": "code", "source": "set_up()", "outputs": []}
    said, silent = section("Who left?", output(text_plain="9")), section("Who came?")
    notebook = {"cells": [first, *said, *silent, words]}
    without_silent_sections(notebook)
    assert notebook["cells"][:-1] == [first, *said, words]
    assert source_of(notebook["cells"][-1]) == "*Not answered by this log:* Who came?"
    whole = {"cells": [first, *said, words]}
    without_silent_sections(whole)
    assert whole["cells"] == [first, *said, words]


def test_the_trust_line_never_says_all_when_some_were_left_out():
    rows = {"read": 100_000, "kept": 99_999, "quarantined": 1, "duplicates": 0}
    assert "more than 99.9%" in trust_line(rows)
    rows = {"read": 5, "kept": 5, "quarantined": 0, "duplicates": 0}
    assert trust_line(rows) == "All 5 rows read were kept."


def test_the_trust_line_names_only_what_happened():
    rows = {"read": 1000, "kept": 999, "quarantined": 0, "duplicates": 1}
    assert trust_line(rows).endswith("were kept; 1 was dropped as a duplicate.")
    rows = {"read": 1000, "kept": 990, "quarantined": 8, "duplicates": 2}
    expected = "8 were quarantined, each with its reason, and 2 were dropped as duplicates."
    assert trust_line(rows).endswith(expected)


def test_a_text_is_cut_between_words():
    assert shortened("the answer is no purchase", 16) == "the answer is…"
    assert shortened("x" * 40, 10) == "x" * 9 + "…"
    assert shortened("short", 10) == "short"
