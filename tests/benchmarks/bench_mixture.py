"""How long a mixture of four chains over 100,000 journeys takes.

Run from the repository: ``python tests/benchmarks/bench_mixture.py [customers]``. The promise is
less than 30 seconds on two cores.
"""

import resource
import sys
import time

import numpy as np
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from cjlib.markov.mixture import MarkovMixture
from cjlib.markov.transitions import TransitionData

STAGES = 6


def journeys(customers: int, kinds: int = 4, seed: int = 1):
    """Simulate journeys of unequal length, half a dozen stages and an end."""
    generator = np.random.default_rng(seed)
    size = STAGES + 1
    matrices = generator.dirichlet(np.full(size, 0.7), (kinds, size))
    first = generator.dirichlet(np.ones(STAGES), kinds).cumsum(1)
    kind = generator.integers(kinds, size=customers)
    state = np.minimum((generator.random(customers)[:, None] > first[kind]).sum(1), STAGES - 1)
    starts = np.eye(size)[state]
    moves = np.zeros((customers, size, size), np.float32)
    going = np.arange(customers)
    while len(going):
        chance = matrices[kind[going], state[going]].cumsum(1)
        new = np.minimum((generator.random(len(going))[:, None] > chance).sum(1), STAGES)
        moves[going, state[going], new] += 1
        state[going] = new
        going = going[new < STAGES]
    return moves, starts, kind


def main() -> None:
    customers = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    moves, starts, kind = journeys(customers)
    begun, busy = time.perf_counter(), time.process_time()
    counts = sparse.csr_array(np.hstack([starts, moves.reshape(customers, -1)]))
    data = TransitionData(tuple(range(STAGES + 1)), counts, np.arange(customers))
    model = MarkovMixture(4).fit(data)
    seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = adjusted_rand_score(kind, model.labels_)
    print(f"{customers:,} journeys, {moves.sum():,.0f} moves, {model.n_iter_} last steps")
    print(f"{seconds:.1f} s ({busy:.1f} s of processor time), peak {peak:,.0f} MB, ARI {found:.2f}")


if __name__ == "__main__":
    main()
