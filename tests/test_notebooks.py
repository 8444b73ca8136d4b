"""What every notebook of the collection promises to its readers."""

import ast
import re
import subprocess
import sys

import nbformat
import pytest

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
COMMON = {"dataset": "demo", "source": "", "as_of": "", "language": "en", "seed": 1, "out": ""}

SENTENCES = ("sentence", "otherwise")


def parsed(notebook):
    """Return every node of the code of a notebook."""
    return (node for cell in code_cells(notebook) for node in ast.walk(ast.parse(cell.source)))


def sentences_of(cell):
    """Return what a cell gives `Report.say` and `Report.finding` to say, as it is written."""
    nodes = list(ast.walk(ast.parse(cell.source)))
    named = {
        target.id: node.value
        for node in nodes
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = []
    for node in nodes:
        called = getattr(getattr(node, "func", None), "attr", "")
        if isinstance(node, ast.Call) and called in ("say", "finding"):
            place = {"say": 1, "finding": 2}[called]
            found += node.args[place : place + 2]
            found += [word.value for word in node.keywords if word.arg in SENTENCES]
    return [named.get(getattr(sentence, "id", ""), sentence) for sentence in found]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_collection_is_numbered_in_order():
    numbers = [path.stem.split("_")[0] for path in NOTEBOOKS]
    assert numbers == ["01", "02", "02b", "03", "04", "05", "06", "07"]


def test_a_title_that_asks_comes_first_and_what_is_published_and_the_limits_last(notebook):
    title, *_, published, limits = (
        cell.source for cell in notebook.cells if cell.cell_type == "markdown"
    )
    assert re.match(r"# .+\?", title.splitlines()[0])
    assert published.startswith("## What is published")
    assert limits.startswith("## What this does not tell you")
    assert notebook.cells[-1].source == limits


def test_the_first_code_cell_holds_the_parameters_as_commented_literals(notebook):
    cell = code_cells(notebook)[0]
    assert "parameters" in cell.metadata.get("tags", [])
    assigned = {}
    for line, statement in zip(cell.source.splitlines(), ast.parse(cell.source).body, strict=True):
        assert "#" in line, line
        assigned[statement.targets[0].id] = ast.literal_eval(statement.value)
    assert {name: assigned.get(name) for name in COMMON} == COMMON


def test_at_most_thirty_cells_and_none_of_more_than_ten_lines(notebook):
    assert len(notebook.cells) <= 30
    _, *cells = code_cells(notebook)  # the parameters may be more
    assert {cell.id: n for cell in cells if (n := len(cell.source.splitlines())) > 10} == {}


def test_at_most_eight_lines_of_imports_and_pictures_come_from_the_library(notebook):
    nodes = list(parsed(notebook))
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    assert sum(node.end_lineno - node.lineno + 1 for node in imports) <= 8
    modules = {getattr(node, "module", None) or node.names[0].name for node in imports}
    assert not any(name.split(".")[0] == "matplotlib" for name in modules)


def test_no_cell_asks_whether_there_is_anything_to_show(notebook):
    for node in parsed(notebook):
        if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
            asked = {getattr(part, "attr", getattr(part, "id", "")) for part in ast.walk(node.test)}
            assert not asked & {"len", "empty", "size", "any", "notna"}, ast.unparse(node.test)


def test_every_sentence_is_one_literal_that_could_be_translated_as_it_stands(notebook):
    for cell in code_cells(notebook):
        for sentence in sentences_of(cell):
            assert isinstance(sentence, ast.Constant), ast.unparse(sentence)
            assert isinstance(sentence.value, str)


def test_cells_have_stable_short_ids(notebook):
    assert all(re.fullmatch(r"c\d\d[a-z]?", cell.id) for cell in notebook.cells)


def test_committed_notebooks_carry_their_outputs_in_order_and_no_warning(notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type not in ("error", "stream"), output
            text = output.get("data", {}).get("text/plain", "")
            assert not re.match(
                r"<(Axes|Figure|matplotlib|\w+\.\w+)", text.replace("<Figure size", "")
            )


def test_outputs_name_no_path_and_no_customer(notebook):
    text = nbformat.writes(nbformat.from_dict(notebook))
    shown = "".join(str(cell.get("outputs", "")) for cell in code_cells(notebook))
    assert not re.search(r"(/home/|/root/|/work/|/tmp/|/Users/)", shown)
    assert "@example" not in text


def test_figures_in_prose_come_from_the_log(notebook):
    """Markdown cells state no percentages or amounts: those belong to sentences with figures."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            prose = re.sub(r"95\s?%", "", cell.source)
            assert not re.search(r"\d+(\.\d+)?\s?%", prose), cell.source


@pytest.mark.slow
def test_nbval_passes_in_another_folder_and_fails_when_a_figure_changes(tmp_path):
    source = ROOT / "notebooks" / "01_event_log.ipynb"
    copy = tmp_path / "elsewhere" / source.name
    copy.parent.mkdir()
    copy.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    assert nbval(copy) == 0
    sound = copy.read_text(encoding="utf-8")
    changed = sound.replace("3,000 customers", "3,001 customers")
    assert changed != sound
    copy.write_text(changed, encoding="utf-8")
    assert nbval(copy) == 1


def nbval(path):
    sanitize = ROOT / "tests" / "nbval_sanitize.cfg"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval"]
    command += ["--nbval-current-env", f"--nbval-sanitize-with={sanitize}", str(path)]
    return subprocess.run(command, cwd=path.parent, capture_output=True, check=False).returncode
