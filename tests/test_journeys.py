import datetime as dt
import itertools

import ibis
import numpy as np
import pandas as pd
import pytest

from cjlib.journeys import (
    journey_table,
    ngram_counts,
    stage_visits,
    transition_counts,
    with_buckets,
    with_journeys,
)

PATIENCE = dt.timedelta(days=10)
AS_OF = pd.Timestamp("2024-04-01")
STAGES = ["awareness", "decision", "purchase", "post_sale"]


def random_events(seed, customers=40, events=900):
    """Events on few, often equal, times, so that ties and silences of every length occur."""
    rng = np.random.default_rng(seed)
    days = rng.integers(0, 91, events) + rng.choice([0, 0.25], events)
    stage = rng.integers(0, 4, events)
    frame = pd.DataFrame(
        {
            "customer_id": [f"c{number}" for number in rng.integers(0, customers, events)],
            "timestamp": pd.Timestamp("2024-01-01") + pd.to_timedelta(days, unit="D"),
            "line": range(events),
            "stage": [STAGES[place] for place in stage],
            "position": stage,
            "role": np.array(["before", "before", "purchase", "after"])[stage],
            "purchase": stage == 2,
            "value": np.where(stage == 2, 10.0, np.nan),
            "sentiment": rng.choice([-1.0, 0.5, np.nan], events),
        }
    )
    return frame[frame["timestamp"] <= AS_OF].reset_index(drop=True)


def by_hand(frame):
    """Return the visits as one reads them off a sorted list, without any engine."""
    visits = []
    for customer, rows in frame.sort_values(["timestamp", "line"]).groupby("customer_id"):
        journey, previous = -1, None
        for row in rows.itertuples():
            begins = previous is None or row.timestamp - previous.timestamp > PATIENCE
            if begins:
                journey += 1
                visit = -1
            if begins or row.stage != previous.stage:
                visit += 1
                visits.append([customer, journey, visit, row.stage, row.timestamp, None, None, 0])
            visits[-1][5], visits[-1][7] = row.timestamp, visits[-1][7] + 1
            previous = row
    for here, following in zip(visits, [*visits[1:], None], strict=True):
        if following is not None and here[:2] == following[:2]:
            here[6] = following[3]
        elif here[5] + PATIENCE < AS_OF:
            here[6] = "lost"
    return visits


@pytest.fixture(params=range(4))
def frame(request):
    return random_events(request.param)


@pytest.fixture
def visits(frame):
    con = ibis.duckdb.connect()
    events = with_journeys(with_buckets(con.create_table("log", frame)), PATIENCE)
    return con.create_table("visits", stage_visits(events, AS_OF, PATIENCE).to_pyarrow())


def test_visits_are_those_counted_by_hand(frame, visits):
    found = visits.order_by("customer_id", "journey", "visit").execute()
    columns = ["customer_id", "journey", "visit", "stage", "started", "ended", "next_stage"]
    got = found[[*columns, "events"]].astype(object).where(found.notna(), None)
    assert got.values.tolist() == by_hand(frame)  # noqa: PD011


def test_only_settled_visits_make_transitions(frame, visits):
    expected = {}
    for _, _, _, stage, _, ended, following, _ in by_hand(frame):
        if ended + PATIENCE < AS_OF:
            expected[stage, following] = expected.get((stage, following), 0) + 1
    counts = transition_counts(visits).execute()
    found = {(row.from_stage, row.to_stage): row.n for row in counts.itertuples()}
    assert found == expected


def test_counts_by_bucket_add_up_to_the_counts(visits):
    whole = transition_counts(visits).execute().set_index(["from_stage", "to_stage"])["n"]
    parts = transition_counts(visits, by=["bucket"]).execute()
    added = parts.groupby(["from_stage", "to_stage"])["n"].sum()
    pd.testing.assert_series_equal(added.sort_index(), whole.sort_index(), check_names=False)


def test_longer_histories_never_cross_the_border_of_a_journey(frame, visits):
    listed, expected = by_hand(frame), {}
    for older, here in itertools.pairwise(listed):
        if older[:2] == here[:2] and here[5] + PATIENCE < AS_OF:
            key = (older[3], here[3], here[6])
            expected[key] = expected.get(key, 0) + 1
    counts = ngram_counts(visits, 2).execute()
    assert {
        (row.stage_1, row.stage_2, row.to_stage): row.n for row in counts.itertuples()
    } == expected
    first = ngram_counts(visits, 1).execute()
    assert first["n"].sum() == transition_counts(visits).execute()["n"].sum()


def test_a_journey_is_open_until_its_silence_was_fully_observed(frame, visits):
    journeys = journey_table(visits).execute()
    silent = journeys["ended"] + PATIENCE < AS_OF
    assert (journeys.loc[silent, "end"] == "lost").all()
    assert (journeys.loc[~silent, "end"] == "open").all()
    assert journeys["events"].sum() == len(frame)
    assert journeys["visits"].sum() == len(by_hand(frame))
    assert journeys["purchases"].sum() == frame["purchase"].sum()


def test_journey_and_visit_numbers_look_back_only(frame):
    con = ibis.duckdb.connect()
    cut = pd.Timestamp("2024-02-15")
    whole = with_journeys(con.create_table("whole", frame), PATIENCE).execute()
    early = con.create_table("early", frame[frame["timestamp"] <= cut])
    early = with_journeys(early, PATIENCE).execute()
    columns = ["line", "journey", "visit"]
    kept = whole[whole["timestamp"] <= cut]
    pd.testing.assert_frame_equal(
        kept[columns].sort_values("line").reset_index(drop=True),
        early[columns].sort_values("line").reset_index(drop=True),
    )


@pytest.mark.parametrize(("customers", "most"), [(200, 200), (2_000, 256)])
def test_few_customers_are_buckets_of_their_own_and_many_share_256(customers, most):
    con = ibis.duckdb.connect()
    ids = pd.DataFrame({"customer_id": [f"id-{number}" for number in range(customers)]})
    found = with_buckets(con.create_table("ids", ids)).execute()
    assert found["bucket"].nunique() == most
    assert found["bucket"].between(0, 255).all()
    if customers > 256:
        sizes = found["bucket"].value_counts()
        assert sizes.max() < 4 * customers / 256
