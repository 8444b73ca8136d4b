"""What a notebook shows, says, finds and publishes."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import display
from pandas.api.types import is_integer_dtype

from cjlib import answers, groups
from cjlib.errors import ContractError, ParameterError, PrivacyError, did_you_mean
from cjlib.forms import (
    UNITS,
    Wording,
    html_table,
    kind_of,
    main_figure,
    number,
    plain_table,
    shared_sentences,
    table_texts,
    trust_sentence,
)
from cjlib.log import Log
from cjlib.plots.style import set_theme, speak, texts_of
from cjlib.tables import TABLES, without_ids, write_table


class Report:
    """One notebook's part of a report.

    Making one sets the look of the pictures and tables that follow, and lets cells leave whose
    question the log cannot answer (see `cjlib.answers`).

    Parameters
    ----------
    notebook : str
        The notebook's name, e.g. ``"02_journey_map"``.
    log : Log
        The prepared log; its dataset says how ids are kept private.
    out : str or Path, optional
        Folder to publish into; empty: only show.
    """

    def __init__(self, notebook: str, log: Log, out: str | Path = ""):
        self.notebook = notebook
        self.log = log
        self.out = Path(out) if str(out) else None
        self.wording = Wording(log.label, log.dataset.currency or "", log.dataset.words)
        self.findings: list[dict] = []
        self.tables: dict[str, pd.DataFrame] = {}
        set_theme()
        groups.protect(log.dataset.privacy.smallest_group, self._everybody)
        pd.set_option("display.width", 120, "display.max_columns", 30)
        answers.install()

    # -- what a notebook says -------------------------------------------------------------------

    def say(self, rows: pd.DataFrame | pd.Series | Mapping, sentence: str, otherwise="") -> None:
        """Display a sentence once per row of a table, filled with the row's figures.

        Parameters
        ----------
        rows : DataFrame, Series or mapping
            A table, or a single row. Where it is empty nothing is said, or `otherwise`. Rows of too
            few customers (see `cjlib.groups`) are left out; where none is left, that is said.
        sentence : str
            One whole sentence in Markdown with fields such as ``{stage}`` or ``{probability}``;
            figures take the form of their column's name (see `cjlib.forms`), texts are escaped.
            Beside the row's columns there are ``as_of``, ``horizon`` (of churn), ``inactivity``,
            ``currency`` and ``smallest_group``.
        otherwise : str
            What to say where there is no row.

        Raises
        ------
        ParameterError
            If the sentence has a field that the row lacks.
        """
        large = self._large(rows, sentence)
        if not len(large) and len(rows):
            large, sentence, otherwise = {}, shared_sentences()["too_few"], ""
        filled = self._filled(large, sentence)
        filled = filled or (self._filled({}, otherwise) if otherwise else [])
        if filled:
            between = "\n" if sentence.lstrip().startswith("- ") else "\n\n"
            markdown, plain = zip(*filled, strict=True)
            texts = {"text/markdown": between.join(markdown), "text/plain": between.join(plain)}
            display(texts, raw=True)

    def finding(
        self,
        name: str,
        rows: pd.DataFrame | pd.Series | Mapping,
        sentence: str,
        otherwise: str = "",
        *,
        value: str = "",
        unit: str = "",
    ) -> None:
        """Say a sentence and keep its figure, with its interval, for the first page.

        Parameters
        ----------
        name : str
            Stable name of the figure, e.g. ``"purchase_rate"``. Where there are several rows, the
            second becomes ``purchase_rate_2``.
        rows, sentence, otherwise
            See `say`.
        value : str
            Column of the figure; by default the first figure that the sentence names. Its limits
            are in ``lower`` and ``upper``, or in its own ``{value}_lower`` and ``{value}_upper``.
        unit : str
            What the figure counts; by default what the column's name says.
        """
        self.say(rows, sentence, otherwise)
        for place, row in enumerate(self._large(rows, sentence), start=1):
            of = value or main_figure(sentence, row)
            kind = kind_of(of)
            own = f"{of}_lower" in row
            limits = [row.get(f"{of}_{end}" if own else end) for end in ("lower", "upper")]
            figures = [number(each) for each in (row.get(of), *limits)]
            if kind == "points":
                figures = [each and 100 * each for each in figures]
            units = UNITS | {"money": self.wording.currency}
            self._keep(
                {
                    "notebook": self.notebook,
                    "name": name if place == 1 else f"{name}_{place}",
                    **dict(zip(("value", "lower", "upper"), figures, strict=True)),
                    "unit": unit or units.get(kind, of.replace("_", " ")),
                    "sentence": self._filled(row, sentence)[0][1].removeprefix("- "),
                }
            )

    def quality_line(self) -> None:
        """Display in one line how far the data can be trusted, and of when the report is."""
        sentence, row = trust_sentence(self.log.rows)
        moment = shared_sentences()["moment_day" if self.log.whole_day else "moment"]
        self.say(row, f"{sentence} {moment}")

    def left_out(self, **needs: str) -> None:
        """Display in one line what is left out and which column would bring it.

        Parameters
        ----------
        **needs
            For a column of the log, what needs it; those that the log has are passed over.
        """
        missing = {column: what for column, what in needs.items() if not self.log.has(column)}
        if missing:
            row = {"what": list(missing.values()), "columns": list(missing)}
            self.say(row, shared_sentences()["left_out"])

    def _large(self, rows, sentence: str) -> list[dict]:
        """Return the rows that are of enough customers to be said so."""
        records = _records(rows)
        table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame([pd.Series(records[0])])
        large = [row for row, few in zip(records, groups.hidden(table), strict=True) if not few]
        plainly = replace(self.wording, words={})  # the words by which too few are told
        said = [plain for _, plain in self._filled(large, sentence, plainly)]
        return [row for row, text in zip(large, said, strict=True) if not groups.too_few_said(text)]

    def _everybody(self) -> int:
        return int(self.log.journeys.customer_id.nunique().execute())

    def _filled(self, rows, sentence: str, wording: Wording = None) -> list[tuple[str, str]]:
        """Return the sentence in Markdown and plain, per row."""
        filled, wording = [], wording or self.wording
        for row in _records(rows):
            values = self._standing() | row
            try:
                filled.append(
                    tuple(
                        wording.sentence(sentence, values, markdown=marks)
                        for marks in (True, False)
                    )
                )
            except KeyError as error:
                field = str(error.args[0])
                raise ParameterError(
                    f"{self.notebook}: the sentence {sentence[:40]!r}… names {{{field}}}, which "
                    f"its rows lack{did_you_mean(field, values) or '.'} "
                    f"They have {', '.join(values)}."
                ) from None
        return filled

    def _standing(self) -> dict:
        dataset = self.log.dataset
        return {
            "as_of": self.log.day,
            "horizon": dataset.churn.horizon,
            "inactivity": dataset.journey.inactivity,
            "currency": self.wording.currency,
            "smallest_group": dataset.privacy.smallest_group,
        }

    def _keep(self, found: dict) -> None:
        others = [known for known in self.findings if known["name"] != found["name"]]
        self.findings = [*others, found]
        if self.out is not None:
            folder = self.out / "findings"
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.findings, indent=1, ensure_ascii=False)
            (folder / f"{self.notebook}.json").write_text(text + "\n", encoding="utf-8")

    # -- what a notebook shows ------------------------------------------------------------------

    def show(self, shown, caption: str = "", *, rows: int = 20, of: pd.DataFrame = None) -> None:
        """Display a picture, or the first rows of a table with every text escaped.

        Rows of too few customers are left out (see `cjlib.groups`), and a note says so. The texts
        of a picture go with it, so that the scan before publication reads them, too.

        Parameters
        ----------
        shown : Axes, array of Axes, Figure or DataFrame
            A table goes without customer ids; its columns are named for the reader, their words
            decide the form of the figures (see `cjlib.forms`). A named index comes first; of a
            table without rows nothing is shown.
        caption : str
            What the table shows, or what the picture says to who cannot see it.
        rows : int
            How many rows to show; a note says how many there are.
        of : DataFrame, optional
            What a picture shows that no function of `cjlib.plots` has drawn.

        Raises
        ------
        PrivacyError
            If the table has a column ``customer_id``, or a picture of one's own shows too few
            customers, or does not say of what it is.
        """
        if isinstance(shown, pd.DataFrame):
            self._show_table(shown, caption, rows)
            return
        import matplotlib.pyplot as plt

        first = shown if hasattr(shown, "savefig") else np.ravel(shown)[0].figure
        lacking = getattr(first, "cj_lacking", None)
        if of is not None:
            lacking = None if groups.hidden(of).any() else 0
        if lacking is None:
            plt.close(first)
            raise PrivacyError(
                f"{self.notebook}: a picture that cjlib.plots has not drawn needs the table it is "
                "of, without groups too small: table = groups.enough_of(table), draw it, and "
                "report.show(ax, of=table)."
            )
        speak(first, self.wording.own)
        display(
            first, metadata={"alt": self.wording.own(caption)} | {groups.TEXTS: texts_of(first)}
        )
        plt.close(first)
        if lacking:
            self.say({}, shared_sentences()["too_few_drawn"])

    def _show_table(self, table: pd.DataFrame, caption: str, rows: int) -> None:
        if table.index.names != [None]:
            table = table.reset_index()
        if "customer_id" in table.columns:
            raise PrivacyError(
                f"{self.notebook}: a notebook never shows customers by their ids; "
                "leave out the column customer_id (report.publish may hold it)."
            )
        if table.columns.name is not None and all(map(is_integer_dtype, table.dtypes)):
            table = groups.enough_cells(table, table)
        few = groups.hidden(table)
        table = table[~few]
        counts = {"rows": rows, "all_rows": len(table), **self._standing()}
        notes = {"first_rows": len(table) > rows, "too_few_rows": few.any() and not table.empty}
        note = " ".join(
            self.wording.sentence(shared_sentences()[name], counts)
            for name, holds in notes.items()
            if holds
        )
        if table.empty:
            if few.any():
                self.say({}, shared_sentences()["too_few"])
            return
        columns, caption = table_texts(table.head(rows), self.wording), self.wording.own(caption)
        texts = {"html": html_table, "plain": plain_table}
        display({f"text/{k}": made(columns, caption, note) for k, made in texts.items()}, raw=True)

    def enough(self, n):
        """Return whether a group of `n` customers (number or array) is large enough to show."""
        return n >= self.log.dataset.privacy.smallest_group

    # -- what a notebook publishes --------------------------------------------------------------

    def publish(self, name: str, table: pd.DataFrame) -> None:
        """Write a table for others to read, as Parquet and CSV, under ``out/tables``.

        Parameters
        ----------
        name : str
            One of `cjlib.tables.TABLES`.
        table : DataFrame or Ibis table
            With the promised columns at least; an answer that the log could not give is published
            as the table without rows. When the dataset says ``customer_ids: hash``,
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
                f"{self.notebook}: no table {name!r} is promised{did_you_mean(name, TABLES) or '.'}"
            )
        if isinstance(table, answers.Missing):
            table = pd.DataFrame(columns=TABLES[name])
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
            self.say({}, shared_sentences()["nothing_published"])
            return
        content = [
            (name, len(table), ", ".join(map(str, table.columns)))
            for name, table in self.tables.items()
        ]
        self.show(
            pd.DataFrame(content, columns=["table", "rows", "columns"]),
            "Published as Parquet and CSV",
        )


def _records(rows: pd.DataFrame | pd.Series | Mapping) -> list[dict]:
    """Return a table's rows, or a single row, as mappings."""
    if isinstance(rows, pd.DataFrame):
        return rows.astype(object).to_dict("records")
    return rows if isinstance(rows, list) else [dict(rows)]
