"""What earlier reports promised, beside what came: forecasts, churn, initiatives."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cjlib.churn.cut_offs import labels
from cjlib.errors import Unanswerable
from cjlib.initiatives.trial import ACT, CONTROL
from cjlib.log import Log
from cjlib.markov.changes import like_with_like
from cjlib.markov.forecast import BACK_TEST, backtest_score, customers_seen, weekly_moves
from cjlib.shelf import EarlierReport
from cjlib.tables import hash_ids
from cjlib.uncertainty import bucket_array

WEEK, MONTH = pd.Timedelta(weeks=1), pd.Timedelta(days=30)
ARMS = [CONTROL, ACT]


def forecast_and_seen(
    earlier: Sequence[EarlierReport], log: Log
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the last forecast of which every week, or failing that some, has come.

    Parameters
    ----------
    earlier : list of EarlierReport
    log : Log

    Returns
    -------
    forecast : DataFrame
        The earlier table ``stage_forecast``, its weeks to come then, with what was observed.
    seen : DataFrame
        period, stage, customers.
    score : DataFrame
        Of `cjlib.markov.backtest_score`, and ``day`` of that report.

    Raises
    ------
    Unanswerable
        Where no earlier report made one that can be scored.
    """
    made = []
    for one in reversed(earlier):
        ahead = one.table("stage_forecast") if one.holds("stage_forecast") else pd.DataFrame()
        if len(ahead) and (ahead["kind"] != BACK_TEST).any():
            ahead = ahead[ahead["kind"] != BACK_TEST]
            weeks = min(int((log.as_of - one.as_of) / WEEK), ahead["period"].nunique())
            made.append((weeks == ahead["period"].nunique(), weeks, one, ahead))
    whole = [each for each in made if each[0]] or [each for each in made if each[1]]
    if not whole:
        raise Unanswerable("no earlier report made a forecast of which a week has come")
    _, weeks, one, ahead = whole[0]
    last = one.as_of + weeks * WEEK
    moves = weekly_moves(log.events, last, log.dataset.journey.inactivity)
    seen = customers_seen(moves, last, 4 * weeks)
    came = ahead.drop(columns=["observed", "customers"], errors="ignore")
    came = came.merge(seen.rename(columns={"customers": "observed"}), on=["period", "stage"])
    return ahead, seen, backtest_score(came.assign(kind=BACK_TEST)).assign(day=one.day)


def churn_list(earlier: Sequence[EarlierReport], log: Log) -> tuple[EarlierReport, pd.DataFrame]:
    """Return the last list of churn probabilities whose horizon has closed, and its report.

    Raises
    ------
    Unanswerable
        Where there is none.
    """
    for one in reversed(earlier):
        scores = one.table("churn_scores") if one.holds("churn_scores") else pd.DataFrame()
        if {"as_of", "horizon_days"} <= set(scores) and scores["churn_probability"].notna().any():
            until = scores["as_of"].iloc[0] + scores["horizon_days"].iloc[0] * pd.Timedelta(days=1)
            if until <= log.as_of:
                return one, scores[scores["churn_probability"].notna()]
    raise Unanswerable("no earlier report foretold churn over a horizon that has closed")


def initiatives_met(earlier: Sequence[EarlierReport], log: Log) -> pd.DataFrame:
    """Compare the arms of each initiative by intention to treat: whoever was truly reached.

    A customer counts from the first report that assigned an arm, in that arm. The promise is that
    of the first report, of extra purchases a month among all; what came is the difference between
    the arms, for as many customers as were assigned.

    Parameters
    ----------
    earlier : list of EarlierReport
        With the tables ``initiatives`` and ``initiative_assignments``.
    log : Log

    Returns
    -------
    DataFrame
        initiative, since (a day), months (mean), customers, control_rate and act_rate (purchases a
        month and customer), extra_purchases with lower and upper (95 %, a month), p_value,
        promised, promised_lower, promised_upper, and verdict: ``kept`` where the interval is above
        zero and reaches the promise's lower end, ``broken`` where it lies below that end, ``open``
        where it cannot tell.

    Raises
    ------
    Unanswerable
        Where no earlier report divided customers into arms.
    """
    tables = ("initiatives", "initiative_assignments")
    holding = [one for one in earlier if all(map(one.holds, tables))]
    parts = [one.table("initiative_assignments") for one in holding]
    arms = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if arms.empty:
        raise Unanswerable("no earlier report divided customers into arms of a test")
    keys = ["initiative", "customer_id"]
    arms = arms.sort_values("since", kind="stable").drop_duplicates(keys)
    arms = arms.merge(
        _purchases_since(log, sorted(arms["since"].unique())), on=["customer_id", "since"]
    )
    promises = pd.concat([one.table("initiatives") for one in holding], ignore_index=True)
    promises = promises.drop_duplicates("initiative").set_index("initiative")
    rows = []
    for name, part in arms.groupby("initiative"):
        counts = bucket_array(part, ["arm"], ["orders", "months"], levels={"arm": ARMS})
        pair = np.stack([counts[..., 0], counts[..., 1] - counts[..., 0]], axis=-1)[:, :, None]
        if name not in promises.index or not counts[..., 1].sum(axis=0).all():
            continue
        found = {key: float(value[0, 0]) for key, value in like_with_like(pair).items()}
        promised = promises.loc[name, ["extra_purchases", "lower", "upper"]].astype(float)
        ends = {"lower": found["difference_lower"], "upper": found["difference_upper"]}
        ends = {end: len(part) * rate for end, rate in ends.items()}
        broken = ends["upper"] < promised["lower"]
        kept = ends["lower"] > 0 and not broken
        rows.append(
            {
                "initiative": name,
                "since": part["since"].min().date(),
                "months": part["months"].mean(),
                "customers": len(part),
                "control_rate": found["share_before"],
                "act_rate": found["share_after"],
                "extra_purchases": len(part) * found["difference"],
                **ends,
                "p_value": found["difference_p"],
                "promised": promised["extra_purchases"],
                "promised_lower": promised["lower"],
                "promised_upper": promised["upper"],
                "verdict": "kept" if kept else "broken" if broken else "open",
            }
        )
    if not rows:
        raise Unanswerable("nobody of the arms of an earlier report is known to this log")
    return pd.DataFrame(rows).sort_values("promised", ascending=False, ignore_index=True)


def _purchases_since(log: Log, moments: Sequence[pd.Timestamp]) -> pd.DataFrame:
    """Return each customer's orders and months since each moment: customer_id, bucket, since."""
    known = log.events.select("customer_id", "bucket").distinct().to_pandas()
    parts = []
    for since in map(pd.Timestamp, moments):
        orders = labels(log.events, since, log.as_of - since).execute()
        orders = orders.set_index("customer_id")["orders_after"]
        part = known.assign(orders=known["customer_id"].map(orders).fillna(0.0), since=since)
        parts.append(part.assign(months=(log.as_of - since) / MONTH))
    table = pd.concat(parts, ignore_index=True)
    if log.dataset.privacy.customer_ids == "hash":
        table["customer_id"] = hash_ids(table["customer_id"])
    return table


def figures_of_reports(earlier: Sequence[EarlierReport]) -> pd.DataFrame:
    """Return the headline figures that all reports share, one row a report and figure.

    Returns
    -------
    DataFrame
        notebook, name, unit, day, value, lower, upper; in the order of the last report, those with
        an interval first.

    Raises
    ------
    Unanswerable
        With fewer than two reports.
    """
    if len(earlier) < 2:
        raise Unanswerable("there are not yet two earlier reports")
    keys = ["notebook", "name", "unit"]
    every = pd.concat([one.findings.assign(day=one.day, run=i) for i, one in enumerate(earlier)])
    every = every[every["value"].notna()]
    shared = every.groupby(keys)["run"].nunique()
    shared = shared[shared == len(earlier)].index
    if not len(shared):
        raise Unanswerable("the earlier reports share no headline figure")
    last = every[every["run"] == len(earlier) - 1].set_index(keys)
    last = last.loc[last.index.isin(shared)]
    order = dict.fromkeys([*last.index[last["lower"].notna()], *last.index])
    every = every.set_index(keys).loc[list(order)].reset_index()
    return every[[*keys, "day", "value", "lower", "upper"]]
