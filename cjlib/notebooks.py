"""Notebook files, read as the JSON that they are."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path


def read_notebook(path: Path) -> dict:
    """Return a notebook as its JSON says it."""
    return json.loads(path.read_text(encoding="utf-8"))


def text_of(lines: str | list[str]) -> str:
    """Return a text that a notebook may hold as one string or as lines."""
    return lines if isinstance(lines, str) else "".join(lines)


def source_of(cell: Mapping) -> str:
    """Return what is written in a cell."""
    return text_of(cell["source"])


def skip_slow_import() -> None:
    """Spare nbformat seconds of import: an optional check of URLs, which no notebook needs."""
    sys.modules.setdefault("rfc3987_syntax", None)
