"""What a customer was when a journey began: new or not, and how active so far.

Customers differ in their moves, and months in their customers. Whoever compares months compares
customers of one *stratum*, told by nothing but what went before the journey. First journeys are one
stratum; second and later ones are divided into thirds by how often the customer had come so far.

A log that begins in the middle of lives brings far more customers not seen before in its first
weeks than later: most of them are not new. There the first journeys of customers seen early have no
stratum, and their later ones strata of their own.
"""

import ibis
import ibis.expr.types as ir
import pandas as pd

from cjlib.journeys import DAY

JOURNEY = ["customer_id", "journey"]
BANDS = 3  # of earlier activity
FIRST_WEEKS, RUN_IN = 28, 91
"""Days: those in which an excess of new customers is looked for, and those of customers seen early.
"""
EXCESS = 1.5
"""From how many times as many new customers a day as in its second half a log began in the middle.
"""


def standing(log) -> ir.Table:
    """Return the stratum of every journey: customer_id, journey, stratum (missing: not known).

    Strata are 0 for a first journey, 1 to 3 for a second and 4 to 6 for a later one, from seldom to
    often; 7 to 12 for those of customers seen early, where the log begins in the middle of lives.
    """
    journeys = log.visits.group_by(JOURNEY).agg(started=lambda t: t.started.min())
    journeys = journeys.mutate(day=journeys.started.epoch_seconds() / DAY)
    first = journeys.day.min().over(ibis.window(group_by="customer_id"))
    journeys = journeys.mutate(first=first, number=ibis.least(journeys.journey, 2))
    begin, middle = began_in_the_middle(journeys, log.as_of)
    patience = log.dataset.journey.inactivity / pd.Timedelta(days=1)
    rate = journeys.journey / (journeys.day - journeys.first + patience)
    in_order = ibis.window(group_by="number", order_by=[rate, *(journeys[key] for key in JOURNEY)])
    later = 1 + BANDS * (journeys.number - 1) + ibis.ntile(BANDS).over(in_order)
    early = (journeys.first < begin + RUN_IN) & middle
    first_known = early.ifelse(ibis.null("int64"), ibis.literal(0, "int64"))
    later += 2 * BANDS * early.cast("int64")
    stratum = (journeys.number == 0).ifelse(first_known, later)
    return journeys.select(*JOURNEY, stratum=stratum.cast("int64"))


def began_in_the_middle(journeys: ir.Table, as_of: pd.Timestamp) -> tuple[float, bool]:
    """Return the day on which a log begins, and whether that is in the middle of lives."""
    seen = journeys.filter(journeys.journey == 0)
    begin = seen.day.min().execute()
    half = (as_of.timestamp() / DAY - begin) / 2
    early, late = (
        seen.filter(when).count().execute()
        for when in (seen.day < begin + FIRST_WEEKS, seen.day >= begin + half)
    )
    return begin, bool(early / min(FIRST_WEEKS, half) > EXCESS * late / half)
