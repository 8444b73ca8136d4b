"""What each channel or touchpoint contributes to the purchases, by any rules side by side."""

from cjlib.attribution.credit import attribute, credit_range, in_words
from cjlib.attribution.removal_effect import RemovalEffect
from cjlib.attribution.rules import Position, TimeDecay, first_touch, last_touch, linear, shapley
from cjlib.attribution.touch_paths import touch_paths

__all__ = [
    "Position",
    "RemovalEffect",
    "TimeDecay",
    "attribute",
    "credit_range",
    "first_touch",
    "in_words",
    "last_touch",
    "linear",
    "shapley",
    "touch_paths",
]
