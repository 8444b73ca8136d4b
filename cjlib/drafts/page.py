"""The text of a drafted dataset file: lines of YAML, safe for any text, with what to check."""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def quoted(text: str) -> str:
    """Return any text from the data as one YAML scalar on one line.

    Examples
    --------
    >>> quoted("order_placed"), quoted("no"), quoted("a: #b")
    ('order_placed', '"no"', '"a: #b"')
    """
    if _BARE.fullmatch(text) and text.lower() not in _YAML_WORDS:
        return text
    dumped = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf"))
    return dumped.rstrip("\n")


def flow(value: Any) -> str:
    """Return a text, number, list or mapping as YAML on one line."""
    if isinstance(value, dict):
        parts = (f"{quoted(str(key))}: {flow(item)}" for key, item in value.items())
        return f"{{{', '.join(parts)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(flow, value))}]"
    return quoted(value) if isinstance(value, str) else str(value)


def some(names: list[str], most: int = 5) -> str:
    """Return the first names of a list for a comment, each cut to 40 characters."""
    listed = ", ".join(quoted(name[:40]) for name in names[:most])
    return listed + (f" and {len(names) - most:,} more" if len(names) > most else "")


@dataclass
class Page:
    """A dataset file as it grows.

    Attributes
    ----------
    lines : list of str
    unsure : list of str
        The lines marked ``# CHECK``, with their numbers.
    """

    lines: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The file."""
        return "\n".join(self.lines) + "\n"

    def add(self, line: str, check: str = "", note: str = "") -> None:
        """Add a line, marked with what to check if anything, and with a note."""
        comment = "; ".join(filter(None, [check and f"CHECK: {check}", note]))
        self.lines.append(f"{line}  # {comment}" if comment else line)
        if check:
            self.unsure.append(f"line {len(self.lines)}: {line.strip()[:60]}: {check}")
