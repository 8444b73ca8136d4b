"""Text files opened: packed or plain, in any encoding, and never without end."""

import codecs
import gzip
import io
import os
import zlib
from pathlib import Path
from typing import TextIO

from cjlib.errors import ContractError
from cjlib.reading.records import SMALL, UNPACKED

TORN = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading a damaged gzip file may raise."""


class _Inflating(gzip.GzipFile):
    """A packed file that ends where it grows to far more than any log does."""

    def read1(self, size: int = -1) -> bytes:
        data = super().read1(size)
        grown = self.tell()
        if grown > SMALL and grown > UNPACKED * os.stat(self.name).st_size:
            raise ContractError(
                f"{self.name}: unpacks to more than {UNPACKED} times its size; it is no log."
            )
        return data


class _Text(io.TextIOWrapper):
    """Text in lines none of which is without end."""

    longest = 1 << 22

    def readline(self, size: int = -1) -> str:
        line = super().readline(self.longest if size < 0 else size)
        if len(line) == self.longest:
            raise ContractError(
                f"{self.name}: has a line of more than {self.longest:,} characters; write one"
                " event a line."
            )
        return line

    def __next__(self) -> str:
        if line := self.readline():
            return line
        raise StopIteration


def open_text(path: Path, encoding: str) -> TextIO:
    """Open a plain or packed text file: undecodable bytes as surrogates, line ends as they are.

    A byte order mark goes before the declared encoding.
    """
    opener = _Inflating if path.suffix.lower() == ".gz" else open
    with opener(path, "rb") as stream:
        start = stream.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"
    return _Text(opener(path, "rb"), encoding, errors="surrogateescape", newline="")
