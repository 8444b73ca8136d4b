"""Who stays away after buying: cut-offs, candidates, selection, the test, reasons, the list."""

from cjlib.churn.actions import (
    action_list,
    at_risk,
    earlier_list,
    first_reasons,
    rank_list,
    uplift,
)
from cjlib.churn.cut_offs import cut_off_samples, leakage_checks
from cjlib.churn.drift import expected_churners
from cjlib.churn.evaluation import (
    by_group,
    calibrated,
    calibration,
    feature_gain,
    gains,
    open_test,
    require_ranking,
)
from cjlib.churn.profit import best_shares, contact_share, profit_curves
from cjlib.churn.reasons import contributions, permutation_importance
from cjlib.churn.selection import PurchaseModel, log_scale, on, random_split, select_model

__all__ = [
    "PurchaseModel",
    "action_list",
    "at_risk",
    "best_shares",
    "by_group",
    "calibrated",
    "calibration",
    "contact_share",
    "contributions",
    "cut_off_samples",
    "earlier_list",
    "expected_churners",
    "feature_gain",
    "first_reasons",
    "gains",
    "leakage_checks",
    "log_scale",
    "on",
    "open_test",
    "permutation_importance",
    "profit_curves",
    "random_split",
    "rank_list",
    "require_ranking",
    "select_model",
    "uplift",
]
