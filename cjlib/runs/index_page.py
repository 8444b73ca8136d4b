"""The page that a manager opens, and the page that says why a run failed."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache, partial

from jinja2 import Environment, PackageLoader

from cjlib.forms import FEELING, UNITS, Wording, figure, trust_sentence
from cjlib.runs.pages import POLICY, Page, style

SCALES = {"share": (0.0, 1.0), "AUC": (0.0, 1.0), FEELING: (-1.0, 1.0)}
"""Units whose figures all stand on one line, from its start to its end."""
FIRST = {
    "state": ("buyers", "churn"),
    "actions": ("action_1", "action_2", "action_3"),
    "risk": ("value_at_risk", "contact_share"),
    "trust": ("thin_events", "thin_arrivals"),
}
"""Findings that a lead reads first, by what they tell."""
CHANGES, SHOWN_CHANGES = "07", 3
"""The notebook whose first findings tell what changed."""


def index_html(
    manifest: Mapping,
    findings: Iterable[Mapping],
    pages: Iterable[Page],
    tables: Iterable[Mapping],
    currency: str,
) -> str:
    """Return the index of a report.

    Parameters
    ----------
    manifest, findings
        As they are published.
    pages : iterable of Page
    tables : iterable of mapping
        ``name``, ``rows`` and ``columns`` of each published table.
    currency : str
        The unit of those findings that are money.
    """
    pages, cards = list(pages), [_card(finding, currency) for finding in findings]
    groups = [(page, [card for card in cards if card["page"] == page.file]) for page in pages]
    first = {
        part: [card for name in names for card in cards if card["finding"] == name]
        for part, names in FIRST.items()
    }
    changed = [card for card in cards if card["page"].startswith(CHANGES)]
    started, finished = (datetime.fromisoformat(manifest[key]) for key in ("started", "finished"))
    as_of = datetime.fromisoformat(manifest["day"])
    trust, values = trust_sentence(manifest["rows"])
    return _template("index.html.j2").render(
        manifest=manifest,
        as_of=figure("date", as_of),
        trust=Wording().sentence(trust, values),
        first=first | {"changed": changed[:SHOWN_CHANGES]},
        map=next((page for page in pages if page.name.startswith("02_")), None),
        plan=next((page for page in pages if page.name.startswith("06_")), None),
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
    loader = PackageLoader("cjlib.runs")
    return Environment(loader=loader, autoescape=True, trim_blocks=True).get_template(name)


def _card(finding: Mapping, currency: str) -> dict:
    """Return how a finding reads: its figures are of the same form as on its page."""
    unit, numbers = finding["unit"], [finding[key] for key in ("value", "lower", "upper")]
    kinds = {name: kind for kind, name in UNITS.items()} | {currency: "money"}
    kind = kinds.get(unit, "number")
    form = partial(figure, kind, unit=kind == "days")  # 5 hours may stand beside 2 days
    of_form = [n if n is None or kind != "points" else n / 100 for n in numbers]
    value, lower, upper = map(form, of_form)
    if kind == "days":
        value, _, unit = value.partition(" ")
    known = None not in numbers
    return {
        "page": f"{finding['notebook']}.html",
        "finding": finding["name"],
        "name": finding["name"].replace("_", " ").capitalize(),
        "figure": "" if numbers[0] is None else value,
        "unit": "" if unit == "share" else unit,
        "limits": (lower, upper) if known else (),
        "bar": interval_bar(*numbers, unit) if known else {},
        "sentence": finding["sentence"].removeprefix("- "),
    }


def interval_bar(value: float, lower: float, upper: float, unit: str) -> dict:
    """Return where a figure and its interval stand on the line of its unit, 240 wide.

    Lines compare only where they are all alike: shares run from nothing to all, feelings from -1
    to 1. A unit without such a scale has no line.

    Returns
    -------
    dict
        What stands at the ``start`` and ``end`` of the line; the places of ``zero``, ``left``,
        ``value`` and the ``length`` from left; empty without a scale.
    """
    if unit not in SCALES:
        return {}
    start, end = SCALES[unit]
    if lower < start:  # a share that is lost
        start = -end

    def at(x: float) -> float:
        return round(4 + 232 * (min(max(x, start), end) - start) / (end - start), 1)

    form = ".0%" if unit == "share" else "g"
    places = {"zero": at(0), "left": at(lower), "value": at(value)}
    length = max(round(at(upper) - at(lower), 1), 1)
    return {"start": format(start, form), "end": format(end, form), **places, "length": length}
