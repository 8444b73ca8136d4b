"""The two questions that every stage model can be asked, by the roles of its stages.

What comes of those on their way to the purchase, and what brings back those who have bought?
"""

from collections.abc import Iterable

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from cjlib.markov.chain import MarkovChain

LOST = "lost"
PURCHASE = "purchase"


def purchase_question(
    chain: MarkovChain, stages: Iterable, *, days: np.ndarray | None = None, segment: str = "all"
) -> pd.DataFrame:
    """Tell, from each stage before the purchase, whether it is reached or the customer lost first.

    Parameters
    ----------
    chain : MarkovChain
        Fitted on transitions between stages, with "lost" as a state.
    stages : StageModel or iterable of objects with ``name`` and ``role``
    days : array, shape (S, S), optional
        Mean days of each transition (`cjlib.markov.dwell.mean_days`); without it no days are told.
    segment : str
        The name to put in the first column.

    Returns
    -------
    DataFrame
        The published columns of ``absorption``, and expected_steps. Outcomes "purchase" and
        "lost", and "open" where a stage that nobody was seen to leave can be reached.
    """
    starts, goals = _by_role(stages, "before"), _by_role(stages, PURCHASE)
    outcomes = {PURCHASE: goals, LOST: [LOST]}
    return chain.absorption(outcomes, starts=starts, days=days, segment=segment)


def return_question(
    chain: MarkovChain, stages: Iterable, *, days: np.ndarray | None = None, segment: str = "all"
) -> pd.DataFrame:
    """Tell, from the purchase and each stage after it, whether the next purchase comes or none.

    Parameters
    ----------
    chain, stages, days, segment
        As in `purchase_question`.

    Returns
    -------
    DataFrame
        As `purchase_question`; the rows of a purchase stage ask for the purchase after this one.
    """
    starts = _by_role(stages, PURCHASE) + _by_role(stages, "after")
    outcomes = {PURCHASE: _by_role(stages, PURCHASE), LOST: [LOST]}
    return chain.absorption(outcomes, starts=starts, days=days, again=True, segment=segment)


def until_purchase(visits: ir.Table) -> ir.Table:
    """Let every visit last until the next purchase of its journey, or until that is lost.

    What the chain puts together from single moves can so be counted from whole journeys, which
    remember where they came from.

    Parameters
    ----------
    visits : Table
        Stage visits of a log.

    Returns
    -------
    Table
        The same with another ``next_stage`` (``purchase`` or ``lost``) and ``left`` (the start of
        the later visit with that purchase, or the moment when the silence was complete); both
        missing where neither is known yet. For ``dwell_counts`` of :mod:`cjlib.markov.dwell`.
    """
    whole = ibis.window(group_by=["customer_id", "journey"])
    later = ibis.window(group_by=["customer_id", "journey"], order_by="visit", following=(1, None))
    unknown = ibis.null("timestamp")
    ends = visits.mutate(
        bought=(visits.purchases > 0).ifelse(visits.started, unknown).min().over(later),
        lost=(visits.next_stage == LOST).ifelse(visits.left, unknown).max().over(whole),
    )
    outcome = ends.lost.notnull().ifelse(LOST, ibis.null("string"))
    return ends.mutate(
        next_stage=ends.bought.notnull().ifelse(PURCHASE, outcome),
        left=ibis.coalesce(ends.bought, ends.lost),
    ).drop("bought", "lost")


def _by_role(stages: Iterable, role: str) -> list[str]:
    return [stage.name for stage in stages if stage.role == role]
