"""Pages are inert and say what a notebook said; the index rounds as a headline does."""

from types import SimpleNamespace

import pytest
from nbformat import from_dict

from cjlib.answers import MARK
from cjlib.forms import FEELING
from cjlib.runs.index_page import SCALES, error_html, index_html, interval_bar
from cjlib.runs.pages import Page, describe, inert, shown_output, to_html

PICTURE = "iVBORw0KGgo="
EVIL = "<script>x()</script>"


def output(**data):
    data = {name.replace("_", "/"): text for name, text in data.items()}
    metadata = {"alt": "Who bought?"}
    return from_dict({"output_type": "display_data", "data": data, "metadata": metadata})


def text(source):
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def code(*outputs, source="x = 1"):
    outputs = list(outputs)
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": outputs}


def notebook(*cells):
    cells = [from_dict(cell | {"id": f"c{at}"}) for at, cell in enumerate(cells, start=1)]
    number = 0
    for cell in cells:
        if cell.cell_type == "code":
            number = cell.execution_count = number + 1
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    return from_dict({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})


def who_left():
    return notebook(
        text("# Who *left*?\n\nFor the **shop**: it decides.\nStill.\n\nMore."),
        text("## Who bought?\nSee."),
        code(output(image_png=PICTURE), output(text_markdown="**9** of `x`"), source="secret = 1"),
    )


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
    stream = {"output_type": "stream", "text": f"a\n{EVIL}"}
    assert shown_output(from_dict(stream | {"name": "stderr"})) == ""
    assert "&lt;script" in shown_output(from_dict(stream | {"name": "stdout"}))


def test_a_notebook_is_described_by_its_title_first_words_and_picture():
    page = describe("02_x", who_left())
    assert page == Page(
        "02_x", "Who left?", "For the shop: it decides. Still.", PICTURE, "Who bought?"
    )
    assert page.file == "02_x.html"


def page_of(*cells):
    made = notebook(*cells)
    context = {"dataset": EVIL, "as_of": "1 May 2024", "run_id": "r", "previous": None}
    return to_html(made, describe("02_x", made), context | {"next": Page("03_y", "What <next>?")})


def test_a_page_carries_all_it_needs_and_hides_its_code():
    page = page_of(*who_left().cells)
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
        "day": "2024-05-01",
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


def finding(value, unit, lower=None, upper=None):
    limits = {"lower": lower, "upper": upper}
    return {
        "notebook": "02_x",
        "name": "n",
        "value": value,
        "unit": unit,
        "sentence": EVIL,
    } | limits


def index_of(*findings, tables=()):
    return index_html(manifest(), findings, [describe("02_x", who_left())], tables, "EUR")


def test_the_index_shows_findings_pages_tables_and_provenance_escaped():
    tables = [{"name": "quality", "rows": 12345, "columns": ["rule", EVIL]}]
    page = index_of(finding(0.31, "share", 0.29, 0.33), finding(1234.5, "EUR"), tables=tables)
    assert "<script" not in page
    for shown in ("31.0%", "29.0% to 33.0%", "1,234", "Who left?", "12,345", "As of 1 May 2024"):
        assert shown in page
    assert "9 seconds" in page
    assert page.count("<svg") == 1
    assert 'href="tables/quality.csv"' in page


def first_part(findings, names=("02_map", "06_do"), lacking=()):
    pages = [Page(name, f"Title {name}", lacking=lacking) for name in names]
    page = index_html(manifest(), findings, pages, (), "EUR")
    return page.partition('<section class="behind">')[0]


def named(notebook, name, sentence):
    return finding(3.0, "purchases a month", 1.0, 5.0) | {
        "notebook": notebook,
        "name": name,
        "sentence": sentence,
    }


def test_a_lead_reads_state_three_actions_changes_and_risk_first_and_nothing_else():
    told = [
        named("01_log", "buyers", "Nine in ten have bought."),
        *(named("06_do", f"action_{place}", f"Do {place}.") for place in (2, 1, 3)),
        named("05_churn", "value_at_risk", "A lot is at risk."),
        *(named("07_changed", f"c{place}", f"Changed {place}.") for place in range(5)),
        named("02_map", "worst_feeling", "Of no first concern."),
    ]
    page = first_part(told)
    order = ["Nine in ten", "Do 1.", "Do 2.", "Do 3.", "A lot is", "Changed 0.", "Changed 2."]
    places = [page.index(sentence) for sentence in order]
    assert places == sorted(places)
    assert "Changed 3." not in page
    assert "Of no first concern." not in page
    assert 'href="06_do.html"' in page


def test_a_log_without_an_action_says_what_is_lacking():
    page = first_part([], lacking=("nothing is recorded from before a purchase",))
    assert "carries no action" in page
    assert "nothing is recorded from before a purchase" in page
    assert "What to do first" not in first_part([], names=("02_map",))


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        *[(0.314, "share", "31.4%"), (0.99996, "share", "over 99.9%"), (1.0, "share", "100%")],
        *[(17.23, "points", "+17.2"), (-0.5, FEELING, "-0.50"), (217554.3, "EUR", "217,554")],
        *[(12.0, "days", "12 days"), (0.25, "days", "6 hours"), (3000, "customers", "3,000")],
    ],
)
def test_a_figure_reads_on_the_index_as_on_its_page(value, unit, shown):
    page = index_of(finding(value, unit))
    card = page.partition('<p class="figure">')[2].partition("</p>")[0]
    card = card.replace('<span class="unit">', "").replace("</span>", "")
    assert card == (shown if unit in ("share", "days") else f"{shown} {unit}")


def test_limits_that_may_be_hours_or_days_say_which():
    assert "95% interval 12 hours to 2 days" in index_of(finding(1.0, "days", 0.5, 2.0))
    assert "95% interval -3.0 to +5.0" in index_of(finding(1.0, "points", -3.0, 5.0))


def test_a_finding_without_a_figure_is_its_sentence_alone():
    page = index_of(finding(None, "share"))
    assert 'class="figure"' not in page
    assert "unknown" not in page


def test_the_error_page_escapes_what_failed():
    failure = SimpleNamespace(
        name="02_x", cell=3, line=EVIL, error="KeyError", message=EVIL, traceback=EVIL
    )
    assert "<script" not in error_html(EVIL, "r1", [failure])


@pytest.mark.parametrize("numbers", [(0.9, 0.8, 1.0), (0, 0, 0), (0.1, -0.2, 0.4), (1, 0.9, 1.1)])
@pytest.mark.parametrize("unit", SCALES)
def test_interval_bars_stay_within_their_line(numbers, unit):
    bar = interval_bar(*numbers, unit=unit)
    assert 4 <= bar["left"] <= bar["left"] + bar["length"] <= 237
    assert 4 <= bar["value"] <= 236


def test_equal_shares_stand_at_equal_places_whatever_their_intervals():
    narrow, wide = (interval_bar(0.2, 0.2 - r, 0.2 + r, unit="share") for r in (0.01, 0.15))
    assert narrow["value"] == wide["value"] == 50.4  # a fifth of the line, from nothing to all
    assert (narrow["start"], narrow["end"]) == ("0%", "100%")


def test_a_unit_without_a_scale_has_no_picture():
    assert interval_bar(120.0, 100.0, 140.0, unit="EUR") == {}


# -- what the log could not answer

SHOWN = output(text_plain="a figure")


def left_out(reason, said=True):
    """What a cell shows that was left out, or one that depends on it."""
    words = {"text/markdown": f"*Not answered:* {reason}"} if said else {}
    data = {MARK: {"reason": reason}, **words}
    return from_dict({"output_type": "display_data", "data": data, "metadata": {}})


def words_of(page):
    main = page.partition("<main")[2].partition("</main>")[0]
    hidden = main.split('<div class="source">')
    return "".join([hidden[0], *(part.partition("</div>")[2] for part in hidden[1:])])


def test_a_section_that_the_log_cannot_answer_is_named_with_its_reason_and_left_out():
    page = words_of(
        page_of(
            text("# What?"),
            code(),
            text("## Who left?\n\nIt matters."),
            code(SHOWN),
            text("## Who came?\n\nWhy it matters."),
            code(left_out("there are 3 <b>customers</b>")),
            text("The bars show all of it."),
            code(left_out("there are 3 <b>customers</b>", said=False)),
            text("## What this does not tell you\n\nMuch."),
        )
    )
    assert "It matters." in page
    assert "Much." in page
    assert "Why it matters." not in page
    assert "The bars" not in page
    assert page.count("Who came?") == page.count("there are 3 &lt;b&gt;customers&lt;/b&gt;") == 1
    named = page.index("Not answered by this log:")
    assert page.index("Much.") < named < page.index("Who came?")


def test_what_depends_on_a_missing_answer_is_named_beside_it_under_one_reason():
    page = words_of(
        page_of(
            text("# What?"),
            code(),
            text("## Which groups?"),
            code(left_out("too few")),
            text("## Do they hold?\n\nLong words."),
            code(left_out("too few", said=False), source="report.show(groups)"),
        )
    )
    assert "Long words." not in page
    assert "Which groups? Do they hold? (too few)" in page
    assert page.index("Which groups?") < page.index("Do they hold?")


def test_a_heading_stays_where_the_rest_of_its_section_shows_something():
    page = words_of(
        page_of(
            text("# What?"),
            text("## Who left?\n\nThe first of two pictures."),
            code(left_out("nobody left")),
            text("The second."),
            code(SHOWN),
        )
    )
    assert "<h2>Who left?</h2>" in page
    assert "first of two" not in page
    assert "The second." in page
    assert "nobody left" in page


def test_a_cell_left_out_beside_others_loses_only_its_own_output():
    page = words_of(
        page_of(
            text("# What?"),
            text("## Who left?\n\nIt matters."),
            code(SHOWN),
            code(left_out("nobody")),
        )
    )
    assert "It matters." in page
    assert "a figure" in page
    assert "Not answered:" not in page
    assert "Who left? (nobody)" in page.rpartition("Not answered by")[2]


def test_a_section_that_found_nothing_to_say_is_left_out_and_named():
    page = words_of(
        page_of(
            text("# What?"),
            text("## Who left?\n\nIt matters."),
            code(source='report.say(rows, "{who} left.")'),
        )
    )
    assert "It matters." not in page
    assert "Who left? (there is nothing to tell)" in page


def test_a_text_above_code_that_only_prepares_stays():
    page = words_of(
        page_of(
            text("# What?"),
            code(),
            text("## Who left?\n\nFirst a model."),
            code(),
            text("Then its picture."),
            code(SHOWN),
        )
    )
    assert "First a model." in page
    assert "Not answered" not in page


def test_the_title_stays_whatever_was_left_out():
    page = page_of(text("# What?\n\nFor whom."), code(left_out("none"), source="report.say(x)"))
    assert "For whom." in words_of(page)
    assert "(none)" in words_of(page)
