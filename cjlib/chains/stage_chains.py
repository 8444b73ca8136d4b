"""The chain of everybody, and of customers divided by something known from the start.

A segment may only use what was known at a customer's first event: dividing by something that
happened later (who bought, who complained) would find differences that the division made.
"""

from collections.abc import Callable, Mapping

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from cjlib import journeys
from cjlib.chains import markov_tests
from cjlib.chains.markov import MarkovChain
from cjlib.chains.questions import purchase_question, return_question
from cjlib.chains.repurchase import repeat_counts
from cjlib.errors import ParameterError
from cjlib.published import TABLES

FIRST = ("channel", "touchpoint", "stage")
OTHER = "(other)"


def stage_moves(
    log,
    count: Callable[..., ir.Table] = journeys.transition_counts,
    *,
    groups: ir.Table | None = None,
    repeats: bool | None = None,
) -> pd.DataFrame:
    """Count the moves of everybody or of groups, repeated purchases too where they matter.

    Visits merge the purchases of one visit. In a log of one stage the only move would then be
    ``lost``, and the question whether a purchase is followed by another would overlook most: there
    a further purchase of the same visit is a move from the stage to itself.

    Parameters
    ----------
    log : Log
    count : callable
        ``transition_counts`` (moves and customers) or ``dwell.move_days`` (moves and days).
    groups : Table, optional
        ``customer_id, segment``; counts by segment then.
    repeats : bool, optional
        Whether to count repeated purchases; by default in a log of one stage alone.

    Returns
    -------
    DataFrame
        ``bucket, from_stage, to_stage, n``, what ``count`` adds, and ``segment`` for groups.
    """
    visits, events, by = log.visits, log.events, ["bucket"]
    if groups is not None:
        visits, events = (t.inner_join(groups, "customer_id") for t in (visits, events))
        by = ["segment", "bucket"]
    moves = count(visits, by=by).to_pandas()
    if repeats is None:
        repeats = len(moves["from_stage"].unique()) < 2
    if not repeats:
        return moves
    further = repeat_counts(events, log.as_of, log.dataset.journey.inactivity, by).to_pandas()
    return pd.concat([moves, further], join="inner", ignore_index=True)


def outcomes(
    chains: Mapping[str, MarkovChain], again: Mapping[str, MarkovChain], stages, days: np.ndarray
) -> pd.DataFrame:
    """Ask every chain whether the purchase, and after it the next one, comes before the loss.

    Parameters
    ----------
    chains : mapping of str to MarkovChain
        Segment to its chain; ``all`` is everybody.
    again : mapping of str to MarkovChain
        The same with repeated purchases, for the question after a purchase.
    stages : StageModel
    days : ndarray, shape (S, S)
        Mean days of each move.

    Returns
    -------
    DataFrame
        The published table ``absorption``, and expected_steps.
    """
    asked = [(purchase_question, name, chain) for name, chain in chains.items()]
    asked += [(return_question, name, chain) for name, chain in again.items()]
    return pd.concat(
        (question(chain, stages, days=days, segment=name) for question, name, chain in asked),
        ignore_index=True,
    )


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
    known = {} if log.customers is None else log.customers.schema()
    attributes = [column for column in known if column not in ("customer_id", "bucket")]
    if segment_by.startswith("first_") and name in FIRST:
        in_order = ibis.window(group_by="customer_id", order_by=["timestamp", "line"])
        first = log.events.mutate(place=ibis.row_number().over(in_order))
        first = first.filter((first.place == 0) & first[name].notnull())
        found = first.select("customer_id", segment=first[name])
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
        ``customer_id, segment``; the segments not kept are ``(other)``.
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
        segment: MarkovChain(seed=everybody.seed).fit(
            moves[moves["segment"] == segment], base=everybody
        )
        for segment in sizes.index
    }


def cells_since(monthly: pd.DataFrame, date: pd.Timestamp) -> pd.DataFrame:
    """Compare the probability of every move since a date with that before it.

    Parameters
    ----------
    monthly : DataFrame
        ``period, bucket, from_stage, to_stage, n``.
    date : Timestamp
        First period of the second part.

    Returns
    -------
    DataFrame
        Of ``moved_cells``: ``elsewhere`` is before, ``probability`` since, surest first.
    """
    side = monthly.assign(since=monthly["period"] >= date)
    return markov_tests.moved_cells(side, group="since").query("since").reset_index(drop=True)


def all_tests(tests: list[pd.DataFrame]) -> pd.DataFrame:
    """Join the tests into the published table, corrected together; empty when there are none."""
    return markov_tests.as_family(*tests) if tests else pd.DataFrame(columns=TABLES["markov_tests"])
