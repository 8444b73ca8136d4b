import datetime as dt
from zoneinfo import ZoneInfo

import ibis
import numpy as np
import pandas as pd
import pytest

from cjlib.timestamps import compile_format, read_time, to_utc


def utc(texts, formats=(), timezone=None):
    table = ibis.memtable({"text": list(texts), "place": range(len(texts))})
    local, offset = read_time(table.text, list(formats))
    rows = to_utc(table.mutate(local=local, offset=offset), timezone)
    frame = ibis.duckdb.connect().execute(rows.order_by("place"))
    return frame["timestamp"].tolist(), frame["zoneless"].tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-31T14:05:09.25Z", "2024-05-31 14:05:09.25"),
        ("2024-05-31T14:05:09+0530", "2024-05-31 08:35:09"),
        ("2024-05-31 14:05-03", "2024-05-31 17:05:00"),
        ("2024-05-31 14:05:09.123456789+00:00", "2024-05-31 14:05:09.123456"),
    ],
)
def test_iso_times_with_mixed_offsets_come_out_in_utc(text, expected):
    times, zoneless = utc([text])
    assert times == [pd.Timestamp(expected)]
    assert zoneless == [False]


@pytest.mark.parametrize(
    "text", ["2024-13-01", "2023-02-29", "2024-05-31 25:00", "x", "", "31/05/2024"]
)
def test_impossible_and_foreign_times_are_missing_never_an_error(text):
    times, zoneless = utc([text], timezone="UTC")
    assert pd.isna(times[0])
    assert zoneless == [False]


def test_a_naive_time_without_declared_zone_is_named_as_such():
    times, zoneless = utc(["2024-05-31 10:00", "2024-05-31 10:00Z"])
    assert pd.isna(times[0])
    assert zoneless == [True, False]


@pytest.mark.parametrize(
    "form",
    [
        "%d/%m/%Y %H:%M",
        "%m/%d/%Y",
        "%Y%m%d",
        "%d-%b-%Y %I:%M %p",
        "%d %B %Y %H:%M:%S",
        "%Y/%m/%d %H:%M:%S.%f",
        "%Y-%m-%dT%H:%M:%S%z",
    ],
)
def test_declared_formats_read_what_strptime_reads(form):
    random = np.random.default_rng(3)
    moments = [
        dt.datetime(2000, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=int(second))
        for second in random.integers(0, 10**9, 60)
    ]
    texts = [moment.strftime(form) for moment in moments]
    expected = [dt.datetime.strptime(text, form).replace(tzinfo=None) for text in texts]
    assert utc(texts, [form], "UTC")[0] == [pd.Timestamp(moment) for moment in expected]


def test_the_first_of_several_formats_that_fits_wins():
    times, _ = utc(["13/01/2020", "1577836800", "2020-01-13"], ["%d/%m/%Y", "epoch_s"], "UTC")
    assert times[:2] == [pd.Timestamp("2020-01-13"), pd.Timestamp("2020-01-01")]
    assert pd.isna(times[2])


@pytest.mark.parametrize("zone", ["Europe/Madrid", "America/Sao_Paulo", "Asia/Kolkata", "UTC"])
def test_declared_zones_agree_with_the_zone_database_around_every_change(zone):
    random = np.random.default_rng(1)
    moments = [
        dt.datetime(1990, 1, 1) + dt.timedelta(minutes=int(minute))
        for minute in random.integers(0, 45 * 525_600, 400)
    ]
    for year in (2012, 2018, 2024):  # every half hour of the days when clocks change somewhere
        for day in (dt.datetime(year, 3, 25), dt.datetime(year, 10, 20), dt.datetime(year, 2, 17)):
            moments += [day + dt.timedelta(minutes=30 * step) for step in range(48 * 9)]
    expected = [
        pd.Timestamp(moment.replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC)).tz_localize(None)
        for moment in moments
    ]
    texts = [moment.strftime("%Y-%m-%d %H:%M:%S") for moment in moments]
    assert utc(texts, timezone=zone)[0] == expected


@pytest.mark.parametrize(
    ("form", "message"),
    [("%d/%m/%y", "century"), ("%Q", "%Q"), ("%Y-%m", "day"), ("%d%d%Y%m", "twice")],
)
def test_unusable_formats_are_refused_with_the_reason(form, message):
    with pytest.raises(ValueError, match=message):
        compile_format(form)
