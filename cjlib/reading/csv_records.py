"""Records of a CSV file, each exactly once, broken ones with the rule they break."""

import csv
import re
from collections.abc import Iterator

csv.field_size_limit(131_072)

Record = tuple[int, list[str] | None, str | None, str | None]
"""Line, fields, rule broken, and the text of a broken record."""


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


def csv_records(lines: Lines, delimiter: str, width: int) -> Iterator[Record]:
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
        return
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
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
