"""Guesses at what a log's columns and touchpoints mean, by their names."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources

import yaml


@cache
def words() -> dict:
    """Return the word lists of ``words.yml``."""
    text = (resources.files("cjlib.drafts") / "words.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def plain(name: str) -> str:
    """Return a name in lower case without accents, its words joined by underscores.

    Examples
    --------
    >>> plain("InvoiceDate"), plain("Acció (tipus)")
    ('invoice_date', 'accio_tipus')
    """
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    bare = unicodedata.normalize("NFKD", split).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", bare).strip("_")


def columns_by_name(meaning: str, names: Iterable[str]) -> list[str]:
    """Return the columns whose names fit a meaning (``customer_id``, ``timestamp``, …), best first.

    English names end with the word that counts (``order_date``), Spanish and Catalan ones begin
    with it (``data_comanda``); a whole match goes before a part. Currencies do not count.
    """
    lists = words()["columns"][meaning]
    currencies = {word for each in words()["currencies"].values() for word in each}
    ranked = []
    for name in names:
        known = "_".join(part for part in plain(name).split("_") if part not in currencies)
        ranks = [
            (known != word, rank)
            for side, order in lists.items()
            for rank, word in enumerate(order)
            if known == word
            or (side == "last" and known.endswith("_" + word))
            or (side == "first" and known.startswith(word + "_"))
        ]
        if ranks:
            ranked.append((min(rank for _, rank in ranks), min(ranks), name))
    return [name for *_, name in sorted(ranked, key=lambda item: item[:2])]


def currency_in(column: str) -> str | None:
    """Return the currency that a column's name states, None where it states none."""
    parts = plain(column).split("_")
    return next((code for code, each in words()["currencies"].items() if {*each} & {*parts}), None)


def feeling(label: str) -> int | None:
    """Return -1, 0 or 1 for a word of feeling, None where the word is not known."""
    known = plain(label)
    return next((score for score, labels in words()["feelings"].items() if known in labels), None)


def match(touchpoint: str, lists: dict[str, list[str]]) -> str | None:
    """Return the key whose longest word fits a touchpoint's name best, None where none fits."""
    known = "_" + plain(touchpoint) + "_"
    found = [
        (word == known.strip("_"), len(word.rstrip("*")), -order, key)
        for order, (key, each) in enumerate(lists.items())
        for word in each
        if ("_" + word.rstrip("*") + ("" if word.endswith("*") else "_")) in known
    ]
    return max(found)[-1] if found else None


def stage_of(touchpoint: str) -> str | None:
    """Return the proposed stage of a touchpoint, None where no word fits."""
    return match(touchpoint, words()["stages"])


def purchases_among(touchpoints: Sequence[str]) -> list[str]:
    """Return those of the touchpoints on the purchase stage that stand for the purchase itself.

    An order and its payment would count one purchase twice, so what goes along is left out,
    unless nothing else is there.
    """
    beside = {"beside": words()["beside_purchase"]}
    return [name for name in touchpoints if not match(name, beside)] or list(touchpoints[:1])


def looks_hostile(touchpoint: str) -> bool:
    """Return whether a name looks like code or a spreadsheet formula, not like a touchpoint."""
    return bool(re.match(r"\s*[=+\-@]", touchpoint) or re.search(r"[<>\x00-\x1f]", touchpoint))
