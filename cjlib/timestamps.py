"""Times as text: declared formats and zones, turned into UTC by expressions of any engine.

A format becomes one regular expression that rewrites the text to ISO order, so that the engine's
own ``try_cast`` reads it and an impossible date (31 June) comes out as missing, never as an error.
A zone becomes the list of its offsets over the years, taken from the zone database.
"""

import re
from datetime import datetime, timedelta
from functools import cache, reduce
from operator import add
from zoneinfo import ZoneInfo

import ibis
import ibis.expr.types as ir
import pandas as pd

ISO = "ISO 8601"
"""Where no format is declared: ``2024-05-31``, ``2024-05-31 14:05``, ``2024-05-31T14:05:09.5Z``."""

EPOCHS = {"epoch_s": 1, "epoch_ms": 1_000}

YEAR_10000 = 253_402_300_800  # seconds since 1970; what is later, no engine can hold

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FIELDS = {
    "Y": r"(\d{4})",
    "m": r"(\d{1,2})",
    "d": r"(\d{1,2})",
    "H": r"(\d{1,2})",
    "I": r"(\d{1,2})",
    "M": r"(\d{2})",
    "S": r"(\d{2})",
    "f": r"(\d{1,6})",
    "b": r"([A-Za-z]{3})",
    "B": r"([A-Za-z]{3})[a-z]*",
    "p": r"[AaPp][Mm]",
    "z": r"(?:[Zz]|[+-]\d{2}:?\d{2})",
}
ISO_PATTERN = (
    r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)\d*)?"
    r" ?(?:[Zz]|[+-]\d{2}(?::?\d{2})?)?$"
)
_OFFSET = r"([Zz]|[+-]\d{2}(?::?\d{2})?)$"


def compile_format(form: str) -> tuple[str, list[int | str]]:
    r"""Return a declared time format as a regular expression and its order as ISO text.

    Parameters
    ----------
    form : str
        A strptime format of ``%Y %m %d %b %B %H %I %M %S %f %p %z`` and literal text.

    Returns
    -------
    pattern : str
        A regular expression with one group per field.
    parts : list of int or str
        What to join for ``2017-10-2 10:56:00``: group numbers and text; months may be letters.

    Raises
    ------
    ValueError
        A directive is not known, stands twice, or year, month or day is missing.

    Examples
    --------
    >>> compile_format("%d/%m/%Y")
    ('^(\\d{1,2})/(\\d{1,2})/(\\d{4})$', [3, '-', 2, '-', 1, ' ', '0', ':', '00', ':', '00'])
    """
    pattern, groups, seen = "^", {}, set()
    for literal, directive in re.findall(r"([^%]+)|%(.)", form):
        if literal:
            pattern += re.escape(literal).replace(r"\ ", " ")
            continue
        if directive == "y":
            raise ValueError("%y leaves the century open: write the log with four-digit years, %Y")
        if directive not in _FIELDS:
            raise ValueError(
                f"%{directive} is not one of " + " ".join(f"%{key}" for key in _FIELDS)
            )
        field = {"B": "b", "I": "H"}.get(directive, directive)
        if field in seen:
            raise ValueError(f"%{directive} stands twice")
        seen.add(field)
        pattern += _FIELDS[directive]
        if directive not in "pz":
            groups[field] = len(groups) + 1
    month = "m" if "m" in groups else "b"
    if not {"Y", month, "d"} <= groups.keys():
        raise ValueError("a year (%Y), a month (%m or %b) and a day (%d) are needed")
    parts = [groups["Y"], "-", groups[month], "-", groups["d"]]
    parts += [" ", groups.get("H", "0"), ":", groups.get("M", "00"), ":", groups.get("S", "00")]
    if "f" in groups:
        parts += [".", groups["f"]]
    return pattern + "$", parts


def local_time(text: ir.StringValue, form: str) -> ir.TimestampValue:
    """Return the wall-clock time that a text states in a format; missing where it does not fit.

    Parameters
    ----------
    text : StringValue
        Stripped text.
    form : str
        A format of `compile_format`, ``"ISO 8601"``, ``"epoch_s"`` or ``"epoch_ms"``.
    """
    if form in EPOCHS:
        number = text.re_extract(r"^(\d{1,14}(?:\.\d+)?)$", 1)
        seconds = number.try_cast("float64") / EPOCHS[form]
        seconds = (seconds < YEAR_10000).ifelse(seconds, ibis.null("float64"))
        return seconds.floor().cast("int64").as_timestamp("s")
    if form == ISO:
        date, clock = (text.re_extract(ISO_PATTERN, group) for group in (1, 2))
        return (date + " " + (clock == "").ifelse("00:00:00", clock)).try_cast("timestamp")
    pattern, parts = compile_format(form)
    iso = reduce(
        add,
        (
            text.re_extract(pattern, part) if isinstance(part, int) else ibis.literal(part)
            for part in parts
        ),
    )
    if "%b" in form or "%B" in form:
        iso = iso.lower()
        for number, name in enumerate(_MONTHS, start=1):
            iso = iso.replace(f"-{name}-", f"-{number}-")
    time = iso.try_cast("timestamp")
    if "%p" in form:
        afternoon = text.upper().contains("PM")
        shift = afternoon.ifelse(12, 0) - (time.hour() == 12).ifelse(12, 0)
        time = (time.hour() > 12).ifelse(ibis.null("timestamp"), time + shift.as_interval("h"))
    return time


def stated_offset(text: ir.StringValue, form: str) -> ir.IntegerValue:
    """Return the offset from UTC that a text states, in minutes; missing where it states none."""
    if form in EPOCHS:
        return ibis.literal(0)
    if form != ISO and "%z" not in form:
        return ibis.null("int64")
    clock = text.re_extract(r"^.*?(\d{1,2}:\d{2}.*|)$", 1)  # a date's own "-31" is no offset
    offset = clock.re_extract(_OFFSET, 1)
    digits = offset.replace(":", "")
    minutes = digits.substr(1, 2).try_cast("int64") * 60 + digits.substr(3, 2).try_cast(
        "int64"
    ).fill_null(0)
    return ibis.cases(
        (offset == "", ibis.null("int64")),
        (offset.upper() == "Z", ibis.literal(0, "int64")),
        else_=digits.startswith("-").ifelse(-minutes, minutes),
    )


def read_time(
    text: ir.StringValue, formats: list[str]
) -> tuple[ir.TimestampValue, ir.IntegerValue]:
    """Return the wall-clock time and the offset (minutes ahead of UTC) that a text states.

    Parameters
    ----------
    text : StringValue
        The timestamp column, without blanks around it.
    formats : list of str
        Tried in order; the first that fits wins. Empty means ISO 8601.
    """
    first, *others = formats or [ISO]
    local, offset = local_time(text, first), stated_offset(text, first)
    for form in others:
        offset = local.isnull().ifelse(stated_offset(text, form), offset)
        local = local.fill_null(local_time(text, form))
    return local, offset


@cache
def zone_days(zone: str) -> pd.DataFrame:
    """Return a zone's offset on every local day from 1970 to 2044.

    Returns
    -------
    DataFrame
        ``day``; ``before``, minutes ahead of UTC at its start; ``switch``, the local time from
        which ``after`` holds. Of a local time that occurs twice the earlier instant is meant, as
        with Python's ``fold=0``.
    """
    info = ZoneInfo(zone)

    def offset(moment: datetime) -> timedelta:
        return moment.replace(tzinfo=info).utcoffset()

    days = pd.date_range("1970-01-01", "2045-01-01", freq="D").to_pydatetime()
    at_midnight = [offset(day) for day in days]
    switches = []
    for day, following, before, after in zip(
        days[:-1], days[1:], at_midnight[:-1], at_midnight[1:], strict=True
    ):
        low, high = day, following
        while before != after and high - low > timedelta(seconds=1):
            middle = (low + (high - low) / 2).replace(microsecond=0)
            low, high = (middle, high) if offset(middle) == before else (low, middle)
        switches.append(high)
    minutes = [int(ahead.total_seconds() // 60) for ahead in at_midnight]
    return pd.DataFrame(
        {"day": days[:-1], "before": minutes[:-1], "switch": switches, "after": minutes[1:]}
    )


def to_utc(rows: ir.Table, timezone: str | None) -> ir.Table:
    """Return rows with their time in UTC in place of its local time and offset.

    Parameters
    ----------
    rows : Table
        With ``local`` and ``offset`` of `read_time`.
    timezone : str or None
        The declared zone of times that state no offset of their own.

    Returns
    -------
    Table
        With ``timestamp`` (naive UTC; missing where unreadable or without a zone) and
        ``zoneless`` (readable, but neither the text nor the declaration names a zone).
    """
    if timezone is not None:
        days = ibis.memtable(zone_days(timezone))
        rows = rows.left_join(days, rows.local.truncate("D") == days.day)
        zoned = (rows.local < rows.switch).ifelse(rows.before, rows.after).cast("int64")
        # Beyond the days of the table, far out in any log, times count as UTC: still readable.
        rows = rows.mutate(offset=rows.offset.fill_null(zoned).fill_null(0)).drop(*days.columns)
    return rows.mutate(
        timestamp=rows.local - rows.offset.as_interval("m"),
        zoneless=rows.local.notnull() & rows.offset.isnull(),
    ).drop("local", "offset")
