"""What the names of columns and touchpoints say, by the word lists of ``words.yml``."""

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


def parts(name: str) -> set[str]:
    """Return the words of a name."""
    return {*plain(name).split("_")}


def columns_by_name(meaning: str, names: Iterable[str]) -> list[str]:
    """Return the columns whose names fit a meaning (``customer_id``, ``timestamp``, …), best first.

    English names end with the word that counts (``order_date``), Spanish and Catalan ones begin
    with it (``data_comanda``); a whole match goes before a part. Currencies do not count.
    """
    lists = words()["columns"][meaning]
    currencies = {word for each in words()["currencies"].values() for word in each}
    ranks = {}
    for name in names:
        known = "_".join(part for part in plain(name).split("_") if part not in currencies)
        fits = [
            (rank, known != word)
            for side, order in lists.items()
            for rank, word in enumerate(order)
            if known == word
            or (side == "last" and known.endswith("_" + word))
            or (side == "first" and known.startswith(word + "_"))
        ]
        if fits:
            ranks[name] = min(fits)
    return sorted(ranks, key=ranks.get)


def currency_in(column: str) -> str | None:
    """Return the currency that a column's name states, None where it states none."""
    lists = words()["currencies"].items()
    return next((code for code, each in lists if parts(column) & {*each}), None)


def feeling(label: str) -> int | None:
    """Return -1, 0 or 1 for a word of feeling, None where the word is not known."""
    lists = words()["feelings"].items()
    return next((score for score, labels in lists if plain(label) in labels), None)


def match(touchpoint: str, lists: dict[str, list[str]]) -> str | None:
    """Return the key whose longest word fits a touchpoint's name best, None where none fits."""
    known = f"_{plain(touchpoint)}_"
    found = [
        (word == known.strip("_"), len(word.rstrip("*")), -order, key)
        for order, (key, each) in enumerate(lists.items())
        for word in each
        if (f"_{word[:-1]}" if word.endswith("*") else f"_{word}_") in known
    ]
    return max(found)[-1] if found else None


def purchases_among(touchpoints: Sequence[str]) -> list[str]:
    """Return those of the touchpoints on the purchase stage that stand for the purchase itself.

    An order and its payment would count one purchase twice, so what goes along is left out,
    unless nothing else is there.
    """
    beside = {"beside": words()["beside_purchase"]}
    return [name for name in touchpoints if not match(name, beside)] or list(touchpoints[:1])
