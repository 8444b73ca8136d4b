"""The reports of a dataset on their shelf: complete runs in the order of their moments.

A report made later for an earlier moment takes its place by the moment it is of (as_of), not by the
clock.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from cjlib.errors import ParameterError, Unanswerable

RUN_ID = re.compile(r"\d{8}T\d{9}Z-[0-9a-f]{4}")
YEAR = pd.Timedelta(days=365)


@dataclass(frozen=True)
class EarlierReport:
    """A complete report in its folder.

    Attributes
    ----------
    folder : Path
    as_of : Timestamp
        The moment it is of, naive UTC.
    """

    folder: Path
    as_of: pd.Timestamp

    @cached_property
    def day(self):
        """The day it is of on the log's clocks."""
        return pd.Timestamp(self._read("manifest")["day"]).date()

    @cached_property
    def findings(self) -> pd.DataFrame:
        """Its headline figures: notebook, name, value, lower, upper, unit, sentence."""
        return pd.DataFrame(self._read("findings"))

    def holds(self, table: str) -> bool:
        """Return whether it published a table."""
        return self._path(table).is_file()

    def table(self, name: str) -> pd.DataFrame:
        """Return a table that it published.

        Raises
        ------
        Unanswerable
            If it did not.
        """
        if not self.holds(name):
            raise Unanswerable(f"the earlier report published no table {name}")
        return pd.read_parquet(self._path(name))

    def _path(self, table: str) -> Path:
        return self.folder / "tables" / f"{table}.parquet"

    def _read(self, name: str):
        return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))


def run_ids(shelf: Path) -> list[str]:
    """Return the ids of the complete runs in a folder, the one made first first."""
    return sorted(path.name for path in shelf.glob("*") if RUN_ID.fullmatch(path.name))


def moment(folder: Path) -> str:
    """Return the moment that a report is of as its manifest says it; nothing where it is broken."""
    try:
        return str(json.loads((folder / "manifest.json").read_bytes())["as_of"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def earlier_reports(log, out: str | Path = "", shelf: str | Path = "") -> list[EarlierReport]:
    """Return the reports of earlier moments than the log's, the earliest first.

    Parameters
    ----------
    log : Log
    out : path
        Where a run works: in a folder of its own on the shelf.
    shelf : path
        ``reports/<dataset>``; by default the folder that holds `out`. Without either there is none.
    """
    if not str(out) and not str(shelf):
        return []
    folder = Path(shelf) if str(shelf) else Path(out).parent
    moments = {run_id: moment(folder / run_id) for run_id in run_ids(folder)}
    found = [EarlierReport(folder / one, pd.Timestamp(as_of)) for one, as_of in moments.items()]
    found = [one for one in found if pd.notna(one.as_of) and one.as_of < log.as_of]
    return sorted(found, key=lambda one: (one.as_of, one.folder.name))


def report_to_compare(
    earlier: Sequence[EarlierReport], log, *, previous: str | Path = "", years: int = 0
) -> EarlierReport | None:
    """Return the report to compare with: a named one, the last one, or that of years before.

    Parameters
    ----------
    earlier : list of EarlierReport
        Of `earlier_reports`; those without the table ``measures`` cannot be compared with.
    log : Log
    previous : path
        The folder of a report, in place of those on the shelf.
    years : int
        0: the last one; or the one nearest to so many years before.

    Raises
    ------
    ParameterError
        When the folder named holds no report of an earlier moment that can be compared with.
    """
    if str(previous):
        as_of = moment(Path(previous))
        named = EarlierReport(Path(previous), pd.Timestamp(as_of or log.as_of))
        if named.as_of >= log.as_of or not named.holds("measures"):
            raise ParameterError(
                f"previous: {previous}: no report of an earlier moment with the table measures is "
                "there; name its folder, such as reports/demo/latest, or leave it empty."
            )
        return named
    target = log.as_of - years * YEAR
    holding = [one for one in reversed(earlier) if one.holds("measures")]
    return min(holding, key=lambda one: abs(one.as_of - target), default=None)
