"""Executed notebooks as pages: self-contained, inert, worth reading without the code.

A page asks no other host for anything and runs no script; its policy forbids both. What came from
the data was escaped when the notebook showed it; here every piece of HTML passes a short list of
harmless elements once more. Code is hidden behind a switch that needs no script.
"""

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from cjlib.forms import shortened
from cjlib.notebooks import skip_slow_import, source_of, text_of

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


def describe(name: str, notebook: Mapping) -> Page:
    """Return what the index says of an executed notebook: title, first words, first picture."""
    title, lead = name, ""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            title, _, rest = source_of(cell).strip().partition("\n")
            title = _spoken(title) or name
            lead = _spoken(rest.strip().partition("\n\n")[0])
            break
    picture, alt = next(
        (
            (text_of(output["data"]["image/png"]).replace("\n", ""), alt)
            for output, alt in _outputs_with_questions(notebook)
            if "image/png" in output.get("data", {})
        ),
        ("", ""),
    )
    picture = picture if _BASE64.fullmatch(picture) else ""
    return Page(name, title, shortened(lead, 190), picture, alt)


def to_html(notebook_file: Path, page: Page, context: Mapping) -> str:
    """Return an executed notebook as a page.

    Parameters
    ----------
    notebook_file : Path
    page : Page
    context : mapping
        ``dataset`` (its title), ``as_of``, ``run_id``, ``previous`` and ``next`` (pages or None).
    """
    skip_slow_import()
    import nbformat

    notebook = nbformat.read(notebook_file, as_version=4)
    without_silent_sections(notebook)
    for output, alt in _outputs_with_questions(notebook):
        output.setdefault("metadata", {})["alt"] = alt
    facts = {**context, "title": page.title, "policy": POLICY, "style": style()}
    body, _ = _exporter().from_notebook_node(notebook, {"page": facts})
    return body


def without_silent_sections(notebook: Mapping) -> None:
    """Take out, in place, the sections whose code had nothing to show on this log, and name them.

    A section is a heading of the second level with all that follows it. Its words announce what is
    not there; one line at the end of the page says which questions the log does not answer.
    """
    import nbformat

    sections: list[list] = [[]]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown" and source_of(cell).startswith("## "):
            sections.append([])
        sections[-1].append(cell)
    kept, silent = sections[0], []
    for section in sections[1:]:
        code = [cell for cell in section if cell["cell_type"] == "code"]
        if code and not any(cell["outputs"] for cell in code):
            silent.append(_spoken(source_of(section[0]).splitlines()[0]))
        else:
            kept = kept + section
    if silent:
        kept.append(
            nbformat.v4.new_markdown_cell(f"*Not answered by this log:* {' '.join(silent)}")
        )
    notebook["cells"] = kept


@cache
def _exporter():
    skip_slow_import()
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name="page",
        extra_template_basedirs=[str(files("cjlib.runs") / "templates")],
        exclude_anchor_links=True,
    )
    exporter.register_filter("inert", inert)
    exporter.register_filter("shown_output", shown_output)
    return exporter


def shown_output(output: Mapping) -> str:
    """Return one output of a cell as HTML: the richest form that is harmless."""
    kind = output["output_type"]
    if kind == "stream":  # what libraries complain of on stderr stays in the notebook
        text = text_of(output["text"]).strip("\n")
        return _preformatted(text) if output["name"] == "stdout" and text else ""
    if kind == "error":
        return _preformatted(f"{output['ename']}: {output['evalue']}", "wrong")
    data = output["data"]
    for image in ("image/png", "image/jpeg"):
        content = text_of(data.get(image, ""))
        if content and _BASE64.fullmatch(content):
            alt = html.escape(output.get("metadata", {}).get("alt", "Picture"))
            source = f"data:{image};base64,{''.join(content.split())}"
            return f'<figure><img alt="{alt}" src="{source}"></figure>'
    if "text/html" in data:
        return f'<div class="scroll">{inert(text_of(data["text/html"]))}</div>'
    if "text/markdown" in data:
        from nbconvert.filters import markdown2html

        return f'<div class="said">{inert(markdown2html(text_of(data["text/markdown"])))}</div>'
    return _preformatted(text_of(data.get("text/plain", "")))


def inert(fragment: str, links: bool = False) -> str:
    """Return HTML with nothing left in it but text, lists, tables and, in authors' text, links."""
    import bleach
    from bleach.css_sanitizer import CSSSanitizer

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


def _outputs_with_questions(notebook: Mapping) -> Iterator[tuple[dict, str]]:
    """Yield every output with the words that it answers: the last question or heading before it."""
    words = "Picture"
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            lines = [_spoken(line) for line in source_of(cell).splitlines()]
            questions = [line for line in lines if line.endswith("?")]
            headings = [_spoken(line) for line in source_of(cell).splitlines() if line[:1] == "#"]
            words = (questions or headings or [words])[-1]
        for output in cell.get("outputs", []):
            yield output, words


def _spoken(markdown: str) -> str:
    """Return Markdown's words without its marks."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    return " ".join(re.sub(r"(^|\n)\s*[#>]+\s*|[*`]|\\(?=\W)", r"\1", text).split())


def _preformatted(text: str, kind: str = "plain") -> str:
    return f'<pre class="{kind}">{html.escape(text)}</pre>'
