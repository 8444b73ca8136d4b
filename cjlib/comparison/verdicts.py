"""What moved between two reports, what broke, and what stayed the same.

Shares are compared among customers alike (`cjlib.markov.changes.like_with_like`), by buckets of
customers that both reports share: who is in both, and what is in both windows, counts in the same
bucket on either side. All tests of a page are corrected together. Something *moved* where chance
does not explain the difference and it is large enough to matter, *broke* where most of it is gone,
and is the *same* otherwise.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from cjlib.errors import Unanswerable
from cjlib.log import Log, dirt as dirty_rows
from cjlib.markov.changes import like_with_like
from cjlib.shelf import EarlierReport
from cjlib.uncertainty import (
    FEWEST_BUCKETS,
    FOUND,
    benjamini_hochberg,
    bucket_array,
    difference_test,
)

THRESHOLDS = {"share": 0.03, "feeling": 0.1, "fall": 0.8, "dirt": 0.01}
"""Least differences that matter, of shares and mean feelings; the part of a share or number whose
loss is a break; and the growth of the share of rows that break a rule."""
CAN_BREAK = ("touchpoint", "channel", "stage", "column", "events")
WHOLES = ("journeys", "purchases", "events", "rows")
NO_MOVE = ("stage", "events")
"""What follows from moves, from who comes and from growth: it can break, and no more."""
LEAST = 10
"""Buckets, and so customers at least, in which an item must be met before it is compared."""
LEAST_ALIKE = 30
"""Visits, journeys or the like below which customers alike are too few to tell how they vary."""
CELL = ["measure", "segment", "of", "item"]
COLUMNS = [*CELL, "before", "after", "effect", "lower", "upper", "p_value"]


def changes(
    before: pd.DataFrame,
    after: pd.DataFrame,
    *,
    dirt: pd.DataFrame | None = None,
    thresholds: Mapping[str, float] = THRESHOLDS,
    smallest_group: int = 1,
) -> pd.DataFrame:
    """Compare the measures of two reports.

    Parameters
    ----------
    before, after : DataFrame
        Of `cjlib.comparison.measures`.
    dirt : DataFrame, optional
        Of `dirt_before_and_after`: rows to be judged with the others.
    thresholds : mapping
        See `THRESHOLDS`.
    smallest_group : int
        Items of fewer buckets of customers, or of fewer than `LEAST`, are left out.

    Returns
    -------
    DataFrame
        The published table ``changes``: measure, segment, of, item, before, after (of customers
        alike; shares, mean feelings or events a day), effect, lower, upper (95 %), p_value, q_value
        and verdict, the surest first.

    Raises
    ------
    Unanswerable
        With too few customers.
    """
    buckets = sorted({*before["bucket"], *after["bucket"]})
    if len(buckets) < FEWEST_BUCKETS:
        raise Unanswerable("too few customers to tell a change from chance")
    both = pd.concat([before.assign(since=False), after.assign(since=True)], ignore_index=True)
    least = max(LEAST, smallest_group)
    parts = [
        _compared(rows.drop(columns="segment"), buckets, least).assign(
            measure=measure, segment=segment
        )
        for (measure, segment), rows in both.groupby(["measure", "segment"])
    ]
    parts = [part for part in parts if len(part)]
    if not parts:
        raise Unanswerable("too few customers to tell a change from chance")
    table = pd.concat(parts, ignore_index=True)
    table["q_value"] = benjamini_hochberg(table["p_value"])
    table["verdict"] = _verdicts(table, thresholds)
    if dirt is not None and len(dirt):
        broken = dirt["effect"] > thresholds["dirt"]
        table = pd.concat([table, dirt.assign(verdict=np.where(broken, "broken", "same"))])
    table = table.sort_values(["p_value", "effect", *CELL], ignore_index=True, kind="stable")
    return table[[*COLUMNS, "q_value", "verdict"]]


def _compared(rows: pd.DataFrame, buckets: list[str], least: int) -> pd.DataFrame:
    """Compare the items of one measure and segment."""
    whole, items = rows[rows["item"].isna()], rows[rows["item"].notna()]
    met = items.groupby(["of", "item"])["bucket"].nunique()
    cells = met.index[met >= least]
    if rows["measure"].iloc[0] == "events":
        days = items.groupby("since")["window_days"].first() / len(buckets)
        whole = pd.MultiIndex.from_product([days.index, buckets], names=["since", "bucket"])
        whole = whole.to_frame(index=False).assign(of="day", stratum="")
        whole["n"] = whole["since"].map(days)
    elif not len(cells) or whole["since"].nunique() < 2:
        return pd.DataFrame(columns=COLUMNS)
    strata = sorted(rows["stratum"].unique())
    levels = {"since": [False, True], "stratum": strata}
    items = items.assign(cell=list(zip(items["of"], items["item"], strict=True)))
    names = ["since", "stratum", "cell"]
    counts = bucket_array(items, names, "n", buckets, levels | {"cell": list(cells)})
    names[-1] = "of"
    groups = cells.get_level_values("of")
    of = bucket_array(whole, names, "n", buckets, levels | {"of": list(groups.unique())})
    of = of[..., groups.unique().get_indexer(groups)]
    alone = (counts.sum(axis=(0, 2)) == 0).any(axis=0)  # who comes makes nothing new, nor takes all
    enough = of.sum(axis=0).min(axis=0) >= LEAST_ALIKE
    table = _alike(counts * enough, of * enough)
    (had, has), (of_had, of_has) = (part.sum(axis=2).swapaxes(0, 1) for part in (counts, of))
    test = difference_test(has, of_has, had, of_had)
    with np.errstate(invalid="ignore"):
        shares = [
            part.sum(axis=0) / base.sum(axis=0) for part, base in ((had, of_had), (has, of_has))
        ]
    together = [*shares, test.effect, test.lower, test.upper, test.p_value]
    chosen = np.where(alone[:, None], np.stack(together, axis=1), table)
    table = pd.DataFrame(chosen, cells, table.columns)
    settled = (table["before"] == table["after"]) & table["after"].isin([0, 1])
    table["p_value"] = table["p_value"].where(table["effect"] != 0, 1.0)
    return table[table["p_value"].notna() & ~settled].reset_index()


def _alike(counts: np.ndarray, of: np.ndarray) -> pd.DataFrame:
    """Compare counts with what they are of, both (B, 2, S, cells), among customers alike."""
    buckets, _, strata, cells = counts.shape
    pair = np.stack([counts, of - counts], axis=-1).reshape(buckets, 2, strata * cells, 2)
    figures = like_with_like(pair, strata)
    names = {"share_before": "before", "share_after": "after", "difference": "effect"}
    names |= {f"difference_{end}": end for end in ("lower", "upper")} | {"difference_p": "p_value"}
    return pd.DataFrame({new: figures[old][:, 0] for old, new in names.items()})


def _verdicts(table: pd.DataFrame, thresholds: Mapping[str, float]) -> np.ndarray:
    sure = table["q_value"] < FOUND
    large = np.where(table["measure"] == "feeling", thresholds["feeling"], thresholds["share"])
    moved = sure & (table["effect"].abs() > large) & ~table["measure"].isin(NO_MOVE)
    gone = table["after"] < (1 - thresholds["fall"]) * table["before"]
    broken = sure & gone & table["measure"].isin(CAN_BREAK)
    return np.select([broken, moved], ["broken", "moved"], "same")


def tally(table: pd.DataFrame) -> pd.DataFrame:
    """Count the verdicts: measure (``all`` last), compared, moved, broken, same."""
    counts = pd.crosstab(table["measure"], table["verdict"])
    counts = counts.reindex(columns=["moved", "broken", "same"], fill_value=0)
    counts.insert(0, "compared", counts.sum(axis=1))
    counts.loc["all"] = counts.sum()
    return counts.rename_axis(columns=None).reset_index()


def of_measures(table: pd.DataFrame, *measures: str) -> pd.DataFrame:
    """Return the changes of some measures.

    Raises
    ------
    Unanswerable
        Where nothing of them could be compared.
    """
    rows = table[table["measure"].isin(measures)]
    if rows.empty:
        raise Unanswerable("nothing of this kind was met by enough customers to be compared")
    return rows


def as_shares(table: pd.DataFrame, label: Callable[[str], str] = str) -> pd.DataFrame:
    """Return the changes that are of shares and can move or break, named for the reader.

    Parameters
    ----------
    table : DataFrame
        Of `changes`.
    label : callable
        From a stage, touchpoint or channel to what is shown.

    Returns
    -------
    DataFrame
        Also name; share_before, share_after and difference (with its limits) in place of before,
        after and effect.
    """
    wanted = ~table["measure"].isin(["feeling", "events"])
    wanted &= (table["measure"] != "stage") | (table["verdict"] == "broken")
    names = {"before": "share_before", "after": "share_after", "effect": "difference"}
    names |= {end: f"difference_{end}" for end in ("lower", "upper")}
    rows, names = table[wanted].rename(columns=names), []
    for row in rows.itertuples():
        name, between = label(row.item), " → " if row.measure == "move" else ": "
        if row.of not in WHOLES and row.measure != "touchpoint":
            name = label(row.of) + between + name
        names.append(name if row.segment == "all" else f"{name} ({label(row.segment)})")
    return rows.assign(name=names)


def dirt_before_and_after(log: Log, earlier: EarlierReport | None) -> pd.DataFrame:
    """Compare the share of rows that break a rule with that of an earlier report.

    Parameters
    ----------
    log : Log
    earlier : EarlierReport or None

    Returns
    -------
    DataFrame
        measure (``quality``), segment, of, item (the rule), before, after, effect; where the source
        has grown, after is of the rows added. Without rows where there is no such report.
    """
    if earlier is None or not earlier.holds("quality"):
        return pd.DataFrame()
    tables = (earlier.table("quality"), log.quality)
    read = [int(table["rows"].iloc[0]) for table in tables]
    rows = [dirty_rows(table, log.dataset).set_index("rule")["rows"] for table in tables]
    both = pd.concat(rows, axis=1, keys=["then", "now"]).fillna(0)
    added, since = read[1] - read[0], both["now"] - both["then"]
    grown = (added > 0) & (since >= 0)
    before = both["then"] / max(read[0], 1)
    after = np.where(grown, since / max(added, 1), both["now"] / max(read[1], 1))
    table = pd.DataFrame({"before": before, "after": after, "effect": after - before})
    table = table.rename_axis("item").reset_index()
    return table.assign(measure="quality", segment="all", of="rows")
