"""The next action for each customer: what to do and why, from what is known of that one alone."""

import numpy as np
import pandas as pd

from cjlib.answers import Missing
from cjlib.churn.actions import CONTACT, HOLD_OUT
from cjlib.initiatives.candidates import RELIEVE
from cjlib.initiatives.trial import CONTROL
from cjlib.journeys import LOST

MAKE_GOOD, HELP, WIN_BACK, LEAVE = "make good", "help along", "win back", "leave alone"
SCORES = ["customer_id", "churn_probability", "group"]


def next_actions(
    log,
    nexts: pd.DataFrame,
    scores: pd.DataFrame,
    segments: pd.DataFrame,
    initiatives: pd.DataFrame,
    arms: pd.DataFrame,
) -> pd.DataFrame:
    """Say what to do for every customer who is under way or about to leave, once each.

    In this order: whoever is in the control arm of the test of what would be done is left alone;
    what went wrong in the present journey, at a touchpoint that an initiative would relieve, is
    made good; who is under way to a purchase and likeliest lost is helped along; who is on the list
    of those about to leave is won back; all others are left alone: they are on the way, or have
    bought lately.

    Parameters
    ----------
    log : Log
    nexts : DataFrame
        Of `cjlib.markov.next_stages`.
    scores : DataFrame
        Of `cjlib.churn.action_list`.
    segments : DataFrame
        ``customer_id`` and ``rfm_segment``.
    initiatives : DataFrame
        Of `cjlib.initiatives.gains`.
    arms : DataFrame
        Of `cjlib.initiatives.assignments`.
        Any of these tables may be missing: then nobody is acted on for what it would say.

    Returns
    -------
    DataFrame
        The published table ``next_actions``: customer_id, stage, next_stage, probability (NaN for
        customers not under way), churn_probability, segment, action (``make good``, ``help along``,
        ``win back`` or ``leave alone``), reason (``met {touchpoint}``, ``likely lost``, ``likely to
        leave``, ``in a control group``, ``on the way`` or ``bought lately``), until (the end of the
        silence that ends the journey, or of the churn horizon), by customer.
    """
    nexts = _or_empty(nexts, ["customer_id", "stage", "next_stage", "probability", "silent_days"])
    scores = _or_empty(scores, SCORES)[SCORES]
    segments = _or_empty(segments, ["customer_id", "rfm_segment"])
    initiatives = _or_empty(initiatives, ["change", "touchpoint", "initiative"])
    arms = _or_empty(arms, ["customer_id", "initiative", "arm"])

    nexts = nexts.sort_values("silent_days", kind="stable").drop_duplicates("customer_id")
    table = nexts.merge(scores, on="customer_id", how="outer")
    listed = table["group"].isin([CONTACT, HOLD_OUT])
    table = table[listed | table["stage"].notna()].reset_index(drop=True)
    known = segments.set_index("customer_id")["rfm_segment"].astype(object)
    table["segment"] = table["customer_id"].map(known)

    relieved = initiatives[initiatives["change"] == RELIEVE]
    bad = _bad_experiences(log, relieved["touchpoint"].tolist())
    met = table["customer_id"].map(bad).astype(object)
    before = table["stage"].isin(log.stages.before)
    lost = before & (table["next_stage"] == LOST)
    leaving = table["group"].isin([CONTACT, HOLD_OUT]) & ~before
    plan = np.select([met.notna(), lost, leaving], [MAKE_GOOD, HELP, WIN_BACK], LEAVE)
    reasons = ["met " + met.fillna(""), "likely lost", "likely to leave", "on the way"]
    why = np.select([met.notna(), lost, leaving, before], reasons, "bought lately")
    controls = arms[arms["arm"] == CONTROL]
    controls = pd.MultiIndex.from_frame(controls[["customer_id", "initiative"]])
    tested = RELIEVE + " " + met.fillna("")
    pairs = pd.MultiIndex.from_arrays([table["customer_id"], tested])
    apart = pairs.isin(controls) | ((plan == WIN_BACK) & (table["group"] == HOLD_OUT))
    table["action"] = np.where(apart, LEAVE, plan)
    table["reason"] = np.where(apart, "in a control group", why)

    inactivity, horizon = log.dataset.journey.inactivity, log.dataset.churn.horizon
    silence = pd.to_timedelta(table["silent_days"].astype(float), unit="D")
    ends = log.as_of - silence + inactivity
    after = (table["action"] == WIN_BACK) | ends.isna()
    table["until"] = ends.mask(after, log.as_of + horizon).dt.floor("D")
    columns = ["customer_id", "stage", "next_stage", "probability", "churn_probability"]
    table = table[[*columns, "segment", "action", "reason", "until"]]
    return table.sort_values("customer_id", ignore_index=True)


def _or_empty(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return a table, or one without rows where the log gave none."""
    return pd.DataFrame(columns=columns) if isinstance(table, Missing) else table


def _bad_experiences(log, touchpoints: list[str]) -> pd.Series:
    """Return which of some touchpoints customers met in the open journey, the last one."""
    under_way = log.journeys.filter(log.journeys.end == "open")
    events = log.events.filter(log.events.touchpoint.isin(touchpoints or [""]))
    events = events.semi_join(under_way, ["customer_id", "journey"])
    last = events.group_by("customer_id").agg(touchpoint=events.touchpoint.argmax(events.timestamp))
    return last.to_pandas().set_index("customer_id")["touchpoint"]
