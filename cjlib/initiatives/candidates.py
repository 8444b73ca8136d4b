"""What could be changed: candidates made of what the other pages find, where it holds.

A *candidate* is a row: ``change`` (``relieve``, ``strengthen``, ``reach``, ``level up`` or
``keep``), ``stage``, ``touchpoint``, ``segment``; ``measure``, what would move (``lost``: visits
after which the journey is lost, ``bought``: visits that a purchase follows within the churn
horizon, ``churned``: customers without one); ``rate``, its share today among those concerned;
``effect``, by how much it would get better, with ``effect_lower`` and ``effect_upper``; and
``evidence``: ``same customers`` compared with themselves, ``other customers``, or ``assumed``.
Nothing unconfirmed becomes one.
"""

import ibis
import numpy as np
import pandas as pd

from cjlib.answers import Missing
from cjlib.churn.actions import CONTACT, HOLD_OUT
from cjlib.errors import Unanswerable
from cjlib.initiatives.changed_chain import MONTH
from cjlib.journey_map.counts import VISIT, touch_facts
from cjlib.journey_map.touchpoints import NOTABLE, touchpoint_table
from cjlib.journeys import LOST
from cjlib.markov.markov_tests import ALL, moved_cells
from cjlib.uncertainty import bucket_array, difference_test

COLUMNS = [
    *("change", "stage", "touchpoint", "segment", "measure", "evidence"),
    *("rate", "effect", "effect_lower", "effect_upper"),
]
COMPANY = "company"
RELIEVE, STRENGTHEN, REACH, LEVEL_UP, KEEP = "relieve", "strengthen", "reach", "level up", "keep"
LEAVING = "those about to leave"
SAME, OTHERS, ASSUMED = "same customers", "other customers", "assumed"
ALIKE = 0.1
"""Share of an effect within which two are the two sides of one: an event that comes late or not."""
HALF_MORE = 1.5  # of the acceptance assumed, at most


def gathered(*tables: pd.DataFrame) -> pd.DataFrame:
    """Put candidates together; kinds that the log cannot tell of are left out.

    Raises
    ------
    Unanswerable
        Where there is no candidate of any kind.
    """
    found = [table for table in tables if not isinstance(table, Missing) and len(table)]
    if not found:
        raise Unanswerable("nothing that the other pages look for was confirmed in this log")
    table = pd.concat(found, ignore_index=True)
    named = table[["change", "touchpoint", "stage", "segment"]].copy()
    named["stage"] = named["stage"].where(named["touchpoint"] == "", "")
    named["segment"] = named["segment"].where(named["segment"] != ALL, "")
    table.insert(0, "initiative", named.agg(lambda words: " ".join(filter(None, words)), axis=1))
    return table.drop_duplicates("initiative")


def hurting(log, touchpoints: pd.DataFrame) -> pd.DataFrame:
    """Return what to relieve: pain points, and touchpoints after which fewer buy.

    Up to the purchase a pain point's visits would be lost as seldom as those without it. After it,
    and at other touchpoints that decide for the worse, a purchase would follow as often as
    otherwise; where a touchpoint feels bad and too few purchases follow, the effect is not known.
    Left out is what most often comes after another one of these in its visit: a sign, such as a
    request for support after a delivery that was late, whose harm is that of what came before.

    Parameters
    ----------
    log : Log
    touchpoints : DataFrame
        Of `cjlib.journey_map.touchpoint_table`.
    """
    real = touchpoints[~touchpoints["placebo"]]
    worse = real["moment_of_truth"] & (real["later_purchase"] < 0)
    found = real[worse | real["pain_point"]]
    found = found[~found["touchpoint"].isin(_signs(log, found["touchpoint"].tolist()))]
    losing = found["pain_point"] & (found["pain_test"] == "drop-off")
    rates = found["drop_off_rate"], found["followed_share"]
    return pd.concat(
        [
            _rows(found[losing], RELIEVE, LOST, rates[0][losing], "pain"),
            _rows(found[~losing], RELIEVE, "bought", rates[1][~losing], "later_purchase"),
        ]
    )


def deciding(touchpoints: pd.DataFrame) -> pd.DataFrame:
    """Return what to strengthen: what the company starts, and more purchases follow.

    It would reach the visits to its stage without it. Left out is what only stands for the lack of
    something that hurts, and is found there.

    Parameters
    ----------
    touchpoints : DataFrame
        Of `cjlib.journey_map.touchpoint_table`.
    """
    real = touchpoints[~touchpoints["placebo"] & touchpoints["moment_of_truth"]]
    better = real[(real["initiator"] == COMPANY) & (real["later_purchase"] > 0)]
    worse = real[real["later_purchase"] < 0]
    other_side = [
        np.isclose(-worse.loc[worse["stage"] == stage, "later_purchase"], effect, rtol=ALIKE).any()
        for stage, effect in zip(better["stage"], better["later_purchase"], strict=True)
    ]
    better = better[~np.array(other_side, dtype=bool)]
    rate = better["otherwise_share"]
    return _rows(better, STRENGTHEN, "bought", rate, "later_purchase")


def unreached(log) -> pd.DataFrame:
    """Return the stages at which those whom the company reached bought more often afterwards.

    Visits with anything that the company started are compared with those without, as touchpoints
    are. It would reach the others.

    Raises
    ------
    Unanswerable
        Where the dataset file names nothing that the company starts.
    """
    if not log.events.filter(log.events.initiator == COMPANY).count().execute():
        raise Unanswerable("the dataset file names no touchpoint that the company starts")
    started = log.events.initiator.fill_null("nobody") + " " + log.events.stage
    table = touchpoint_table(log.with_tables(events=log.events.mutate(touchpoint=started)))
    ours = (table["initiator"] == COMPANY) & ~table["placebo"]
    found = table[ours & table["moment_of_truth"] & (table["later_purchase"] > 0)]
    found = found.assign(touchpoint="")
    return _rows(found, REACH, "bought", found["otherwise_share"], "later_purchase")


def below_best(moves: pd.DataFrame, before: list[str]) -> pd.DataFrame:
    """Return the segments that a stage loses more often than the best quarter of segments.

    Every other bucket of customers chooses the segments, and the best quarter; the rest of the
    customers say how far they are apart. So what is best by luck is not taken for better.

    Parameters
    ----------
    moves : DataFrame
        Of `cjlib.markov.transitions` with segments.
    before : list of str
        Stages before the purchase.

    Raises
    ------
    Unanswerable
        With fewer than two segments.
    """
    half = moves["bucket"] % 2 == 0
    cells = moved_cells(moves[half], "segment")
    cells = cells[(cells["to_stage"] == LOST) & cells["from_stage"].isin(before)]
    sizing = moves[~half & (moves["segment"] != ALL)]
    found = []
    for stage, part in cells.groupby("from_stage", sort=False):
        best = part.nsmallest(max(1, round(len(part) / 4)), "probability")["segment"]
        here = sizing[sizing["from_stage"] == stage]
        for segment in part.loc[part["verdict"] == "higher", "segment"]:
            test = difference_test(*_losses(here, [segment]), *_losses(here, best))
            if test.effect < NOTABLE or not test.lower > 0:
                continue
            lost, visits = (each.sum() for each in _losses(here, [segment]))
            limits = float(test.effect), float(test.lower), float(test.upper)
            row = (LEVEL_UP, stage, "", segment, LOST, OTHERS, lost / visits, *limits)
            found.append(row)
    return pd.DataFrame(found, columns=COLUMNS)


def leaving(samples, actions: pd.DataFrame, acceptance: float) -> pd.DataFrame:
    """Return the keeping of those about to leave, with what it would bring a month.

    Nothing in a log says what contacting changes until a part of the list was left alone. So the
    effect is an assumption, and reaches from none to half as many again as assumed.

    Parameters
    ----------
    samples : Samples
    actions : DataFrame
        Of `cjlib.churn.action_list`.
    acceptance : float
        Share of those about to leave who would be kept.
    """
    listed = actions[actions["group"].isin([CONTACT, HOLD_OUT])]
    if listed.empty:
        raise Unanswerable("no customer is on the list of those to contact")
    months = samples.days / MONTH
    orders = samples.now.set_index("customer_id")["expected_orders"].fillna(1.0)
    churn = listed["churn_probability"].to_numpy()
    kept = acceptance * churn / months
    bought = float((kept * orders.reindex(listed["customer_id"]).to_numpy()).sum())
    value = float((kept * listed["expected_value"]).sum()) if samples.words.value else np.nan
    effect = acceptance * churn.mean()
    row = dict(zip(COLUMNS, (KEEP, "", "", LEAVING, "churned", ASSUMED), strict=False))
    row |= {"rate": churn.mean(), "effect": effect}
    row |= {"effect_lower": 0.0, "effect_upper": HALF_MORE * effect}
    row |= {"extra_purchases": bought, "lower": 0.0, "upper": HALF_MORE * bought}
    row |= {"extra_value": value, "extra_value_lower": 0 * value}
    row |= {"extra_value_upper": HALF_MORE * value, "customers": len(listed) / months}
    return pd.DataFrame([row])


def concerned(log, row: pd.Series, since: pd.Timestamp, groups: ibis.Table | None) -> ibis.Table:
    """Return the recent visits that a candidate would change.

    Parameters
    ----------
    log : Log
    row : Series
        Of the candidates.
    since : Timestamp
    groups : Table or None
        ``customer_id`` and ``segment``.
    """
    visits = log.visits.filter(log.visits.stage == row["stage"])
    visits = visits.filter(visits.started > ibis.timestamp(str(since)))
    events = log.events
    if row["change"] == LEVEL_UP:
        visits = visits.semi_join(groups.filter(groups.segment == row["segment"]), "customer_id")
    if row["change"] == REACH:
        return visits.anti_join(events.filter(events.initiator == COMPANY), VISIT)
    met = events.filter(events.touchpoint == row["touchpoint"])
    if row["change"] == STRENGTHEN:
        return visits.anti_join(met, VISIT)
    return visits.semi_join(met, VISIT) if row["touchpoint"] else visits


def _signs(log, touchpoints: list[str]) -> set[str]:
    """Return which of some touchpoints come after another one of them in most of their visits."""
    touches = touch_facts(log)
    met = touches.filter(touches.touchpoint.isin(touchpoints or [""]))
    earlier = met.select(*VISIT, before="touchpoint", at="step")
    both = met.join(earlier, VISIT)
    both = both.filter(both["at"] < both.step)
    pairs = both.group_by("touchpoint", "before").agg(n=both.count()).to_pandas()
    visits = met.group_by("touchpoint").agg(all=met.count()).to_pandas()
    pairs = pairs.merge(visits, on="touchpoint")
    return set(pairs.loc[pairs["n"] > pairs["all"] / 2, "touchpoint"])


def _rows(
    table: pd.DataFrame, change: str, measure: str, rate: pd.Series, name: str
) -> pd.DataFrame:
    """Return candidates of touchpoints, their effects above zero."""
    limits = table[[name, f"{name}_lower", f"{name}_upper"]].to_numpy(dtype=float)
    if change == RELIEVE and measure == "bought":
        limits = -limits[:, [0, 2, 1]]
    rows = table[["stage", "touchpoint", "segment"]].assign(
        change=change, measure=measure, evidence=SAME, rate=rate
    )
    rows[["effect", "effect_lower", "effect_upper"]] = limits
    return rows[COLUMNS]


def _losses(moves: pd.DataFrame, segments) -> tuple[np.ndarray, np.ndarray]:
    """Return losses and visits of some segments, by the buckets of all."""
    own = moves["segment"].isin(segments)
    lost = own & (moves["to_stage"] == LOST)
    table = moves.assign(visits=moves["n"] * own, lost=moves["n"] * lost)
    return tuple(bucket_array(table, [], ["lost", "visits"]).T)
