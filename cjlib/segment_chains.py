"""Customers divided by something known from the start, and the chain of each group.

A segment may only use what was known at a customer's first event: dividing by something that
happened later (who bought, who complained) would find differences that the division made.
"""

import ibis
import ibis.expr.types as ir
import pandas as pd

from cjlib.errors import ParameterError
from cjlib.markov import MarkovChain

FIRST = ("channel", "touchpoint", "stage")
OTHER = "(other)"


def customer_segments(log, segment_by: str) -> ir.Table | None:
    """Divide the customers by their first event, or by an attribute.

    Parameters
    ----------
    log : Log
    segment_by : str
        ``first_channel``, ``first_touchpoint``, ``first_stage``, or a column of the dataset's
        customers table.

    Returns
    -------
    Table or None
        ``customer_id, segment``; customers of whom it is not known are left out. None when the log
        knows it of nobody.

    Raises
    ------
    ParameterError
        When there is no such thing to divide by.
    """
    name = segment_by.removeprefix("first_")
    attributes = [] if log.customers is None else [c for c in log.customers.columns]
    attributes = [column for column in attributes if column not in ("customer_id", "bucket")]
    if segment_by.startswith("first_") and name in FIRST:
        known = log.events.filter(log.events[name].notnull())
        in_order = ibis.window(group_by="customer_id", order_by=["timestamp", "line"])
        first = known.mutate(place=ibis.row_number().over(in_order))
        found = first.filter(first.place == 0).select("customer_id", segment=first[name])
    elif segment_by in attributes:
        found = log.customers.select("customer_id", segment=log.customers[segment_by].cast(str))
        found = found.filter(found.segment.notnull())
    else:
        options = ", ".join([*(f"first_{first}" for first in FIRST), *attributes])
        raise ParameterError(f"segment_by: {segment_by!r} is not known; write one of {options}")
    return found if found.segment.nunique().execute() > 1 else None


def largest_segments(segments: ir.Table, smallest: int, most: int = 5) -> ir.Table:
    """Keep the largest segments and put the rest together.

    Parameters
    ----------
    segments : Table
        ``customer_id, segment``.
    smallest : int
        Customers below which a segment is not shown on its own.
    most : int
        How many segments to keep.

    Returns
    -------
    Table
        ``customer_id, segment``; of several small segments each is ``(other)``.
    """
    sizes = segments.group_by("segment").agg(n=segments.customer_id.nunique())
    sizes = sizes.order_by([sizes.n.desc(), sizes.segment]).to_pandas()
    kept = sizes[sizes["n"] >= smallest]["segment"].head(most).tolist()
    large = segments.segment.isin(kept) if kept else ibis.literal(False)
    return segments.mutate(segment=large.ifelse(segments.segment, OTHER))


def segment_chains(moves: pd.DataFrame, everybody: MarkovChain) -> dict[str, MarkovChain]:
    """Fit each segment's chain, shrunk towards everybody's where customers are few.

    Parameters
    ----------
    moves : DataFrame
        ``segment, bucket, from_stage, to_stage, n``.
    everybody : MarkovChain
        Fitted.

    Returns
    -------
    dict
        Segment to its chain, the segment with most transitions first.
    """
    sizes = moves.groupby("segment")["n"].sum().sort_values(ascending=False, kind="stable")
    return {
        segment: MarkovChain().fit(moves[moves["segment"] == segment], base=everybody)
        for segment in sizes.index
    }
