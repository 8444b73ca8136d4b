"""The journey map: stages, touchpoints, pain, moments of truth, and the sales cycle beside them."""

from cjlib.journey_map.sales_cycle import channel_reach, sales_cycle
from cjlib.journey_map.stage_table import stage_table
from cjlib.journey_map.touchpoints import ranked, touchpoint_table

__all__ = ["channel_reach", "ranked", "sales_cycle", "stage_table", "touchpoint_table"]
