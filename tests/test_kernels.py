"""Kernels that are forked with the libraries in place."""

import tempfile

import nbformat
import pytest
from nbformat import v4

from cjlib.runs.execution import Progress, Task, execute
from cjlib.runs.kernels import context

ASKS = """import os, matplotlib
print(os.environ["CJ_ASKED"], os.getcwd(), matplotlib.rcParams["svg.fonttype"], os.getppid())"""


@pytest.mark.slow
def test_a_forked_kernel_has_the_environment_and_the_folder_of_its_run(tmp_path, monkeypatch):
    (tmp_path / "matplotlibrc").write_text("svg.fonttype: none\n")
    told = []
    for word in ("one", "two"):
        monkeypatch.setenv("CJ_ASKED", word)
        if word == "two":
            monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path / "matplotlibrc"))
        folder = tmp_path / word
        folder.mkdir()
        cell = v4.new_code_cell(ASKS, metadata={"tags": ["parameters"]})
        nbformat.write(v4.new_notebook(cells=[cell]), folder / "asks.ipynb")
        task = Task(folder / "asks.ipynb", folder / "told.ipynb", {}, timeout=60)
        (outcome,) = execute([task], jobs=1, log=folder / "log", progress=Progress())
        assert outcome.exit_code == 0, outcome
        outputs = [each for each in nbformat.read(task.target, 4).cells if each.get("outputs")]
        told.append(outputs[0].outputs[0].text.split())
    assert [each[:3] for each in told] == [
        ["one", str(tmp_path / "one"), "path"],
        ["two", str(tmp_path / "two"), "none"],
    ]
    assert told[0][3] != told[1][3]  # each by a process of its own


def test_where_no_socket_would_fit_kernels_start_anew(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + "long" * 30)
    assert context().get_start_method() == "spawn"
