"""What to do first: candidates, what they would bring, the test of each, the next action."""

from cjlib.initiatives.candidates import (
    below_best,
    deciding,
    gathered,
    hurting,
    leaving,
    unreached,
)
from cjlib.initiatives.changed_chain import customer_flow, what_if
from cjlib.initiatives.gain import gains, sized
from cjlib.initiatives.next_actions import next_actions
from cjlib.initiatives.trial import assignments, sample_size, with_trials

__all__ = [
    "assignments",
    "below_best",
    "customer_flow",
    "deciding",
    "gains",
    "gathered",
    "hurting",
    "leaving",
    "next_actions",
    "sample_size",
    "sized",
    "unreached",
    "what_if",
    "with_trials",
]
