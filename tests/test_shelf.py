"""Earlier reports are found by the moment they are of, and never one that is not earlier."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest

from cjlib.errors import ParameterError, Unanswerable
from cjlib.shelf import earlier_reports, report_to_compare
from cjlib.tables import write_table

LOG = SimpleNamespace(as_of=pd.Timestamp("2025-06-01"))


def put(shelf, minute, as_of, *tables):
    """Publish a report made at a minute for a moment, and return its folder."""
    folder = shelf / f"20250701T0000{minute:02}000Z-abcd"
    for name in tables:
        write_table(pd.DataFrame({"n": [minute]}), folder / "tables", name)
    folder.mkdir(exist_ok=True)
    manifest = {"as_of": f"{as_of}T00:00:00", "day": as_of}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def shelf(tmp_path):
    put(tmp_path, 1, "2025-03-01", "measures")
    put(tmp_path, 2, "2025-05-01", "measures")
    put(tmp_path, 3, "2024-06-10", "measures")  # made later for an earlier moment
    put(tmp_path, 4, "2025-05-20")  # holds only some notebooks
    put(tmp_path, 5, "2025-06-01", "measures")  # of the same moment
    put(tmp_path, 6, "2025-09-01", "measures")
    (tmp_path / "20250701T000007000Z-abcd").mkdir()
    (tmp_path / "20250701T000007000Z-abcd" / "manifest.json").write_text("{")
    (tmp_path / "failed-20250701T000008000Z-abcd").mkdir()
    return tmp_path


def days(reports):
    return [str(one.day) for one in reports]


def test_reports_of_earlier_moments_come_in_the_order_of_these(shelf):
    in_order = ["2024-06-10", "2025-03-01", "2025-05-01", "2025-05-20"]
    assert days(earlier_reports(LOG, shelf=shelf)) == in_order
    assert days(earlier_reports(LOG, out=shelf / ".scratch-run")) == in_order
    assert earlier_reports(LOG) == []
    assert earlier_reports(LOG, shelf=shelf / "nothing") == []


def test_the_last_one_that_can_be_compared_with_is_taken_or_that_of_a_year_before(shelf):
    earlier = earlier_reports(LOG, shelf=shelf)
    assert str(report_to_compare(earlier, LOG).day) == "2025-05-01"
    assert str(report_to_compare(earlier, LOG, years=1).day) == "2024-06-10"
    assert report_to_compare([], LOG) is None


def test_a_named_report_is_taken_if_it_is_an_earlier_one(shelf):
    named = shelf / "20250701T000001000Z-abcd"
    assert str(report_to_compare([], LOG, previous=named).day) == "2025-03-01"
    for number in (4, 5, 6, 7, 9):
        with pytest.raises(ParameterError, match="no report of an earlier moment"):
            report_to_compare([], LOG, previous=shelf / f"20250701T00000{number}000Z-abcd")


def test_a_table_that_a_report_lacks_is_a_question_it_cannot_answer(shelf):
    last = earlier_reports(LOG, shelf=shelf)[-1]
    with pytest.raises(Unanswerable, match="no table measures"):
        last.table("measures")
