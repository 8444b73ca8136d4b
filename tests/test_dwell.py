"""Time in a stage: textbook curves, censoring, competing exits, rates."""

import ibis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from cjlib.errors import ParameterError
from cjlib.markov import dwell

AS_OF = pd.Timestamp("2025-03-01")


def visits_of(rows) -> ibis.Table:
    """Rows of customer, stage, days from start to leaving (None: open), next stage, started."""
    frame = pd.DataFrame(rows, columns=["customer_id", "stage", "days", "next_stage", "started"])
    started = pd.to_datetime(frame["started"])
    left = started + pd.to_timedelta(frame["days"], unit="D")
    frame = frame.assign(
        bucket=0,
        started=started.astype("datetime64[us]"),
        left=left.astype("datetime64[us]"),
        ended=started.astype("datetime64[us]"),
        purchases=1,
        settled=left.notna(),
    )
    schema = {
        "customer_id": "string",
        "bucket": "int64",
        "stage": "string",
        "next_stage": "string",
        "started": "timestamp",
        "ended": "timestamp",
        "left": "timestamp",
        "purchases": "int64",
        "settled": "boolean",
    }
    return ibis.memtable(frame[list(schema)], schema=schema)


def spells(times, exits, buckets=None) -> pd.DataFrame:
    frame = pd.DataFrame({"stage": "s", "exit": exits, "days": np.asarray(times, float), "n": 1})
    return frame if buckets is None else frame.assign(bucket=buckets)


def median_days(curve: pd.DataFrame) -> float:
    ended = curve.loc[curve["survival"] <= 0.5, "days"]
    return float(ended.iloc[0]) if len(ended) else np.nan


# Remission times of leukaemia under 6-MP (Freireich et al. 1963), weeks; open: still in remission.
REMISSION = [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
ENDED = ["relapse"] * 9 + ["open"] * 12


def test_kaplan_meier_gives_the_textbook_curve_of_the_6_mp_trial():
    curve = dwell.survival(spells(REMISSION, ENDED), "s")
    curve = curve[curve["exits"] > 0].set_index("days")
    printed = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    assert curve["survival"].round(3).to_dict() == printed
    assert curve.loc[6, "at_risk"] == 21
    # Greenwood's standard error at 10 weeks is printed as .0963; limits on the log-log scale
    width = np.log(-np.log([curve.loc[10, "upper"], curve.loc[10, "lower"]]))
    error = 0.0963 / (0.753 * abs(np.log(0.753)))
    assert (width[1] - width[0]) / (2 * 1.96) == pytest.approx(error, rel=0.01)
    assert median_days(dwell.survival(spells(REMISSION, ENDED), "s")) == 23


def test_the_median_of_a_young_log_is_not_known():
    curve = dwell.survival(spells([1, 5, 5, 5], ["out", "open", "open", "open"]), "s")
    assert np.isnan(median_days(curve))


def test_cumulative_incidence_by_hand():
    frame = spells([1, 2, 2, 3, 4], ["buy", "lost", "open", "buy", "lost"])
    share = dwell.cumulative_incidence(frame, "s").set_index(["exit", "days"])["probability"]
    assert share["buy", 1] == pytest.approx(1 / 5)
    assert share["lost", 2] == pytest.approx(4 / 5 * 1 / 4)
    assert share["buy", 4] == pytest.approx(1 / 5 + 3 / 5 * 1 / 2)
    assert share["lost", 4] == pytest.approx(1 / 5 + 3 / 10)


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["a", "b", "open"])), min_size=1, max_size=40
    )
)
@settings(max_examples=60, deadline=None)
def test_exits_and_survival_add_up_to_one(rows):
    frame = (
        spells(*zip(*rows, strict=True)).groupby(["stage", "exit", "days"], as_index=False).sum()
    )
    curve = dwell.survival(frame, "s").set_index("days")["survival"]
    ways = dwell.cumulative_incidence(frame, "s")
    if len(ways):
        total = ways.groupby("days")["probability"].sum() + curve
        np.testing.assert_allclose(total, 1, atol=1e-12)
    assert (np.diff(curve) <= 1e-12).all()


def test_rates_are_exits_over_exposure_and_open_exposure_counts():
    frame = spells([2, 3, 5, 10], ["buy", "buy", "lost", "open"])
    rates = dwell.exit_rates(frame).set_index("exit")
    assert rates.loc["buy", "rate"] == pytest.approx(2 / 20)
    assert rates.loc["lost", "rate"] == pytest.approx(1 / 20)
    matrix = dwell.generator(rates.reset_index(), ["s", "buy", "lost"])
    np.testing.assert_allclose(matrix, [[-0.15, 0.1, 0.05], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(matrix.sum(1), 0, atol=1e-15)


def test_an_unknown_stage_is_refused():
    with pytest.raises(ParameterError, match="no visits to 'x'"):
        dwell.survival(spells([1], ["a"]), "x")


def test_visits_are_counted_by_exit_and_days_and_open_ones_reach_to_as_of():
    visits = visits_of(
        [
            ("c1", "a", 2.0, "b", "2025-01-01"),
            ("c2", "a", 2.2, "b", "2025-01-02"),
            ("c3", "a", 21.0, "lost", "2025-01-02"),
            ("c4", "a", None, None, "2025-02-26"),
        ]
    )
    found = dwell.dwell_counts(visits, AS_OF).to_pandas().set_index(["exit", "days"])["n"]
    assert found.to_dict() == {("b", 2.0): 2, ("lost", 21.0): 1, ("open", 3.0): 1}
    finer = dwell.dwell_counts(visits, AS_OF, hours=6).to_pandas()
    assert 2.25 in set(finer["days"])


def test_mean_days_by_move_fall_back_on_their_stage():
    visits = visits_of(
        [
            ("c1", "a", 2.0, "b", "2025-01-01"),
            ("c2", "a", 4.0, "b", "2025-01-02"),
            ("c3", "a", 21.0, "lost", "2025-01-02"),
            ("c4", "a", None, None, "2025-02-26"),
        ]
    )
    moves = dwell.move_days(visits).to_pandas()
    days = dwell.mean_days(moves, ["a", "b", "lost"])
    np.testing.assert_allclose(days[0], [9, 3, 21])
    np.testing.assert_allclose(days[1:], 0)


def clustered(generator, customers=250):
    """Exponential times with a rate of each customer's own, censored, in buckets of customers."""
    own = 0.1 * generator.gamma(4, 1 / 4, customers)
    number = 1 + generator.poisson(4 * generator.gamma(1, 1, customers))
    owner = np.repeat(np.arange(customers), number)
    time = generator.exponential(1 / own[owner])
    limit = generator.uniform(0, 30, len(owner))
    exits = np.where(generator.random(len(owner)) < 0.7, "buy", "lost")
    frame = spells(np.minimum(time, limit).round(), np.where(time < limit, exits, "open"), owner)
    return frame.groupby(["bucket", "stage", "exit", "days"], as_index=False)["n"].sum()


@pytest.mark.slow
def test_planted_curves_lie_inside_the_intervals_at_the_nominal_rate():
    # customers weigh by their visits, which here do not depend on their rate
    day = np.arange(1, 16)
    truth = (1 + 0.1 * (day + 0.5) / 4) ** -4.0
    hits, share_hits = [], []
    for seed in range(60):
        frame = clustered(np.random.default_rng(seed))
        curve = dwell.survival(frame, "s", seed=seed).set_index("days").loc[day]
        hits.append((curve["lower"] <= truth) & (truth <= curve["upper"]))
        ways = dwell.cumulative_incidence(frame, "s", seed=seed)
        buy = ways[ways["exit"] == "buy"].set_index("days").loc[day]
        share_hits.append((buy["lower"] <= 0.7 * (1 - truth)) & (0.7 * (1 - truth) <= buy["upper"]))
    assert 0.90 <= np.mean(hits) <= 0.98
    assert 0.90 <= np.mean(share_hits) <= 0.98


def test_dropping_open_visits_would_shorten_the_time_as_the_curve_does_not():
    generator = np.random.default_rng(4)
    time, limit = generator.exponential(20, 4000), generator.uniform(0, 25, 4000)
    frame = spells(np.minimum(time, limit).round(1), np.where(time < limit, "out", "open"))
    median = median_days(dwell.survival(frame, "s"))
    assert median == pytest.approx(20 * np.log(2), rel=0.08)
    dropped = frame.loc[frame["exit"] == "out", "days"].median()
    assert dropped < 0.65 * median
    rate = dwell.exit_rates(frame)["rate"].iloc[0]
    assert rate == pytest.approx(1 / 20, rel=0.06)


def test_those_who_move_on_are_told_from_those_who_fall_silent():
    # of ten visits six move on, on days 1 to 6, and four end when a silence of 21 days is over
    frame = spells([1, 2, 3, 4, 5, 6, 21, 21, 22, 23], ["b", "c"] * 3 + ["lost"] * 4)
    moving = dwell.moving_on(frame, "s")
    assert moving["probability"].iloc[-1] == pytest.approx(0.6)
    assert moving.set_index("days")["probability"][3] == pytest.approx(0.3)
    assert dwell.days_to_move(moving) == 3  # not 5, when half of all visits have ended
    assert dwell.days_to_move(moving, 1.0) == 6
    silent = dwell.moving_on(spells([21, 22], ["lost", "lost"]), "s")
    assert np.isnan(dwell.days_to_move(silent))


def test_open_visits_do_not_hide_how_many_move_on():
    generator = np.random.default_rng(3)
    days, watched = generator.integers(1, 12, 3_000), generator.integers(1, 40, 3_000)
    exits = np.where(generator.random(3_000) < 0.3, "lost", "b")
    days = np.where(exits == "lost", 21, days)
    seen = days <= watched
    frame = spells(np.minimum(days, watched), np.where(seen, exits, "open"))
    assert dwell.moving_on(frame, "s")["probability"].iloc[-1] == pytest.approx(0.7, abs=0.03)
