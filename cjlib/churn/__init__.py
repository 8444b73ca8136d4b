"""Who stays away after buying: cut-offs, candidates, selection, the test, reasons, the list."""

from cjlib.churn.actions import (
    action_list,
    at_risk,
    best_shares,
    contact_share,
    earlier_list,
    first_reasons,
    profit_curves,
    rank_list,
    uplift,
)
from cjlib.churn.candidates import PurchaseModel, log_scale, on
from cjlib.churn.cut_offs import cut_off_samples
from cjlib.churn.evaluation import (
    by_group,
    calibrated,
    calibration,
    feature_gain,
    gains,
    open_test,
    require_ranking,
)
from cjlib.churn.importance import contributions, permutation_importance
from cjlib.churn.leakage import leakage_checks, random_split
from cjlib.churn.reasons import reasons
from cjlib.churn.selection import select_model

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
    "reasons",
    "require_ranking",
    "select_model",
    "uplift",
]
