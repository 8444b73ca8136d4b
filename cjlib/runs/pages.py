"""Executed notebooks as pages: self-contained, inert, worth reading without the code.

A page asks no other host for anything and runs no script; its policy forbids both. What came from
the data was escaped when the notebook showed it; here every piece of HTML passes a short list of
harmless elements once more. Code is hidden behind a switch that needs no script. Questions that the
log could not answer (see `cjlib.answers`) go with the text that announces them.
"""

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import bleach
from bleach.css_sanitizer import CSSSanitizer
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from cjlib.answers import MARK
from cjlib.forms import Wording, shared_sentences, shortened

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
"""What a page may load: pictures and styles that it carries itself."""

_TEXT = "a b blockquote br code dd del div dl dt em h1 h2 h3 h4 h5 h6 hr i li ol p pre s small"
_TEXT += " span strong sub sup table caption thead tbody tfoot tr th td ul"
_SPOKEN = re.compile(r"<(script|style|iframe|object|svg|template)\b.*?(</\1\s*>|$)", re.S | re.I)
_TELLS = re.compile(r"\breport\.(say|finding|show)\(")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")


@dataclass(frozen=True)
class Page:
    """What the index and the neighbours say of a notebook's page."""

    name: str
    title: str
    lead: str = ""
    picture: str = ""  # the first picture, PNG in base64
    alt: str = ""
    lacking: tuple[str, ...] = ()  # why parts of it are not answered

    @property
    def file(self) -> str:
        """Name of the page."""
        return f"{self.name}.html"


def style() -> str:
    """Return the style sheet that every page carries."""
    return (files("cjlib.runs") / "templates" / "page.css").read_text(encoding="utf-8")


def describe(name: str, notebook: NotebookNode) -> Page:
    """Return what the index says of an executed notebook: title, first words, first picture."""
    first = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), name)
    title, _, rest = first.strip().partition("\n")
    lead = spoken(rest.strip().partition("\n\n")[0])
    pictures = [
        (output.data["image/png"].replace("\n", ""), question)
        for cell, question in with_questions(notebook)
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    picture, alt = next(
        (picture for picture in pictures if _BASE64.fullmatch(picture[0])), ("", "")
    )
    lacking = filter(None, map(reason_left_out, notebook.cells))
    return Page(name, spoken(title), shortened(lead, 190), picture, alt, (*dict.fromkeys(lacking),))


def to_html(notebook: NotebookNode, page: Page, context: Mapping) -> str:
    """Return an executed notebook as a page.

    Parameters
    ----------
    notebook : NotebookNode
        Executed; what this log did not answer is taken out of it, its pictures get their words.
    page : Page
    context : mapping
        ``dataset`` (its title), ``as_of``, ``run_id``, ``previous`` and ``next`` (pages or None).
    """
    take_out_unanswered(notebook)
    for cell, question in with_questions(notebook):
        for output in cell.get("outputs", []):
            output.setdefault("metadata", {})["alt"] = question or page.title
    facts = {**context, "title": page.title, "policy": POLICY, "style": style()}
    body, _ = _exporter().from_notebook_node(notebook, {"page": facts})
    return body


@cache
def _exporter():
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name="page",
        extra_template_basedirs=[str(files("cjlib.runs") / "templates")],
        exclude_anchor_links=True,
    )
    exporter.register_filter("inert", inert)
    exporter.register_filter("shown_output", shown_output)
    return exporter


def shown_output(output: NotebookNode) -> str:
    """Return one output of a cell as HTML: the richest form that is harmless."""
    if is_mark(output):
        return ""
    if output.output_type == "stream":  # what libraries complain of on stderr stays in the notebook
        text = output.text.strip("\n")
        return _preformatted(text) if output.name == "stdout" and text else ""
    if output.output_type == "error":
        return _preformatted(f"{output.ename}: {output.evalue}", "wrong")
    data = output.data
    if _BASE64.fullmatch(data.get("image/png", "")):
        alt = html.escape(output.metadata.get("alt", ""))
        source = f"data:image/png;base64,{''.join(data['image/png'].split())}"
        return f'<figure><img alt="{alt}" src="{source}"></figure>'
    if "text/html" in data:
        return f'<div class="scroll">{inert(data["text/html"])}</div>'
    if "text/markdown" in data:
        from nbconvert.filters import markdown2html

        return f'<div class="said">{inert(markdown2html(data["text/markdown"]))}</div>'
    return _preformatted(data.get("text/plain", ""))


def inert(fragment: str, links: bool = False) -> str:
    """Return HTML with nothing left in it but text, lists, tables and, in authors' text, links."""

    def allowed(tag: str, name: str, value: str) -> bool:
        if tag == "a":
            return links and name == "href" and bool(re.match(r"(#|https?://|[\w.-]+$)", value))
        return name in ("colspan", "rowspan", "style", "class")

    return bleach.clean(
        _SPOKEN.sub("", fragment),
        tags=_TEXT.split(),
        attributes=allowed,
        protocols=["http", "https"],
        css_sanitizer=CSSSanitizer(["text-align"]),
        strip=True,
        strip_comments=True,
    )


def _preformatted(text: str, kind: str = "plain") -> str:
    return f'<pre class="{kind}">{html.escape(text)}</pre>'


# -- what a log cannot answer ----------------------------------------------------------------------


def reason_left_out(cell: NotebookNode) -> str:
    """Return why a cell was left out (see `cjlib.answers`), or nothing if it ran to its end."""
    marks = [output.data[MARK] for output in cell.get("outputs", []) if is_mark(output)]
    return marks[0]["reason"] if marks else ""


def is_mark(output: NotebookNode) -> bool:
    """Return whether an output says no more than that its cell was left out."""
    return MARK in output.get("data", {})


def take_out_unanswered(notebook: NotebookNode) -> None:
    """Take out of an executed notebook, in place, what announces answers that are not there.

    A text goes together with the code below it when that code was left out, or found nothing to
    say, and shows nothing. A section (a heading of the second level with all that follows) of which
    nothing is left to see goes whole, of any other the heading stays. The sections are named at
    the end by the reason why they, or a part of them, are not there.
    """
    kept, wholes, parts = [], _Named(), _Named()
    for place, section in enumerate(_sections(notebook)):
        heading = spoken(section[0].cells[0].source.partition("\n")[0])
        reasons = dict.fromkeys(reason for text in section for reason in text.reasons)
        shows = any(text.shows for text in section)
        if place and not shows and any(text.goes for text in section):
            wholes.add(next(iter(reasons), shared_sentences()["nothing_found"]), heading)
            continue
        for reason in reasons:
            parts.add(reason, heading)
        for text in section:
            if not (place and text.goes):  # the title stays
                kept += text.cells
            elif text is section[0]:
                kept.append(new_markdown_cell(text.cells[0].source.partition("\n")[0]))
    for name, found in (("unanswered_questions", wholes), ("unanswered_parts", parts)):
        if found:
            kept.append(new_markdown_cell(found.in_words(shared_sentences()[name])))
    notebook.cells = kept


class _Named(dict):
    """Headings by the reason why they are not answered."""

    def add(self, reason: str, heading: str) -> None:
        self.setdefault(reason, []).append(heading)

    def in_words(self, introduction: str) -> str:
        row = shared_sentences()["unanswered_question"]
        said = [
            Wording().sentence(row, {"question": " ".join(each), "reason": reason}, markdown=True)
            for reason, each in self.items()
        ]
        return "\n".join([introduction, "", *said])


@dataclass
class _Text:
    """A cell of text with the code below it, up to the next text."""

    cells: list[NotebookNode]

    @property
    def reasons(self) -> list[str]:
        return [reason for reason in map(reason_left_out, self.cells) if reason]

    @property
    def shows(self) -> bool:
        outputs = [output for cell in self.cells for output in cell.get("outputs", [])]
        return any(not is_mark(each) and each.get("name") != "stderr" for each in outputs)

    @property
    def goes(self) -> bool:
        code = [cell for cell in self.cells if cell.cell_type == "code"]
        told = any(reason_left_out(cell) or _TELLS.search(cell.source) for cell in code)
        return told and not self.shows


def _sections(notebook: NotebookNode) -> Iterator[list[_Text]]:
    section: list[_Text] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## ") and section:
            yield section
            section = []
        if cell.cell_type == "markdown" or not section:
            section.append(_Text([]))
        section[-1].cells.append(cell)
    yield section


def with_questions(notebook: NotebookNode) -> Iterator[tuple[NotebookNode, str]]:
    """Yield every cell with the words that it answers: the last question or heading up to it."""
    words = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            lines = cell.source.splitlines()
            questions = [line for line in map(spoken, lines) if line.endswith("?")]
            headings = [spoken(line) for line in lines if line.startswith("#")]
            words = (questions or headings or [words])[-1]
        yield cell, words


def spoken(markdown: str) -> str:
    """Return Markdown's words without its marks."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    return " ".join(re.sub(r"(^|\n)\s*[#>]+\s*|[*`]|\\(?=\W)", r"\1", text).split())
