"""What a notebook shows and publishes: sentences, tables, findings."""

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
from IPython.display import display

from cjlib.errors import ContractError, ParameterError, PrivacyError, did_you_mean
from cjlib.forms import (
    Column,
    Markdown,
    Plain,
    html_table,
    number,
    plain_table,
    shown,
    trust_line,
)
from cjlib.plots.style import set_theme
from cjlib.tables import TABLES, without_ids, write_table

__all__ = ["TABLES", "Report", "set_up"]


def set_up() -> None:
    """Set the look of all pictures and tables that follow; call it once in a notebook's set-up."""
    set_theme()
    pd.set_option("display.width", 120)
    pd.set_option("display.max_columns", 30)


class Report:
    """One notebook's part of a report: what it shows, finds and publishes.

    Parameters
    ----------
    notebook : str
        The notebook's name, e.g. ``"02_journey_map"``.
    log : Log
        The prepared log; its dataset says how ids are kept private.
    out : str or Path, optional
        Folder to publish into; empty: only show.
    """

    def __init__(self, notebook: str, log, out: str | Path = ""):
        self.notebook = notebook
        self.log = log
        self.out = Path(out) if str(out) else None
        self.findings: list[dict] = []
        self.tables: dict[str, pd.DataFrame] = {}

    # -- what a notebook shows ------------------------------------------------------------------

    def quality_line(self) -> None:
        """Display in one line how far the data can be trusted."""
        self.say(
            trust_line(self.log.rows) + " The report is of {as_of.day} {as_of:%B %Y}.",
            as_of=self.log.as_of,
        )

    def left_out(self, needs: Mapping[str, str]) -> None:
        """Display in one line what is left out and which column would bring it.

        Parameters
        ----------
        needs : mapping of str to str
            For each column of the log, what needs it. Columns that the log has are passed over;
            nothing is displayed when it has them all.
        """
        missing = {column: what for column, what in needs.items() if not self.log.has(column)}
        if not missing:
            return
        parts = [f"{what} (needs the column `{column}`)" for column, what in missing.items()]
        columns = "it" if len(missing) == 1 else "them"
        self.say(
            f"*Left out, because this log does not say it:* {'; '.join(parts)}. "
            f"Declare {columns} in the dataset file to bring this."
        )

    def say(self, text: str, **values) -> None:
        """Display a sentence in Markdown, with figures put in.

        Parameters
        ----------
        text : str
            Markdown with replacement fields such as ``{share:.0%}``. It is the author's: text that
            comes from the data goes in as a value, never into `text` itself.
        **values
            Figures and texts. Texts are escaped; a missing figure reads "unknown".
        """
        display(
            {
                "text/markdown": Markdown().format(text, **values),
                "text/plain": Plain().format(text, **values),
            },
            raw=True,
        )

    def finding(
        self,
        name: str,
        *,
        value: float,
        lower: float = math.nan,
        upper: float = math.nan,
        unit: str = "",
        sentence: str,
        **more,
    ) -> None:
        """Store a headline figure for the index page and display its sentence.

        Parameters
        ----------
        name : str
            Stable name of the figure, e.g. ``"purchase_rate"``.
        value, lower, upper : float
            The figure and its 95 % interval, in `unit`.
        unit : str
            ``"share"`` for a number between 0 and 1, else the plural that a reader would use:
            ``"customers"``, ``"days"``, ``"EUR"``.
        sentence : str
            What the figure says, with fields such as ``{value:.0%}``, ``{lower:.0%}``.
        **more
            Further values of the sentence.
        """
        values = {"value": value, "lower": lower, "upper": upper, "unit": unit, **more}
        found = {
            "notebook": self.notebook,
            "name": name,
            "value": number(value),
            "lower": number(lower),
            "upper": number(upper),
            "unit": unit,
            "sentence": Plain().format(re.sub(r"[*`]", "", sentence), **values),
        }
        self.findings = [known for known in self.findings if known["name"] != name] + [found]
        self.say(sentence, **values)
        if self.out is not None:
            folder = self.out / "findings"
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.findings, indent=1, ensure_ascii=False)
            (folder / f"{self.notebook}.json").write_text(text + "\n", encoding="utf-8")

    def show(
        self,
        table: pd.DataFrame,
        formats: Mapping[str, str | Callable] | None = None,
        labels: Mapping[str, str] | None = None,
        rows: int = 20,
        caption: str = "",
    ) -> None:
        """Display the first rows of a table, every text escaped.

        Parameters
        ----------
        table : DataFrame
            What to show, without customer ids. A named index becomes the first column.
        formats : mapping of str to str or callable, optional
            Format of a column's figures (``".1%"``, ``",.0f"``, ``"%Y-%m-%d"``) or a function.
            By default: counts with thousands separators, other numbers with three digits.
        labels : mapping of str to str, optional
            Headings by column; by default the column's name with spaces for underscores.
        rows : int
            How many rows to show; a note says how many there are.
        caption : str
            What the table shows, with its unit.

        Raises
        ------
        PrivacyError
            If the table has a column ``customer_id``.
        """
        if table.index.names != [None]:
            table = table.reset_index()
        if "customer_id" in table.columns:
            raise PrivacyError(
                f"{self.notebook}: a notebook never shows customers by their ids; "
                "leave out the column customer_id (report.publish may hold it)."
            )
        note = f"The first {rows} of {len(table):,} rows." if len(table) > rows else ""
        formats, labels = formats or {}, labels or {}
        head = table.head(rows)
        columns = [
            Column(
                label=str(labels.get(name, str(name).replace("_", " "))),
                cells=[shown(value, formats.get(name)) for value in head[name]],
                text=not pd.api.types.is_numeric_dtype(head[name]),
            )
            for name in head.columns
        ]
        display(
            {
                "text/html": html_table(columns, len(head), caption, note),
                "text/plain": plain_table(columns, len(head), caption, note),
            },
            raw=True,
        )

    def enough(self, n):
        """Return whether a group of `n` customers (number or array) is large enough to show."""
        return n >= self.log.dataset.privacy.smallest_group

    # -- what a notebook publishes --------------------------------------------------------------

    def publish(self, name: str, table: pd.DataFrame) -> None:
        """Write a table for others to read, as Parquet and CSV, under ``out/tables``.

        Parameters
        ----------
        name : str
            One of `TABLES`.
        table : DataFrame or Ibis table
            With the promised columns at least. When the dataset says ``customer_ids: hash``,
            ``customer_id`` is replaced by a keyed hash, and of quarantined rows only line and rule
            stay.

        Raises
        ------
        ParameterError
            If no table of that name is promised, or ids are to be hashed and the key is missing.
        ContractError
            If a promised column is missing.
        """
        if name not in TABLES:
            raise ParameterError(
                f"{self.notebook}: no table {name!r} is promised{did_you_mean(name, TABLES)}"
            )
        if not isinstance(table, pd.DataFrame):
            table = table.to_pandas()
        missing = [column for column in TABLES[name] if column not in table.columns]
        if missing:
            raise ContractError(
                f"{self.notebook}: the table {name} lacks the column(s) {', '.join(missing)}."
            )
        if self.log.dataset.privacy.customer_ids == "hash":
            table = without_ids(name, table)
        self.tables[name] = table
        if self.out is not None:
            write_table(table, self.out / "tables", name)

    def published(self) -> None:
        """Display what was published, a table a row."""
        if not self.tables:
            self.say("This notebook publishes no table.")
            return
        content = [
            (f"{name}", len(table), ", ".join(map(str, table.columns)))
            for name, table in self.tables.items()
        ]
        self.show(
            pd.DataFrame(content, columns=["table", "rows", "columns"]),
            formats={"columns": str},
            caption="Published as Parquet and CSV",
        )
