"""Customers at moments in time: what was known of them by a cut-off, and what became of them.

`leakage_checks` proves that no more was known: features are made again with another future.

A customer has churned at a cut-off when no purchase follows within the horizon, among those who
had bought by then. An event at the very moment of the cut-off belongs to the past, so features use
``timestamp <= cut_off`` and labels ``cut_off < timestamp <= cut_off + horizon``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import ibis
import numpy as np
import pandas as pd
from ibis.expr.types import Table
from sklearn.metrics import roc_auc_score

from cjlib.churn.features import Vocabulary, features, vocabulary
from cjlib.churn.purchase_models import MODELS, purchase_model_features
from cjlib.errors import Unanswerable
from cjlib.journeys import purchase_days, with_journeys
from cjlib.uncertainty import BUCKETS

DAY = pd.Timedelta(1, "D")
FEWEST = 20
"""Customers who churned, and who did not, that a cut-off must have to count."""
MOST = 50_000
"""About how many customers to fit and test on; scores are made for everybody."""
MOST_CUT_OFFS = 6
"""Training cut-offs to keep at most, the latest."""
TELLS_ALL = 0.97
"""AUC, in either direction, from which a single feature is suspected to know the answer."""


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
        """One row per cut-off: use, times, customers and the shares that churned, all and recent.

        Of times: begins (the history, with the log), cut_off, ends (the horizon). Recent buyers had
        bought within the horizon before the cut-off: the pool of all grows older with the log.
        """
        frames = {f"training {place}": frame for place, frame in enumerate(self.training, start=1)}
        rows = []
        for use, frame in (frames | {"test": self.test, "scores": self.now}).items():
            at, recent = frame["cut_off"].iloc[0], frame[frame["recency_days"] <= self.days]
            known = "churned" in frame
            shares = [part["churned"].mean() if known else np.nan for part in (frame, recent)]
            rows.append((use, self.first, at, at + self.days * DAY, len(frame), *shares))
        columns = [
            "use",
            "begins",
            "cut_off",
            "ends",
            "customers",
            "churned",
            "recent_buyers_churned",
        ]
        return pd.DataFrame(rows, columns=columns)


def cut_off_samples(log) -> Samples:
    """Collect the customers of every cut-off that the log carries.

    Raises
    ------
    Unanswerable
        When the history is too short for a test out of time, nobody had bought, or too few churned
        or did not.
    """
    events, horizon = log.events, pd.Timedelta(log.dataset.churn.horizon)
    extent = events.aggregate(first=events.timestamp.min(), n=events.customer_id.nunique())
    first, customers = extent.execute().iloc[0]
    times = cut_offs(pd.Timestamp(first), log.as_of, horizon)
    words = vocabulary(events, times[-2])
    some = _some(events, customers, MOST)
    *training, test = [customers_at(some, time, horizon, words) for time in times]
    telling = [frame for frame in training if min(_classes(frame["churned"])) >= FEWEST]
    check_classes(test["churned"], FEWEST)
    if not telling:
        check_classes(training[0]["churned"], FEWEST)
    now = customers_at(events, log.as_of, horizon, words, labelled=False)
    return Samples(log, words, pd.Timestamp(first), telling, test, now)


def cut_offs(first: pd.Timestamp, as_of: pd.Timestamp, horizon: pd.Timedelta) -> list[pd.Timestamp]:
    """Roll cut-offs back from the report by the horizon, as many as the history carries.

    Every cut-off needs one horizon of history before it, so an honest test needs three: history,
    the labels of a training cut-off, the labels of the test.

    Parameters
    ----------
    first, as_of : Timestamp
        First time in the log, moment of the report.
    horizon : Timedelta
        The silence that counts as churn.

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
    return [as_of - step * horizon for step in range(min(carried, MOST_CUT_OFFS + 1), 0, -1)]


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

    Returns
    -------
    DataFrame
        Sorted by customer; also ``cut_off`` and the columns of `purchase_model_features`.

    Raises
    ------
    Unanswerable
        When nobody had bought by the cut-off.
    """
    table = features(events, cut_off, horizon, words)
    if labelled:
        table = table.left_join(labels(events, cut_off, horizon), "customer_id")
        table = table.mutate(
            churned=table.customer_id_right.isnull(),
            orders_after=table.orders_after.coalesce(0),
            value_after=table.value_after.coalesce(0.0),
        ).drop("customer_id_right")
    names = [*words.rfm, *words.journey]
    table = table.mutate(**{name: table[name].cast("float32") for name in names})
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


def _some(events: Table, customers: int, most: int) -> Table:
    """Return the events of about so many customers: those of the first buckets."""
    share = min(1.0, most / max(customers, 1))
    return events.filter(events.bucket < max(1, int(BUCKETS * share)))


# -- does a feature see the future? ---------------------------------------------------------------


def leakage_checks(samples: Samples, *, most: int = 20_000) -> pd.DataFrame:
    """Return of each feature whether it changes with the future and how well it alone tells churn.

    Journeys and visits are numbered anew each time, so a leak through them would show too.

    Parameters
    ----------
    samples : Samples
    most : int
        About how many customers to make the features again for.

    Returns
    -------
    DataFrame
        feature, changes (with later events), auc (of .5 and more), tells_all, verdict ("suspect"
        or "none").
    """
    log, cut_off = samples.log, samples.test["cut_off"].iloc[0]

    def make(given: Table) -> pd.DataFrame:
        numbered = with_journeys(given.drop("journey", "visit"), log.dataset.journey.inactivity)
        horizon = pd.Timedelta(log.dataset.churn.horizon)
        return features(numbered, cut_off, horizon, samples.words).drop("bucket").execute()

    changed = changed_by_the_future(make, _some(log.events, len(samples.now), most), cut_off)
    names = dict.fromkeys([*samples.rfm, *samples.journey, *changed])
    table = pd.DataFrame({"feature": list(names)})
    table["changes"] = table["feature"].isin(changed)
    rows = pd.concat(samples.training)
    areas = [
        roc_auc_score(rows["churned"], rows[name].fillna(0)) if name in rows else np.nan
        for name in table["feature"]
    ]
    table["auc"] = np.maximum(areas, 1 - np.array(areas))
    table["tells_all"] = table["auc"] >= TELLS_ALL
    table["verdict"] = np.where(table["changes"] | table["tells_all"], "suspect", "none")
    return table


def changed_by_the_future(
    make: Callable[[Table], pd.DataFrame], events: Table, cut_off: pd.Timestamp
) -> list[str]:
    """Return the columns that change when the events after the cut-off are removed or scrambled.

    Parameters
    ----------
    make : callable
        From events to features with ``customer_id``: what is on trial.
    events : Table
    cut_off : Timestamp

    Returns
    -------
    list of str
        Names of the columns that see the future; "customers" when the rows themselves change.
    """
    future = events.timestamp > cut_off
    # Scrambled: later events turn into purchases and back, with other values, feelings and stages.
    scrambled = events.mutate(
        purchase=ibis.ifelse(future, ~events.purchase, events.purchase),
        value=ibis.ifelse(future, -10 * events.value.coalesce(1.0), events.value),
        sentiment=ibis.ifelse(future, -1.0, events.sentiment),
        stage=ibis.ifelse(future, "", events.stage),
        touchpoint=ibis.ifelse(future, "", events.touchpoint),
        journey=ibis.ifelse(future, events.journey + 1, events.journey),
    )
    given = make(events).set_index("customer_id").sort_index()
    seen: set[str] = set()
    for other in (events.filter(~future), scrambled):
        made = make(other).set_index("customer_id").sort_index()
        if not made.index.equals(given.index):
            return ["customers"]
        same = np.isclose(made.astype(float), given.astype(float), equal_nan=True).all(axis=0)
        seen.update(given.columns[~same])
    return sorted(seen)
