"""Texts and figures as a reader sees them: formatted, escaped, missing ones named."""

import datetime
import html
import math
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

LONGEST_TEXT = 60
MISSING = "–"


def shortened(text: str, width: int) -> str:
    """Return a text on one line of at most `width` characters, an ellipsis for what is cut.

    The cut falls between words where the last word leaves room for that.
    """
    text = " ".join(text.split())
    if len(text) <= width:
        return text
    kept = text[:width]
    whole, _, broken = kept.rpartition(" ")
    return (whole if whole and len(broken) < width / 4 else kept[:-1]).rstrip(" ,;:") + "…"


_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$^:@])")
_MINUS_ZERO = re.compile(r"^-(?=[0.,]*%?$)")


_INERT = (int, float, np.number, datetime.date)  # their formats hold no markup


class Plain(string.Formatter):
    """Formats fields, with words for what is missing and no minus before a zero."""

    def format_field(self, value, spec):
        """Return one formatted field; a missing value reads "unknown"."""
        if _is_missing(value):
            return "unknown"
        return _MINUS_ZERO.sub("", format(value, spec))


class Markdown(Plain):
    """The same, with texts escaped so that they stay text in Markdown and in HTML."""

    def format_field(self, value, spec):
        """Return one formatted field, escaped unless it is a number or a date."""
        text = super().format_field(value, spec)
        if isinstance(value, _INERT):
            return text
        return _MARKDOWN.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


@dataclass(frozen=True)
class Column:
    """One column of a table to show: its heading, its cells, and whether they are text."""

    label: str
    cells: list[str]
    text: bool


def _is_missing(value) -> bool:
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def number(value) -> float | int | None:
    """Return a figure as JSON knows it: None where it is missing or not finite."""
    if _is_missing(value) or not math.isfinite(value):
        return None
    return int(value) if isinstance(value, int | np.integer) else float(value)


def shown(value, spec: str | Callable | None = None) -> str:
    """Return a table's cell as a reader sees it: formatted by `spec` or by its type, never long."""
    if _is_missing(value):
        return MISSING
    if callable(spec):
        return str(spec(value))
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, str):
        return shortened(value, LONGEST_TEXT)
    if spec is None:
        if isinstance(value, pd.Timestamp):
            spec = "%Y-%m-%d"
        elif isinstance(value, int | np.integer):
            spec = ",d"
        elif isinstance(value, float | np.floating):
            spec = ",.0f" if abs(value) >= 1000 else ".3g"
        else:
            return shown(str(value), None)
    return _MINUS_ZERO.sub("", format(value, spec))


def trust_line(rows: Mapping[str, int]) -> str:
    """Return in one sentence how many of the rows read were kept, quarantined or duplicates.

    Parameters
    ----------
    rows : mapping
        Counts under ``read``, ``kept``, ``quarantined`` and ``duplicates``.
    """
    if rows["kept"] == rows["read"]:
        return f"All {rows['read']:,} rows read were kept."
    share = rows["kept"] / rows["read"]
    shown_share = f"{share:.1%}" if share < 0.9995 else "more than 99.9%"
    broken, twice = rows["quarantined"], rows["duplicates"]
    parts = [f"{broken:,} {_were(broken)} quarantined, each with its reason,"] if broken else []
    parts += [f"{twice:,} {_were(twice)} dropped as {_plural(twice, 'duplicate')}"] if twice else []
    return (
        f"Of {rows['read']:,} rows read, {rows['kept']:,} ({shown_share}) were kept; "
        f"{' and '.join(parts).rstrip(',')}."
    )


def _were(n: int) -> str:
    return "was" if n == 1 else "were"


def _plural(n: int, noun: str) -> str:
    return f"a {noun}" if n == 1 else f"{noun}s"


def html_table(columns: list[Column], rows: int, caption: str, note: str) -> str:
    """Return a table in HTML, every text escaped; numbers stand at the right."""

    def cell(tag: str, column: Column, text: str) -> str:
        align = "left" if column.text else "right"
        return f'<{tag} style="text-align:{align}">{html.escape(text)}</{tag}>'

    lines = ['<table class="cj-table">']
    if caption:
        lines.append(f"<caption>{html.escape(caption)}</caption>")
    heads = "".join(cell("th", column, column.label) for column in columns)
    lines.append(f"<thead><tr>{heads}</tr></thead>")
    lines.append("<tbody>")
    for row in range(rows):
        cells = "".join(cell("td", column, column.cells[row]) for column in columns)
        lines.append(f"<tr>{cells}</tr>")
    lines.append("</tbody></table>")
    if note:
        lines.append(f'<p class="cj-note">{html.escape(note)}</p>')
    return "\n".join(lines)


def plain_table(columns: list[Column], rows: int, caption: str, note: str) -> str:
    """Return the same table in plain text, columns aligned."""
    aligned = []
    for column in columns:
        width = max(map(len, [column.label, *column.cells]))
        adjust = str.ljust if column.text else str.rjust
        aligned.append([adjust(text, width) for text in [column.label, *column.cells]])
    lines = ["  ".join(parts).rstrip() for parts in zip(*aligned, strict=True)]
    return "\n".join([*([caption] if caption else []), *lines, *([note] if note else [])])
