"""Parameters are declared, typed, and refused by name; no value ever becomes code."""

import ast

import nbformat
import pytest
from nbformat import v4

from cjlib.errors import ParameterError
from cjlib.runs.plan import Limit, choose, declared, limits, read_value, split_assignments
from tests.conftest import ROOT


def notebook(source, tags=("parameters",)):
    cell = v4.new_code_cell(source, metadata={"tags": list(tags)})
    return v4.new_notebook(cells=[v4.new_markdown_cell("# ?"), cell])


def test_names_and_defaults_are_read():
    source = 'dataset = "demo"  # a name\norder = 2  # steps\nx = -1.5\nb = True\n'
    assert declared(notebook(source)) == {"dataset": "demo", "order": 2, "x": -1.5, "b": True}


def test_a_notebook_without_the_tag_declares_nothing():
    assert declared(notebook("x = 1", tags=())) == {}


@pytest.mark.parametrize(
    "source",
    ["import os", "x = f()", "x = [1]", "x = y = 1", "x, y = 1, 2", "x = None", "x: int = 1"],
)
def test_only_single_literals_can_be_declared(source):
    with pytest.raises(ParameterError):
        declared(notebook(source))


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [
        *[("", "007", "007"), ("", "", ""), ("", "a=b", "a=b"), (1, " 7 ", 7), (1, "-3", -3)],
        *[(1.0, "1e-3", 0.001), (1.0, "2", 2.0), (True, "no", False), (False, "TRUE", True)],
    ],
)
def test_a_value_is_read_as_the_declared_type(default, text, value):
    read = read_value("x", default, text)
    assert read == value
    assert type(read) is type(default)


@pytest.mark.parametrize(
    ("default", "text"),
    [(1, "1.5"), (1, "one"), (1, ""), (1.0, "inf"), (1.0, "nan"), (True, "2"), (True, "")],
)
def test_a_value_of_another_type_is_refused(default, text):
    with pytest.raises(ParameterError, match="-p x="):
        read_value("x", default, text)


def test_each_notebook_gets_only_what_it_declares():
    one, two = {"a": 1, "b": 2, "out": ""}, {"a": "x", "source": ""}
    chosen = choose({"one": one, "two": two}, {"a": "7"}, {"source": "log.csv", "as_of": ""})
    assert chosen == {"one": {"a": 7, "b": 2}, "two": {"source": "log.csv", "a": "7"}}


def test_names_and_values_are_split_at_the_first_equals_sign():
    assert split_assignments(["a=b=c", "d="]) == {"a": "b=c", "d": ""}


@pytest.mark.parametrize("text", ['"; import os #', "\\", '\\"', "a\nb", "{x}", "'''", "\u2028é"])
def test_no_text_leaves_its_quotes_when_papermill_writes_it(text):
    from papermill.translators import PythonTranslator

    (statement,) = ast.parse(PythonTranslator.codify({"x": text})).body
    assert ast.literal_eval(statement.value) == text


def test_what_a_parameter_may_be_stands_in_its_comment():
    source = (
        "seed = 1  # from 0: of every resampling\nshare = .1  # from 0 to 1: kept # from 5:\n"
        'text = "# from 1:"  # whatever\nlast = ""  # folder: of an earlier report\n'
        'old = ""  # file: of an earlier run\nfree = 1  # seen from above: nothing\n'
    )
    assert limits(notebook(source)) == {
        "seed": Limit(low=0),
        "share": Limit(low=0, high=1),
        "last": Limit(path="folder"),
        "old": Limit(path="file"),
    }


def test_values_out_of_range_are_refused():
    assert Limit(0, 1).checked("x", 0.5) == 0.5
    with pytest.raises(ParameterError, match="-p x=5: x is from 0 to 1"):
        Limit(0, 1).checked("x", 5)
    with pytest.raises(ParameterError, match="-p x=-1: x is from 0"):
        Limit(0).checked("x", -1)


def test_paths_are_seen_from_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.parquet").touch()
    assert Limit(path="file").checked("x", "old.parquet") == str(tmp_path / "old.parquet")
    assert Limit(path="file").checked("x", "") == ""
    for path in ("file", "folder"):
        with pytest.raises(ParameterError, match=f"no such {path}"):
            Limit(path=path).checked("x", "absent")


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_every_number_in_the_notebooks_has_its_range_and_its_default_lies_in_it(path):
    read = nbformat.read(path, as_version=4)
    numbers = {name: value for name, value in declared(read).items() if not isinstance(value, str)}
    allowed = limits(read)
    assert numbers.keys() <= allowed.keys()
    for name, value in numbers.items():
        allowed[name].checked(name, value)
