import random

from hypothesis import given, settings, strategies as st

from cjlib.reading.csv_records import Lines, csv_records


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
