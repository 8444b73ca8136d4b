"""How figures and texts read: a form for each kind of figure, chosen by its column's name.

A share reads ``12.3%``, or ``0%`` and ``100%`` where it is none or all and not only nearly so; a
difference of shares ``+4.5 points``, money ``1,234 EUR``, a length of time ``12 days`` or ``5
hours``; a missing figure reads "unknown". Texts that come from the data are escaped. So neither
notebooks nor tables need formats of their own.
"""

import datetime
import html
import math
import re
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd
import yaml

from cjlib.vocabulary import in_own_words

UNKNOWN, EMPTY = "unknown", "–"
LONGEST_CELL, LONGEST_LIST = 200, 300
FEELING = "on a scale from -1 to 1"
UNITS = {"share": "share", "points": "points", "days": "days", "feeling": FEELING}
"""What a finding's figure counts, by its kind; money counts its currency, a number its noun."""
_KINDS = {  # the first kind with a word of the column's name
    "p-value": {"p", "q"},
    "points": {"points", "pain", "difference", "gap", "later"},
    "share": {
        *("share", "probability", "rate", "reach", "conversion", "churn", "churned"),
        *("coverage", "accuracy", "incidence"),
    },
    "days": {"days", "stay"},
    "merit": {"auc", "brier", "ece", "loss", "error"},
    "feeling": {"sentiment", "feeling"},
    "money": {"value", "profit", "revenue", "cost"},
}
_LABELLED = {"stage", "outcome", "exit", "touchpoint", "channel", "topic"}
_LIMIT = re.compile(r"(^|_)(lower|upper)$")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$^:@])")
_MINUS_ZERO = re.compile(r"^[-+](?=[0.,]*(%| points)?$)")


def kind_of(name: str) -> str:
    """Return what the figures of a column are, by the words of its name.

    Returns
    -------
    str
        One of ``p-value``, ``points`` (a difference of shares), ``share``, ``days``, ``merit`` (of
        a score), ``feeling``, ``money``, or ``number``. ``churn_lower`` is what ``churn`` is.
    """
    words = set(re.findall(r"[a-z]+", _LIMIT.sub("", str(name).lower())))
    return next((kind for kind, known in _KINDS.items() if known & words), "number")


def figure(kind: str, value, *, currency: str = "", unit: bool = True) -> str:
    """Return a figure as a reader sees it.

    Parameters
    ----------
    kind : str
        Of `kind_of`.
    value : number, str, date, timedelta or bool
    currency : str
        Of money.
    unit : bool
        Whether to write the unit, where it is not the sign of a share.
    """
    if is_missing(value):
        return UNKNOWN
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, datetime.timedelta):
        value, kind = value / datetime.timedelta(days=1), "days"
    if isinstance(value, datetime.date):
        return f"{value.day} {value:%B %Y}"
    if not isinstance(value, int | float | np.number):
        return str(value)
    text, name = _FORMS[kind](value)
    name = currency if kind == "money" else name
    return _MINUS_ZERO.sub("", f"{text} {name}" if unit and name else text)


def _p_value(p: float) -> tuple[str, str]:
    return ("below 0.001" if p < 0.001 else f"{p:.3f}"), ""


def _share(share: float) -> tuple[str, str]:
    few = 0.0005  # rounded to a tenth of a per cent: none and all are said only where it is so
    if share in (0, 1):
        return f"{share:.0%}", ""
    if 0 < share < few:
        return "under 0.1%", ""
    return ("over 99.9%" if 1 - few < share < 1 else f"{share:.1%}"), ""


def _days(days: float) -> tuple[str, str]:
    if 0 < abs(days) < 1:
        units = (("hours", 24), ("minutes", 1440), ("seconds", 86_400))
        unit, times = next((each for each in units if abs(days) * each[1] >= 1), units[-1])
        return f"{days * times:.0f}", unit
    text = f"{days:,.0f}" if abs(days) >= 100 else f"{days:.1f}".removesuffix(".0")
    return text, "day" if text == "1" else "days"


def _number(value: float) -> tuple[str, str]:
    if isinstance(value, int | np.integer):
        return f"{value:,d}", ""
    return f"{value:{',.0f' if abs(value) >= 1000 else '.3g'}}", ""


_FORMS: dict[str, Callable[[float], tuple[str, str]]] = {
    "p-value": _p_value,
    "points": lambda share: (f"{100 * share:+.1f}", "points"),
    "share": _share,
    "days": _days,
    "merit": lambda merit: (f"{merit:.3f}", ""),
    "feeling": lambda feeling: (f"{feeling:+.2f}", ""),
    "money": lambda value: (f"{value:{',.0f' if abs(value) >= 100 else ',.2f'}}", ""),
    "number": _number,
}


def is_missing(value) -> bool:
    """Return whether a figure or text is missing."""
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def number(value) -> float | int | None:
    """Return a figure as JSON knows it: None where it is missing or not finite."""
    if is_missing(value) or not math.isfinite(value):
        return None
    return int(value) if isinstance(value, int | np.integer) else float(value)


def shortened(text: str, width: int = 28) -> str:
    """Return a text on one line of at most `width` characters, an ellipsis for what is cut.

    The cut falls between words where the last word leaves room for that.
    """
    text = " ".join(str(text).split())
    if len(text) <= width:
        return text
    kept = text[:width]
    whole, _, broken = kept.rpartition(" ")
    return (whole if whole and len(broken) < width / 4 else kept[:-1]).rstrip(" ,;:") + "…"


@dataclass(frozen=True)
class Wording:
    """How one log's figures and names read.

    Attributes
    ----------
    label : callable
        From a stage, touchpoint or channel to what is shown.
    currency : str
    words : mapping
        A company's own words, see `cjlib.vocabulary`.
    """

    label: Callable[[str], str] = str
    currency: str = ""
    words: Mapping[str, str] = field(default_factory=dict)

    def cell(self, name: str, value, of: str = "", *, unit: bool = False) -> str:
        """Return a figure or text of the column `name`; limits are in the form of column `of`.

        Limits go without their unit unless `unit` asks for it: the figure beside them has it.
        """
        limit = bool(_LIMIT.search(str(name)))
        if isinstance(value, list | tuple | set | np.ndarray | pd.Series | pd.Index):
            return ", ".join(self.cell(name, each) for each in value)
        if isinstance(value, str):
            words = set(re.findall(r"[a-z]+", str(name).lower()))
            return self.label(value) if words & _LABELLED else value
        kind = kind_of(of if limit and of and str(name) in ("lower", "upper") else name)
        unit = unit or not limit or kind == "days"  # hours and days may stand side by side
        return figure(kind, value, currency=self.currency, unit=unit)

    def own(self, text: str) -> str:
        """Return a text of the project in the company's words."""
        return in_own_words(text, self.words)

    def sentence(self, text: str, row: Mapping, *, markdown: bool = False) -> str:
        """Fill a sentence's fields from a row of a table.

        Parameters
        ----------
        text : str
            One whole sentence in Markdown with fields such as ``{stage}``, ``{probability}`` or,
            where another form is wanted, ``{probability:.0%}``. ``{lower}`` and ``{upper}`` take
            the form of the first figure; the unit follows the upper one.
        row : mapping
            Column to value. Lists read as enumerations.
        markdown : bool
            Whether texts are escaped so that they stay text in Markdown and HTML, or the marks
            of Markdown left out.
        """
        text = self.own(text)
        first = main_figure(text, row)
        fill = _Filler(self, first, markdown)
        return fill.format(text if markdown else re.sub(r"[*`]", "", text), **row)


def main_figure(text: str, row: Mapping) -> str:
    """Return the field of a sentence that holds its first figure, limits aside; or nothing."""
    for _, name, _, _ in string.Formatter().parse(text):
        is_figure = isinstance(row.get(name), int | float | np.number)
        if is_figure and not isinstance(row[name], bool) and not _LIMIT.search(name):
            return name
    return ""


class _Filler(string.Formatter):
    """Fills fields by the names of their columns."""

    def __init__(self, wording: Wording, first: str, markdown: bool):
        self.wording, self.first, self.markdown = wording, first, markdown

    def get_field(self, field_name, args, kwargs):
        value, key = super().get_field(field_name, args, kwargs)
        return (field_name, value), key

    def format_field(self, value, spec):
        name, value = value
        if is_missing(value):
            return UNKNOWN
        if spec:
            text = _MINUS_ZERO.sub("", format(value, spec))
        else:
            last = name.endswith("upper")  # +8.1 to +16.0 points
            text = self.wording.cell(name, value, of=self.first, unit=last)
        if isinstance(value, int | float | np.number | datetime.date):
            return text
        text = shortened(text, LONGEST_LIST)
        escaped = _MARKDOWN.sub(r"\\\1", html.escape(text, quote=False))
        return escaped if self.markdown else text


@cache
def shared_sentences() -> dict[str, str]:
    """Return the sentences that every notebook and the index say alike, by name."""
    text = (files("cjlib") / "templates" / "sentences.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def trust_sentence(rows: Mapping[str, int]) -> tuple[str, dict]:
    """Return how far the data can be trusted: a sentence, and its values.

    Parameters
    ----------
    rows : mapping
        Counts under ``read``, ``kept``, ``quarantined`` and ``duplicates``.
    """
    match bool(rows["quarantined"]), bool(rows["duplicates"]):
        case False, False:
            name = "trust_all"
        case True, True:
            name = "trust_some"
        case quarantined, _:
            name = "trust_quarantined" if quarantined else "trust_duplicates"
    return shared_sentences()[name], {**rows, "kept_share": rows["kept"] / max(rows["read"], 1)}


# -- tables ----------------------------------------------------------------------------------------


def table_texts(table: pd.DataFrame, wording: Wording) -> list[tuple[str, list[str], bool]]:
    """Return heading, cells and whether they are text, of each column of a table."""
    columns, of = [], ""
    for place, name in enumerate(table.columns):
        column = table.iloc[:, place]
        of = of if _LIMIT.search(str(name)) else str(name)
        texts = [
            EMPTY if is_missing(value) else shortened(wording.cell(name, value, of), LONGEST_CELL)
            for value in column.astype(object)
        ]
        text = not pd.api.types.is_numeric_dtype(column)
        columns.append((wording.own(str(name).replace("_", " ")), texts, text))
    return columns


def html_table(columns: Iterable[tuple], caption: str, note: str) -> str:
    """Return `table_texts` in HTML, every text escaped; numbers stand at the right."""

    def row(tag: str, texts: Iterable[str]) -> str:
        cells = zip(texts, columns, strict=True)
        return "".join(
            f'<{tag} style="text-align:{"left" if text else "right"}">{html.escape(cell)}</{tag}>'
            for cell, (_, _, text) in cells
        )

    columns = list(columns)
    lines = ['<table class="cj-table">']
    lines += [f"<caption>{html.escape(caption)}</caption>"] if caption else []
    lines += [f"<thead><tr>{row('th', [head for head, _, _ in columns])}</tr></thead>", "<tbody>"]
    lines += [
        f"<tr>{row('td', cells)}</tr>"
        for cells in zip(*(cells for _, cells, _ in columns), strict=True)
    ]
    lines.append("</tbody></table>")
    lines += [f'<p class="cj-note">{html.escape(note)}</p>'] if note else []
    return "\n".join(lines)


def plain_table(columns: Iterable[tuple], caption: str, note: str) -> str:
    """Return the same in plain text, columns aligned."""
    aligned = []
    for head, cells, text in columns:
        width = max(map(len, [head, *cells]))
        adjust = str.ljust if text else str.rjust
        aligned.append([adjust(cell, width) for cell in [head, *cells]])
    lines = ["  ".join(cells).rstrip() for cells in zip(*aligned, strict=True)]
    return "\n".join([*([caption] if caption else []), *lines, *([note] if note else [])])
