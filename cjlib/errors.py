"""What can go wrong, each kind with the exit code the command line ends with."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known word closest to a wrong one, or nothing."""
    close = get_close_matches(str(word), [str(name) for name in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


class CjlibError(Exception):
    """An error whose message is meant for the reader: the place and the remedy, no traceback."""

    exit_code = 1


class ParameterError(CjlibError):
    """A parameter, a command or a key of a dataset file is wrong."""

    exit_code = 2


class ContractError(CjlibError):
    """The data break the contract that the dataset file states."""

    exit_code = 3


class PrivacyError(CjlibError):
    """A page or file would have shown what the dataset file says to keep private."""

    exit_code = 4


class LockedError(CjlibError):
    """Another run of the same dataset is under way."""

    exit_code = 75


class Unanswerable(CjlibError):
    """The log does not hold what a question needs; the message says what is lacking.

    It is no failure: a notebook leaves the section out and names it (see `cjlib.answers`).
    """
