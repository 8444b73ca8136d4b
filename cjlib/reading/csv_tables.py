"""CSV text as Arrow tables: plain stretches read by Arrow, all others record by record.

Both ways give the same rows; Arrow's is some ten times faster. A stretch is plain when no quote,
NUL or undecodable byte stands in it and no line is blank, so that every line is one record.
"""

import csv
import io
from collections.abc import Iterator
from itertools import chain
from typing import TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from cjlib.reading.csv_records import Lines, Record, csv_records, is_clean, printable, width_problem

STRETCH = 1 << 20
"""Characters read at a time: enough to be quick, few enough for one quote to cost little."""


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
        table = None if delimiter == "whitespace" else _plain(text, height, delimiter, names, start)
        if table is None:
            # A quoted record may go on beyond the stretch: then more lines come from the stream.
            lines = Lines(chain(io.StringIO(text, newline=""), stream), start)
            records = []
            for record in csv_records(lines, delimiter, len(names)):
                records.append(record)
                if lines.number >= start + height and not lines.returned:
                    break
            table, height = _table(records, names), lines.number - start
        start += height
        yield table


def _height(text: str) -> int:
    ends = text.count("\n") + text.count("\r") - text.count("\r\n")
    return ends + (not text.endswith(("\n", "\r")))


def _plain(text: str, height: int, delimiter: str, names: list[str], start: int) -> pa.Table | None:
    """Return the records of a stretch in which every line is one, or None where that is unsure."""
    if '"' in text or "\0" in text or not delimiter.isascii():
        return None
    broken: list[arrow_csv.InvalidRow] = []

    def put_aside(row: arrow_csv.InvalidRow) -> str:
        broken.append(row)
        return "skip"

    try:
        table = arrow_csv.read_csv(
            io.BytesIO(text.encode()),
            arrow_csv.ReadOptions(column_names=names, use_threads=False),
            arrow_csv.ParseOptions(
                delimiter=delimiter, quote_char=False, invalid_row_handler=put_aside
            ),
            arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except (UnicodeEncodeError, pa.ArrowInvalid):
        return None
    longest = [len(row.text) for row in broken]
    longest += [pc.max(pc.utf8_length(column)).as_py() or 0 for column in table.columns]
    if table.num_rows + len(broken) != height or max(longest) > csv.field_size_limit():
        return None
    aside = {start + row.number for row in broken}
    lines = range(start + 1, start + height + 1)
    sound = [line for line in lines if line not in aside] if aside else lines
    nothing = pa.nulls(table.num_rows, pa.string())
    own = {"_line": pa.array(sound, pa.int64()), "_problem": nothing, "_text": nothing}
    table = pa.table(own | dict(zip(names, table.columns, strict=True)))
    if not broken:
        return table
    records = [
        (start + row.number, None, width_problem(row.actual_columns, len(names)), row.text)
        for row in broken
    ]
    return pa.concat_tables([table, _table(records, names)]).sort_by("_line")


def _table(records: list[Record], names: list[str]) -> pa.Table:
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
