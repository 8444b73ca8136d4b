"""Moves between stages, or from purchase to purchase: of everybody, of segments, by customer."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
from scipy import sparse

from cjlib.errors import ParameterError, Unanswerable, did_you_mean
from cjlib.journeys import BOUGHT, DAY, LOST, first_events, ngram_counts, transition_counts
from cjlib.markov.standing import JOURNEY, standing
from cjlib.stages import StageModel

ALL, OTHER = "all", "(other)"
FIRST = ("channel", "touchpoint", "stage")
MOST = 5  # segments told apart; the others are one


def transitions(
    log, *, segment_by: str = "", by_month: bool = False, purchases: bool | None = None
) -> pd.DataFrame:
    """Count the moves from stage to stage, of everybody and of segments of customers.

    Visits merge the purchases of one visit. In a log of one stage the only move would then be
    ``lost``, and the question whether a purchase is followed by another would overlook most: there
    a further purchase of the same visit is a move from the stage to itself. That question is not
    about visits of the purchase stage in which nothing was bought, either.

    Parameters
    ----------
    log : Log
    segment_by : str
        ``first_channel``, ``first_touchpoint``, ``first_stage``, or a column of the dataset's
        customers table; see `segments_known_at_first`. By default everybody alone.
    by_month : bool
        Whether to count by the month in which a stage was entered, too (column ``period``), and by
        what the customer was then (column ``stratum``, of `cjlib.markov.standing`). Every silence
        is ``lost`` then: whether it came after a purchase is told by the stages before.
    purchases : bool, optional
        True: purchases are what counts, repeated ones too, and visits of a purchase stage without
        one are a state of their own. By default repeated ones count in a log of one stage alone.

    Returns
    -------
    DataFrame
        segment (``all``, then segments by their number of moves), bucket, period where asked for,
        from_stage, to_stage, n, customers, days (sum). A segment has at least
        ``privacy: smallest_group`` customers.

    Raises
    ------
    Unanswerable
        Where no visit is old enough to know what followed it.
    """
    events, visits = log.events, without_idle(log.visits) if purchases else log.visits
    by = ["bucket", "period", "stratum"] if by_month else ["bucket"]
    if by_month:
        strata = standing(log).cache()
        visits, events = (
            table.mutate(period=table[time].truncate("M")).inner_join(strata, JOURNEY)
            for table, time in ((_silent(visits), "started"), (events, "timestamp"))
        )
    moves = transition_counts(visits, by=by).to_pandas()
    if moves.empty:
        raise Unanswerable("no visit to a stage is older than the silence that ends a journey")
    if purchases is None:
        purchases = moves["from_stage"].nunique() < 2
    if purchases:
        moves = pd.concat([moves, _repeats(events, log, by).to_pandas()], ignore_index=True)
    moves.insert(0, "segment", ALL)
    groups = segments_known_at_first(log, segment_by) if segment_by else None
    if groups is None:
        return moves
    visits, events = (table.inner_join(groups, "customer_id") for table in (visits, events))
    by = ["segment", *by]
    parts = [transition_counts(visits, by=by).to_pandas()]
    if purchases:
        parts.append(_repeats(events, log, by).to_pandas())
    segments = pd.concat(parts, ignore_index=True)
    sizes = segments.groupby("segment")["n"].sum()
    largest = segments["segment"].map(sizes).sort_values(ascending=False, kind="stable").index
    return pd.concat([moves, segments.loc[largest]], ignore_index=True)


def histories(log, order: int) -> pd.DataFrame:
    """Count what follows each run of so many stages within one journey.

    Parameters
    ----------
    log : Log
    order : int
        Length of the history.

    Returns
    -------
    DataFrame
        bucket, stage_1, …, stage_order (oldest first), to_stage (``lost`` for every silence, so
        that the end tells nothing of the way), n.

    Raises
    ------
    Unanswerable
        With fewer than three stages, or where no journey is so long.
    """
    runs = ngram_counts(_silent(log.visits), order, by=["bucket"]).to_pandas()
    stages = set(runs.drop(columns=["bucket", "n"]).to_numpy().ravel()) - set(log.ends)
    if len(stages) < 3:
        raise Unanswerable("with fewer than three stages the one before the last tells nothing new")
    return runs


def segments_known_at_first(log, segment_by: str) -> ir.Table | None:
    """Divide the customers by their very first event, or by an attribute.

    A segment may only use what was known at a customer's first event: dividing by something that
    happened later (who bought, who complained) would find differences that the division made.

    Parameters
    ----------
    log : Log
    segment_by : str
        As in `transitions`. Only of customers who were seen to begin (`Log.beginners`) is the first
        event known.

    Returns
    -------
    Table or None
        customer_id, segment; customers of whom it is not known are left out, segments that are
        small or not among the five largest are ``(other)``, left out where even together they are
        small. None where that leaves fewer than two.

    Raises
    ------
    ParameterError
        When there is no such thing to divide by.
    """
    name = segment_by.removeprefix("first_")
    known = {} if log.customers is None else log.customers.schema()
    attributes = [column for column in known if column not in ("customer_id", "bucket")]
    if segment_by.startswith("first_") and name in FIRST:
        first = first_events(log.events.semi_join(log.beginners, "customer_id"), ["customer_id"])
        first = first.filter(first[name].notnull())
        found = first.select("customer_id", segment=first[name])
    elif segment_by in attributes:
        found = log.customers.select("customer_id", segment=log.customers[segment_by].cast(str))
        found = found.filter(found.segment.notnull())
    else:
        options = ", ".join([*(f"first_{first}" for first in FIRST), *attributes])
        raise ParameterError(f"segment_by: {segment_by!r} is not known; write one of {options}")
    smallest = log.dataset.privacy.smallest_group
    sizes = found.group_by("segment").agg(n=found.customer_id.nunique())
    sizes = sizes.order_by([sizes.n.desc(), sizes.segment]).to_pandas()
    kept = sizes[sizes["n"] >= smallest]["segment"].head(MOST).tolist()
    rest = sizes["n"][~sizes["segment"].isin(kept)].sum() >= smallest
    if len(kept) + rest < 2:
        return None
    large = found.segment.isin(kept) if kept else ibis.literal(False)
    if not rest:
        return found.filter(large)
    return found.mutate(segment=large.ifelse(found.segment, OTHER))


def of_segment(log, segment_by: str, segment: str):
    """Return the log of the customers of one segment; of everybody where none is named.

    Parameters
    ----------
    log : Log
    segment_by, segment : str
        As `segments_known_at_first` divides them.

    Raises
    ------
    ParameterError
        When there is no such segment.
    """
    if not segment:
        return log
    found = segments_known_at_first(log, segment_by)
    names = [] if found is None else sorted(found.segment.to_pandas().unique())
    if segment not in names:
        hint = did_you_mean(segment, names) or f"; there are {', '.join(names) or 'none'}."
        raise ParameterError(f"segment: no customers have {segment_by} {segment!r}{hint}")
    return log.of(found.filter(found.segment == segment))


def directions(moves: pd.DataFrame, stages: list[str], model: StageModel) -> pd.DataFrame:
    """Tell which way each move leads in the order of the stages.

    Parameters
    ----------
    moves : DataFrame
        from_stage, to_stage and any figures.
    stages : list of str
        In order.
    model : StageModel
        Says which stages are a purchase and which come after it.

    Returns
    -------
    DataFrame
        The same with ``direction``: ``onward``, ``again`` (from after a purchase to the next),
        ``back`` or ``end``.

    Raises
    ------
    Unanswerable
        Where there is one stage.
    """
    if len(stages) < 2:
        raise Unanswerable("this log knows one stage, so there is no flow between stages")
    place = {stage: i for i, stage in enumerate(stages)}
    ahead = moves["to_stage"].map(place) - moves["from_stage"].map(place)
    direction = pd.Series("onward", moves.index).mask(ahead < 0, "back").mask(ahead.isna(), "end")
    again = moves["from_stage"].isin(model.after) & moves["to_stage"].isin(model.purchase)
    return moves.assign(direction=direction.mask(again, "again"))


def _silent(visits: ir.Table) -> ir.Table:
    """Call every silence ``lost``, whether or not a purchase came before it."""
    bought = visits.next_stage == BOUGHT
    return visits.mutate(next_stage=bought.ifelse(LOST, visits.next_stage))


def without_idle(visits: ir.Table) -> ir.Table:
    """Make visits of a purchase stage in which nothing was bought a state of their own.

    An approval or an invoice is in the purchase stage too; a customer who comes back to it has not
    bought again.
    """
    idle = (visits.role == "purchase") & (visits.purchases == 0)
    named = visits.mutate(stage=idle.ifelse(visits.stage + ":nothing_bought", visits.stage))
    in_order = ibis.window(group_by=["customer_id", "journey"], order_by="visit")
    following = named.stage.lead().over(in_order)
    return named.mutate(next_stage=ibis.coalesce(following, named.next_stage))


def _repeats(events: ir.Table, log, by: list[str]) -> ir.Table:
    """Count the purchases followed by another within the same visit, as moves of a stage to itself.

    Purchases of one day are one. Those later than the inactivity before ``as_of`` are left out, as
    unsettled visits are: of them the repeats are seen at once and the losses not yet.
    """
    bought = events.filter(events.purchase)
    bought = bought.mutate(day=bought.timestamp.truncate("D"))
    days = ["customer_id", "journey", "visit", "stage", "day"]
    bought = bought.group_by([*by, *days]).agg(timestamp=bought.timestamp.min())
    in_visit = ibis.window(group_by=["customer_id", "journey", "visit"], order_by="timestamp")
    following = bought.timestamp.lead().over(in_visit)
    passed = (following.epoch_seconds() - bought.timestamp.epoch_seconds()) / DAY
    pairs = bought.select(
        *by, "customer_id", "timestamp", from_stage="stage", to_stage="stage", passed=passed
    )
    settled = pairs.timestamp < ibis.timestamp(log.as_of - log.dataset.journey.inactivity)
    pairs = pairs.filter(pairs.passed.notnull() & settled)
    return pairs.group_by([*by, "from_stage", "to_stage"]).agg(
        n=pairs.count(), customers=pairs.customer_id.nunique(), days=pairs.passed.sum()
    )


@dataclass(frozen=True)
class TransitionData:
    """Starts and moves by customer.

    Attributes
    ----------
    states : tuple of length S
    counts : sparse array, shape (N, S + S * S)
        Per customer: journeys that start in each state, then moves from state i to j at
        ``S + i * S + j``.
    customers : ndarray, shape (N,)
        Their ids, or 0 to N - 1.
    """

    states: tuple[Hashable, ...]
    counts: sparse.csr_array
    customers: np.ndarray

    def __len__(self) -> int:
        return self.counts.shape[0]

    def take(self, rows: np.ndarray) -> "TransitionData":
        """Return the data of some customers, given by their places."""
        return TransitionData(self.states, self.counts[rows], self.customers[rows])

    @classmethod
    def from_sequences(
        cls, sequences: Iterable[Sequence[Hashable]], states: Sequence[Hashable] | None = None
    ) -> "TransitionData":
        """Return the data of one sequence of states per customer."""
        rows = [list(one) for one in sequences]
        present = dict.fromkeys(state for row in rows for state in row)
        names = tuple(sorted(present)) if states is None else tuple(states)
        position = {state: i for i, state in enumerate(names)}
        if not present.keys() <= position.keys():
            raise ParameterError("sequences: a state that the mixture has not learned")
        lengths = np.array([len(row) for row in rows])
        codes = np.array([position[state] for row in rows for state in row], int)
        owner = np.repeat(np.arange(len(rows)), lengths)
        first = np.r_[True, owner[1:] != owner[:-1]] if len(owner) else np.empty(0, bool)
        cell = codes.copy()
        cell[~first] += len(names) * (1 + np.r_[0, codes[:-1]][~first])
        shape = (len(rows), len(names) * (len(names) + 1))
        counts = sparse.coo_array((np.ones(len(cell)), (owner, cell)), shape).tocsr()
        return cls(names, counts, np.arange(len(rows)))


def customer_transitions(log) -> TransitionData:
    """Count the starts and moves of every customer of a log, on its engine.

    Parameters
    ----------
    log
        With ``visits`` (an Ibis table), ``stages`` and ``ends``, the states that end a journey:
        every silence is ``lost``, so that the end tells nothing of the way; open ends make no move.

    Returns
    -------
    TransitionData
        Customers sorted by id.
    """
    visits = _silent(log.visits)
    states = [*log.stages.names, *(end for end in log.ends if end != BOUGHT)]
    place = {state: i for i, state in enumerate(states)}

    def code(column: ibis.Value) -> ibis.Value:
        return column.cases(*place.items(), else_=ibis.null("int64"))

    origin = code(visits.stage)
    moves = visits.filter(visits.settled).select(
        "customer_id", cell=len(states) * (1 + origin) + code(visits.next_stage)
    )
    starts = visits.filter(visits.visit == 0).select("customer_id", cell=origin)
    cells = moves.union(starts).group_by("customer_id", "cell").agg(n=lambda t: t.count())
    ranked = cells.select(
        "cell", "n", row=ibis.dense_rank().over(ibis.window(order_by=cells.customer_id))
    ).to_pyarrow()
    ids = starts.select("customer_id").distinct().order_by("customer_id")
    customers = ids.to_pandas()["customer_id"].to_numpy()
    row, cell, n = (ranked[name].to_numpy() for name in ("row", "cell", "n"))
    shape = (len(customers), len(states) * (len(states) + 1))
    counts = sparse.coo_array((n.astype(float), (row, cell)), shape).tocsr()
    return TransitionData(tuple(states), counts, customers)
