"""Every picture of the notebooks: a tidy table in, an ax out."""

from cjlib.plots.charts import heatmap, interval_bars, step_curves
from cjlib.plots.event_log import activity_curves, silence_lengths, touchpoint_reach
from cjlib.plots.journey_map_picture import journey_map
from cjlib.plots.stage_bars import sales_cycle, visit_outcomes
from cjlib.plots.style import ACCENT, BAD, DIVERGING, GOOD, MUTED, SEQUENTIAL, role_colors

__all__ = [
    "ACCENT",
    "BAD",
    "DIVERGING",
    "GOOD",
    "MUTED",
    "SEQUENTIAL",
    "activity_curves",
    "heatmap",
    "interval_bars",
    "journey_map",
    "role_colors",
    "sales_cycle",
    "silence_lengths",
    "step_curves",
    "touchpoint_reach",
    "visit_outcomes",
]
