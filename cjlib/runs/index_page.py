"""The page that a manager opens, and the page that says why a run failed."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files

from cjlib.forms import Wording, trust_sentence
from cjlib.runs.pages import POLICY, Page, style

SCALES = {"share": (0.0, 1.0), "AUC": (0.0, 1.0), "on a scale from -1 to 1": (-1.0, 1.0)}
"""Units whose figures all stand on one line, from its start to its end."""


def index_html(
    manifest: Mapping, findings: Iterable[Mapping], pages: Iterable[Page], tables: Iterable[Mapping]
) -> str:
    """Return the index of a report.

    Parameters
    ----------
    manifest, findings
        As they are published.
    pages : iterable of Page
    tables : iterable of mapping
        ``name``, ``rows`` and ``columns`` of each published table.
    """
    pages, cards = list(pages), [_card(finding) for finding in findings]
    groups = [(page, [card for card in cards if card["page"] == page.file]) for page in pages]
    started, finished = (datetime.fromisoformat(manifest[key]) for key in ("started", "finished"))
    as_of = datetime.fromisoformat(manifest["as_of"])
    trust, values = trust_sentence(manifest["rows"])
    return _template("index.html.j2").render(
        manifest=manifest,
        as_of=f"As of {as_of.day} {as_of:%B %Y}",
        trust=Wording().sentence(trust, {**values, "as_of": as_of}),
        groups=[(page.title, found) for page, found in groups if found],
        pages=pages,
        tables=list(tables),
        made=f"{finished:%Y-%m-%d %H:%M}",
        seconds=round((finished - started).total_seconds()),
        policy=POLICY,
        style=style(),
    )


def error_html(title: str, run_id: str, failures: Iterable) -> str:
    """Return the page of a failed run: each notebook that failed, its cell and its error."""
    return _template("error.html.j2").render(
        title=title, run_id=run_id, failures=list(failures), policy=POLICY, style=style()
    )


@cache
def _template(name: str):
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True)
    return environment.from_string(
        (files("cjlib.runs") / "templates" / name).read_text(encoding="utf-8")
    )


def _card(finding: Mapping) -> dict:
    value, lower, upper = (finding[key] for key in ("value", "lower", "upper"))
    unit = finding["unit"]
    known = value is not None and lower is not None and upper is not None
    limits = (figure(limit, unit, like=value) for limit in (lower, upper))
    return {
        "page": f"{finding['notebook']}.html",
        "name": finding["name"].replace("_", " ").capitalize(),
        "figure": "" if value is None else figure(value, unit),
        "unit": "" if unit == "share" or not value else unit,
        "interval": " to ".join(limits) if known else "",
        "bar": interval_bar(value, lower, upper, unit) if known else {},
        "sentence": finding["sentence"],
    }


def figure(value: float | None, unit: str, like: float | None = None) -> str:
    """Return a figure with as many digits as a headline needs, or as the headline `like` has."""
    if value is None:
        return "unknown"
    if value == 0 and isinstance(value, int):
        return "none"
    size = abs(value if like is None else like)
    if unit == "share":
        if 0.9995 <= value < 1:  # never all where something is missing
            return "over 99.9%"
        round_enough = size in (0, 1) or 0.1 <= size <= 0.9
        return f"{value:.0%}" if round_enough else f"{value:.1%}"
    if size >= 100 or size == round(size):
        return f"{value:,.0f}"
    digits = 1 if size >= 10 else 2 if size >= 0.1 else 3
    return f"{value:.{digits}f}"


def interval_bar(value: float, lower: float, upper: float, unit: str) -> dict:
    """Return a small picture (inline SVG, of numbers only) of a figure on the scale of its unit.

    Lines compare only where they are all alike: shares run from nothing to all, feelings from -1
    to 1. A unit without such a scale has no picture.

    Returns
    -------
    dict
        ``picture``, and what stands at its ``start`` and ``end``; empty without a scale.
    """
    if unit not in SCALES:
        return {}
    start, end = SCALES[unit]
    if lower < start:  # a share that is lost
        start = -end

    def at(x: float) -> float:
        return round(4 + 232 * (min(max(x, start), end) - start) / (end - start), 1)

    left, right = at(lower), max(at(upper), at(lower) + 1)
    ends = {"start": figure(start, unit), "end": figure(end, unit)}
    picture = _markup(
        '<svg viewBox="0 0 240 16" preserveAspectRatio="none" role="img" aria-label="'
        f"From {ends['start']} to {ends['end']}: {figure(value, unit)}, between "
        f'{figure(lower, unit)} and {figure(upper, unit)}">'
        '<rect x="4" y="7" width="232" height="2" rx="1" fill="#e3e8ec"/>'
        f'<rect x="{at(0)}" y="4" width="1" height="8" fill="#aab5bd"/>'
        f'<rect x="{left}" y="5" width="{right - left:.1f}" height="6" rx="3" fill="#1f6f8b" '
        'fill-opacity=".35"/>'
        f'<rect x="{at(value) - 1.5:.1f}" y="2" width="3" height="12" rx="1.5" fill="#1f6f8b"/>'
        "</svg>"
    )
    return {"picture": picture, **ends}


def _markup(text: str):
    from markupsafe import Markup

    return Markup(text)
