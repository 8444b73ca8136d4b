"""An analyst changes a model by editing one cell: the rest follows, and a whole report appears."""

import json
import re
import shutil

import nbformat
import pandas as pd
import pytest

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


def test_another_clusterer_groups_the_customers(project):
    def other(source):
        entries = re.compile(r"^methods = \{.*?^\}", re.DOTALL | re.MULTILINE)
        density = 'methods = {"density": HDBSCAN(min_cluster_size=100)}'
        return "from sklearn.cluster import HDBSCAN\n" + entries.sub(density, source)

    notebook = edit(project, "03", "methods = {", other)
    tables = published(project, notebook)
    assert tables["segments"]["customer_id"].is_unique
    assert "rfm" in set(tables["segment_profiles"]["segmentation"])
    text = (project / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8")
    assert "HDBSCAN" in text


def test_one_more_candidate_is_evaluated_beside_the_others(project):
    def more(source):
        forest = '    "random forest": RandomForestClassifier(100, min_samples_leaf=20),\n'
        source = source.replace("candidates = {\n", f"candidates = {{\n{forest}")
        return "from sklearn.ensemble import RandomForestClassifier\n" + source

    tables = published(project, edit(project, "05", "candidates = {", more))
    evaluation = tables["churn_evaluation"].set_index("model")
    assert 0.5 < evaluation.loc["random forest", "auc"] < 1
    assert evaluation["chosen"].sum() == 1
    assert len(evaluation) > 2
    assert tables["churn_scores"]["churn_probability"].between(0, 1).all()


def test_two_rules_alone_share_the_credit(project):
    def fewer(source):
        return re.sub(r'^    "(?!first"|linear").*\n', "", source, flags=re.MULTILINE)

    tables = published(project, edit(project, "04", "rules = {", fewer))
    credit = tables["attribution"]
    assert set(credit["model"]) == {"first", "linear"}
    assert set(credit["dimension"]) == {"channel", "touchpoint"}
    sums = credit.groupby(["dimension", "model"])["share"].sum()
    assert sums.to_numpy() == pytest.approx(1)
