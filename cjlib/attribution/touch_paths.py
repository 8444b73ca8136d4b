"""The touches before each purchase: what every attribution model starts from.

A *touch* is an uninterrupted run of events of one level (a channel, a touchpoint) within a journey.
A *path* is the sequence of touches up to a purchase, or, where a journey was lost without one, up
to its end (a null path). Paths are aggregated on the engine; :class:`TouchPaths` then holds them as
integers for the models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from ibis.expr.types import Table

from cjlib.errors import ParameterError

DIMENSIONS = ("channel", "touchpoint")


OTHER = "(other)"


def paths(log, dimension: str = "channel", smallest: int = 0, few: Sequence[str] = ()) -> Table:
    """Aggregate a log's touches into distinct paths by bucket, on the engine.

    Within a journey the touches are split after each purchase, so that a touch counts towards the
    next purchase alone. What follows the last purchase is a null path when the journey was lost,
    and left out when it is open: its outcome is not known yet. The purchase event brings its own
    channel as the last touch; as a touchpoint it is the outcome itself, hence no touch.

    Parameters
    ----------
    log : Log
        An open log; its ``events`` and ``journeys`` are read.
    dimension : {"channel", "touchpoint"}
        What a touch is.
    smallest : int
        Levels met, or credited with purchases, by fewer customers are one, ``(other)``; no touches
        where these are too few even together.
    few : sequence of str
        Further levels of which the same holds.

    Returns
    -------
    Table
        ``path`` (array of levels, oldest first, empty for a purchase without any touch),
        ``bucket``, ``conversions`` (purchases), ``value`` (their sum, 0 where unknown), ``nulls``.

    Raises
    ------
    ParameterError
        When ``dimension`` is none of the two.
    """
    if dimension not in DIMENSIONS:
        raise ParameterError(
            f"dimension: {dimension!r} is not known; write one of {', '.join(DIMENSIONS)}"
        )
    events = log.events
    counted = events.channel if dimension == "channel" else events.touchpoint.nullif("")
    if dimension == "touchpoint":
        counted = ibis.ifelse(events.purchase, ibis.null(str), counted)
    if few:
        counted = counted.isin(list(few)).ifelse(OTHER, counted)
    touches = events.select(
        "customer_id",
        "bucket",
        "journey",
        "timestamp",
        "line",
        purchase=events.purchase.fill_null(False),
        value=events.value,
        level=counted,
    )
    so_far = ibis.cumulative_window(
        group_by=["customer_id", "journey"], order_by=["timestamp", "line"]
    )
    bought = touches.purchase.cast("int64")
    # the purchase closes its own stretch, hence its own count is taken off again
    touches = touches.mutate(stretch=bought.sum().over(so_far) - bought)
    in_stretch = ibis.window(
        group_by=["customer_id", "journey", "stretch"], order_by=["timestamp", "line"]
    )
    if smallest:
        touches = _few_together(touches, smallest)
    # Levels are compared among touches alone: an event without one does not interrupt a run.
    levelled = touches.filter(touches.level.notnull())
    levelled = levelled.mutate(
        repeat=(levelled.level == levelled.level.lag().over(in_stretch)).fill_null(False)
    )
    keys = ["customer_id", "bucket", "journey", "stretch"]
    walked = (
        levelled.filter(~levelled.repeat)
        .group_by(keys)
        .agg(path=lambda t: t.level.collect(order_by=[t.timestamp, t.line]))
    )
    outcome = touches.group_by(keys).agg(
        conversions=touches.purchase.cast("int64").sum(),
        value=ibis.ifelse(touches.purchase, touches.value, ibis.null("float64")).sum(),
    )
    ends = log.journeys.select("customer_id", "journey", "end")
    stretches = (
        outcome.left_join(walked, keys)
        .drop(*[f"{key}_right" for key in keys])
        .join(ends, ["customer_id", "journey"])
    )
    nothing = ibis.literal([], type="array<string>")
    stretches = stretches.filter(
        (stretches.conversions > 0) | ((stretches.end == "lost") & stretches.path.notnull())
    ).mutate(path=ibis.coalesce(stretches.path, nothing))
    return stretches.group_by(["path", "bucket"]).agg(
        conversions=stretches.conversions.sum(),
        value=stretches.value.sum().fill_null(0.0),
        nulls=(stretches.conversions == 0).sum(),
    )


def _few_together(touches: Table, smallest: int) -> Table:
    """Put the levels together that too few customers met to be shown, or met before a purchase."""
    keys = ["customer_id", "journey", "stretch"]
    known = touches.mutate(buys=touches.purchase.any().over(ibis.window(group_by=keys)))
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


@dataclass(frozen=True)
class TouchPaths:
    """Paths as arrays: all touches one after the other, and where each path begins.

    Attributes
    ----------
    levels : list of str
        The L levels, sorted.
    codes : ndarray of int, shape (T,)
        The touches of all paths, as positions in ``levels``.
    offsets : ndarray of int, shape (N + 1,)
        Path ``i`` holds ``codes[offsets[i]:offsets[i + 1]]``.
    conversions, value, nulls : ndarray, shape (N,)
        How often the path ended in a purchase, what those brought, how often in nothing.
    bucket : ndarray of int, shape (N,), or None
        The bucket of the path's customers; None when not known, and then there are no intervals.
    """

    levels: list[str]
    codes: np.ndarray
    offsets: np.ndarray
    conversions: np.ndarray
    value: np.ndarray
    nulls: np.ndarray
    bucket: np.ndarray | None

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, separator: str = " > ") -> "TouchPaths":
        """Encode a table of paths.

        Parameters
        ----------
        frame : DataFrame
            ``path`` (sequences of levels, or text joined by ``separator``; a level that itself
            holds the separator needs sequences) and ``conversions``; optional ``value``, ``nulls``
            and ``bucket``.
        separator : str
            Between the levels of a path given as text.

        Raises
        ------
        ParameterError
            When a column is missing or a count is negative.
        """
        missing = [name for name in ("path", "conversions") if name not in frame]
        if missing:
            raise ParameterError(f"paths: no column {missing[0]!r}; the table needs it")
        column = pa.array(frame["path"], from_pandas=True)
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            split = pc.split_pattern(column, separator)
            column = _without_empty(split, column)
        elif pa.types.is_null(column.type):  # no path at all
            column = column.cast(pa.list_(pa.string()))
        offsets = column.offsets.to_numpy()
        touches = column.flatten()
        if pa.types.is_null(touches.type):  # not one touch in any path
            touches = touches.cast(pa.string())
        encoded = touches.dictionary_encode()
        found = encoded.dictionary.to_pylist()
        order = sorted(range(len(found)), key=found.__getitem__)
        position = np.empty(len(found), dtype=np.int64)
        position[order] = np.arange(len(found))

        def counts(name: str) -> np.ndarray:
            if name not in frame:
                return np.zeros(len(frame))
            values = np.asarray(frame[name], dtype=float)
            return np.where(np.isnan(values), 0.0, values)

        conversions, nulls = counts("conversions"), counts("nulls")
        if min(conversions.min(initial=0), nulls.min(initial=0)) < 0:
            raise ParameterError("paths: conversions and nulls are counts, none may be negative")
        return cls(
            levels=[found[i] for i in order],
            codes=position[encoded.indices.to_numpy()],
            offsets=offsets - offsets[0],
            conversions=conversions,
            value=counts("value"),
            nulls=nulls,
            bucket=frame["bucket"].to_numpy(dtype=np.int64) if "bucket" in frame else None,
        )

    @property
    def lengths(self) -> np.ndarray:
        """Touches of each path, shape (N,)."""
        return np.diff(self.offsets)

    @property
    def row(self) -> np.ndarray:
        """The path that each touch belongs to, shape (T,)."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @property
    def place(self) -> np.ndarray:
        """The place of each touch within its path, 0 for the first, shape (T,)."""
        return np.arange(len(self.codes)) - np.repeat(self.offsets[:-1], self.lengths)

    @property
    def untouched(self) -> np.ndarray:
        """Whether a path holds no touch at all, shape (N,)."""
        return self.lengths == 0


def _without_empty(split: pa.ListArray, text: pa.Array) -> pa.ListArray:
    """Return paths split from text, an empty text being a path without touches."""
    empty = pc.equal(text, "")
    if not pc.any(empty).as_py():
        return split
    kept = pc.invert(empty).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(np.diff(split.offsets.to_numpy()) * kept)])
    touches = split.flatten().filter(pa.array(kept[pc.list_parent_indices(split).to_numpy()]))
    return type(split).from_arrays(pa.array(offsets, type=split.offsets.type), touches)
