"""What changed since an earlier report, and what became of what earlier ones promised."""

from cjlib.comparison.promises import (
    churn_list,
    figures_of_reports,
    forecast_and_seen,
    initiatives_met,
)
from cjlib.comparison.verdicts import (
    THRESHOLDS,
    as_shares,
    changes,
    dirt_before_and_after,
    of_measures,
    tally,
)
from cjlib.comparison.window import earlier_measures, measures, moments

__all__ = [
    "THRESHOLDS",
    "as_shares",
    "changes",
    "churn_list",
    "dirt_before_and_after",
    "earlier_measures",
    "figures_of_reports",
    "forecast_and_seen",
    "initiatives_met",
    "measures",
    "moments",
    "of_measures",
    "tally",
]
