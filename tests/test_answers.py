"""Where a log cannot answer, a cell says why and leaves, and what builds on it leaves silently."""

import ast
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from cjlib.answers import MARK, Missing
from cjlib.errors import Unanswerable
from cjlib.tables import TABLES

SET_UP = """
from types import SimpleNamespace
import matplotlib.pyplot as plt
import pandas as pd
from cjlib.errors import Unanswerable
from cjlib.report import Report

def buyers(count):
    if count < 30:
        raise Unanswerable(f"only {count} <b>customers</b> bought")
    return count

privacy = SimpleNamespace(customer_ids="keep", smallest_group=5)
log = SimpleNamespace(label=str, dataset=SimpleNamespace(currency="", words={}, privacy=privacy))
log.none = pd.DataFrame()
report = Report("01", log)
"""
CELLS = {
    "set-up": SET_UP,
    "asks": "plt.plot([1, 2])\ntable, other = buyers(3), 1",
    "draws on it": "plt.plot([1, 2])\nplt.plot(table)",
    "derives": "share = table / 2",
    "uses what was derived": "print(share)\nshare.mean()",
    "publishes": "report.publish('stages', table)",
    "looks": "len(report.tables['stages']), list(report.tables['stages'])",
    "asks anew": "table = buyers(40)\ntable",
    "shows": "share",
    "is sound": "report.show(plt.figure().gca(), of=log.none)",
}


@pytest.fixture(scope="module")
def executed():
    """Return a notebook executed in a real kernel, its cells by name, and the kernel's replies."""
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, CELLS.values())))
    replies = []
    client = NotebookClient(notebook, kernel_name="python3")
    client.on_cell_executed = lambda cell, cell_index, execute_reply: replies.append(execute_reply)
    client.execute()
    cells = dict(zip(CELLS, notebook.cells, strict=True))
    return SimpleNamespace(notebook=notebook, cells=cells, replies=replies)


def data_of(cell):
    return [output.data for output in cell.outputs]


@pytest.mark.slow
class TestInAKernel:
    def test_the_cell_shows_its_reason_escaped_and_no_traceback_and_no_picture(self, executed):
        (shown,) = data_of(executed.cells["asks"])
        assert shown[MARK] == {"reason": "only 3 <b>customers</b> bought"}
        assert shown["text/plain"].endswith("only 3 <b>customers</b> bought")
        assert "only 3 &lt;b&gt;customers" in shown["text/markdown"]
        assert "image/png" not in shown

    @pytest.mark.parametrize("name", ["draws on it", "derives", "shows"])
    def test_what_depends_on_it_leaves_silently(self, executed, name):
        (shown,) = data_of(executed.cells[name])
        assert shown == {MARK: {"reason": "only 3 <b>customers</b> bought"}}

    def test_so_does_what_depends_on_that(self, executed):
        printed, mark = executed.cells["uses what was derived"].outputs
        assert printed.output_type == "stream"
        assert set(mark.data) == {MARK}

    def test_the_table_is_published_without_rows_and_with_its_columns(self, executed):
        assert executed.cells["publishes"].outputs == []
        (shown,) = data_of(executed.cells["looks"])
        assert ast.literal_eval(shown["text/plain"]) == (0, TABLES["stages"])

    def test_a_later_answer_takes_the_place_of_the_missing_one(self, executed):
        assert data_of(executed.cells["asks anew"]) == [{"text/plain": "40"}]

    def test_later_pictures_are_drawn_as_ever(self, executed):
        assert "image/png" in data_of(executed.cells["is sound"])[0]

    def test_every_cell_has_run_well_for_who_executes_them(self, executed):
        assert [reply["content"]["status"] for reply in executed.replies] == ["ok"] * len(CELLS)
        counts = [cell.execution_count for cell in executed.notebook.cells]
        assert counts == list(range(1, len(CELLS) + 1))

    def test_papermill_and_nbval_accept_it(self, executed, tmp_path):
        import papermill

        place = tmp_path / "01.ipynb"
        nbformat.write(executed.notebook, place)
        papermill.execute_notebook(
            str(place), str(tmp_path / "02.ipynb"), kernel_name="python3", progress_bar=False
        )
        options = ["-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
        command = [sys.executable, "-m", "pytest", *options, str(tmp_path / "02.ipynb")]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout

    def test_any_other_error_stays_an_error(self):
        cells = [SET_UP, "1 / 0"]
        notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
        with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
            NotebookClient(notebook, kernel_name="python3").execute()


TABLE = pd.DataFrame({"n": [1, 2]})


@pytest.mark.parametrize(
    "use",
    [
        *[bool, len, list, float, int, dict],
        *[lambda it: it.columns, lambda it: it["n"], lambda it: it(1), lambda it: "n" in it],
        *[lambda it: it + 1, lambda it: 1 - it, lambda it: it * 2, lambda it: it / 2, abs, round],
        *[lambda it: it > 1, lambda it: it == 1, lambda it: ~it, lambda it: it & it],
        *[lambda it: it**2, lambda it: it @ it, lambda it: it // 2, lambda it: it % 2],
        *[np.mean, np.asarray, pd.DataFrame, lambda it: pd.concat([TABLE, it])],
        *[TABLE.merge, lambda it: TABLE.assign(m=it), TABLE.query("n > 1").join, sum, max, sorted],
        *[lambda it: f"{it:.1%}", lambda it: [*it], lambda it: {**it}, lambda it: TABLE["n"] * it],
    ],
)
def test_to_use_a_missing_answer_in_any_way_is_to_ask_again(use):
    with pytest.raises(Unanswerable, match="too few"):
        use(Missing("too few"))


def test_to_look_at_a_missing_answer_is_not_to_use_it():
    missing = Missing("too few")
    assert repr(missing) == "Missing('too few')"
    assert not hasattr(missing, "_repr_html_")
    assert {missing: 1}


def test_under_plain_python_the_error_is_an_ordinary_one():
    code = f"{SET_UP}\ntable = buyers(3)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Unanswerable: only 3" in done.stderr
