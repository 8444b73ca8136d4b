"""Markov chains over many customers: moves, chains, tests, forecasts."""

from cjlib.markov.absorption import purchase_or_end
from cjlib.markov.chain import MarkovChain, fit_by_segment
from cjlib.markov.changes import change_points, dated_change, moved_since, stationarity_test
from cjlib.markov.forecast import backtest_score, forecast_stages
from cjlib.markov.markov_tests import (
    corrected_together,
    homogeneity_test,
    memory,
    moved_cells,
    order_test,
)
from cjlib.markov.next_stage import likeliest_next, next_stages
from cjlib.markov.transitions import directions, histories, of_segment, transitions

__all__ = [
    "MarkovChain",
    "backtest_score",
    "change_points",
    "corrected_together",
    "dated_change",
    "directions",
    "fit_by_segment",
    "forecast_stages",
    "histories",
    "homogeneity_test",
    "likeliest_next",
    "memory",
    "moved_cells",
    "moved_since",
    "next_stages",
    "of_segment",
    "order_test",
    "purchase_or_end",
    "stationarity_test",
    "transitions",
]
