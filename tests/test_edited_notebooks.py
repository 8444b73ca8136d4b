"""An analyst changes a model by editing one cell: the rest follows, and a whole report appears."""

import json
import re
import shutil

import nbformat
import pandas as pd
import pytest

from cjlib.dataset import load_dataset
from cjlib.runs.run import Request, report
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a project of its own with copies of the notebooks; its data are the library's."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(path, folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edit(project, number, marker, change):
    """Change the one code cell of a notebook that holds the marker; return the notebook's name."""
    (path,) = (project / "notebooks").glob(f"{number}_*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    (cell,) = (
        cell for cell in notebook.cells if cell.cell_type == "code" and marker in cell.source
    )
    before, cell.source = cell.source, change(cell.source)
    assert cell.source != before
    nbformat.write(notebook, path)
    return path.stem


def published(project, notebook):
    """Run a notebook on the demo and return its tables, having seen that the report is whole."""
    folder = report(Request("demo", only=(notebook[:2],))).folder
    assert folder.parent == project / "reports" / "demo"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in manifest["notebooks"]] == [notebook]
    for page in ("index", notebook):
        assert (folder / f"{page}.html").read_text(encoding="utf-8").rstrip().endswith("</html>")
    findings = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    assert {finding["notebook"] for finding in findings} == {notebook}
    return {path.stem: pd.read_parquet(path) for path in (folder / "tables").glob("*.parquet")}


def replaced(name, entries):
    """Return a change that writes a dictionary anew, and drops what is added to it."""
    whole = re.compile(rf"^{name} = \{{.*?^\}}\n(?:{name} \|= .*\n)*", re.DOTALL | re.MULTILINE)
    return lambda source: whole.sub(f"{name} = {entries}\n", source)


def added(line, after):
    """Return a change that adds a line after the first that begins so."""
    return lambda source: re.sub(rf"^{after}.*$", rf"\g<0>\n{line}", source, flags=re.MULTILINE)


def test_another_clusterer_groups_the_customers(project):
    clusterer = replaced("methods", '{"density": HDBSCAN(min_cluster_size=100)}')
    importing = "from sklearn.cluster import HDBSCAN\n"
    notebook = edit(project, "03", "methods = {", lambda source: importing + clusterer(source))
    tables = published(project, notebook)
    assert tables["segments"]["customer_id"].is_unique
    assert {"rfm", "journey_type"} <= set(tables["segment_profiles"]["segmentation"])


def test_one_more_candidate_is_evaluated_beside_the_others(project):
    forest = '    "random forest": RandomForestClassifier(100, min_samples_leaf=20),'
    candidate = added(forest, r"candidates = \{")
    importing = "from sklearn.ensemble import RandomForestClassifier\n"
    notebook = edit(project, "05", "candidates = {", lambda source: importing + candidate(source))
    tables = published(project, notebook)
    evaluation = tables["churn_evaluation"].set_index("model")
    assert 0.5 < evaluation.loc["random forest", "auc"] < 1
    assert evaluation["chosen"].sum() == 1
    assert len(evaluation) > 2
    assert tables["churn_scores"]["churn_probability"].between(0, 1).all()


def test_two_rules_alone_share_the_credit(project):
    rules = '{"first": attribution.first_touch, "linear": attribution.linear}'
    tables = published(project, edit(project, "04", "rules = {", replaced("rules", rules)))
    credit = tables["attribution"]
    assert set(credit["model"]) == {"first", "linear"}
    assert set(credit["dimension"]) == {"channel", "touchpoint"}
    sums = credit.groupby(["dimension", "model"])["share"].sum()
    assert sums.to_numpy() == pytest.approx(1)


def test_another_order_of_the_stages_is_kept_by_what_follows(project):
    backwards = added("stages = stages[::-1]", r"stages = \[")
    tables = published(project, edit(project, "04", "stages = [", backwards))
    moves = tables["transitions"].query("segment == 'all'")
    model = load_dataset("demo").stages.names
    assert list(dict.fromkeys(moves["from_stage"])) == list(reversed(model))
    assert moves.groupby("from_stage")["probability"].sum().to_numpy() == pytest.approx(1)
    assert set(tables["stage_forecast"]["stage"]) <= set(model)
