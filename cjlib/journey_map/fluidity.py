"""How smoothly customers pass from touchpoint to touchpoint, and where they lose time.

A step is a pair of consecutive events of one journey. On the way to a purchase it leads ``on`` (to
a stage as far as the customer has come, or farther), ``back`` (from there to an earlier stage),
``around`` (further steps until the customer is again where that began), or it is a ``repeat`` of
the same touchpoint. The days lost are those of repeats and of detours: from the step back until the
customer has come again as far as before, or until the journey has ended. A detour's days belong to
the step back that began it, so that no day counts twice. After a purchase a new way begins: to look
again then is no step back, and to come again loses no time.
"""

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from cjlib.errors import Unanswerable
from cjlib.journey_map.counts import as_int, put
from cjlib.journeys import DAY
from cjlib.log import Log
from cjlib.uncertainty import Interval, bucket_array, proportion, ratio

FROM, TO = ("from_stage", "from_touchpoint"), ("to_stage", "to_touchpoint")
SUMS = ("n", "back", "repeats", "changed", "days", "lost_days")


def steps(log: Log) -> ir.Table:
    """Return the steps of all journeys.

    Returns
    -------
    Table
        customer_id, bucket, ``from_stage``, ``from_touchpoint``, ``to_stage``, ``to_touchpoint``,
        ``days`` between the two, ``lost_days``, and as 0 or 1 ``back``, ``around``, ``repeats`` and
        ``changed`` (of channel, where both are known).
    """
    events = log.events.mutate(at=log.events.timestamp.epoch_seconds().cast("int64"))
    of_journey = {"group_by": ["customer_id", "journey"]}
    order = {"order_by": [events.timestamp, events.line]}
    before = ibis.window(**of_journey, **order, preceding=(None, 1))
    bought = as_int(events.purchase).sum().over(before).fill_null(0)
    place = (events.role == "after").ifelse(-1, events.position.cast("int64"))
    events = events.mutate(cycle=bought, place=place)
    running = ibis.cumulative_window(group_by=["customer_id", "journey", "cycle"], **order)
    events = events.mutate(farthest=events.place.max().over(running))
    behind = (events.place >= 0) & (events.place < events.farthest)
    events = events.mutate(behind=as_int(behind))
    one = ibis.window(**of_journey, **order)
    names = ("stage", "touchpoint", "channel", "at", "behind", "cycle")
    pairs = events.mutate(**{f"from_{name}": events[name].lag().over(one) for name in names})
    pairs = pairs.rename(to_stage="stage", to_touchpoint="touchpoint")
    here = pairs.filter(pairs.from_at.notnull())
    late = (here.behind == 1) | ((here.from_behind == 1) & (here.cycle == here.from_cycle))
    back = (here.behind == 1) & ((here.from_behind == 0) | (here.cycle != here.from_cycle))
    here = here.mutate(
        days=(here["at"] - here.from_at) / DAY,
        late=as_int(late),
        back=as_int(back),
        around=as_int(late & ~back),
        repeats=as_int((here.to_touchpoint == here.from_touchpoint) & ~here.purchase),
        changed=as_int(here.channel != here.from_channel),
    )
    order = {"order_by": [here.timestamp, here.line]}
    until = ibis.cumulative_window(**of_journey, **order)
    here = here.mutate(detour=here.back.sum().over(until))
    whole = ibis.window(group_by=["customer_id", "journey", "detour"])
    detour = (here.days * here.late).sum().over(whole)
    again = (here.late == 0) & (here.repeats == 1) & (here.role != "after")
    alone = here.days * as_int(again)
    lost = (here.back == 1).ifelse(detour, alone)
    keep = ["customer_id", "bucket", *FROM, *TO, "days", "back", "around", "repeats", "changed"]
    return here.mutate(lost_days=lost).select(*keep, "lost_days")


def fluidity(log: Log, *, by: str = "touchpoint") -> pd.DataFrame:
    """Return where customers lose time between two touchpoints, or stages; the worst first.

    Parameters
    ----------
    log : Log
    by : {"touchpoint", "stage"}
        Between what. Of stages only the steps from one to another are told apart.

    Returns
    -------
    DataFrame
        One row per pair: ``from_stage``, ``from_touchpoint``, ``to_stage``, ``to_touchpoint``
        (those of stages without touchpoints), ``customers``, ``n`` steps, ``days`` (mean between
        the two), ``lost_days`` (mean a customer who took the step loses by it, over all of their
        times) with limits, ``customer_days`` (customers times that: what the rows are ranked by)
        with limits,
        ``back_share``, ``repeat_share``, ``channel_change_share`` of the steps.

    Raises
    ------
    Unanswerable
        If no journey leads from one touchpoint, or stage, to another.
    """
    names = [*FROM, *TO] if by == "touchpoint" else ["from_stage", "to_stage"]
    return _sums(steps(log), names).sort_values(
        ["customer_days", "n", *names], ascending=[False, False] + [True] * len(names)
    )


def places(log: Log) -> pd.DataFrame:
    """Return how smoothly customers go on from each touchpoint; the roughest first.

    Returns
    -------
    DataFrame
        ``stage``, ``touchpoint``, ``customers``, ``n`` steps from it, ``smooth_share`` (neither
        back nor a repeat) with limits, ``days`` until the next touchpoint (mean), ``back_share``,
        ``repeat_share``, ``channel_change_share``, ``lost_days``.
    """
    table = _sums(steps(log), list(FROM))
    table = table.rename(columns={name: name.removeprefix("from_") for name in FROM})
    return table.sort_values(["smooth_share", "touchpoint"], ignore_index=True)


def _sums(steps: ir.Table, names: list[str]) -> pd.DataFrame:
    if names == ["from_stage", "to_stage"]:
        steps = steps.filter(steps.from_stage != steps.to_stage)
    steps = steps.mutate(n=1, rough=as_int((steps.back == 1) | (steps.repeats == 1)))
    counted = steps.group_by([*names, "bucket"]).agg(
        customers=steps.customer_id.nunique(),
        **{name: steps[name].sum() for name in (*SUMS, "rough")},
    )
    counts = counted.to_pandas()
    points = counts[[name for name in names if name.endswith("touchpoint")]]
    if counts.empty or (points.size and len(np.unique(points)) == 1):
        raise Unanswerable("no journey leads from one touchpoint or stage to another")
    counts["row"] = counts.groupby(names).ngroup()
    table = counts.drop_duplicates("row").set_index("row").sort_index()[names]
    sums = bucket_array(counts, ["row"], ["customers", *SUMS, "rough"])
    of = dict(zip(("customers", *SUMS, "rough"), np.moveaxis(sums, -1, 0), strict=True))
    total = {name: part.sum(axis=0) for name, part in of.items()}
    table["customers"], table["n"] = total["customers"].astype(int), total["n"].astype(int)
    table["days"] = total["days"] / total["n"]
    put(table, "lost_days", ratio(of["lost_days"], of["customers"], scale=(0, np.inf)))
    put(table, "customer_days", _total(of["lost_days"]))
    for name, part in (("back", "back"), ("repeat", "repeats"), ("channel_change", "changed")):
        table[f"{name}_share"] = total[part] / total["n"]
    put(table, "smooth_share", proportion(of["n"] - of["rough"], of["n"]))
    return table.reset_index(drop=True)


def _total(sums: np.ndarray) -> Interval:
    """Return sums over the buckets with their interval."""
    mean = ratio(sums, np.ones_like(sums), scale=(0, np.inf))
    return Interval(*(len(sums) * part for part in (mean.estimate, mean.lower, mean.upper)))
