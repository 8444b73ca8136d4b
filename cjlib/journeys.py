"""From events to journeys, stage visits and transitions, as expressions of any engine.

A customer who stays silent longer than ``inactivity`` begins a new journey with the next event, and
so does one whose journey came to a declared ending (declined, cancelled). Where the log knows its
cases (``journey_id``), a case is a journey. Consecutive events in one stage of one journey are one
visit.

How a journey ends is its outcome: in a declared ending; or in a silence that was fully observed,
``bought`` when a purchase lies in it and ``lost`` when none does. It is ``open`` when its silence
was not seen to the end: what follows its last visit is then unknown, which is not the same as
nothing, so no transition is counted there.
"""

import datetime as dt
from collections.abc import Sequence

import ibis
import ibis.expr.types as ir
import pandas as pd

from cjlib.uncertainty import BUCKETS

LOST, BOUGHT, OPEN = "lost", "bought", "open"
"""How journeys end: in a silence seen to its end, without or with a purchase, or not yet."""
DAY = 86_400
"""Seconds."""
_DIGITS = "0123456789abcdef"


def _interval(length: dt.timedelta) -> ir.IntervalScalar:
    return ibis.interval(seconds=int(length.total_seconds()))


def with_buckets(events: ir.Table) -> ir.Table:
    """Return events with the ``bucket`` of their customer, 0 to 255.

    The bucket comes from the MD5 of the id, so that it is the same on every engine and in every
    run. With at most 256 customers each is a bucket of its own.
    """
    customers = events.select("customer_id").distinct()
    digest = customers.customer_id.hexdigest("md5")
    high, low = (ibis.literal(_DIGITS).find(digest.substr(place, 1)) for place in (0, 1))
    rank = ibis.dense_rank().over(order_by=[digest])
    several = customers.count().as_scalar() > BUCKETS
    buckets = customers.mutate(
        bucket=several.ifelse((high * 16 + low).cast("int64"), rank.cast("int64"))
    )
    return events.inner_join(buckets, "customer_id")


def first_events(events: ir.Table, keys: Sequence[str]) -> ir.Table:
    """Return the first event of each customer, journey or visit; equal times are told by line."""
    in_order = ibis.window(group_by=list(keys), order_by=[events.timestamp, events.line])
    placed = events.mutate(place=ibis.row_number().over(in_order))
    return placed.filter(placed.place == 0)


def with_journeys(
    events: ir.Table, inactivity: dt.timedelta, *, ends: Sequence[str] = (), cases: bool = False
) -> ir.Table:
    """Return events numbered by ``journey`` (0, 1, … per customer) and ``visit`` (per journey).

    Parameters
    ----------
    events : Table
        customer_id, timestamp, line, stage and any further columns; with ``ends`` touchpoint and
        purchase too.
    inactivity : timedelta
        The longest silence within a journey.
    ends : sequence of str
        Touchpoints after which a journey is complete.
    cases : bool
        Whether ``journey_id`` says of each event which journey it belongs to.

    Returns
    -------
    Table
        Also ``ending``: the touchpoint where it is a declared ending (``bought`` where that is a
        purchase), else missing.

    Notes
    -----
    The numbers look back only, so an event keeps them however the log goes on. Equal times are
    ordered by ``line``, or two engines would differ. A case is one journey whatever happens in it,
    since it may be worked on after it was decided; cases of one customer may overlap.
    """
    ending = ibis.null("string")
    if ends:
        name = events.purchase.ifelse(BOUGHT, events.touchpoint)
        ending = events.touchpoint.isin(ends).ifelse(name, ending)
    events = events.mutate(ending=ending)
    numbered = _by_case(events) if cases else _by_silence(events, inactivity)
    journey = {"group_by": ["customer_id", "journey"], "order_by": ["timestamp", "line"]}
    before = numbered.stage.lag().over(ibis.window(**journey))
    changes = numbered.mutate(changes=(numbered.stage != before).fill_null(False).cast("int64"))
    visit = changes.changes.sum().over(ibis.cumulative_window(**journey))
    return changes.mutate(visit=visit).drop("changes")


def _by_silence(events: ir.Table, inactivity: dt.timedelta) -> ir.Table:
    """Begin a journey after a silence, and after a declared ending."""
    order = {"group_by": "customer_id", "order_by": ["timestamp", "line"]}
    in_order = ibis.window(**order)
    patience = events.timestamp.lag().over(in_order) + _interval(inactivity)
    begins = (events.timestamp > patience) | events.ending.lag().over(in_order).notnull()
    steps = events.mutate(begins=begins.fill_null(False).cast("int64"))
    # A running sum needs a cumulative window: an ordered one sums the whole group.
    journey = steps.begins.sum().over(ibis.cumulative_window(**order))
    return steps.mutate(journey=journey).drop("begins")


def _by_case(events: ir.Table) -> ir.Table:
    """Count a customer's cases in the order of their first events."""
    began = events.timestamp.min().over(group_by=["customer_id", "journey_id"])
    cases = events.mutate(began=began)
    in_order = ibis.window(group_by="customer_id", order_by=["began", "journey_id"])
    return cases.mutate(journey=ibis.dense_rank().over(in_order)).drop("began")


def stage_visits(events: ir.Table, as_of: pd.Timestamp, inactivity: dt.timedelta) -> ir.Table:
    """Return one row per stage visit, with what came after it.

    Parameters
    ----------
    events : Table
        Events up to ``as_of`` with bucket, journey, visit and ending.
    as_of : Timestamp
        Naive UTC.
    inactivity : timedelta

    Returns
    -------
    Table
        customer_id, bucket, journey, visit, stage, position, role, started, ended, events,
        purchases, value (sum), sentiment (mean), next_stage (at a journey's last visit how the
        journey ended, missing where it is open), left (the next visit's start; at the end the
        moment when the silence was complete, or of the declared ending; missing where open),
        settled (``inactivity`` has passed since the visit, so that its next stage would be known
        whatever it is), last (of its journey).
    """
    keys = ["customer_id", "bucket", "journey", "visit", "stage", "position", "role"]
    visits = events.group_by(keys).agg(
        started=events.timestamp.min(),
        ended=events.timestamp.max(),
        events=events.count(),
        purchases=events.purchase.cast("int64").sum(),
        value=events.value.sum(),
        sentiment=events.sentiment.mean(),
        ending=events.ending.max(),
    )
    by_journey = ibis.window(group_by=["customer_id", "journey"], order_by="visit")
    whole = ibis.window(group_by=["customer_id", "journey"])
    visits = visits.mutate(
        following=visits.stage.lead().over(by_journey),
        following_start=visits.started.lead().over(by_journey),
        silence_over=visits.ended + _interval(inactivity),
        declared=visits.ending.max().over(whole),
        bought=visits.purchases.sum().over(whole) > 0,
    )
    settled = visits.silence_over < ibis.timestamp(as_of)
    silent = settled.ifelse(visits.bought.ifelse(BOUGHT, LOST), ibis.null("string"))
    silence_over = settled.ifelse(visits.silence_over, ibis.null("timestamp"))
    return visits.mutate(
        next_stage=ibis.coalesce(visits.following, visits.declared, silent),
        left=ibis.coalesce(
            visits.following_start,
            visits.declared.notnull().ifelse(visits.ended, silence_over),
        ),
        settled=settled,
        last=visits.following.isnull(),
    ).drop("following", "following_start", "silence_over", "ending", "declared", "bought")


def journey_table(visits: ir.Table) -> ir.Table:
    """Return one row per journey.

    Parameters
    ----------
    visits : Table
        Stage visits of `stage_visits`.

    Returns
    -------
    Table
        customer_id, bucket, journey, started, ended, end (``bought``, ``lost``, a declared ending
        or ``open``), first_stage, last_stage, events, visits, purchases, value (sum), sentiment
        (mean over its visits).
    """
    return visits.group_by(["customer_id", "bucket", "journey"]).agg(
        started=visits.started.min(),
        ended=visits.ended.max(),
        end=visits.next_stage.max(where=visits["last"]).fill_null(OPEN),
        first_stage=visits.stage.argmin(visits.visit),
        last_stage=visits.stage.argmax(visits.visit),
        events=visits.events.sum(),
        visits=visits.count(),
        purchases=visits.purchases.sum(),
        value=visits.value.sum(),
        sentiment=visits.sentiment.mean(),
    )


def transition_counts(visits: ir.Table, by: Sequence[str] = ()) -> ir.Table:
    """Count the transitions from stage to stage, and from stage to how the journey ended.

    Parameters
    ----------
    visits : Table
        Stage visits, with any further columns to count by.
    by : sequence of str
        Columns such as ``segment``, ``period`` and ``bucket``.

    Returns
    -------
    Table
        [*by, from_stage, to_stage, n, customers, days (sum, from entering the one to entering the
        other, or until the journey had ended)].

    Notes
    -----
    Only settled visits count. Of the visits shortly before ``as_of`` the moves are seen at once
    and the losses not yet, so counting whatever is known would understate every loss.
    """
    closed = visits.filter(visits.settled)
    closed = closed.rename(from_stage="stage", to_stage="next_stage")
    seconds = closed.left.epoch_seconds() - closed.started.epoch_seconds()
    return closed.group_by([*by, "from_stage", "to_stage"]).agg(
        n=closed.count(), customers=closed.customer_id.nunique(), days=seconds.sum() / DAY
    )


def ngram_counts(visits: ir.Table, order: int, by: Sequence[str] = ()) -> ir.Table:
    """Count what follows each run of ``order`` stages within one journey.

    Parameters
    ----------
    visits : Table
    order : int
        Length of the history, at least 1.
    by : sequence of str

    Returns
    -------
    Table
        [*by, stage_1, …, stage_order (oldest first), to_stage, n]. Visits too early in their
        journey to have that history are left out, unsettled ones too.
    """
    by_journey = ibis.window(group_by=["customer_id", "journey"], order_by="visit")
    history = {
        f"stage_{order - back}": (visits.stage.lag(back).over(by_journey) if back else visits.stage)
        for back in range(order - 1, -1, -1)
    }
    runs = visits.select(*by, **history, to_stage=visits.next_stage, settled=visits.settled)
    runs = runs.filter(runs.stage_1.notnull(), runs.settled)
    return runs.group_by([*by, *history, "to_stage"]).agg(n=runs.count())


def purchase_days(events: ir.Table) -> ir.Table:
    """Return the purchases of every customer, those of one day as one.

    What a purchase is, on every page: the lines and payments of a basket, or two orders of one
    afternoon, are one decision to buy. A log may stamp them with one time or with several; days
    make no difference of that.

    Parameters
    ----------
    events : Table
        customer_id, bucket, timestamp, purchase, value and any further columns.

    Returns
    -------
    Table
        customer_id, bucket, day (its midnight, UTC), lines (purchase events), value (their sum).
    """
    bought = events.filter(events.purchase)
    bought = bought.mutate(day=bought.timestamp.truncate("D"))
    return bought.group_by(["customer_id", "bucket", "day"]).agg(
        lines=bought.count(), value=bought.value.sum()
    )
