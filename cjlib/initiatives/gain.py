"""What each candidate would bring a month, how surely, and which comes first."""

import zlib
from collections.abc import Mapping

import numpy as np
import pandas as pd

from cjlib.errors import Unanswerable
from cjlib.initiatives.candidates import ASSUMED, REACH, STRENGTHEN, concerned
from cjlib.initiatives.changed_chain import DRAWS, Draws, Flow, extra, figures, resampled, shifted
from cjlib.journeys import BOUGHT, LOST
from cjlib.markov.transitions import segments_known_at_first
from cjlib.uncertainty import bucket_array

Z = 1.959964


def gains(
    log,
    flow: Flow,
    candidates: pd.DataFrame,
    causal: Mapping[str, float],
    *,
    reached: float = 1.0,
    segment_by: str = "",
    seed: int = 0,
) -> pd.DataFrame:
    """Return the initiatives: candidates with what they would bring, ranked by the lower end.

    A change of losses is carried through the chain: the stage's row changes by the effect, times
    the share of its visits that are concerned. A change of what is bought afterwards is one of
    customers who would not have bought within the horizon and do: they buy as often in it as those
    who do today. What is strengthened, or reaches further, reaches as many visits again as it does
    at present, at most: how it would go at all others, no visit with it tells. Flow, chain, shares
    and value are resampled together by the buckets of customers; effects are drawn beside them
    from their own intervals.

    Parameters
    ----------
    log : Log
    flow : Flow
    candidates : DataFrame
        Of `cjlib.initiatives.gathered`.
    causal : mapping
        Kind of ``evidence`` to the share of an effect that acting would truly bring: an assumption.
    reached : float
        Share of the visits concerned that acting would reach.
    segment_by : str
        By which the segments among the candidates were told apart.
    seed : int

    Returns
    -------
    DataFrame
        The published table ``initiatives``: rank, initiative, the columns of candidates,
        ``expected`` (by how much the measure would move among those reached), extra_purchases a
        month with lower and upper, extra_value with limits, visits and customers concerned a month,
        break_even_cost (value gained per customer concerned).

    Notes
    -----
    Candidates are chosen because their effect is large, so it is shrunk as its size warns: by
    ``1 - 1/z^2``, empirical Bayes with a normal prior of mean zero for each (James and Stein 1961).
    """
    groups = segments_known_at_first(log, segment_by) if segment_by else None
    table, counts = candidates.copy(), []
    for place, row in table.iterrows():
        visits = concerned(log, row, flow.since, groups)
        counts.append(visits.group_by("bucket").agg(n=visits.count()).to_pandas())
        table.loc[place, "visits"] = counts[-1]["n"].sum() / flow.months
        if np.isnan(row.get("customers", np.nan)):
            people = visits.customer_id.nunique().execute()
            table.loc[place, "customers"] = people / flow.months
    visits = np.stack([bucket_array(one, [], "n", buckets=flow.buckets) for one in counts], axis=1)
    draws = resampled(flow, visits, seed=seed)
    for column, (place, row) in enumerate(table.iterrows()):
        sized_already = row["measure"] == "churned"
        share = 1.0 if sized_already else causal.get(row["evidence"], 1.0) * reached
        table.loc[place, "expected"] = _shrunk(row)[0] * share
        if sized_already:
            continue
        effect = share * _drawn(row, seed)
        monthly = draws.others[:, column] / flow.months
        if row["change"] in (STRENGTHEN, REACH):
            here = draws.visits[:, flow.states.index(row["stage"])]
            monthly, today = np.minimum(monthly, here - monthly), monthly
            table.loc[place, ["visits", "customers"]] *= monthly[0] / today[0]
        if row["measure"] == LOST:
            more = extra(flow, draws, _kept(flow, draws, row["stage"], effect, monthly))
        else:
            more = monthly * effect * draws.bought
        found = figures(more, draws.value)
        table.loc[place, list(found)] = list(found.values())
    table["break_even_cost"] = table["extra_value"] / table["customers"]
    order = ["lower", "extra_purchases"]
    table = table.sort_values(order, ascending=False, kind="stable", ignore_index=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table


def sized(initiatives: pd.DataFrame) -> pd.DataFrame:
    """Return the initiatives of which it is known what they would bring.

    Raises
    ------
    Unanswerable
        Where there is none.
    """
    known = initiatives.dropna(subset="lower")
    if known.empty:
        raise Unanswerable("too few purchases follow what hurts to tell what relieving it brings")
    return known


def _kept(
    flow: Flow, draws: Draws, stage: str, effect: np.ndarray, visits: np.ndarray
) -> np.ndarray:
    """Return the chains in which so many visits to a stage end less often, by the effect.

    What keeps customers from falling silent before a purchase keeps them, in the same proportion,
    where the journey holds an earlier one, too.
    """
    place = flow.states.index(stage)
    changed, row = draws.matrix, draws.matrix[:, place]
    with np.errstate(invalid="ignore", divide="ignore"):
        less = effect * visits / draws.visits[:, place] / row[:, flow.states.index(LOST)]
    for target in np.flatnonzero(np.isin(flow.states, [LOST, BOUGHT])):
        changed = shifted(changed, place, target, -np.nan_to_num(less) * row[:, target])
    return changed


def _shrunk(row: pd.Series) -> tuple[float, float]:
    """Return the effect as it is expected to be, and its standard error."""
    effect, error = row["effect"], (row["effect_upper"] - row["effect_lower"]) / (2 * Z)
    if row["evidence"] == ASSUMED or not error > 0:
        return effect, 0.0
    kept = max(1 - (error / effect) ** 2, 0.0)
    return effect * kept, error * np.sqrt(kept)


def _drawn(row: pd.Series, seed: int) -> np.ndarray:
    """Return the effect and draws of what it could be, shape (R,)."""
    effect, error = _shrunk(row)
    rng = np.random.default_rng([seed, zlib.crc32(row["initiative"].encode())])
    return effect + error * np.r_[0.0, rng.standard_normal(DRAWS)]
