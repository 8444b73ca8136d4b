"""Words for readers stand in notebooks and templates, nowhere else."""

import ast
import re
from pathlib import Path

import pytest

import cjlib

FOLDER = Path(cjlib.__file__).parent
MODULES = sorted(FOLDER.rglob("*.py"))
ERRORS_ARE_WORDED_IN = {"_explain", "_explained", "_check_limit", "verify"}
"""Functions that word what others raise: of a dataset file, a log and an executed notebook."""
TOLD_ELSEWHERE = {"progress", "echo", "secho", "warn", "warning", "info", "debug", "error"}
"""What is called with words for whoever runs a report: its progress, its log and its warnings."""


def prose(text: str) -> bool:
    """Return whether a text looks like a sentence for readers, its fields written ``{…}``.

    It does with four words or more when it begins like a sentence and ends like one, or begins like
    one and holds a field, or ends like one and holds a field.
    """
    words = re.findall(
        r"(?<![\w{.])(?:[A-Za-z]{2,}|a)(?![\w}(=])", re.sub(r"\{[^{}]*\}", " {} ", text)
    )
    if len(words) < 4 or sum(word.islower() for word in words) < 3:
        return False
    begins = bool(re.match(r"[\s*_>-]*([A-Z][a-z]*\b|\{)", text))
    ends, field = bool(re.search(r"[.!?][*_]*\s*$", text)), "{" in text
    return begins + ends + field >= 2


def written(node: ast.AST) -> str | None:
    """Return the text of a string or f-string, its fields as ``{…}``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "{…}" for part in node.values]
        return "".join(map(str, parts))
    return None


def excepted(node: ast.AST) -> bool:
    """Return whether all within a node is for programmers or for whoever runs a report.

    That is: docstrings (and any other string that nothing uses), what is raised, errors made in
    order to be raised later, the words found for an exception caught, those of progress, log and
    warnings, and the help of commands.
    """
    if isinstance(node, ast.Raise | ast.ExceptHandler):
        return True
    if isinstance(node, ast.FunctionDef):
        return node.name in ERRORS_ARE_WORDED_IN
    if isinstance(node, ast.Expr):
        return written(node.value) is not None
    if isinstance(node, ast.keyword):
        return node.arg in ("help", "epilog", "short_help")
    if isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
        name = called.id if isinstance(called, ast.Name) else str(called)
        return name in TOLD_ELSEWHERE or name.endswith(("Error", "Warning", "Unanswerable"))
    return False


def sentences(tree: ast.AST) -> list[str]:
    """Return the strings of a module that look like sentences for readers."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        if excepted(node):
            continue
        text = written(node)
        if text is None:
            waiting += ast.iter_child_nodes(node)
        elif prose(text):
            found.append(text)
    return found


def takes_report(tree: ast.AST) -> list[str]:
    """Return the functions of a module that have a parameter ``report``."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            if any(argument.arg == "report" for argument in every):
                found.append(getattr(node, "name", "lambda"))
    return found


@pytest.fixture(params=MODULES, ids=lambda path: str(path.relative_to(FOLDER)))
def module(request):
    return ast.parse(request.param.read_text(encoding="utf-8"))


def test_no_sentence_for_readers_stands_in_the_library(module):
    assert not sentences(module)


def test_only_the_report_module_takes_a_report(module):
    assert not takes_report(module)


@pytest.mark.parametrize(
    "source",
    [
        'text = "Customers of this group leave sooner than others."',
        'text = "**{stage}** loses most of its visits: {share}"',
        'text = f"Of {n} customers most have bought again."',
        'text = ("Half of them "\n "came back within {days}.")',
        'say("- {customers} customers met {touchpoint} before they left")',
        'words = {"none": "Nothing has changed since the last report."}',
    ],
)
def test_a_sentence_is_seen_wherever_it_hides(source):
    assert sentences(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring that says what this module is for."""',
        'raise ValueError(f"{name} is not known; write one of these instead.")',
        'problem = ContractError(f"{name} lacks the column that it promised.")',
        'raise Unanswerable("no customer has bought twice")',
        'progress(f"Reading {rows} rows of the source.")',
        'option("--as-of", help="Moment of the report, such as 2024-12-31.")',
        'ax.set(xlabel="days since the purchase")',
        'sql = f"SELECT customer_id FROM {table} WHERE value > 0"',
        'name = f"{column}_lower"',
    ],
)
def test_names_errors_and_what_the_runner_is_told_are_no_sentences(source):
    assert not sentences(ast.parse(source))


def test_a_parameter_called_report_is_seen():
    assert takes_report(ast.parse("def show(table, *, report): ...")) == ["show"]
