"""A first query for a folder of tables: every time that a customer can be found for is an event."""

from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
from jinja2 import Environment

from cjlib.dataset import connect_confined
from cjlib.drafts.columns import MISSING, SAMPLE, Content
from cjlib.drafts.layout import Layout, find_layout
from cjlib.drafts.names import columns_by_name, match, parts, plain, words
from cjlib.errors import CjlibError, ContractError, ParameterError, did_you_mean
from cjlib.paths import quotable
from cjlib.reading.sources import CSV_ENDINGS

TABLES = 40  # files of a folder that are looked at
ENCODINGS = {"cp1252": "latin-1", "utf-16": "utf-16"}  # as DuckDB calls them


@dataclass(frozen=True)
class Source:
    """A table of the folder.

    Attributes
    ----------
    name : str
        In plain words.
    sql : str
        The table in DuckDB's SQL, all text.
    rows : int
    columns : dict of str to Content
        A sample of each column, with how many different values the whole column has.
    """

    name: str
    sql: str
    rows: int
    columns: dict[str, Content]

    def is_key(self, column: str) -> bool:
        """Return whether a column tells the table's rows apart."""
        return column in self.columns and self.columns[column].total == self.rows > 0

    def times(self) -> list[str]:
        """Return the columns of times at which something happened, not of plans."""
        times = [name for name, content in self.columns.items() if content.formats]
        return [name for name in times if not parts(name) & {*words()["plans"]}]

    def numbers(self, meaning: str) -> list[str]:
        """Return the columns of numbers whose names fit a meaning."""
        numbers = [name for name, content in self.columns.items() if content.decimal]
        return columns_by_name(meaning, numbers)


def draft_query(folder: Path, fixed: dict[str, str] | None = None) -> str:
    """Return a SELECT that makes one log of the tables in a folder.

    Tables are joined where a column of one name tells the rows of one of them apart. Each column of
    times becomes a touchpoint of its own, unless the table has a column that says what happened.

    Parameters
    ----------
    folder : Path
        With tables as CSV or Parquet.
    fixed : dict of str to str, optional
        Columns by meaning that are no guess; here the customer's counts.

    Raises
    ------
    ParameterError
        The folder holds no tables, or no table has the customers' column that was named.
    ContractError
        No column is a customer's, or no time leads to one.
    """
    tables = _tables(folder)
    customer = _customer(tables, fixed or {}, folder)
    branches = [branch for table in tables for branch in _branches(table, tables, customer)]
    if not branches:
        raise ContractError(
            f"{folder}: no column of times leads to a customer ({customer!r}); write the query by"
            " hand, see data/README.md."
        )
    used = " ".join(str(branch) for branch in branches)
    unused = [table.name for table in tables if table.sql not in used]
    template = (files("cjlib") / "templates" / "query.sql.j2").read_text(encoding="utf-8")
    page = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    return page.from_string(template).render(branches=branches, unused=unused)


def _tables(folder: Path) -> list[Source]:
    found = []
    paths = sorted(
        p for p in folder.iterdir() if p.name.lower().endswith((*CSV_ENDINGS, ".parquet"))
    )
    if not paths:
        raise ParameterError(f"{folder}: holds no tables as CSV or Parquet.")
    where = folder.resolve()
    with TemporaryDirectory(prefix="cj_draft_") as scratch, chdir(where):
        con = connect_confined(where, Path(scratch))
        for path in paths[:TABLES]:
            try:
                found.append(_source(con, path, find_layout(path, Path(scratch))))
            except (CjlibError, duckdb.Error) as error:
                first = str(error).splitlines()[0]
                raise ContractError(f"{path}: is no readable table: {first}") from None
        con.close()
    return found


def _source(con: duckdb.DuckDBPyConnection, path: Path, layout: Layout) -> Source:
    file = quotable(Path(path.name)).replace("'", "''")
    if path.suffix.lower() == ".parquet":
        sql = f"(SELECT COLUMNS(*)::VARCHAR FROM read_parquet('{file}'))"
    else:
        options = {"all_varchar": "true", "header": "false" if layout.headless else "true"}
        if layout.delimiter != ",":
            options["delim"] = f"'{layout.delimiter}'"
        if layout.encoding in ENCODINGS:
            options["encoding"] = f"'{ENCODINGS[layout.encoding]}'"
        options = "".join(f", {key} = {value}" for key, value in options.items())
        sql = f"read_csv('{file}'{options})"
    sample = con.sql(f"SELECT * FROM {sql} LIMIT {SAMPLE}").df()
    counts = ", ".join(["count(*)", *(f"count(DISTINCT {quoted(name)})" for name in sample)])
    rows, *totals = con.sql(f"SELECT {counts} FROM {sql}").fetchall()[0]
    columns = {
        name: Content([text for text in sample[name].dropna() if text not in MISSING], total)
        for name, total in zip(sample, totals, strict=True)
    }
    return Source(plain(path.name.split(".")[0]), sql, rows, columns)


def quoted(name: str) -> str:
    """Return a column's name between quotes."""
    return '"' + name.replace('"', '""') + '"'


def _customer(tables: list[Source], fixed: dict[str, str], folder: Path) -> str:
    """Return the column that names the customer, in whichever tables it stands."""
    names = dict.fromkeys(name for table in tables for name in table.columns)
    if named := fixed.get("customer_id"):
        if named not in names:
            hint = did_you_mean(named, names) or "."
            raise ParameterError(f"{folder}: no table has a column {named!r}{hint}")
        return named
    if found := columns_by_name("customer_id", names):
        return found[0]
    shared = {name: sum(name in table.columns for table in tables) for name in names}
    keys = [name for name in names if any(table.is_key(name) for table in tables)]
    best = max(keys, key=lambda name: shared[name], default=None)
    if best is None or shared[best] < 2:
        raise ContractError(f"{folder}: no column names a customer; name it with --customer.")
    return best


def _way(table: Source, tables: list[Source], customer: str) -> list[tuple[Source, str]] | None:
    """Return the tables to be joined, each with its key, to come from a table to the customer."""
    ways: list[tuple[Source, list[tuple[Source, str]]]] = [(table, [])]
    seen = {table.name}
    for here, way in ways:  # which grows as it goes: the shortest way comes first
        if customer in here.columns:
            return way
        for other in tables:
            keys = [name for name in here.columns if other.is_key(name)]
            if keys and other.name not in seen:
                seen.add(other.name)
                ways.append((other, [*way, (other, keys[0])]))
    return None


def _branches(table: Source, tables: list[Source], customer: str) -> Iterator[dict]:
    """Yield what the template needs of each column of times of a table."""
    times, way = table.times(), _way(table, tables, customer)
    if not times or way is None:
        return
    known = columns_by_name("touchpoint", table.columns)
    what = [name for name in known if table.columns[name].is_labels(1_000)][:1]
    if what:
        times = columns_by_name("timestamp", times)[:1] or times[:1]
    touchpoints = [_happened(time, table) for time in times]
    buying = [match(name, words()["stages"]) == "purchase" for name in touchpoints]
    bought = buying.index(True) if any(buying) else 0
    feelings = columns_by_name("sentiment", table.columns)
    feelings = [name for name in feelings if table.columns[name].decimal][:1]
    channels = columns_by_name("channel", table.columns)
    channels = [name for name in channels if table.columns[name].is_labels(100)][:1]
    value = _value(table, tables, of_lines=any(buying))
    for place, (time, touchpoint) in enumerate(zip(times, touchpoints, strict=True)):
        yield {
            "table": table.sql,
            "way": [(other.sql, quoted(key)) for other, key in way],
            "customer": quoted(customer),
            "at": f"t{len(way)}" if way else "t",
            "time": quoted(time),
            "touchpoint": f"t.{quoted(what[0])}" if what else f"'{touchpoint}'",
            "channel": quoted(channels[0]) if channels else None,
            "sentiment": quoted(feelings[0]) if feelings and place == len(times) - 1 else None,
            "value": value if place == bought else None,
        }


def _happened(time: str, table: Source) -> str:
    """Return what happened at a time, by the names of its column and its table."""
    spent = {*words()["time_words"]}
    left = [word for word in plain(time).split("_") if word not in spent]
    return "_".join(left) or table.name


def _value(table: Source, tables: list[Source], of_lines: bool) -> dict | None:
    """Return where the value of a table's rows stands: there, or in the lines of another table.

    Of several tables with lines the one with the largest sum is taken: it leaves nothing out.
    """
    if own := table.numbers("value"):
        return {"own": quoted(own[0])}
    lines = []
    for other in tables:
        keys = [name for name in other.columns if table.is_key(name)]
        if other is table or not keys or other.times() or not of_lines:
            continue
        factors = [other.numbers(meaning)[:1] for meaning in ("quantity", "unit_price")]
        products = [factors[0] + factors[1]] if all(factors) else []
        for names in [*products, *([name] for name in other.numbers("value"))]:
            cells = zip(*(other.columns[name].cells for name in names), strict=False)
            total = sum(_product(row) for row in cells) * other.rows
            worth = " * ".join(f"TRY_CAST({quoted(name)} AS DOUBLE)" for name in names)
            lines.append((total, {"table": other.sql, "key": quoted(keys[0]), "worth": worth}))
    return max(lines, key=lambda line: line[0])[1] if lines else None


def _product(cells: tuple[str, ...]) -> float:
    product = 1.0
    for cell in cells:
        try:
            product *= float(cell)
        except ValueError:
            return 0.0
    return product
