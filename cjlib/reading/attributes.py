"""The second table of a dataset: what is known of its customers, one row each."""

from pathlib import Path

import ibis.expr.types as ir
from ibis.backends import BaseBackend

from cjlib.dataset_file import Dataset
from cjlib.errors import CjlibError, ContractError, ParameterError
from cjlib.paths import literal, user_path
from cjlib.reading.sources import check_columns, without_margins


def attributes_file(dataset: Dataset) -> Path:
    """Return the file of a dataset's table of customers.

    Raises
    ------
    ParameterError
        It is not there.
    """
    path = dataset.folder / user_path(dataset.customers.source)
    if not path.is_file():
        raise ParameterError(
            f"{path}: there is no such file. Put the table of customers there, or mend "
            f"customers.source in {dataset.path.name}."
        )
    return path


def read_attributes(con: BaseBackend, dataset: Dataset) -> ir.Table:
    """Return the dataset's table of customers: customer_id and its attributes, all text.

    Raises
    ------
    ContractError
        The file is no readable table, a declared column is missing, or a customer has two rows.
    ParameterError
        The file is not there.
    """
    path = attributes_file(dataset)
    named = dataset.customers.columns
    try:
        if path.suffix.lower() == ".parquet":
            table = con.read_parquet(literal(path))
        else:
            as_text = {"all_varchar": True} if con.name == "duckdb" else {"header": True}
            table = con.read_csv(literal(path), **as_text)
        keys = {f"customers.columns.{key}": name for key, name in named.items()}
        check_columns(table.columns, keys, dataset, path)
        table = table.select(
            **{key: without_margins(table[name].cast("string")) for key, name in named.items()}
        )
        twice = table.group_by("customer_id").having(table.count() > 1).agg().count().execute()
    except CjlibError:
        raise
    except Exception as error:
        first = str(error).splitlines()[0]
        raise ContractError(f"{path}: is no readable table of customers: {first}") from None
    if twice:
        raise ContractError(f"{path}: {twice:,} customers have more than one row; keep one each.")
    return table
