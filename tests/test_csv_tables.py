import io
import random

import pytest

from cjlib.reading import csv_tables as module
from cjlib.reading.csv_records import Lines, csv_records
from cjlib.reading.csv_tables import csv_tables

NAMES = ["a", "b", "c"]


def read(text, delimiter=","):
    stream = io.StringIO(text, newline="")
    return [row for t in csv_tables(stream, delimiter, NAMES) for row in t.to_pylist()]


def one_by_one(text, delimiter=","):
    lines = Lines(iter(io.StringIO(text, newline="")))
    return list(csv_records(lines, delimiter, len(NAMES)))


@pytest.mark.parametrize("seed", range(300))
def test_stretches_give_what_reading_record_by_record_gives(seed, monkeypatch):
    rng = random.Random(seed)
    dirt = [6, 1, 0.3, 0.3] if seed % 2 else [6, 1, 0, 0]
    ends = rng.choice([["\n"], ["\r\n"], ["\r"], ["\n", "\r\n", "\r"]])
    lines = []
    for _ in range(rng.randint(1, 60)):
        width = rng.choices([3, rng.randint(0, 5)], [9, 1])[0]
        fields = [
            "".join(rng.choices('xé"\udcff', dirt, k=rng.randint(0, 4))) for _ in range(width)
        ]
        lines.append(",".join(fields) + rng.choice(ends))
    text = "".join(lines).removesuffix(rng.choice(["", "\n"]))
    monkeypatch.setattr(module, "STRETCH", rng.randint(1, 80))
    expected = one_by_one(text)
    found = read(text)
    assert [row["_line"] for row in found] == [line for line, *_ in expected]
    for row, (_, fields, problem, broken) in zip(found, expected, strict=True):
        if fields is None:
            assert row["_problem"] == problem
            assert row["_text"] == module.printable(broken)
        elif "\udcff" in "".join(fields):
            assert row["_problem"] == "bad_encoding"
        else:
            assert row["_problem"] is None
            assert [row[name] for name in NAMES] == fields


def test_a_field_too_long_is_found_in_a_plain_stretch_too():
    found = read("1,2,3\n" + "x" * 200_000 + ",2,3\n" + "y" * 200_000 + "\n4,5,6\n")
    assert [row["_problem"] for row in found] == [None, "field_too_long", "field_too_long", None]


def test_words_that_mean_missing_elsewhere_stay_text():
    assert read("NA,,null\n") == [
        {"_line": 2, "_problem": None, "_text": None, "a": "NA", "b": "", "c": "null"}
    ]


def test_numbers_and_dates_stay_the_text_they_were():
    (row,) = read("007,1e5,2024-01-01\n")
    assert [row[name] for name in NAMES] == ["007", "1e5", "2024-01-01"]


def test_blank_lines_count_as_lines_but_are_no_records():
    assert [row["_line"] for row in read("1,2,3\n\n4,5,6\n")] == [2, 4]


def test_delimiters_of_every_kind_separate():
    for mark in (";", "\t", "|", "·"):
        assert read(f"1{mark}2{mark}3\n", mark)[0]["c"] == "3"
    assert read(" 1   2 3\n", "whitespace")[0]["c"] == "3"
