"""What a mixture of chains is learned from: starts and moves by customer."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import ibis
import numpy as np
from scipy import sparse

from cjlib.errors import ParameterError

LOST = "lost"


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
        With ``visits`` (an Ibis table) and ``stages``; "lost" is the state that ends a journey,
        open ends make no move.

    Returns
    -------
    TransitionData
        Customers sorted by id.
    """
    visits, states = log.visits, [*log.stages.names, LOST]
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
