"""The last look before publication: no raw id, e-mail address or phone number where it may not be.

What counts as showing an id: the id as whole words, where it has four characters or more (an id of
digits alone: five or more, and not as part of a decimal or of a longer number). Shorter ids are no
different from figures and cannot be told apart; ids of more than eight words are not sought. Ids
that are also words of the notebook's own text, of the stage model or of the dataset file are passed
over: there they do not come from customers. An e-mail address or a phone number is never passed
over. Pictures cannot be read.
"""

import html.parser
import json
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd

from cjlib.errors import PrivacyError

_LONGEST = 8  # words of an id
_WORD = re.compile(r"\w+")
_CORE = r"(?s)[\p{L}\p{N}_].*[\p{L}\p{N}_]"  # an id without marks at its ends, for RE2
_EMAIL = re.compile(r"[\w.%+-]+@[\w-]+(?:\.[\w-]+)*\.[^\W\d_]{2,}")
_PHONES = (
    # international: + or 00, then 8 to 15 digits in groups
    re.compile(r"(?<![\w.,+])(?:\+|00)[1-9]\d{0,2}(?:[ .-]?\(?\d{2,5}\)?){2,6}(?![\w]|[.,]\d)"),
    # North American: (212) 555-0123, 212-555-0123
    re.compile(r"(?<![\w.,-])(?:\(\d{3}\) ?|\d{3}-)\d{3}-\d{4}(?![\w-]|[.,]\d)"),
    # Spanish: 612 345 678, 612-345-678, 93 123 45 67, 612 34 56 78
    re.compile(r"(?<![\w.,\[-])(?<!\d )[6789]\d{2}([ -])\d{3}\1\d{3}(?![\w-]|[.,]\d| \d)"),
    re.compile(r"(?<![\w.,\[-])(?<!\d )[6789]\d{1,2} \d{2,3} \d{2} \d{2}(?![\w-]|[.,]\d| \d)"),
)


def check(folder: Path, ids: ir.Table, *, known: str, every_file: bool) -> None:
    """Look through a report before it is published.

    Parameters
    ----------
    folder : Path
        The finished report.
    ids : Ibis table
        With the raw ``customer_id`` of every customer, on any engine.
    known : str
        Texts that do not come from customers.
    every_file : bool
        Whether files beside the pages must be free of raw ids, too.

    Raises
    ------
    PrivacyError
        Naming each page and what kind of thing it shows, the thing itself masked.
    """
    leaks = sorted(set(_leaks(folder, ids, known, every_file)))
    if leaks:
        lines = "\n".join(f"  {leak}" for leak in leaks[:20])
        raise PrivacyError(
            f"The report would have shown what must stay private; nothing was published.\n{lines}\n"
            "Map or clean these values in the source or the dataset file, or change the notebook."
        )


def _leaks(folder: Path, ids: ir.Table, known: str, every_file: bool) -> Iterator[str]:
    """Yield what was found where, with just enough of it to look for it."""
    passed = set(spans(known))
    candidates: dict[str, set[str]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name, shown = path.relative_to(folder).as_posix(), path.suffix in (".html", ".ipynb")
        texts = list(_texts(path)) if shown or every_file else []
        for text in texts if shown else []:
            for found in {*_EMAIL.findall(text), *phone_numbers(text)}:
                kind = "e-mail address" if "@" in found else "phone number"
                yield f"{name}: {kind} {_masked(found)}"
        candidates[name] = {span for text in texts for span in spans(text)} - passed
    raw = raw_ids(set().union(*candidates.values()), ids)
    for name, found in candidates.items():
        for text in found & raw:
            yield f"{name}: customer id {_masked(text)}"


def _masked(text: str) -> str:
    return text[0] + "•" * min(len(text) - 2, 12) + text[-1]


def _texts(path: Path) -> Iterator[str]:
    """Yield what a file says: of a table the different texts in its columns, and their names."""
    if path.suffix not in (".parquet", ".csv"):
        text = path.read_text(encoding="utf-8", errors="replace")
        yield {".html": page_text, ".ipynb": notebook_text}.get(path.suffix, str)(text)
        return
    read = pd.read_parquet if path.suffix == ".parquet" else partial(pd.read_csv, dtype=str)
    table = read(path).select_dtypes(exclude=["number", "datetime", "datetimetz", "timedelta"])
    yield from table.columns
    for _, column in table.items():
        yield from column.dropna().astype(str).unique()


def raw_ids(candidates: Iterable[str], ids: ir.Table) -> set[str]:
    """Return those candidates that are a customer's id, but for marks at its ends."""
    candidates = list(candidates)
    if not candidates:
        return set()
    core = ids.customer_id.re_extract(_CORE, 0)
    spaced = core.contains("  ") | core.contains("\t") | core.contains("\n")
    own = ids.select(text=spaced.ifelse(core.re_replace(r"\s+", " "), core))
    return set(own.semi_join(ibis.memtable({"text": candidates}), "text").text.to_pandas())


def spans(text: str) -> Iterator[str]:
    """Yield every run of one to eight words that could be an id, as it stands in a text."""
    for line in text.splitlines():
        line = " ".join(line.split())
        words = [match.span() for match in _WORD.finditer(line)]
        for first, (start, _) in enumerate(words):
            for _, end in words[first : first + _LONGEST]:
                span = line[start:end]
                if _could_be_an_id(span, line[max(start - 2, 0) : start], line[end : end + 2]):
                    yield span


def _could_be_an_id(span: str, before: str, after: str) -> bool:
    if not span.isdigit():
        return len(span) >= 4
    if len(span) < 5:
        return False
    decimal = re.search(r"\d[.,]$", before) or re.match(r"[.,]\d|\s?%", after)
    return not decimal


def phone_numbers(text: str) -> Iterator[str]:
    """Yield what looks like a phone number and not like a figure or a time."""
    for pattern in _PHONES:
        for match in pattern.finditer(text):
            if 8 <= sum(map(str.isdigit, match[0])) <= 15:
                yield match[0]


def page_text(page: str) -> str:
    """Return the text of a page and of its attributes, one element a line."""
    reader = _PageReader()
    reader.feed(page)
    reader.close()
    return "\n".join(reader.parts)


class _PageReader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.parts: list[str] = []
        self.in_style = False

    def handle_starttag(self, tag, attrs):
        self.in_style = tag == "style"
        self.parts += [value for name, value in attrs if value and not value.startswith("data:")]

    def handle_endtag(self, tag):
        self.in_style = False

    def handle_data(self, data):
        if not self.in_style:
            self.parts.append(data)


def notebook_text(content: str) -> str:
    """Return every text of a notebook, pictures aside, without the marks that escape Markdown."""
    parts: list[str] = []

    def collect(pairs: list) -> None:
        for name, value in pairs:
            lines = value if isinstance(value, list) else [value]
            if not name.startswith("image/"):
                parts.append("".join(line for line in lines if isinstance(line, str)))

    json.loads(content, object_pairs_hook=collect)  # every object of it, the inner ones first
    return re.sub(r"\\(?=\W)", "", html.unescape("\n".join(parts)))
