"""The journey map: stages, touchpoints, what hurts and decides, and how customers fare."""

from cjlib.journey_map.after_purchase import loyalty, retention, second_purchase
from cjlib.journey_map.experiences import one_bad_experience, won_back
from cjlib.journey_map.feedback import feedback_table, feedback_words
from cjlib.journey_map.fluidity import fluidity, places
from cjlib.journey_map.sales_cycle import channel_reach, sales_cycle
from cjlib.journey_map.stage_table import stage_table
from cjlib.journey_map.touchpoints import ranked, touchpoint_table

__all__ = [
    "channel_reach",
    "feedback_table",
    "feedback_words",
    "fluidity",
    "loyalty",
    "one_bad_experience",
    "places",
    "ranked",
    "retention",
    "sales_cycle",
    "second_purchase",
    "stage_table",
    "touchpoint_table",
    "won_back",
]
