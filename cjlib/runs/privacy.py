"""The last look before publication: what must stay private is on no page, and no group too small.

What counts as showing an id: the id as whole words, where it has four characters or more (an id of
digits alone: five or more, and not as part of a decimal or of a longer number), or its beginning
where a text was shortened. Shorter ids are no different from figures and cannot be told apart; ids
of more than eight words are not sought. Ids that are also words of the notebook's own text, of the
stage model or of the dataset file are passed over: there they do not come from customers. An e-mail
address or a phone number is never passed over. Pictures are read by the texts that `Report.show`
keeps with them; one without is not published.

What counts as a group too small (see `cjlib.groups`): a figure below the limit in a column that
counts customers, and in a sentence one before the word customers or buyers, or after n.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import ibis
import ibis.expr.types as ir

from cjlib.errors import PrivacyError
from cjlib.groups import counts_customers, says_too_few, too_small
from cjlib.runs.shown import Piece, pictures, pieces
from cjlib.vocabulary import in_own_words, with_plurals

_LONGEST = 8  # words of an id
_WORD = re.compile(r"\w+")
_CORE = r"(?s)[\p{L}\p{N}_].*[\p{L}\p{N}_]"  # an id without marks at its ends, for RE2
_CUT = re.compile(r"(\w\S{6,}\w)\W?…")  # the beginning of something shortened
_EMAIL = re.compile(r"[\w.%+-]+@(?:[\w-]+(?:\.[\w-]+)*\.[^\W\d_]{2,}|[\w.-]*…)")
_SPACE = re.compile("[\u00a0\u2000-\u200b\u202f\u205f\u2060\u3000]")
_HYPHEN = re.compile("[\u2010-\u2015\u2212]")
_PHONES = (
    # international: + or 00, then 8 to 15 digits in groups
    re.compile(
        r"(?<![\w.,+])(?:\+|00)[1-9]\d{0,2}(?:[ ./-]?\(0\))?(?:[ ./-]?\(?\d{1,5}\)?){2,7}"
        r"(?![\w]|[.,]\d)"
    ),
    # French, German, British: a 0, then 9 or 10 digits in groups, the first perhaps in brackets
    re.compile(
        r"(?<![\w.,/:+-])(?<!\d )(?:\(0[1-9]\d{0,4}\)|0[1-9]\d{0,4})(?:[ ./-]{1,3}\d{2,9}){1,5}"
        r"(?![\w]|[.,]\d|[-/:]\d)"
    ),
    # North American: (212) 555-0123, 212-555-0123
    re.compile(r"(?<![\w.,-])(?:\(\d{3}\) ?|\d{3}-)\d{3}-\d{4}(?![\w-]|[.,]\d)"),
    # Spanish: 612 345 678, 612-345-678, 93 123 45 67, 612 34 56 78
    re.compile(r"(?<![\w.,\[-])(?<!\d )[6789]\d{2}([ -])\d{3}\1\d{3}(?![\w-]|[.,]\d| \d)"),
    re.compile(r"(?<![\w.,\[-])(?<!\d )[6789]\d{1,2} \d{2,3} \d{2} \d{2}(?![\w-]|[.,]\d| \d)"),
)


def check(
    folder: Path,
    events: ir.Table,
    *,
    known: str,
    every_file: bool,
    smallest: int = 1,
    private: Iterable[str] = (),
    words: Mapping[str, str] | None = None,
) -> None:
    """Look through a report before it is published.

    Parameters
    ----------
    folder : Path
        The finished report.
    events : Ibis table
        With the raw ``customer_id`` of every customer, on any engine; with ``touchpoint`` and
        ``channel`` the message says in which of them a value stands.
    known : str
        Texts that do not come from customers.
    every_file : bool
        Whether files beside the pages must be free of raw ids, too.
    smallest : int
        Customers of the smallest group that may be shown.
    private : iterable of str
        Other texts that no file may hold, such as paths of this machine.
    words : mapping, optional
        The company's own (see `cjlib.vocabulary`), in place of those by which groups are told.

    Raises
    ------
    PrivacyError
        Naming each page, its cell and column, and what kind of thing it shows, the thing masked.
    """
    leaks = sorted(
        set(_leaks(folder, events, known, every_file, smallest, list(private), words or {}))
    )
    if leaks:
        lines = "\n".join(f"  {leak}" for leak in leaks[:20])
        raise PrivacyError(
            f"The report would have shown what must stay private; nothing was published.\n{lines}\n"
            "Map or clean these values in the source or the dataset file, or change the notebook. "
            f"Too few customers are fewer than {smallest} (privacy.smallest_group); an unread "
            "picture is one that report.show has not shown."
        )


def _leaks(
    folder: Path,
    events: ir.Table,
    known: str,
    every_file: bool,
    smallest: int,
    private: list[str],
    words: Mapping[str, str],
) -> Iterator[str]:
    """Yield what was found where, with just enough of it to look for it."""
    passed = set(spans(known))
    ours = {said: word for word, said in with_plurals(words).items()}
    candidates: dict[str, dict[str, str]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name, shown = path.relative_to(folder).as_posix(), path.suffix in (".html", ".ipynb")
        if path.suffix != ".parquet":
            content = path.read_text(encoding="utf-8", errors="replace")
            yield from (f"{name}: the path {text}" for text in private if text in content)
        found = list(pieces(path, name)) if shown or every_file else []
        closest: dict[tuple[str, str], str] = {}
        for piece in found if shown else []:
            for text in {*_EMAIL.findall(piece.text), *phone_numbers(piece.text)}:
                closest[piece.place, text] = max(
                    closest.get((piece.place, text), ""), piece.where, key=len
                )
            plainly = replace(
                piece,
                text=in_own_words(piece.text, ours),
                column=in_own_words(piece.column, ours),
            )
            yield from small_groups(plainly, smallest)
        for (_, text), where in closest.items():
            kind = "e-mail address" if "@" in text else "phone number"
            yield f"{where}: {kind} {_masked(text)}"
        if path.suffix == ".ipynb":
            yield from _unread_pictures(json.loads(path.read_text(encoding="utf-8")), name)
        here = candidates.setdefault(name, {})
        for piece in found:
            for span in {*spans(piece.text), *cut(piece.text)} - passed:
                here[span] = max(here.get(span, ""), piece.where, key=len)  # the closest place
    raw = raw_ids(set().union(*candidates.values()), events)
    values = _values(events) if raw else {}
    for found in candidates.values():
        for text in found.keys() & raw:
            columns = [column for column, known in values.items() if _plain(text) in known]
            of = f", a {' and '.join(columns)} of the log" if columns else ""
            yield f"{found[text]}: customer id {_masked(text)}{of}"


def _values(events: ir.Table) -> dict[str, set[str]]:
    columns = [column for column in ("touchpoint", "channel") if column in events.columns]
    return {
        column: set(map(_plain, events[[column]].distinct()[column].to_pandas().dropna()))
        for column in columns
    }


def _plain(text: str) -> str:
    """Return a text as it is shown: names from the log have blanks for underscores."""
    return str(text).replace("_", " ")


def _unread_pictures(notebook: dict, name: str) -> Iterator[str]:
    for cell in notebook["cells"]:
        if any(pictures(output) is None for output in cell.get("outputs", [])):
            yield f"{name}, cell [{cell['execution_count']}]: unread picture"


def small_groups(piece: Piece, smallest: int) -> Iterator[str]:
    """Yield where a piece shows a group too small."""
    few = piece.kind == "said" and says_too_few(piece.text, smallest)
    if piece.kind == "figure" and counts_customers(piece.column):
        figure = re.fullmatch(r"\s*(\d[\d,]*(?:\.\d+)?)\s*", piece.text)
        few = bool(figure) and too_small(float(figure[1].replace(",", "")), smallest)
    if few:
        yield f"{piece.where}: too few customers"


def _masked(text: str) -> str:
    return text[0] + "•" * min(len(text) - 2, 12) + text[-1]


def raw_ids(candidates: Iterable[str], ids: ir.Table) -> set[str]:
    """Return those candidates that are a customer's id, but for marks at its ends.

    A candidate that ends with an ellipsis is one that was shortened: the beginning of an id.
    """
    candidates = set(candidates)
    if not candidates:
        return set()
    core = ids.customer_id.re_extract(_CORE, 0).replace("_", " ")
    spaced = core.contains("  ") | core.contains("\t") | core.contains("\n")
    own = ids.select(text=spaced.ifelse(core.re_replace(r"\s+", " "), core))
    sought = {_plain(text): text for text in candidates}
    found = set()
    lengths = {len(text) - 1 for text in sought if text.endswith("…")}
    for length in [None, *sorted(lengths)]:
        table = own if length is None else own.mutate(text=own.text.substr(0, length) + "…")
        those = [text for text in sought if length is None or len(text) == length + 1]
        matched = table.semi_join(ibis.memtable({"text": those}), "text").text
        found |= set(matched.to_pandas())
    return {text for text in candidates if _plain(text) in found}


def labels_like_ids(events: ir.Table, known: Iterable[str]) -> dict[str, int]:
    """Return how many texts of a column are customers' ids, which no page may show.

    Parameters
    ----------
    events : Ibis table
        With the raw ``customer_id``, ``touchpoint`` and ``channel``.
    known : iterable of str
        Texts that are passed over: those of the dataset file.

    Returns
    -------
    dict of str to int
        Of touchpoint and channel, those with such texts.
    """
    passed = set(map(_plain, known))
    texts = {
        column: {text for text in values - passed if text in spans(text)}
        for column, values in _values(events).items()
    }
    counts = {column: len(raw_ids(values, events)) for column, values in texts.items()}
    return {column: count for column, count in counts.items() if count}


def cut(text: str) -> Iterator[str]:
    """Yield the beginning of every word that was shortened, with an ellipsis."""
    return (f"{start}…" for start in _CUT.findall(text))


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
    text = _HYPHEN.sub("-", _SPACE.sub(" ", text))
    for pattern in _PHONES:
        for match in pattern.finditer(text):
            digits = sum(map(str.isdigit, match[0]))
            if (9 if match[0].lstrip("(")[0] == "0" else 8) <= digits <= 15:  # 8 make a date, too
                yield match[0]
