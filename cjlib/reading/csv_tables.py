"""CSV text as Arrow tables: plain stretches read by Arrow, all others record by record.

Both ways give the same rows; Arrow's is some ten times faster. A stretch is plain when no quote,
NUL or undecodable byte stands in it and every line is one record of the right width.
"""

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain
from math import inf
from typing import TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

LONGEST_FIELD = 131_072
"""Characters of a field; in a log, more are a quote that never closes, or no log."""

csv.field_size_limit(LONGEST_FIELD)

STRETCH = 1 << 20
"""Characters read at a time: enough to be quick, few enough for one quote to cost little."""

Record = tuple[int, list[str] | None, str | None, str | None]
"""Line, fields, rule broken, and the text of a broken record."""


def csv_tables(
    stream: TextIO, delimiter: str, names: list[str], start: int = 1
) -> Iterator[pa.Table]:
    """Yield the records of a CSV body, stretch by stretch.

    Parameters
    ----------
    stream : text stream
        The file after its header, opened with ``newline=""`` and undecodable bytes as surrogates.
    delimiter : str
        One character, or ``whitespace``.
    names : list of str
        Of the columns.
    start : int
        Lines already read (the header's).

    Yields
    ------
    Table
        ``_line``, ``_problem``, ``_text`` and the columns, all text but the first, in the order
        of the lines.
    """
    while text := stream.read(STRETCH):
        text += stream.readline()
        height = _height(text)
        if text.isspace() and len(text) > 1:  # blank lines are no records, however many
            start += height
            continue
        table = None if delimiter == "whitespace" else _plain(text, height, delimiter, names, start)
        if table is None:
            # A quoted record may go on beyond the stretch: then more lines come from the stream.
            lines = Lines(chain(io.StringIO(text, newline=""), stream), start)
            records = list(csv_records(lines, delimiter, len(names), start + height))
            table, height = records_table(records, names), lines.number - start
        start += height
        yield table


def _height(text: str) -> int:
    ends = text.count("\n") + text.count("\r") - text.count("\r\n")
    return ends + (not text.endswith(("\n", "\r")))


def _plain(text: str, height: int, delimiter: str, names: list[str], start: int) -> pa.Table | None:
    """Return the records of a stretch in which every line is one, or None where that is unsure."""
    if '"' in text or "\0" in text or not delimiter.isascii():
        return None
    try:
        table = arrow_csv.read_csv(
            io.BytesIO(text.encode()),
            arrow_csv.ReadOptions(column_names=names, use_threads=False),
            arrow_csv.ParseOptions(delimiter=delimiter, quote_char=False),
            arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except (UnicodeEncodeError, pa.ArrowInvalid):
        return None
    longest = max(pc.max(pc.utf8_length(column)).as_py() or 0 for column in table.columns)
    if table.num_rows != height or longest > csv.field_size_limit():
        return None
    lines = pa.array(range(start + 1, start + height + 1), pa.int64())
    nothing = pa.nulls(height, pa.string())
    own = {"_line": lines, "_problem": nothing, "_text": nothing}
    return pa.table(own | dict(zip(names, table.columns, strict=True)))


def records_table(records: list[Record], names: list[str]) -> pa.Table:
    """Return records as a table, those with undecodable bytes or NULs as broken."""
    blank = [None] * len(names)
    lines, rows, problems, texts = [], [], [], []
    for line, fields, problem, text in records:
        if fields is None:
            fields, text = blank, printable(text)
        elif not is_clean(fields):
            text = printable("\x1f".join(fields)).replace("\x1f", " | ")
            fields, problem = blank, "bad_encoding"
        lines.append(line)
        rows.append(fields)
        problems.append(problem)
        texts.append(text)
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    own = {"_line": pa.array(lines, pa.int64())}
    own |= {"_problem": pa.array(problems, pa.string()), "_text": pa.array(texts, pa.string())}
    texts = (pa.array(column, pa.string()) for column in columns)
    return pa.table(own | dict(zip(names, texts, strict=True)))


# -- record by record ------------------------------------------------------------------------------


class Lines:
    """Lines of a file that can be handed back, with the lines taken since the last record."""

    def __init__(self, lines: Iterator[str], number: int = 1) -> None:
        self.lines = lines
        self.returned: list[str] = []
        self.taken: list[str] = []
        self.number = number  # lines taken so far, the header's among them

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self.returned.pop() if self.returned else next(self.lines)
        self.taken.append(line)
        self.number += 1
        return line

    def give_back_all_but_first(self) -> str:
        """Undo the reading of all lines taken but one, which is returned."""
        first, *rest = self.taken
        self.returned.extend(reversed(rest))
        self.number -= len(rest)
        self.taken.clear()
        return first


def csv_records(lines: Lines, delimiter: str, width: int, until: float = inf) -> Iterator[Record]:
    """Yield every record of a CSV body, broken ones too, each exactly once.

    A record that cannot be read (a quote that never closes, a field without end) costs its first
    line alone: reading goes on with the next line, so that one bad line never swallows others.

    Parameters
    ----------
    lines : Lines
        Of the file after its header, undecodable bytes as surrogates.
    delimiter : str
        One character, or ``whitespace`` for fields apart by blanks (then quotes mean nothing).
    width : int
        Number of fields that a record must have.
    until : float
        No record begins after so many lines.

    Yields
    ------
    line : int
        1 for the file's first line.
    fields : list of str or None
        None where the record is broken.
    problem, text : str or None
        The rule broken and the record as it stands.
    """
    if delimiter == "whitespace":
        for line in lines:
            lines.taken.clear()
            if fields := line.split():
                problem = width_problem(len(fields), width)
                text = line.rstrip("\r\n") if problem else None
                yield lines.number, None if problem else fields, problem, text
            if lines.number >= until:
                return
        return
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while lines.number < until or lines.returned:
        try:
            fields = next(reader)
            problem = width_problem(len(fields), width) if fields else None
        except StopIteration:
            return
        except csv.Error:
            # An open quote may swallow lines up to the limit: then no field was too long.
            long = len(lines.taken[0]) > csv.field_size_limit()
            fields, problem = [], "field_too_long" if long else "bad_quoting"
        if problem is None:
            if fields:  # else a blank line, which is no record
                yield lines.number - len(lines.taken) + 1, fields, None, None
            lines.taken.clear()
        else:
            text = lines.give_back_all_but_first()
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            yield lines.number, None, problem, text.rstrip("\r\n")


def width_problem(found: int, width: int) -> str | None:
    """Return the rule that a record with so many fields breaks, or None."""
    if found == width:
        return None
    return "too_few_fields" if found < width else "too_many_fields"


def is_clean(fields: list[str]) -> bool:
    """Return whether no field holds a byte that could not be decoded, or a NUL."""
    text = "".join(fields)
    return (text.isascii() and "\0" not in text) or not re.search("[\0\ud800-\udfff]", text)


def printable(text: str) -> str:
    """Return a text with undecodable bytes and NULs written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
