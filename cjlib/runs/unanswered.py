"""What becomes of a page where the log could not answer: which cells left, what goes with them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from cjlib.answers import MARK
from cjlib.forms import Wording, shared_sentences

_TELLS = re.compile(r"\breport\.(say|finding|show)\(")


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
