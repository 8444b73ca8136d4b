"""The touches before each purchase: what every attribution model starts from.

A *touch* is an uninterrupted run of events of one level (a channel, a touchpoint) within a journey.
A *path* is the sequence of touches up to a purchase, or, where a journey ended without one, up
to its end (a null path).
"""

import ibis
import pandas as pd
from ibis.expr.types import Table

from cjlib.errors import Unanswerable
from cjlib.journeys import OPEN

DIMENSIONS = ("channel", "touchpoint")
NONE, OTHER = "(none)", "(other)"


def touch_paths(log) -> pd.DataFrame:
    """Aggregate a log's touches into distinct paths by bucket, for channels and for touchpoints.

    Within a journey the touches are split after each purchase, so that a touch counts towards the
    next purchase alone. The purchases of one day in one journey are one (see
    `cjlib.journeys.purchase_days`), made with the last of them. What follows the last purchase is a
    null path when the journey has ended, and left out when it is open: its outcome is not known.
    The purchase event brings its own channel as the last touch; as a touchpoint it is the outcome
    itself, hence no touch. Levels met, or met before a purchase, by fewer customers than may be
    shown are one, ``(other)``, and no touch where these are too few even together. The journey in
    which a customer was met who was not seen to begin (`Log.beginners`) may lack its first touches
    and is left out.

    Parameters
    ----------
    log : Log

    Returns
    -------
    DataFrame
        dimension, path (levels, oldest first, empty for a purchase without any touch), bucket,
        conversions (purchases), value (their sum, 0 where unknown), nulls. Its ``attrs`` keep the
        ``smallest_group`` that may be shown.

    Raises
    ------
    Unanswerable
        Without a touchpoint of the role ``before``: what such a log holds before a purchase is the
        purchase before it.
    """
    if not (log.events.role == "before").any().execute():
        raise Unanswerable("nothing is recorded from before a purchase, so nothing has credit")
    smallest = log.dataset.privacy.smallest_group
    tables = [_paths(log, dimension, smallest).to_pandas() for dimension in DIMENSIONS]
    paths = pd.concat(dict(zip(DIMENSIONS, tables, strict=True)), names=["dimension", "row"])
    paths = paths.reset_index("dimension").reset_index(drop=True)
    paths.attrs["smallest_group"] = smallest
    return paths


def _paths(log, dimension: str, smallest: int) -> Table:
    """Return the paths of one dimension."""
    events = log.events.mutate(purchase=log.events.purchase.fill_null(False))
    began = events.customer_id.isin(log.beginners.customer_id)
    events = events.filter(began | (events.journey > 0))
    level = events.channel
    if dimension == "touchpoint":
        level = events.purchase.ifelse(ibis.null(str), events.touchpoint.nullif(""))
    day = ["customer_id", "journey", "purchase", events.timestamp.truncate("D")]
    latest = ibis.window(group_by=day, order_by=[events.timestamp.desc(), events.line.desc()])
    closes = events.purchase & (ibis.row_number().over(latest) == 0)
    touches = events.mutate(level=level, closes=closes.cast("int64"))
    journey = ["customer_id", "journey"]
    so_far = ibis.cumulative_window(group_by=journey, order_by=["timestamp", "line"])
    # the purchase closes its own stretch, hence its own count is taken off again
    touches = touches.mutate(stretch=touches.closes.sum().over(so_far) - touches.closes)
    touches = _few_together(touches, smallest)
    # Levels are compared among touches alone: an event without one does not interrupt a run.
    stretch = [*journey, "bucket", "stretch"]
    in_stretch = ibis.window(group_by=stretch, order_by=["timestamp", "line"])
    levelled = touches.filter(touches.level.notnull())
    repeat = levelled.level == levelled.level.lag().over(in_stretch)
    walked = (
        levelled.mutate(repeat=repeat.fill_null(False))
        .filter(lambda t: ~t.repeat)
        .group_by(stretch)
        .agg(path=lambda t: t.level.collect(order_by=[t.timestamp, t.line]))
    )
    outcome = touches.group_by(stretch).agg(
        conversions=touches.closes.sum(),
        value=touches.purchase.ifelse(touches.value, ibis.null("float64")).sum(),
    )
    stretches = outcome.left_join(walked, stretch).drop(*[f"{key}_right" for key in stretch])
    stretches = stretches.join(log.journeys.select(*journey, "end"), journey)
    ended = (stretches.end != OPEN) & stretches.path.notnull()
    stretches = stretches.filter((stretches.conversions > 0) | ended)
    nothing = ibis.literal([], type="array<string>")
    stretches = stretches.mutate(path=ibis.coalesce(stretches.path, nothing))
    return stretches.group_by(["path", "bucket"]).agg(
        conversions=stretches.conversions.sum(),
        value=stretches.value.sum().fill_null(0.0),
        nulls=(stretches.conversions == 0).sum(),
    )


def _few_together(touches: Table, smallest: int) -> Table:
    """Put the levels together that too few customers met to be shown, or met before a purchase."""
    stretch = ibis.window(group_by=["customer_id", "journey", "stretch"])
    known = touches.mutate(buys=touches.purchase.any().over(stretch))
    known = known.filter(known.level.notnull())
    sizes = known.group_by("level").agg(
        met=known.customer_id.nunique(), buyers=known.customer_id.nunique(where=known.buys)
    )
    sizes = sizes.to_pandas().set_index("level")
    size = sizes["buyers"].where(sizes["buyers"] > 0, sizes["met"])
    few = size.index[size < smallest].tolist()
    if not few:
        return touches
    rest = known.filter(known.level.isin(few))
    buyers, met = (rest.filter(kept).customer_id.nunique().execute() for kept in (rest.buys, True))
    other = OTHER if (buyers or met) >= smallest else ibis.null(str)
    return touches.mutate(level=touches.level.isin(few).ifelse(other, touches.level))


def touches_of(paths: pd.DataFrame) -> pd.DataFrame:
    """Return one row per touch, what rules look at.

    Parameters
    ----------
    paths : DataFrame
        With a column ``path``; a path without a touch counts as one touch of ``(none)``.

    Returns
    -------
    DataFrame
        path (position of its row, 0, 1, …), level (categorical), place (0 for the first), length.
    """
    touches = paths["path"].reset_index(drop=True).explode().fillna(NONE).astype("category")
    touches = touches.rename("level").rename_axis("path").reset_index()
    of_path = touches.groupby("path")["level"]
    return touches.assign(place=of_path.cumcount(), length=of_path.transform("size"))
