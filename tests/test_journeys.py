import datetime as dt
import hashlib
import itertools

import ibis
import numpy as np
import pandas as pd
import pytest

from cjlib.journeys import (
    journey_table,
    ngram_counts,
    purchase_days,
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
    buyers = {tuple(one[:2]) for one in visits if one[3] == "purchase"}
    for here, following in zip(visits, [*visits[1:], None], strict=True):
        if following is not None and here[:2] == following[:2]:
            here[6] = following[3]
        elif here[5] + PATIENCE < AS_OF:
            here[6] = "bought" if tuple(here[:2]) in buyers else "lost"
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
    ends = np.where(journeys["purchases"] > 0, "bought", "lost")
    assert (journeys["end"] == np.where(silent, ends, "open")).all()
    assert set(journeys["end"]) == {"bought", "lost", "open"}
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


@pytest.mark.parametrize(("customers", "most"), [(200, 200), (256, 256), (2_000, 256)])
def test_few_customers_are_buckets_of_their_own_and_many_share_256(customers, most):
    con = ibis.duckdb.connect()
    ids = pd.DataFrame({"customer_id": [f"id-{number}" for number in range(customers)]})
    found = with_buckets(con.create_table("ids", ids)).execute()
    assert found["bucket"].nunique() == most
    assert found["bucket"].between(0, 255).all()
    if customers > 256:
        sizes = found["bucket"].value_counts()
        assert sizes.max() < 4 * customers / 256


def test_buckets_of_many_customers_are_the_first_byte_of_their_md5():
    ids = [f"id-{number}" for number in range(257)]
    found = with_buckets(ibis.memtable({"customer_id": ids})).execute()
    known = {name: int(hashlib.md5(name.encode()).hexdigest()[:2], 16) for name in ids}
    assert found.set_index("customer_id")["bucket"].to_dict() == known


def visits_of(*rows, as_of=AS_OF):
    """Return the visits of one customer: (day of 2024 as a fraction, stage, value, sentiment)."""
    frame = pd.DataFrame(rows, columns=["day", "stage", "value", "sentiment"])
    position = frame["stage"].map(STAGES.index)
    frame = frame.astype({"value": float, "sentiment": float}).assign(
        customer_id="c",
        line=range(len(frame)),
        timestamp=pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["day"], unit="D"),
        position=position,
        role="before",
        purchase=position == 2,
    )
    con = ibis.duckdb.connect()
    events = with_journeys(with_buckets(con.create_table("log", frame)), PATIENCE)
    return con.create_table("visits", stage_visits(events, as_of, PATIENCE).to_pyarrow())


A, D, P = "awareness", "decision", "purchase"


def test_a_journey_sums_values_refunds_too_and_averages_its_visits():
    visits = visits_of((0, A, None, 1), (1, P, 30, 0.5), (2, P, -40, -0.5), (3, D, None, None))
    one = journey_table(visits).execute().iloc[0]
    assert (one["value"], one["purchases"], one["events"], one["visits"]) == (-10, 2, 4, 3)
    assert (one["first_stage"], one["last_stage"]) == (A, D)
    assert one["sentiment"] == pytest.approx(0.5)  # of 1 and of 0: a visit counts once
    assert one["ended"] - one["started"] == pd.Timedelta(3, "D")


def test_days_run_from_entering_a_stage_to_entering_the_next_or_the_silence_complete():
    visits = visits_of((0, A, None, None), (0.5, A, None, None), (2.25, D, None, None))
    counts = transition_counts(visits).execute().set_index(["from_stage", "to_stage"])
    assert counts["days"].to_dict() == {(A, D): 2.25, (D, "lost"): 10}
    assert counts["n"].tolist() == counts["customers"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("silence", "journeys", "numbers"), [(10, [0, 0], [0, 1]), (10.001, [0, 1], [0, 0])]
)
def test_a_silence_of_just_the_inactivity_belongs_to_the_journey(silence, journeys, numbers):
    visits = visits_of((0, A, None, None), (silence, D, None, None)).order_by("started").execute()
    assert visits["journey"].tolist() == journeys
    assert visits["visit"].tolist() == numbers


@pytest.mark.parametrize(("late", "end"), [("0s", "open"), ("1s", "lost")])
def test_a_journey_is_lost_only_after_more_than_the_inactivity(late, end):
    as_of = pd.Timestamp("2024-01-11") + pd.Timedelta(late)
    visits = visits_of((0, A, None, None), as_of=as_of)
    assert journey_table(visits).execute()["end"].tolist() == [end]
    assert transition_counts(visits).execute()["to_stage"].tolist() == ["lost"] * (end == "lost")


def test_a_history_has_the_stages_it_was_asked_for_oldest_first():
    visits = visits_of(*((day, stage, None, None) for day, stage in enumerate((A, D, P, A))))
    found = ngram_counts(visits, 3).order_by("to_stage").execute()
    assert list(found.columns) == ["stage_1", "stage_2", "stage_3", "to_stage", "n"]
    assert found.to_numpy().tolist() == [[A, D, P, A, 1], [D, P, A, "bought", 1]]
    assert list(ngram_counts(visits, 1).columns) == ["stage_1", "to_stage", "n"]


def ended(*rows, cases=False, ends=("declined", "signed"), as_of=AS_OF):
    """Return the visits of one customer: (day, stage, touchpoint, case)."""
    frame = pd.DataFrame(rows, columns=["day", "stage", "touchpoint", "journey_id"])
    frame = frame.assign(
        customer_id="c",
        bucket=0,
        line=range(len(frame)),
        timestamp=pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["day"], unit="D"),
        position=frame["stage"].map(STAGES.index),
        role="before",
        purchase=frame["stage"] == P,
        value=0.0,
        sentiment=0.0,
    )
    con = ibis.duckdb.connect()
    events = with_journeys(con.create_table("log", frame), PATIENCE, ends=ends, cases=cases)
    visits = stage_visits(events.cache(), as_of, PATIENCE)
    return con.create_table("visits", visits.to_pyarrow())


def ways(visits):
    """Return where each visit led, by journey."""
    found = visits.order_by("journey", "visit").execute()
    return found.groupby("journey")["next_stage"].agg(list).tolist()


def test_a_declared_ending_completes_a_journey_at_once_and_the_next_event_begins_another():
    visits = ended((0, A, "ask", ""), (1, D, "declined", ""), (2, A, "ask", ""), as_of=AS_OF)
    assert ways(visits) == [[D, "declined"], ["lost"]]
    table = journey_table(visits).order_by("journey").execute()
    assert table["end"].tolist() == ["declined", "lost"]
    counts = transition_counts(visits).execute().set_index(["from_stage", "to_stage"])
    assert counts["days"].to_dict() == {(A, D): 1, (D, "declined"): 0, (A, "lost"): 10}


def test_who_has_ended_is_not_under_way_but_counts_once_a_loss_would_be_known_too():
    soon = pd.Timestamp("2024-01-05")
    visits = ended((0, A, "ask", ""), (1, D, "declined", ""), as_of=soon)
    assert journey_table(visits).execute()["end"].tolist() == ["declined"]
    assert transition_counts(visits).count().execute() == 0


def test_an_ending_that_is_a_purchase_is_bought():
    visits = ended((0, A, "ask", ""), (1, P, "signed", ""), (2, D, "ask", ""))
    assert ways(visits) == [[P, "bought"], ["lost"]]


def test_a_buyer_who_leaves_from_an_earlier_stage_is_not_lost():
    visits = ended((0, A, "ask", ""), (1, P, "pay", ""), (2, D, "ask", ""))
    assert ways(visits) == [[P, D, "bought"]]


def test_a_case_is_a_journey_though_cases_overlap_and_go_on_after_their_ending():
    rows = [(0, A, "ask", "x"), (1, D, "ask", "y"), (2, D, "declined", "x"), (3, A, "file", "x")]
    visits = ended(*rows, (50, P, "signed", "y"), cases=True)
    assert ways(visits) == [[D, A, "declined"], [P, "bought"]]
    assert journey_table(visits).order_by("journey").execute()["end"].tolist() == [
        "declined",
        "bought",
    ]


def test_cases_that_begin_at_once_are_told_apart_by_their_names():
    visits = ended((0, A, "ask", "y"), (0, D, "ask", "x"), cases=True)
    assert visits.order_by("journey").execute()["stage"].tolist() == [D, A]


def test_a_purchase_is_a_day_with_all_its_lines_and_refunds():
    rows = [
        ("2024-03-01 00:00:00", True, 10.0),
        ("2024-03-01 09:00:00", False, 99.0),  # a value that is no purchase
        ("2024-03-01 23:59:59", True, -4.0),
        ("2024-03-02 00:00:00", True, None),
    ]
    frame = pd.DataFrame(rows, columns=["timestamp", "purchase", "value"])
    frame = frame.assign(timestamp=pd.to_datetime(frame["timestamp"]), customer_id="c", bucket=1)
    found = purchase_days(ibis.memtable(frame)).order_by("day").execute()
    assert found["day"].tolist() == [pd.Timestamp("2024-03-01"), pd.Timestamp("2024-03-02")]
    assert found["lines"].tolist() == [2, 1]
    assert found["value"].tolist()[0] == 6
    assert pd.isna(found["value"].tolist()[1])
