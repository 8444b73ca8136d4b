"""Every picture of the notebooks: a tidy table in, an ax out, and no group too small in it."""

from types import FunctionType

from cjlib.groups import drawn_from_groups
from cjlib.plots.changed import difference_bars, figures_over_reports
from cjlib.plots.charts import heatmap, interval_bars, step_curves
from cjlib.plots.churn_pictures import (
    calibration_and_gains,
    cut_off_bars,
    importance_bars,
    profit_lines,
)
from cjlib.plots.credit_ranges import credit_ranges
from cjlib.plots.event_log import activity_curves, silence_lengths, touchpoint_reach
from cjlib.plots.flow import forecast_panels, journey_flow
from cjlib.plots.journey_map_picture import journey_map
from cjlib.plots.segment_pictures import (
    cluster_deviations,
    count_maps,
    likelihood_by_number,
    outcome_panels,
    stability_by_number,
    transition_pictures,
)
from cjlib.plots.stage_bars import sales_cycle, visit_outcomes
from cjlib.plots.style import ACCENT, BAD, DIVERGING, GOOD, INK, MUTED, SEQUENTIAL, role_colors
from cjlib.plots.transition_matrix import change_pictures, segment_heatmaps, transition_heatmap

__all__ = [
    "ACCENT",
    "BAD",
    "DIVERGING",
    "GOOD",
    "INK",
    "MUTED",
    "SEQUENTIAL",
    "activity_curves",
    "calibration_and_gains",
    "change_pictures",
    "cluster_deviations",
    "count_maps",
    "credit_ranges",
    "cut_off_bars",
    "difference_bars",
    "figures_over_reports",
    "forecast_panels",
    "heatmap",
    "importance_bars",
    "interval_bars",
    "journey_flow",
    "journey_map",
    "likelihood_by_number",
    "outcome_panels",
    "profit_lines",
    "role_colors",
    "sales_cycle",
    "segment_heatmaps",
    "silence_lengths",
    "stability_by_number",
    "step_curves",
    "touchpoint_reach",
    "transition_heatmap",
    "transition_pictures",
    "visit_outcomes",
]

for _name in set(__all__) - {"role_colors"}:
    if isinstance(globals()[_name], FunctionType):
        globals()[_name] = drawn_from_groups(globals()[_name])
