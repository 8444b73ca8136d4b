"""Who stays away after buying: cut-offs in time, customers at a cut-off, and what became of them.

A customer has churned at a cut-off when no purchase follows within the horizon, among those who
had bought by then. An event at the very moment of the cut-off belongs to the past, so features use
``timestamp <= cut_off`` and labels ``cut_off < timestamp <= cut_off + horizon``.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from ibis.expr.types import Table

from cjlib.churn.features import Vocabulary, features
from cjlib.churn.lifetime import BGNBD, MBGNBD, ParetoNBD
from cjlib.errors import ContractError, ParameterError
from cjlib.uncertainty import BUCKETS

PURCHASE_MODELS = {"bg_nbd": BGNBD, "mbg_nbd": MBGNBD, "pareto_nbd": ParetoNBD}
DAY = pd.Timedelta(1, "D")


@dataclass(frozen=True)
class Timeline:
    """The cut-offs that a history carries.

    Attributes
    ----------
    first : Timestamp
        The first time in the log.
    training : tuple of Timestamp
        Oldest first; their labels end at or before ``test``.
    test : Timestamp or None
        One horizon before ``score``; opened once, after the model is chosen.
    score : Timestamp
        The moment of the report.
    missing : str
        Empty, or why no model can be tested honestly.
    """

    first: pd.Timestamp
    training: tuple[pd.Timestamp, ...]
    test: pd.Timestamp | None
    score: pd.Timestamp
    missing: str = ""


def timeline(
    first: pd.Timestamp, as_of: pd.Timestamp, horizon: pd.Timedelta, *, most: int = 6
) -> Timeline:
    """Roll cut-offs back from the report by the horizon, as many as the history carries.

    Every cut-off needs one horizon of history before it, so an honest test needs three: history,
    the labels of a training cut-off, the labels of the test.

    Parameters
    ----------
    first, as_of : Timestamp
        First time in the log, moment of the report.
    horizon : Timedelta
        The silence that counts as churn.
    most : int
        Keep at most this many training cut-offs, the latest.

    Raises
    ------
    ParameterError
        When the horizon is not positive.
    """
    if horizon <= pd.Timedelta(0):
        raise ParameterError(f"churn.horizon must be longer than zero, not {horizon}")
    carried = int((as_of - first) / horizon) - 1  # cut-offs with a horizon before and after them
    if carried < 2:
        days, needed = (as_of - first) / DAY, 3 * horizon / DAY
        missing = (
            f"The log covers {days:,.0f} days. A test out of time needs three times the horizon, "
            f"{needed:,.0f} days: wait for more history, or set churn.horizon in the dataset file "
            f"to at most {int(days // 3)} days."
        )
        return Timeline(first, (), None, as_of, missing)
    training = tuple(as_of - step * horizon for step in range(min(carried, most + 1), 1, -1))
    return Timeline(first, training, as_of - horizon, as_of)


def labels(events: Table, cut_off: pd.Timestamp, horizon: pd.Timedelta) -> Table:
    """Return who bought within the horizon after the cut-off, with their orders and value then."""
    after = events.filter(
        events.purchase & (events.timestamp > cut_off) & (events.timestamp <= cut_off + horizon)
    )
    return after.group_by("customer_id").aggregate(
        orders_after=after.count(), value_after=after.value.sum().coalesce(0.0)
    )


def customers_at(
    events: Table,
    cut_off: pd.Timestamp,
    horizon: pd.Timedelta,
    words: Vocabulary,
    *,
    labelled: bool = True,
    buckets: int = BUCKETS,
) -> pd.DataFrame:
    """Return one row per customer who had bought by the cut-off: features, and the label if asked.

    Parameters
    ----------
    events : Table
        Events of a prepared log.
    cut_off, horizon, words
        See ``features``.
    labelled : bool
        Add ``churned`` (bool), ``orders_after`` and ``value_after``.
    buckets : int
        Only customers of buckets below this one: a sample for fitting, drawn in the engine.

    Returns
    -------
    DataFrame
        Sorted by customer; also ``cut_off`` and the columns of ``purchase_models``.

    Raises
    ------
    ContractError
        When nobody had bought by the cut-off.
    """
    if buckets < BUCKETS:
        events = events.filter(events.bucket < buckets)
    table = features(events, cut_off, horizon, words)
    if labelled:
        after = labels(events, cut_off, horizon).rename(returned="customer_id")
        table = table.left_join(after, table.customer_id == after.returned)
        table = table.mutate(
            churned=table.returned.isnull(),
            orders_after=table.orders_after.coalesce(0),
            value_after=table.value_after.coalesce(0.0),
        ).drop("returned")
    frame = table.mutate(
        **{name: table[name].cast("float32") for name in (*words.rfm, *words.journey)}
    )
    frame = frame.execute().sort_values("customer_id", ignore_index=True)
    if frame.empty:
        raise ContractError(
            f"no customer had bought by {cut_off:%Y-%m-%d}; check journey.purchase in the dataset "
            "file: churn is a question about customers who have bought"
        )
    frame.insert(2, "cut_off", cut_off)
    return purchase_models(frame, horizon)


def purchase_models(
    frame: pd.DataFrame, horizon: pd.Timedelta, *, most: int = 12_000
) -> pd.DataFrame:
    """Add each purchase model's probability of no purchase within the horizon.

    The models learn from the purchases up to the cut-off alone, no label is involved, so they are
    fitted anew at every cut-off.

    Parameters
    ----------
    frame : DataFrame
        Customers of one cut-off with ``x``, ``t_x`` and ``T``.
    horizon : Timedelta
    most : int
        Fit on every k-th customer when there are more, for time's sake.

    Returns
    -------
    DataFrame
        ``frame`` with ``bg_nbd``, ``mbg_nbd``, ``pareto_nbd`` and ``expected_orders`` (of those who
        order at all within the horizon, by MBG/NBD); NaN where nobody bought twice.
    """
    every = -(-len(frame) // most)
    history = frame[["x", "t_x", "T"]].to_numpy(dtype=float)
    days = horizon / DAY
    frame["expected_orders"] = np.nan
    cells, where = np.unique(history, axis=0, return_inverse=True)
    for name, model in PURCHASE_MODELS.items():
        try:
            fitted = model().fit(*history[::every].T)
        except ContractError:
            frame[name] = np.nan
            continue
        silent = np.clip(fitted.probability_no_purchase(*cells.T, days), 1e-6, 1 - 1e-6)
        frame[name] = silent[where.ravel()]
        if model is MBGNBD:
            orders = fitted.expected_purchases(*cells.T, days) / (1 - silent)
            frame["expected_orders"] = np.maximum(orders, 1.0)[where.ravel()]
    return frame
