"""Notebook 05 with a plain classifier for its only rival: it goes all the way to the list."""

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

FOREST = """candidates = {
    "everyone alike": dummy.DummyClassifier(strategy="prior"),
    "forest": ensemble.RandomForestClassifier(50, min_samples_leaf=15, random_state=seed),
}"""


@pytest.mark.slow
def test_a_plain_classifier_is_chosen_tested_explained_and_acted_on(tmp_path):
    notebook = nbformat.read(ROOT / "notebooks" / "05_churn.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and "candidates |= {" in cell.source:
            cell.source += f"\n{FOREST}"
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += f"\nout = {str(tmp_path)!r}"
    resources = {"metadata": {"path": str(ROOT / "notebooks")}}
    NotebookClient(notebook, timeout=600, resources=resources).execute()
    evaluation = pd.read_parquet(tmp_path / "tables" / "churn_evaluation.parquet")
    scores = pd.read_parquet(tmp_path / "tables" / "churn_scores.parquet")
    assert evaluation.set_index("model")["chosen"].to_dict() == {
        "everyone alike": False,
        "forest": True,
    }
    assert evaluation["auc"].iloc[-1] > 0.75
    assert {"contact", "hold out"} <= set(scores["group"])
    assert (scores["reason_1"] != "").mean() > 0.3
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not any(output.output_type == "stream" for output in outputs)
