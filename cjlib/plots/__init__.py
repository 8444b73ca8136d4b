"""Every picture of the notebooks: a tidy table in, an ax out."""

from cjlib.plots.charts import heatmap, interval_bars, step_curves
from cjlib.plots.style import ACCENT, BAD, DIVERGING, GOOD, MUTED, SEQUENTIAL, role_colors

__all__ = [
    "ACCENT",
    "BAD",
    "DIVERGING",
    "GOOD",
    "MUTED",
    "SEQUENTIAL",
    "heatmap",
    "interval_bars",
    "role_colors",
    "step_curves",
]
