"""Customers at moments in time: what was known of them by a cut-off, and what became of them.

A customer has churned at a cut-off when no purchase follows within the horizon, among those who
had bought by then. An event at the very moment of the cut-off belongs to the past, so features use
``timestamp <= cut_off`` and labels ``cut_off < timestamp <= cut_off + horizon``.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from ibis.expr.types import Table

from cjlib.churn.features import Vocabulary, features, vocabulary
from cjlib.churn.purchase_models import MODELS, purchase_model_features
from cjlib.errors import Unanswerable
from cjlib.journeys import purchase_days
from cjlib.uncertainty import BUCKETS

DAY = pd.Timedelta(1, "D")
FEWEST = 20
"""Customers who churned, and who did not, that a cut-off must have to count."""


@dataclass(frozen=True)
class Samples:
    """The customers of one log at every cut-off.

    Attributes
    ----------
    log : Log
    words : Vocabulary
    first : Timestamp
        Where the log begins.
    training : list of DataFrame
        `customers_at` each training cut-off, oldest first.
    test, now : DataFrame
        At the test cut-off, which is opened once, and at the moment of the report.
    """

    log: object
    words: Vocabulary
    first: pd.Timestamp
    training: list[pd.DataFrame]
    test: pd.DataFrame
    now: pd.DataFrame

    @property
    def days(self) -> float:
        """The horizon in days."""
        return self.log.dataset.churn.horizon / DAY

    @property
    def rfm(self) -> list[str]:
        """Names of the features that orders alone give."""
        return self.words.rfm

    @property
    def journey(self) -> list[str]:
        """Names of the features that journeys add; empty for a log of purchases alone."""
        return self.words.journey

    @property
    def known(self) -> pd.DataFrame:
        """All customers whose answer is known, of training and test, once the test is over."""
        return pd.concat([*self.training, self.test], ignore_index=True)

    @cached_property
    def columns(self) -> list[str]:
        """Names of all features: orders, purchase models (where customers buy twice), journeys."""
        frames = [*self.training, self.test, self.now]
        models = [name for name in MODELS if all(frame[name].notna().all() for frame in frames)]
        return [*self.rfm, *models, *self.journey]

    def X(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the features of a frame and nothing else: numbers, none missing."""
        return frame[self.columns]

    @property
    def customers(self) -> pd.DataFrame:
        """One row per cut-off: use, begins, cut_off, ends, customers, churned, churned_recent.

        The history begins with the log, the horizon ends after the cut-off. The second share is of
        those who had bought within the horizon before the cut-off: the pool of all who ever bought
        grows older with the log.
        """
        uses = [f"training {place + 1}" for place in range(len(self.training))]
        rows = []
        for use, frame in zip([*uses, "test"], [*self.training, self.test], strict=True):
            churned, recent = frame["churned"], frame["recency_days"] <= self.days
            at = frame["cut_off"].iloc[0]
            rows.append((use, at, len(frame), churned.mean(), churned[recent].mean()))
        rows.append(("scores", self.log.as_of, len(self.now), np.nan, np.nan))
        columns = ["use", "cut_off", "customers", "churned", "churned_recent"]
        table = pd.DataFrame(rows, columns=columns)
        table.insert(1, "begins", self.first)
        table.insert(3, "ends", table["cut_off"] + self.days * DAY)
        return table


def cut_off_samples(log, *, most: int = 50_000) -> Samples:
    """Collect the customers of every cut-off that the log carries.

    Parameters
    ----------
    log : Log
    most : int
        About how many customers to fit and test on; scores are made for everybody.

    Raises
    ------
    Unanswerable
        When the history is too short for a test out of time, nobody had bought, or too few churned
        or did not.
    """
    events, horizon = log.events, pd.Timedelta(log.dataset.churn.horizon)
    extent = events.aggregate(first=events.timestamp.min(), n=events.customer_id.nunique())
    first, customers = extent.execute().iloc[0]
    *training, test = cut_offs(pd.Timestamp(first), log.as_of, horizon)
    words = vocabulary(events, training[-1])
    buckets = BUCKETS if customers <= most else max(1, int(BUCKETS * most / customers))
    frames = [customers_at(events, at, horizon, words, buckets=buckets) for at in (*training, test)]
    *training, test = frames
    telling = [frame for frame in training if _classes(frame["churned"]).min() >= FEWEST]
    for frame in (test, *([] if telling else training[:1])):
        check_classes(frame["churned"], FEWEST)
    now = customers_at(events, log.as_of, horizon, words, labelled=False)
    return Samples(log, words, pd.Timestamp(first), telling, test, now)


def cut_offs(
    first: pd.Timestamp, as_of: pd.Timestamp, horizon: pd.Timedelta, *, most: int = 6
) -> list[pd.Timestamp]:
    """Roll cut-offs back from the report by the horizon, as many as the history carries.

    Every cut-off needs one horizon of history before it, so an honest test needs three: history,
    the labels of a training cut-off, the labels of the test.

    Parameters
    ----------
    first, as_of : Timestamp
        First time in the log, moment of the report.
    horizon : Timedelta
        The silence that counts as churn.
    most : int
        Keep at most this many training cut-offs, the latest.

    Returns
    -------
    list of Timestamp
        The training cut-offs, oldest first, then the test's, one horizon before the report.

    Raises
    ------
    Unanswerable
        When the history is shorter than three horizons.
    """
    carried = int((as_of - first) / horizon) - 1  # cut-offs with a horizon before and after them
    if carried < 2:
        days = (as_of - first) / DAY
        raise Unanswerable(
            f"a test out of time needs three times the horizon, {3 * horizon / DAY:,.0f} days, and "
            f"the log covers {days:,.0f}: wait for more history, or set churn.horizon in the "
            f"dataset file to at most {int(days // 3)} days"
        )
    return [as_of - step * horizon for step in range(min(carried, most + 1), 0, -1)]


def labels(events: Table, cut_off: pd.Timestamp, horizon: pd.Timedelta) -> Table:
    """Return who bought within the horizon after the cut-off, with their orders and value then."""
    after = (events.timestamp > cut_off) & (events.timestamp <= cut_off + horizon)
    days = purchase_days(events.filter(after))
    return days.group_by("customer_id").aggregate(
        orders_after=days.count(), value_after=days.value.sum().coalesce(0.0)
    )


def customers_at(
    events: Table,
    cut_off: pd.Timestamp,
    horizon: pd.Timedelta,
    words: Vocabulary,
    *,
    labelled: bool = True,
    buckets: int = BUCKETS,
) -> pd.DataFrame:
    """Return one row per customer who had bought by the cut-off: features, and the label if asked.

    Parameters
    ----------
    events : Table
        Events of a prepared log.
    cut_off, horizon, words
        See `features`.
    labelled : bool
        Add ``churned`` (bool), ``orders_after`` and ``value_after``.
    buckets : int
        Only customers of buckets below this one: a sample for fitting, drawn in the engine.

    Returns
    -------
    DataFrame
        Sorted by customer; also ``cut_off`` and the columns of `purchase_model_features`.

    Raises
    ------
    Unanswerable
        When nobody had bought by the cut-off.
    """
    if buckets < BUCKETS:
        events = events.filter(events.bucket < buckets)
    table = features(events, cut_off, horizon, words)
    if labelled:
        after = labels(events, cut_off, horizon).rename(returned="customer_id")
        table = table.left_join(after, table.customer_id == after.returned)
        table = table.mutate(
            churned=table.returned.isnull(),
            orders_after=table.orders_after.coalesce(0),
            value_after=table.value_after.coalesce(0.0),
        ).drop("returned")
    table = table.mutate(
        **{name: table[name].cast("float32") for name in (*words.rfm, *words.journey)}
    )
    frame = table.execute().sort_values("customer_id", ignore_index=True)
    if frame.empty:
        raise Unanswerable(
            f"no customer had bought by {cut_off:%Y-%m-%d}, and churn is a question about those "
            "who have; check journey.purchase in the dataset file"
        )
    frame.insert(2, "cut_off", cut_off)
    return frame.join(purchase_model_features(frame, horizon / DAY))


def check_classes(churned, fewest: int) -> None:
    """Raise `Unanswerable` when there is nothing to tell apart."""
    stayed, gone = _classes(churned)
    if min(gone, stayed) < fewest:
        raise Unanswerable(
            f"{gone:,} of {len(churned):,} customers churned and {stayed:,} bought again within "
            f"the horizon, and a model needs at least {fewest} of each: a "
            f"{'longer' if stayed < gone else 'shorter'} churn.horizon may help, or more customers"
        )


def _classes(churned) -> np.ndarray:
    """Return how many stayed and how many churned."""
    return np.bincount(np.asarray(churned, dtype=int), minlength=2)
