"""Why a customer's score is high, in words: sentences of ``reasons.yml``, filled."""

import string

import numpy as np
import pandas as pd

from cjlib.churn.importance import topics
from cjlib.forms import Wording, kind_of

RAISES = 0.02
"""Log-odds above the average customer's from which a topic counts as a reason."""


def reasons(frame: pd.DataFrame, by_topic: pd.DataFrame, log, *, most: int = 3) -> pd.DataFrame:
    """Return each customer's strongest reasons for a raised risk, in words with numbers.

    Parameters
    ----------
    frame : DataFrame
        Customers at a cut-off.
    by_topic : DataFrame
        Of `cjlib.churn.importance.contributions`, same rows.
    log : Log
    most : int

    Returns
    -------
    DataFrame
        reason_1, reason_2, …: strongest first; empty where nothing more raises the risk above that
        of the average customer.
    """
    strength = by_topic.to_numpy()
    order = np.argsort(-strength, axis=1, kind="stable")[:, :most]
    raised = np.take_along_axis(strength, order, 1) > RAISES
    texts = np.full((len(frame), most), "", dtype=object)
    usual = frame.median(numeric_only=True).add_prefix("usual_")
    for place, topic in enumerate(by_topic.columns):
        rows, ranks = np.nonzero((order == place) & raised)
        if len(rows):
            texts[rows, ranks] = in_words(topic, frame.iloc[rows], usual, log)
    names = [f"reason_{rank + 1}" for rank in range(most)]
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
