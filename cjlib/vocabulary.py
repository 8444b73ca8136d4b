"""A company's own words on its pages: an application in place of a customer.

``words`` of the dataset file says them; what the project writes (sentences, headings, titles and
axes of pictures) speaks in them, what comes from the data stays as it is.
"""

import re
from collections.abc import Mapping

_KEPT = r"\{[^{}]*\}|`[^`]*`|\]\([^)]*\)"  # fields of a sentence, code, and where a link leads
_VOWELS = "aeiou"


def in_own_words(text: str, words: Mapping[str, str]) -> str:
    """Return a text of the project in a company's words.

    Parameters
    ----------
    text : str
        Markdown; the fields of a sentence (``{customers}``), code and the targets of links stay.
    words : mapping
        Word to what is said for it, in lower case. The plural of a word follows, unless it is
        there; so does the article before it.

    Examples
    --------
    >>> in_own_words("A customer of {customers} buys.", {"customer": "applicant", "buys": "signs"})
    'An applicant of {customers} signs.'
    """
    if not words:
        return text
    own = with_plurals(words)
    known = "|".join(sorted(map(re.escape, own), key=len, reverse=True))
    pattern = re.compile(rf"{_KEPT}|(?:\b(an?)(\s+))?\b({known})\b", re.I)

    def said(found: re.Match) -> str:
        article, blank, word = found.groups()
        if not word:
            return found[0]
        new = own[word.lower()]
        new = new[:1].upper() + new[1:] if word[:1].isupper() else new
        if not article:
            return new
        right = "an" if new[:1].lower() in _VOWELS else "a"
        return (right.capitalize() if article[:1].isupper() else right) + blank + new

    return pattern.sub(said, text)


def with_plurals(words: Mapping[str, str]) -> dict[str, str]:
    """Return the words, and the plurals of those that have none among them."""
    return {f"{word}s": _plural(said) for word, said in words.items()} | dict(words)


def _plural(word: str) -> str:
    if word.endswith(("s", "x", "ch", "sh")):
        return f"{word}es"
    return f"{word[:-1]}ies" if re.search(r"[^aeiou]y$", word) else f"{word}s"
