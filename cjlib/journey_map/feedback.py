"""What customers say: the words that set bad feedback apart from good, and how much of it there is.

Texts are split and counted on the engine; only counts of customers come here. A word is shown where
enough customers use it and it is no number, address or, as far as capitals tell, name.
"""

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
from scipy.stats import norm

from cjlib.errors import Unanswerable
from cjlib.journey_map.counts import as_int, put
from cjlib.log import Log
from cjlib.uncertainty import (
    FOUND,
    benjamini_hochberg,
    bucket_array,
    proportion,
    ratio,
)

ADDRESS = r"(https?://|www\.)\S+|\S*@\S+"
STOP = r"[.,;:!?()\"\n]+"
BREAK = " 0 "  # in place of what ends a pair of words: no word itself
NO_LETTER = r"[^\p{L}\p{N}'’]+"
MARGIN = r"^['’]+|['’]+$"
DIGIT = r"\p{N}"
MOST = 3000  # words and pairs compared, those of most customers
PRIOR = 500.0  # customers' words that the prior is worth
CAPITALS = 0.15
"""Share of the words that are always written with a capital, beyond which a language does so."""


def feedback_words(log: Log, touchpoint: str = "", *, least: int = 20) -> pd.DataFrame:
    """Return the words and word pairs that set bad feedback apart from good.

    Parameters
    ----------
    log : Log
    touchpoint : str, optional
        Only what was said there.
    least : int
        Customers who must have used a word; ``smallest_group`` at least.

    Returns
    -------
    DataFrame
        ``term`` (a word, or two in a row), ``words`` (1 or 2), ``customers`` who used it,
        ``bad_share`` and ``good_share`` (of the customers with a text and a feeling below, above
        0), ``log_odds`` with ``lower``, ``upper`` (above 0: goes with bad), ``z``, ``q_value``,
        ``side`` (``bad``, ``good``, or ``neither``); the worst first.

    Raises
    ------
    Unanswerable
        If there is no text with a feeling, or none on one side.

    Notes
    -----
    Log-odds with an informative Dirichlet prior: the counts of each side are shrunk towards the
    words of both, so that rare words do not lead by chance. B. L. Monroe, M. P. Colaresi and K. M.
    Quinn, Political Analysis 16 (2008), equations 15, 16, 22. Each customer counts a word once.
    """
    least = max(least, log.dataset.privacy.smallest_group)
    texts = _texts(log, touchpoint)
    said = texts.group_by("side").agg(customers=texts.customer_id.nunique()).to_pandas()
    people = said.set_index("side")["customers"].reindex(["bad", "good"]).fillna(0)
    if people.min() < least:
        raise Unanswerable(
            f"fewer than {least} customers have written with a feeling below 0, or above it"
        )
    terms = _terms(texts)
    used = terms.group_by("term", "words").agg(
        customers=terms.customer_id.nunique(), name=terms.name.min()
    )
    used = used.filter(used.customers >= least)
    used = used.order_by(ibis.desc("customers"), "term").limit(MOST)
    by_side = terms.semi_join(used, ["term", "words"]).group_by("term", "words", "side")
    counts = by_side.agg(n=terms.customer_id.nunique()).to_pandas()
    table = counts.pivot_table("n", ["term", "words"], "side").fillna(0)
    table = table.reindex(columns=["bad", "good"], fill_value=0).reset_index()
    table = table.merge(used.to_pandas(), on=["term", "words"])
    if table.empty:
        raise Unanswerable(f"no word was used by {least} customers")
    single = table["words"] == 1
    named = set(table.loc[single & (table["name"] == 1), "term"])
    if len(named) <= CAPITALS * single.sum():
        table = table[[not named & set(term.split()) for term in table["term"]]]
    compared = [_log_odds(part) for _, part in table.groupby("words")]
    table = pd.concat(compared, ignore_index=True)
    for side in ("bad", "good"):
        table[f"{side}_share"] = table[side] / people[side]
    table["q_value"] = benjamini_hochberg(2 * norm.sf(table["z"].abs()))
    found = (table["q_value"] < FOUND).to_numpy()
    table["side"] = np.select([found & (table["z"] > 0), found], ["bad", "good"], "neither")
    columns = ["term", "words", "customers", "bad_share", "good_share", "log_odds"]
    columns += ["lower", "upper", "z", "q_value", "side"]
    return table.sort_values(["z", "term"], ascending=[False, True], ignore_index=True)[columns]


def feedback_table(log: Log) -> pd.DataFrame:
    """Return how much was said at each touchpoint, how bad it is, and who would recommend.

    Returns
    -------
    DataFrame
        ``stage``, ``touchpoint``, ``customers`` who wrote, ``n`` texts, ``feedback_share`` (of the
        touchpoint's events), ``bad_share`` of the texts with a feeling (below 0) with limits, and
        ``net_promoter`` with limits where the scale of the feelings is 0 to 10 (else missing): the
        share of 9 and 10 less that of 0 to 6, of all events with a feeling.

    Raises
    ------
    Unanswerable
        If the log holds no text.
    """
    column = log.dataset.columns.sentiment
    scored = bool(column and column.scale == (0, 10))
    events = _events(log)
    events = events.mutate(
        said=as_int(events.feedback.notnull()),
        told=as_int(events.feedback.notnull() & events.sentiment.notnull()),
        bad=as_int(events.feedback.notnull() & (events.sentiment < 0)),
        felt=as_int(events.sentiment.notnull()),
        net=as_int(events.sentiment > 0.7) - as_int(events.sentiment < 0.3),
    )
    sums = ["said", "told", "bad", "felt", "net"]
    groups = events.group_by("position", "stage", "touchpoint", "bucket").agg(
        events=events.count(),
        customers=events.customer_id.nunique(where=events.said == 1),
        **{name: events[name].sum() for name in sums},
    )
    counts = groups.to_pandas()
    heads = counts.groupby(["position", "stage", "touchpoint"], as_index=False)["said"].sum()
    heads = heads[heads.pop("said") > 0].drop(columns="position")
    if heads.empty:
        raise Unanswerable("the column feedback holds no text")
    levels = {"touchpoint": heads["touchpoint"].tolist()}
    names = ["events", "customers", *sums]
    array = bucket_array(counts, ["touchpoint"], names, levels=levels)
    of = dict(zip(names, np.moveaxis(array, -1, 0), strict=True))
    table = heads.reset_index(drop=True)
    table["customers"] = of["customers"].sum(axis=0).astype(int)
    table["n"] = of["said"].sum(axis=0).astype(int)
    table["feedback_share"] = of["said"].sum(axis=0) / of["events"].sum(axis=0)
    put(table, "bad_share", proportion(of["bad"], of["told"]))
    put(table, "net_promoter", ratio(of["net"], of["felt"], scale=(-1, 1)))
    if not scored:
        table[["net_promoter", "net_promoter_lower", "net_promoter_upper"]] = np.nan
    return table


def _events(log: Log) -> ir.Table:
    if not log.has("feedback"):
        raise Unanswerable("this log has no column feedback")
    return log.events


def _texts(log: Log, touchpoint: str) -> ir.Table:
    """Return the texts with a feeling, on the ``side`` bad (below 0) or good (above)."""
    events = _events(log)
    if touchpoint:
        events = events.filter(events.touchpoint == touchpoint)
    events = events.filter(events.feedback.notnull() & (events.sentiment != 0))
    text = events.feedback.re_replace(ADDRESS, BREAK).re_replace(STOP, BREAK)
    return events.select(
        "customer_id",
        "line",
        side=(events.sentiment < 0).ifelse("bad", "good"),
        raw=text.re_replace(NO_LETTER, " ").strip().split(" "),
    )


def _terms(texts: ir.Table) -> ir.Table:
    """Return each text's words and pairs of words that follow each other: no numbers among them.

    ``name`` is 1 for a word with a capital and small letters after it, 0 for others.
    """
    words = texts.select("customer_id", "line", "side", word=texts.raw).unnest("word", offset="at")
    words = words.mutate(term=words.word.lower().re_replace(MARGIN, ""))
    capital = (words.word != words.word.lower()) & (words.word != words.word.upper())
    words = words.mutate(name=as_int(capital))
    # numbers and breaks stay in their place until pairs are made: none reaches across them
    order = ibis.window(group_by=["customer_id", "line", "side"], order_by="at")
    words = words.mutate(after=words.term.lead().over(order))
    sound = words.filter(_is_word(words.term))
    pairs = sound.filter(_is_word(sound.after))
    keep = ["customer_id", "side", "term", "words", "name"]
    alone = sound.mutate(words=1).select(keep)
    pairs = pairs.mutate(
        term=pairs.term + " " + pairs.after, words=2, name=ibis.literal(0, "int64")
    ).select(keep)
    return alone.union(pairs)


def _is_word(term: ir.StringValue) -> ir.BooleanValue:
    return (term.length() > 1) & ~term.re_search(DIGIT)


def _log_odds(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``log_odds`` with limits and ``z`` to counts of ``bad`` and ``good`` by term."""
    counts = table[["bad", "good"]].to_numpy(float)
    whole = counts.sum()
    prior = PRIOR * counts.sum(axis=1, keepdims=True) / whole
    own = counts + prior
    with np.errstate(divide="ignore"):  # a single word is all there is
        odds = np.log(own / (counts.sum(axis=0) + PRIOR - own))
    effect, error = odds[:, 0] - odds[:, 1], np.sqrt((1 / own).sum(axis=1))
    half = norm.isf(0.025) * error
    limits = {"lower": effect - half, "upper": effect + half}
    return table.assign(log_odds=effect, **limits, z=effect / error)
