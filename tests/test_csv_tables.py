import csv
import io
import random

import pytest
from hypothesis import given, settings, strategies as st

from cjlib.reading import csv_tables as module
from cjlib.reading.csv_tables import Lines, csv_records, csv_tables, is_clean, printable

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


# -- record by record


def records(text, delimiter=",", width=2):
    return list(csv_records(Lines(iter(text.splitlines(keepends=True))), delimiter, width))


def test_sound_lines_come_with_their_line_numbers():
    assert records("a,b\nc,d\n") == [(2, ["a", "b"], None, None), (3, ["c", "d"], None, None)]


def test_a_quoted_line_break_belongs_to_its_record_and_later_numbers_stay_right():
    assert records('"a\nb",c\nd,e\n') == [
        (2, ["a\nb", "c"], None, None),
        (4, ["d", "e"], None, None),
    ]


def test_an_open_quote_costs_one_line_and_swallows_no_other():
    found = records('"a,b\nc,d\ne,f\n')
    assert [(line, problem) for line, _, problem, _ in found] == [
        (2, "bad_quoting"),
        (3, None),
        (4, None),
    ]
    assert found[0][3] == '"a,b'


def test_too_few_and_too_many_fields_are_told_apart():
    assert [record[2] for record in records("a\na,b,c\na,b\n")] == [
        "too_few_fields",
        "too_many_fields",
        None,
    ]


def test_a_field_without_end_is_one_broken_line():
    found = records("a," + "x" * 200_000 + "\nc,d\n")
    assert [record[2] for record in found] == ["field_too_long", None]


def test_blank_lines_are_no_records():
    assert [record[0] for record in records("a,b\n\n\nc,d\n")] == [2, 5]


def test_blanks_of_any_width_separate_when_declared():
    assert records(" 00001  19970101   1\n\n x\n", "whitespace", 3) == [
        (2, ["00001", "19970101", "1"], None, None),
        (4, None, "too_few_fields", " x"),
    ]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**9))
def test_no_line_is_lost_or_counted_twice(seed):
    rng = random.Random(seed)
    lines = [
        "".join(rng.choices('ab,"\t é', weights=[6, 6, 4, 2, 1, 1, 1], k=rng.randint(1, 12)))
        for _ in range(rng.randint(1, 30))
    ]
    found = records("".join(line + "\n" for line in lines))
    covered = []
    for line, fields, problem, _ in found:
        assert (fields is None) == (problem is not None)
        height = 1 + sum(field.count("\n") for field in fields or [])
        covered += range(line, line + height)
    assert covered == list(range(2, len(lines) + 2))


def test_an_open_quote_is_bad_quoting_however_much_comes_after_it():
    found = records('"a,b\n' + "c,d\n" * 50_000)
    assert found[0][2] == "bad_quoting"
    assert len(found) == 50_001


def test_a_field_as_long_as_allowed_is_read_and_one_longer_is_not():
    limit = csv.field_size_limit()
    for width, problem in ((limit, None), (limit + 1, "field_too_long")):
        assert [record[2] for record in records("x" * width + ",b\n")] == [problem]


def test_the_last_line_needs_no_end_and_one_that_breaks_off_in_a_quote_is_broken():
    assert records("a,b\nc,d")[-1] == (3, ["c", "d"], None, None)
    assert records('a,b\nc,"d')[-1] == (3, None, "bad_quoting", 'c,"d')


def test_doubled_quotes_and_delimiters_within_quotes_are_text():
    assert records('"say ""a, b""",c\n')[0][1] == ['say "a, b"', "c"]


def test_bytes_that_are_no_text_are_seen_and_shown_as_escapes():
    assert is_clean(["é", "日本", ""])
    assert not is_clean(["a", "\udcff"])
    assert not is_clean(["a\0"])
    assert printable("é\udce9\0") == "é\\udce9\\x00"
