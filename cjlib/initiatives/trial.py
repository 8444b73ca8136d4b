"""The test that would prove an initiative: how many customers, how long, who is in which arm."""

import ibis
import numpy as np
import pandas as pd
from scipy.stats import norm

from cjlib.churn.actions import CONTACT, HOLD_OUT, held_out
from cjlib.initiatives.candidates import KEEP
from cjlib.initiatives.changed_chain import MONTH

ACT, CONTROL = "act", "control"
WEEK = 7.0  # days


def sample_size(before, after, *, control: float = 0.5, power: float = 0.8, level: float = 0.05):
    """Return the customers of both arms that a test of two shares needs, two-sided.

    Parameters
    ----------
    before, after : float or array
        The share without and with the action.
    control : float
        Share of the customers left alone.
    power, level : float

    Returns
    -------
    float or array
        NaN where the shares are equal or not known.

    Notes
    -----
    J. L. Fleiss, A. Tytun and H. K. Ury, Biometrics 36 (1980), without the continuity correction.
    """
    before, after = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    ratio = control / (1 - control)  # customers left alone for each one acted on
    mean = (after + ratio * before) / (1 + ratio)
    alike = norm.isf(level / 2) * np.sqrt((1 + ratio) * mean * (1 - mean))
    apart = norm.isf(1 - power) * np.sqrt(ratio * after * (1 - after) + before * (1 - before))
    with np.errstate(invalid="ignore", divide="ignore"):
        acted_on = (alike + apart) ** 2 / (ratio * (after - before) ** 2)
        size = np.ceil(acted_on) + np.ceil(ratio * acted_on)
    return np.where(np.isfinite(size), size, np.nan)


def with_trials(
    initiatives: pd.DataFrame, *, control: float = 0.5, hold_out: float = 0.1
) -> pd.DataFrame:
    """Add what the test of each initiative takes.

    Parameters
    ----------
    initiatives : DataFrame
        Of `cjlib.initiatives.gains`.
    control : float
        Share of the customers left alone.
    hold_out : float
        The same of the list of those about to leave.

    Returns
    -------
    DataFrame
        Also ``rate_after`` (the share expected among those acted on), customers_for_test and
        weeks_for_test (for 80 % power at the expected effect; at the present arrivals), and
        customers_for_half and weeks_for_half (at half of it).
    """
    table = initiatives.copy()
    better = np.where(table["measure"] == "bought", 1, -1)
    alone = np.where(table["change"] == KEEP, hold_out, control)
    weekly = table["customers"] * WEEK / MONTH
    for name, part in (("test", 1.0), ("half", 0.5)):
        after = (table["rate"] + better * part * table["expected"]).clip(0, 1)
        if name == "test":
            table["rate_after"] = after
        table[f"customers_for_{name}"] = sample_size(table["rate"], after, control=alone)
        table[f"weeks_for_{name}"] = table[f"customers_for_{name}"] / weekly
    return table


def assignments(
    log,
    initiatives: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    most: int = 3,
    control: float = 0.5,
    seed: int = 0,
) -> pd.DataFrame:
    """Divide the customers of the last horizon into arms, for each of the first initiatives.

    The arm is a hash of initiative and customer: the same from run to run, of one initiative
    unlike that of another, and that of a customer who comes later is known before. Of those about
    to leave the list has been divided already.

    Parameters
    ----------
    log : Log
    initiatives : DataFrame
        In their order.
    scores : DataFrame
        Of `cjlib.churn.action_list`; not needed where nobody is to be kept.
    most : int
    control : float
        Share of the customers left alone.
    seed : int
        The key of the hash.

    Returns
    -------
    DataFrame
        The published table ``initiative_assignments``: customer_id, initiative, arm (``act`` or
        ``control``), since.
    """
    lately = log.journeys.ended > ibis.timestamp(str(log.as_of - log.dataset.churn.horizon))
    customers = log.journeys.filter(lately).select("customer_id").distinct()
    ids = customers.order_by("customer_id").to_pandas()["customer_id"]
    parts = []
    for change, name in initiatives[["change", "initiative"]].head(most).to_numpy():
        arms = pd.DataFrame({"customer_id": ids})
        if change == KEEP:
            arms = scores.loc[scores["group"].isin([CONTACT, HOLD_OUT]), ["customer_id", "group"]]
            alone = arms.pop("group") == HOLD_OUT
        else:
            alone = held_out(ids, control, f"{seed}:{name}")
        parts.append(arms.assign(initiative=name, arm=np.where(alone, CONTROL, ACT)))
    return pd.concat(parts, ignore_index=True).assign(since=log.as_of)
