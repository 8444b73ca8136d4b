"""What form a log file has: its delimiter, encoding and header, found by looking at it."""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cjlib.errors import ContractError, ParameterError
from cjlib.reading.sources import CSV_ENDINGS

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_LINES = 200
BLOCK = 1 << 20
ACCENTS = {
    *"áéíóúàèìòùâêîôûäëïöüãõñçÁÉÍÓÚÀÈÌÒÙÂÊÎÔÛÄËÏÖÜÃÕÑÇß·€£ºª¿¡«»“”‘’–—…´"
}  # of Western texts


@dataclass(frozen=True)
class Layout:
    """How a log file is to be read.

    Attributes
    ----------
    header : tuple of str
        Column names in their order.
    delimiter : str
        One character, or ``"whitespace"``.
    encoding : str
        ``utf-8``, ``utf-16`` or ``cp1252``.
    headless : bool
        The first line holds data already; the names in ``header`` are made up.
    """

    header: tuple[str, ...]
    delimiter: str = ","
    encoding: str = "utf-8"
    headless: bool = False


def sniff(path: Path) -> Layout:
    """Return how a log file (CSV, also compressed with gzip, or Parquet) is to be read.

    Raises
    ------
    ParameterError
        There is no such file, or it is of a kind that cannot be read.
    ContractError
        The file is empty or damaged.
    """
    if path.is_dir():
        raise ParameterError(f"{path} is a folder; name one file of it")
    if not path.exists():
        raise ParameterError(f"there is no file {path}; correct the path")
    if not path.name.lower().endswith((*CSV_ENDINGS, ".parquet")):
        raise ParameterError(
            f"{path.name}: its ending says no form that can be read; save the log as CSV or "
            f"Parquet, with one of the endings {', '.join((*CSV_ENDINGS, '.parquet'))}"
        )
    try:
        return _sniff_parquet(path) if path.suffix.lower() == ".parquet" else _sniff_text(path)
    except (EOFError, gzip.BadGzipFile, zlib.error, csv.Error, pa.ArrowException) as error:
        raise ContractError(f"{path} is damaged: {error}; export the log again") from None
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror or error}") from None


def _sniff_parquet(path: Path) -> Layout:
    with pq.ParquetFile(path) as file:
        if file.metadata.num_rows == 0:
            raise ContractError(f"{path} holds columns and no rows; export the log again")
        return Layout(tuple(file.schema_arrow.names))


def _sniff_text(path: Path) -> Layout:
    with _binary(path) as file:
        if file.read(4).startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b", b"PAR1")):
            raise ParameterError(
                f"{path} is a workbook, an archive or Parquet under a name that says otherwise; "
                "rename it, or save the table in it as CSV"
            )
    encoding = _encoding(path)
    with io.TextIOWrapper(_binary(path), encoding, errors="replace", newline="") as file:
        lines = [line for line, _ in zip(file, range(SAMPLE_LINES), strict=False)]
    lines = [line for line in lines if line.strip("\ufeff\r\n\t ")]
    if not lines:
        raise ContractError(f"{path} is empty; export the log again, with a header line")
    if any("\0" in line for line in lines[:2]):
        raise ParameterError(f"{path} is no text; give a CSV or Parquet file")
    lines[0] = lines[0].lstrip("\ufeff")
    delimiter = _delimiter(lines)
    first = [name.strip() for name in next(_rows(lines, delimiter))]
    headless = sum(_is_data(cell) for cell in first) * 2 > len(first)
    made_up = [f"column_{place}" for place in range(1, len(first) + 1)]
    names = made_up if headless else [a or b for a, b in zip(first, made_up, strict=True)]
    return Layout(tuple(names), delimiter, encoding, headless)


def _binary(path: Path) -> io.BufferedIOBase:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _encoding(path: Path) -> str:
    """Return the encoding of the whole file, since an accent may come late.

    A few damaged lines do not make a file another encoding: lines with accents vote.
    """
    utf8 = cp1252 = 0
    with _binary(path) as file:
        while lines := file.readlines(BLOCK):
            if lines[0].startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return "utf-16"
            for line in lines if not b"".join(lines).isascii() else ():
                try:
                    utf8 += not line.isascii() and bool(line.decode("utf-8"))
                except UnicodeDecodeError:
                    text = line.decode("cp1252", "replace")
                    cp1252 += {mark for mark in text if not mark.isascii()} <= ACCENTS
    return "cp1252" if cp1252 > utf8 else "utf-8"


def _rows(lines: list[str], delimiter: str) -> Iterator[list[str]]:
    if delimiter == "whitespace":
        return (line.split() for line in lines)
    return csv.reader(io.StringIO("".join(lines), newline=""), delimiter=delimiter)


def _delimiter(lines: list[str]) -> str:
    """Return the delimiter that gives most rows as many fields, more than one, as the header."""

    def agreement(delimiter: str) -> tuple[float, int]:
        try:
            widths = [len(row) for row in _rows(lines, delimiter) if row]
        except csv.Error:
            return 0.0, 0
        if widths[0] < 2:
            return 0.0, 0
        return round(sum(width == widths[0] for width in widths) / len(widths), 1), widths[0]

    best = max(DELIMITERS, key=agreement)
    if agreement(best)[0] < 0.5 and agreement("whitespace")[0] > 0.5:
        return "whitespace"
    return best if agreement(best)[0] > 0 else ","


def _is_data(cell: str) -> bool:
    return bool(cell) and not any(character.isalpha() for character in cell)
