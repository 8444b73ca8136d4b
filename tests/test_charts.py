"""The pictures that every chapter uses read as its sentences do."""

import pandas as pd
import pytest

from cjlib.plots import interval_bars


@pytest.mark.parametrize(
    ("name", "ticks", "unit"),
    [
        ("share", ["0%", "5%", "10%"], "share"),
        ("pain", ["0", "+5", "+10"], "points"),
        ("value", ["0", "0", "0"], "value"),
    ],
)
def test_an_axis_takes_the_form_of_its_column(canvas, name, ticks, unit):
    table = pd.DataFrame({"who": ["a"], name: [0.05], "lower": [0.0], "upper": [0.1]})
    axis = interval_bars(table, label="who", value=name).xaxis
    assert [axis.get_major_formatter()(at, 0) for at in (0, 0.05, 0.1)] == ticks
    assert axis.get_label_text() == unit
