"""Paths as people write them and as engines take them: checked and quoted in one place."""

import re
from pathlib import Path

from cjlib.errors import ParameterError


def user_path(text: str | Path) -> Path:
    """Return a path as somebody wrote it, ``~`` resolved.

    Raises
    ------
    ParameterError
        It can name no file: no such user, too long, not to be entered, or no text.
    """
    try:
        path = Path(text).expanduser()
        str(path).encode()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        shown = str(text).encode("utf-8", "backslashreplace").decode()
        shown = shown if len(shown) <= 120 else f"{shown[:117]}..."
        raise ParameterError(f"{shown!r} can name no file: {reason}. Correct the path.") from None
    return path


def quotable(path: Path) -> str:
    """Return a path that an engine's SQL can hold between quotes, as it stands.

    Raises
    ------
    ParameterError
        It holds both kinds of quotes, a backslash or a control character, which could end the
        quotes: the name would be run as SQL.
    """
    text = path.as_posix()
    if repr(text)[1:-1] != text:
        raise ParameterError(
            f"{text!r}: a backslash, a control character, or quotes of both kinds stand in this"
            " path, which no engine can be given safely. Rename the folder or the file."
        )
    return text


def literal(path: Path) -> str:
    """Return a path in which nothing is a pattern, for engines that read ``*?[`` as one."""
    return re.sub(r"([*?\[])", r"[\1]", quotable(path))
