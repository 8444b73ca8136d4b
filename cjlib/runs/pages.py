"""Executed notebooks as pages: self-contained, inert, worth reading without the code.

A page asks no other host for anything and runs no script; its policy forbids both. What came from
the data was escaped when the notebook showed it; here every piece of HTML passes a short list of
harmless elements once more. Code is hidden behind a switch that needs no script.
"""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import bleach
from bleach.css_sanitizer import CSSSanitizer
from nbformat import NotebookNode

from cjlib.forms import shortened
from cjlib.runs.unanswered import is_mark, spoken, take_out_unanswered, with_questions

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
"""What a page may load: pictures and styles that it carries itself."""

_TEXT = "a b blockquote br code dd del div dl dt em h1 h2 h3 h4 h5 h6 hr i li ol p pre s small"
_TEXT += " span strong sub sup table caption thead tbody tfoot tr th td ul"
_SPOKEN = re.compile(r"<(script|style|iframe|object|svg|template)\b.*?(</\1\s*>|$)", re.S | re.I)
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")


@dataclass(frozen=True)
class Page:
    """What the index and the neighbours say of a notebook's page."""

    name: str
    title: str
    lead: str = ""
    picture: str = ""  # the first picture, PNG in base64
    alt: str = ""

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
    return Page(name, spoken(title), shortened(lead, 190), picture, alt)


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
    for image in ("image/png", "image/jpeg"):
        content = data.get(image, "")
        if content and _BASE64.fullmatch(content):
            alt = html.escape(output.metadata.get("alt", ""))
            source = f"data:{image};base64,{''.join(content.split())}"
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
