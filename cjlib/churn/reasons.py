"""What a score leans on, what that adds to a customer's score, and this said in words.

Features that say the same thing (days since the last order, usual gap, rhythm) make one topic; the
topics, their features and their words stand in ``reasons.yml``. All of these are associations in
the log, never causes.
"""

import string
import warnings
from functools import cache, reduce
from importlib.resources import files

import numpy as np
import pandas as pd
import yaml
from scipy import stats
from scipy.special import expit
from sklearn import config_context
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    VotingClassifier,
)
from sklearn.pipeline import Pipeline

from cjlib.churn.selection import clustered_mean, log_losses, log_odds
from cjlib.errors import Unanswerable
from cjlib.forms import Wording, kind_of
from cjlib.uncertainty import benjamini_hochberg

MATTERS = 0.005
"""Share of the log-loss that scores must lose without a topic for it to be called important."""
CHUNK = 50_000
"""Customers taken apart at a time, for memory's sake."""
TRIALS = 120
"""Predictions per customer that sampled contributions may take, about."""
SHUFFLES = 5
"""How often a topic is shuffled among customers, to average over."""
STRAIGHT = 0.5
"""Correlation of a topic with its contributions from which more of it has a sign."""
SIGNED = 0.01
"""p-value (two-sided) below which a sign is stated: a report looks at about five at once."""
RAISES = 0.02
"""Log-odds above the average customer's from which a topic counts as a reason."""
REASONS = 3
"""How many reasons a customer's score is given at most."""


# -- topics of features ---------------------------------------------------------------------------


@cache
def topics() -> dict[str, dict]:
    """Return the topics of ``reasons.yml``: features, reason, each."""
    text = (files("cjlib.churn") / "reasons.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def topic_of(column: str) -> str:
    """Return the topic of a feature, or the feature's name where it belongs to none."""
    kind, colon, name = column.partition(":")
    for topic, described in topics().items():
        if kind + colon in described["features"]:
            return f"{topic} {name}" if described.get("each") else topic
    return column


def columns_by_topic(columns) -> dict[str, list[str]]:
    """Return topic to its features, in the order of the features."""
    columns = pd.Series(list(columns))
    return columns.groupby(columns.map(topic_of), sort=False).agg(list).to_dict()


# -- what the scores lean on ----------------------------------------------------------------------


def permutation_importance(
    model, X: pd.DataFrame, churned, bucket, *, seed: int = 0
) -> pd.DataFrame:
    """Return how much worse the scores get without each topic, with intervals.

    The topic's columns are shuffled together among the customers (Breiman 2001); the loss that this
    adds, customer by customer, has an interval over buckets. Run it on customers the model was not
    fitted to.

    Parameters
    ----------
    model : classifier
        Fitted candidate.
    X : DataFrame
        Features.
    churned, bucket : array, shape (n,)
    seed : int

    Returns
    -------
    DataFrame
        topic, share (added log-loss, of the log-loss), lower, upper, the columns of `direction`,
        q_value and verdict: "important" where the loss is above zero beyond the chance of so many
        topics (q < 5 %) and large enough to matter (``MATTERS``), else "none", and then no sign
        either. Topics that the model does not read are left out.

    Raises
    ------
    Unanswerable
        When the score reads fewer than two topics.
    """
    rng, n = np.random.default_rng(seed), len(X)
    bucket, units = np.asarray(bucket), max(len(np.unique(bucket)) - 1, 1)
    stacked, truth = pd.concat([X] * SHUFFLES), np.tile(churned, SHUFFLES)

    def losses(given: pd.DataFrame) -> np.ndarray:
        return log_losses(truth, model.predict_proba(given)[:, 1]).reshape(SHUFFLES, n).mean(0)

    base = losses(stacked)
    odds, adds = log_odds(model.predict_proba(X)[:, 1]), contributions(model, X, X, seed=seed)
    rows = []
    for topic, names in columns_by_topic(X.columns).items():
        mixed = stacked.copy(deep=False)
        order = np.concatenate([rng.permutation(n) for _ in range(SHUFFLES)])
        mixed[names] = X[names].to_numpy()[order]
        added = losses(mixed) - base
        if added.any():
            loss, error = clustered_mean(added / base.mean(), bucket)
            half = stats.t.ppf(0.975, units) * error
            p_value = stats.t.sf(loss / error, units)
            way = direction(X[names], adds.get(topic, 0 * adds.iloc[:, 0]), odds, churned, bucket)
            limits = {"share": loss, "lower": loss - half, "upper": loss + half}
            rows.append({"topic": topic, **limits, "p_value": p_value, **way})
    if len(rows) < 2:
        raise Unanswerable("the chosen score is a single figure, so no topics are to be told apart")
    table = pd.DataFrame(rows)
    table["q_value"] = benjamini_hochberg(table.pop("p_value").to_numpy())
    clear = (table["q_value"] < 0.05) & (table["share"] >= MATTERS)
    table["verdict"] = np.where(clear, "important", "none")
    table["goes_with"] = table["goes_with"].where(clear, "unclear")
    return table.sort_values("share", ascending=False, ignore_index=True)


def direction(X: pd.DataFrame, adds: pd.Series, odds: np.ndarray, churned, bucket) -> dict:
    """Return whether more of a topic goes with churn, all else in the score being the same.

    Who meets a touchpoint often may be a heavy user, who stays: the plain correlation would call
    the touchpoint good. So the sign is that of the score's own contributions, where these rise or
    fall with the topic; and it is stated where they hold on customers who were not in the fit: in a
    logistic regression of churn on the contribution and on what the score says without it, the
    first has a coefficient above zero, and beyond the chance of several signs (``SIGNED``).

    Parameters
    ----------
    X : DataFrame, shape (n, columns of the topic)
    adds : Series, shape (n,)
        What the topic adds to each customer's log-odds.
    odds : array, shape (n,)
        All log-odds of the score.
    churned, bucket : array, shape (n,)

    Returns
    -------
    dict
        direction (log-odds for one standard deviation of the contributions, with the sign of more
        of the topic), direction_lower, direction_upper, and goes_with ("churn", "staying" or
        "unclear"). "unclear" too, and NaN, where more of the topic has no one meaning, its features
        being of several kinds or the contributions bent (``STRAIGHT``).
    """
    nothing = {"direction": np.nan, "direction_lower": np.nan, "direction_upper": np.nan}
    nothing["goes_with"] = "unclear"
    kind = topic_of(X.columns[0]).partition(" ")[0]
    one_kind = len(X.columns) == 1 or topics().get(kind, {}).get("each")
    more = X.rank().mean(axis=1).to_numpy()
    added = adds.to_numpy(dtype=float)
    if not one_kind or np.ptp(more) == 0 or np.ptp(added) == 0:
        return nothing
    slope = np.corrcoef(more, added)[0, 1]
    if abs(slope) < STRAIGHT:
        return nothing
    y = np.asarray(churned, dtype=float)
    Z = np.column_stack([_standard(added), _standard(odds - added), np.ones(len(y))])
    beta = np.zeros(3)
    for _ in range(25):  # Newton's steps; a little ridge where the groups part entirely
        p = expit(Z @ beta)
        information = (Z * (p * (1 - p))[:, None]).T @ Z + 0.01 * np.eye(3)
        step = np.linalg.solve(information, Z.T @ (y - p) - 0.01 * beta)
        beta += np.clip(step, -2, 2)
    scores = pd.DataFrame(Z * (y - p)[:, None]).groupby(np.asarray(bucket)).sum().to_numpy()
    units = max(len(scores) - 1, 1)
    inverse = np.linalg.inv(information)
    variance = (inverse @ (scores.T @ scores) @ inverse)[0, 0] * len(scores) / units
    half, sure = stats.t.ppf([0.975, 1 - SIGNED / 2], units) * np.sqrt(variance)
    way, middle = np.sign(slope), np.sign(slope) * beta[0]
    limits = {"direction_lower": middle - half, "direction_upper": middle + half}
    named = "unclear" if beta[0] <= sure else "churn" if way > 0 else "staying"
    return {"direction": middle} | limits | {"goes_with": named}


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / (values.std() or 1)


# -- what adds to a customer's score --------------------------------------------------------------


def contributions(
    model, X: pd.DataFrame, background: pd.DataFrame, *, seed: int = 0
) -> pd.DataFrame:
    """Return what each topic adds to each customer's log-odds of churn (SHAP contributions).

    Exact for linear models (coefficient times the distance from the average customer) and for
    gradient-boosted trees (`shap.TreeExplainer`), also at the end of pipelines that keep the
    columns. For any other classifier they are sampled: topics turn one after another, in random
    order, from a random customer's values to the customer's own (Štrumbelj & Kononenko 2014); that
    takes about ``TRIALS`` predictions per customer. Those of an average (`VotingClassifier`) are
    the mean of its members', which is near enough to rank reasons by.

    Parameters
    ----------
    model : classifier
        Fitted candidate.
    X : DataFrame
        Features of the customers to explain.
    background : DataFrame
        Features of the customers that the model was fitted to.
    seed : int
        Of the sampling.

    Returns
    -------
    DataFrame
        Same rows, one column per topic.
    """
    if isinstance(model, VotingClassifier):
        members = [contributions(one, X, background, seed=seed) for one in model.estimators_]
        weights = model.weights if model.weights is not None else [1] * len(members)
        parts = [part * (w / sum(weights)) for part, w in zip(members, weights, strict=True)]
        return reduce(lambda one, other: one.add(other, fill_value=0.0), parts)
    explain = _linear(model, background) or _boosted(model, background)
    explain = explain or _sampled(model, background, np.random.default_rng(seed))
    parts = []
    for start in range(0, len(X), CHUNK):
        columns = explain(X.iloc[start : start + CHUNK])
        names = [topic_of(name) for name in columns.columns]
        parts.append(columns.T.groupby(names, sort=False).sum().T.astype("float32"))
    return pd.concat(parts)


def _prepared(model, X: pd.DataFrame):
    """Return the estimator at a pipeline's end, and what it is given, with the columns' names."""
    with config_context(transform_output="pandas"):
        while isinstance(model, Pipeline):
            model, X = model[-1], model[:-1].transform(X)
    return model, X.rename(columns=lambda name: str(name).rpartition("__")[2])


def _linear(model, background: pd.DataFrame):
    last, typical = _prepared(model, background)
    coefficients = getattr(last, "coef_", None)
    if np.shape(coefficients) != (1, typical.shape[1]) or not set(typical) <= set(background):
        return None
    mean = typical.mean()
    return lambda X: (_prepared(model, X)[1] - mean) * coefficients[0]


def _boosted(model, background: pd.DataFrame):
    last, typical = _prepared(model, background.head(1))
    kinds = GradientBoostingClassifier, HistGradientBoostingClassifier
    if not isinstance(last, kinds) or not set(typical) <= set(background):
        return None
    with warnings.catch_warnings():  # it complains of a missing widget for its progress bars
        warnings.simplefilter("ignore")
        from shap import TreeExplainer  # slow to import, and needed for these alone

    trees = TreeExplainer(last)

    def explain(X: pd.DataFrame) -> pd.DataFrame:
        given = _prepared(model, X)[1].astype(float)
        return pd.DataFrame(trees.shap_values(given.to_numpy()), X.index, given.columns)

    return explain


def _sampled(model, background: pd.DataFrame, rng: np.random.Generator):
    sample = background.sample(min(len(background), 1000), random_state=int(rng.integers(2**31)))

    def odds(X: pd.DataFrame) -> np.ndarray:
        return log_odds(model.predict_proba(X)[:, 1])

    def read(names: list[str]) -> bool:
        turned = sample[names].iloc[::-1].set_axis(sample.index)
        return (odds(sample.assign(**turned)) != usual).any()

    usual = odds(sample)
    groups = [names for names in columns_by_topic(background.columns).values() if read(names)]

    def explain(X: pd.DataFrame) -> pd.DataFrame:
        given, total = X.reset_index(drop=True), pd.DataFrame(0.0, X.index, [g[0] for g in groups])
        rounds = max(1, TRIALS // max(len(groups), 1))
        for _ in range(rounds):
            mixed = background.iloc[rng.integers(len(background), size=len(X))]
            mixed = mixed.reset_index(drop=True)
            before = odds(mixed)
            for place in rng.permutation(len(groups)):
                mixed[groups[place]] = given[groups[place]]
                after = odds(mixed)
                total[groups[place][0]] += (after - before) / rounds
                before = after
        return total

    return explain


# -- in words ------------------------------------------------------------------------------------


def reasons_in_words(frame: pd.DataFrame, by_topic: pd.DataFrame, log) -> pd.DataFrame:
    """Return each customer's strongest reasons for a raised risk, in words with numbers.

    Parameters
    ----------
    frame : DataFrame
        Customers at a cut-off.
    by_topic : DataFrame
        Of `contributions`, same rows.
    log : Log

    Returns
    -------
    DataFrame
        reason_1 to reason_3: strongest first; empty where nothing more raises the risk above that
        of the average customer.
    """
    strength = by_topic.to_numpy()
    order = np.argsort(-strength, axis=1, kind="stable")[:, :REASONS]
    raised = np.take_along_axis(strength, order, 1) > RAISES
    texts = np.full((len(frame), REASONS), "", dtype=object)
    usual = frame.median(numeric_only=True).add_prefix("usual_")
    for place, topic in enumerate(by_topic.columns):
        rows, ranks = np.nonzero((order == place) & raised)
        if len(rows):
            texts[rows, ranks] = in_words(topic, frame.iloc[rows], usual, log)
    names = [f"reason_{rank + 1}" for rank in range(REASONS)]
    return pd.DataFrame(texts, frame.index, names)


def in_words(topic: str, rows: pd.DataFrame, usual: pd.Series, log) -> np.ndarray:
    """Return a topic's reason for each row, array of str."""
    kind, _, name = topic.partition(" ")
    described = topics().get(topic) or topics().get(kind, {"reason": topic})
    if described.get("each"):
        parts = [feature.rstrip(":") for feature in described["features"]]
        fields = {part: rows[f"{part}:{name}"] for part in parts}
        usual = pd.Series({f"usual_{part}": usual[f"usual_{part}:{name}"] for part in parts})
        rows = pd.DataFrame(fields).assign(name=log.label(name))
    if topic == "stage":
        stages = rows.filter(regex="^stage:")
        rows = rows.assign(stage=stages.idxmax(axis=1).str.removeprefix("stage:").map(log.label))
    same = {**usual, "horizon": log.dataset.churn.horizon}
    sentences = described["reason"]
    if isinstance(sentences, str):
        sentences = {"otherwise": sentences}
    wording = Wording(currency=log.dataset.currency or "")
    texts, open_ = np.full(len(rows), "", dtype=object), np.ones(len(rows), dtype=bool)
    for condition, sentence in sentences.items():
        here = open_ if condition == "otherwise" else open_ & rows.eval(condition).to_numpy()
        texts[here] = _filled(sentence, rows[here], same, wording)
        open_ = open_ & ~here
    return texts


def _filled(sentence: str, rows: pd.DataFrame, same: dict, wording: Wording) -> np.ndarray:
    """Fill a sentence for every row; each different figure is put in its form once."""
    text = np.full(len(rows), "", dtype=object)
    for literal, field, spec, _ in string.Formatter().parse(sentence):
        text = text + literal
        if field:
            column = rows[field] if field in rows else pd.Series(same[field], rows.index)
            codes, values = pd.factorize(column.round() if kind_of(field) == "days" else column)
            forms = [format(v, spec) if spec else wording.cell(field, v) for v in values]
            text = text + np.array(forms, dtype=object)[codes]
    return text
