"""One log's churn study: customers at every cut-off, a model chosen, tested once, refitted."""

import datetime as dt
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from ibis.expr.types import Table
from sklearn.base import clone

from cjlib.churn.canaries import changed_by_the_future
from cjlib.churn.choice import Choice, check_classes, choose, recalibration
from cjlib.churn.cut_offs import BUCKETS, DAY, Timeline, customers_at, timeline
from cjlib.churn.evaluation import compare, paired_gain
from cjlib.churn.features import Vocabulary, features, vocabulary
from cjlib.churn.models import BoostedScores, LogisticScores, Recalibrated, base_columns, candidates
from cjlib.errors import ContractError
from cjlib.journeys import with_journeys

FEWEST = 20
"""Customers who churned, and who did not, that a cut-off must have to count."""


@dataclass
class Study:
    """Customers at the cut-offs of one log.

    Attributes
    ----------
    line : Timeline
    horizon : Timedelta
    words : Vocabulary
    training : list of DataFrame
        ``customers_at`` each training cut-off, oldest first; empty when ``problem`` says why.
    test, now : DataFrame
        At the test cut-off (empty when there is none) and at the moment of the report.
    buckets : int
        Training and test hold the customers of so many of the 256 buckets; ``now`` holds all.
    problem : str
        Empty, or why no model can be fitted and tested on this log.
    """

    line: Timeline
    horizon: pd.Timedelta
    words: Vocabulary
    now: pd.DataFrame
    buckets: int = BUCKETS
    training: list[pd.DataFrame] = field(default_factory=list)
    test: pd.DataFrame = field(default_factory=pd.DataFrame)
    problem: str = ""

    @property
    def customers(self) -> pd.DataFrame:
        """One row per cut-off: use, cut_off, customers, churned and churned_recent (shares).

        The second share is of those who had bought within the horizon before the cut-off: the pool
        of all who ever bought grows older with the log.
        """
        frames = [(f"training {i + 1}", frame) for i, frame in enumerate(self.training)]
        frames += [("test", self.test)] if len(self.test) else []
        rows = []
        for use, frame in frames:
            recent = frame["recency_days"] <= self.horizon / DAY
            churned = frame["churned"]
            at = frame["cut_off"].iloc[0]
            rows.append((use, at, len(frame), churned.mean(), churned[recent].mean()))
        rows.append(("scores", self.line.score, len(self.now), np.nan, np.nan))
        columns = ["use", "cut_off", "customers", "churned", "churned_recent"]
        return pd.DataFrame(rows, columns=columns)


def study(
    events: Table, as_of: pd.Timestamp, horizon: pd.Timedelta, *, most: int = 50_000
) -> Study:
    """Collect the customers of every cut-off that the log carries.

    Parameters
    ----------
    events : Table
        Events of a prepared log.
    as_of : Timestamp
    horizon : Timedelta
    most : int
        About how many customers to fit and test on; scores are made for everybody.

    Raises
    ------
    ContractError
        When nobody in the log has bought.
    """
    extent = events.aggregate(first=events.timestamp.min(), n=events.customer_id.nunique())
    first, customers = extent.execute().iloc[0]
    line = timeline(pd.Timestamp(first), as_of, horizon)
    words = vocabulary(events, line.training[-1] if line.training else as_of)
    now = customers_at(events, as_of, horizon, words, labelled=False)
    buckets = BUCKETS if customers <= most else max(1, int(BUCKETS * most / customers))
    found = Study(line, horizon, words, now, buckets, problem=line.missing)
    if found.problem:
        return found
    try:
        frames = [
            customers_at(events, at, horizon, words, buckets=buckets)
            for at in (*line.training, line.test)
        ]
        training = [frame for frame in frames[:-1] if _tells(frame)]
        for frame in (frames[-1], *([] if training else frames[:1])):
            check_classes(frame["churned"], FEWEST)
    except ContractError as error:
        found.problem = f"{str(error)[:1].upper()}{str(error)[1:]}"
        return found
    found.training, found.test = training, frames[-1]
    return found


def future_seen(
    found: Study, events: Table, inactivity: dt.timedelta, *, most: int = 20_000
) -> list[str]:
    """Return the features of the test cut-off that see the future: none, if all is well.

    Journeys and visits are numbered anew each time, so a leak through them would show too.
    """
    share = min(1.0, most / max(len(found.now), 1))
    sample = events.filter(events.bucket < max(1, int(BUCKETS * share)))

    def make(given: Table) -> pd.DataFrame:
        numbered = with_journeys(given.drop("journey", "visit"), inactivity)
        table = features(numbered, found.line.test, found.horizon, found.words)
        return table.drop("bucket").execute()

    return changed_by_the_future(make, sample, found.line.test)


@dataclass
class Result:
    """The model chosen and what the test said.

    Attributes
    ----------
    choice : Choice
    mended : bool
        Whether the chosen candidate's log-odds were shifted and stretched.
    models : dict
        Every candidate fitted to the training cut-offs, the chosen one as it will be used.
    evaluation : DataFrame
        ``cjlib.churn.evaluation.compare`` on the test.
    final : classifier
        The chosen one, fitted again to training and test cut-offs, for the scores.
    """

    choice: Choice
    mended: bool
    models: dict
    evaluation: pd.DataFrame
    final: object

    @property
    def model(self):
        """The chosen candidate as tested."""
        return self.models[self.choice.chosen]


def choose_model(found: Study, *, seed: int = 0) -> Choice:
    """Choose a candidate on the training cut-offs alone; see ``cjlib.churn.choice``."""
    models = candidates(found.words, pd.concat(found.training), seed=seed)
    return choose(found.training, models)


def open_test(found: Study, choice: Choice, *, seed: int = 0) -> Result:
    """Open the test: fit every candidate to the training cut-offs and compare them there once."""
    rows = pd.concat(found.training)
    models = candidates(found.words, pd.concat([rows, found.test]), seed=seed)
    shift, stretch, needed = recalibration(choice)
    if needed:
        models[choice.chosen] = Recalibrated(models[choice.chosen], shift, stretch)
    fitted = {name: clone(model).fit(rows, rows["churned"]) for name, model in models.items()}
    everything = pd.concat([rows, found.test])
    final = clone(models[choice.chosen]).fit(everything, everything["churned"])
    evaluation = compare(fitted, found.test, choice.chosen, seed=seed)
    return Result(choice, needed, fitted, evaluation, final)


def ablation(found: Study, result: Result) -> dict:
    """Return what journey features add to purchase features on the test, with a paired interval.

    The chosen candidate's kind of model is fitted with and without them; logistic regression where
    the chosen one is a rule or a purchase model.

    Returns
    -------
    dict
        Of ``cjlib.churn.evaluation.paired_gain``; empty for a log without journey features.
    """
    journey = tuple(found.words.journey)
    if not journey:
        return {}
    rows = pd.concat(found.training)
    base = base_columns(found.words, pd.concat([rows, found.test]))
    kind = LogisticScores() if "boosted" not in result.choice.chosen else BoostedScores()
    simple, rich = (
        clone(kind).set_params(columns=columns).fit(rows, rows["churned"])
        for columns in (base, base + journey)
    )
    chances = (model.predict_proba(found.test)[:, 1] for model in (simple, rich))
    return paired_gain(found.test["churned"], *chances, found.test["bucket"])


def _tells(frame: pd.DataFrame) -> bool:
    try:
        check_classes(frame["churned"], FEWEST)
    except ContractError:
        return False
    return True
