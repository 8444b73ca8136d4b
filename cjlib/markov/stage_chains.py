"""The chain of everybody, and of customers divided by something known from the start.

A segment may only use what was known at a customer's first event: dividing by something that
happened later (who bought, who complained) would find differences that the division made.
"""

from collections.abc import Callable, Mapping, Sequence

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from cjlib import journeys
from cjlib.errors import ParameterError
from cjlib.markov import markov_tests
from cjlib.markov.chain import MarkovChain
from cjlib.markov.questions import purchase_question, return_question
from cjlib.markov.repurchase import purchases_apart, repeat_counts
from cjlib.tables import TABLES

FIRST = ("channel", "touchpoint", "stage")
OTHER = "(other)"


def stage_moves(
    log,
    count: Callable[..., ir.Table] = journeys.transition_counts,
    *,
    groups: ir.Table | None = None,
    repeats: bool | None = None,
) -> pd.DataFrame:
    """Count the moves of everybody or of groups, between stages or from purchase to purchase.

    Visits merge the purchases of one visit. In a log of one stage the only move would then be
    ``lost``, and the question whether a purchase is followed by another would overlook most: there
    a further purchase of the same visit is a move from the stage to itself. That question is not
    about visits of the purchase stage in which nothing was bought, either.

    Parameters
    ----------
    log : Log
    count : callable
        ``transition_counts`` (moves and customers) or ``dwell.move_days`` (moves and days).
    groups : Table, optional
        ``customer_id, segment``; counts by segment then.
    repeats : bool, optional
        True: purchases are what counts, repeated ones too, and visits of a purchase stage without
        one are a state of their own. By default repeated ones count in a log of one stage alone.

    Returns
    -------
    DataFrame
        ``bucket, from_stage, to_stage, n``, what ``count`` adds, and ``segment`` for groups.
    """
    visits, events, by = log.visits, log.events, ["bucket"]
    if repeats:
        visits = purchases_apart(visits)
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


def outcomes(chains: Mapping[str, MarkovChain], stages, days: np.ndarray) -> pd.DataFrame:
    """Ask every chain whether the purchase, and after it the next one, comes before the loss.

    Parameters
    ----------
    chains : mapping of str to MarkovChain
        Segment to its chain, of the moves with purchases told apart; ``all`` is everybody.
    stages : StageModel
    days : ndarray, shape (S, S)
        Mean days of each move.

    Returns
    -------
    DataFrame
        The published table ``absorption``, and expected_steps.
    """
    return pd.concat(
        (
            question(chain, stages, days=days, segment=name)
            for question in (purchase_question, return_question)
            for name, chain in chains.items()
        ),
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
        ``customer_id, segment``; the segments not kept are ``(other)``, left out where even
        together they have fewer customers than ``smallest``.
    """
    sizes = segments.group_by("segment").agg(n=segments.customer_id.nunique())
    sizes = sizes.order_by([sizes.n.desc(), sizes.segment]).to_pandas()
    kept = sizes[sizes["n"] >= smallest]["segment"].head(most).tolist()
    large = segments.segment.isin(kept) if kept else ibis.literal(False)
    if sizes["n"][~sizes["segment"].isin(kept)].sum() < smallest:
        return segments.filter(large)
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


def monthly_moves(log) -> pd.DataFrame:
    """Count the moves by the month in which the stage was entered.

    Parameters
    ----------
    log : Log

    Returns
    -------
    DataFrame
        ``period, bucket, from_stage, to_stage, n, customers``.
    """
    visits = log.visits.mutate(period=log.visits.started.truncate("M"))
    return journeys.transition_counts(visits, by=["period", "bucket"]).to_pandas()


def chain_tests(
    log,
    stages: Sequence[str],
    by_group: pd.DataFrame | None,
    monthly: pd.DataFrame,
    points: pd.DataFrame,
    seed: int = 0,
) -> pd.DataFrame:
    """Test groups, memory and time, all corrected together.

    Parameters
    ----------
    log : Log
    stages : sequence of str
        Those seen.
    by_group : DataFrame or None
        Moves by segment and bucket.
    monthly : DataFrame
        Of `monthly_moves`.
    points : DataFrame
        Of ``change_points``, empty where there is nothing to compare.
    seed : int

    Returns
    -------
    DataFrame
        The published table ``markov_tests``; empty when nothing could be tested.
    """
    tests = []
    if by_group is not None:
        tests.append(markov_tests.homogeneity_test(by_group, seed=seed))
    for order in (2, 3) if len(stages) > 2 else ():
        runs = journeys.ngram_counts(log.visits, order, by=["bucket"]).to_pandas()
        if len(runs):
            tests.append(markov_tests.order_test(runs, n_permutations=499, seed=seed))
    if len(points):
        tests.append(markov_tests.stationarity_test(monthly, seed=seed))
        tests.append(markov_tests.change_test(points))
    return markov_tests.as_family(*tests) if tests else pd.DataFrame(columns=TABLES["markov_tests"])
