"""What becomes of a question that the log cannot answer, decided in this one place.

A function that lacks what it needs raises `Unanswerable` with the reason. In a notebook the cell
then shows that reason and nothing else, what it would have assigned stands for the missing answer,
and every later cell that uses it leaves as silently: no cell asks whether there is something to
show. The page of a report takes such sections out and names them at its end. Under plain Python the
error is an ordinary one.
"""

import ast

from cjlib.errors import Unanswerable
from cjlib.forms import Wording, shared_sentences
from cjlib.groups import too_few_said

MARK = "application/vnd.cjlib.unanswered+json"
"""The kind of output by which a page knows a cell that was left out."""


class Missing:
    """Stands for an answer that the log could not give; to use it is to ask again.

    Parameters
    ----------
    reason : str
    """

    def __init__(self, reason: str):
        object.__setattr__(self, "_reason", reason)

    def _ask(self, *args, **kwargs):
        raise _Again(self._reason)

    def __getattr__(self, name: str):
        if name.startswith(("_repr_", "_ipython_", "__")):  # what only looks at it
            raise AttributeError(name)
        self._ask()

    def __repr__(self) -> str:
        return f"Missing({self._reason!r})"

    def _ipython_display_(self) -> None:
        _mark(self._reason)


_ACTIONS = """
    call getitem setitem delitem iter len bool contains setattr array float int index complex format
    eq ne lt le gt ge neg pos abs invert round enter
"""
_OPERATORS = "add sub mul matmul truediv floordiv mod divmod pow and or xor lshift rshift"
for name in [*_ACTIONS.split(), *_OPERATORS.split(), *(f"r{each}" for each in _OPERATORS.split())]:
    setattr(Missing, f"__{name}__", Missing._ask)


class _Again(Unanswerable):
    """Raised by what depends on an answer that is missing; said once already."""


def install() -> None:
    """Let the cells of this notebook leave where the log cannot answer; nothing elsewhere."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None or getattr(shell, "_cjlib_answers", False):
        return
    shell._cjlib_answers = True
    shell.set_custom_exc((Unanswerable,), _leave)
    shell.events.register("post_run_cell", _stand_in)


def _leave(shell, kind, error, traceback, tb_offset=None) -> None:
    """Show the reason in place of a traceback, and none of the cell's unfinished pictures."""
    import matplotlib.pyplot as plt

    plt.close("all")
    _mark(str(error), said=isinstance(error, _Again))


def _mark(reason: str, said: bool = True) -> None:
    """Mark the cell as one that was left out, and show the reason unless it was said before."""
    from IPython.display import display

    reason = shared_sentences()["too_few_reason"] if too_few_said(reason) else reason
    row = {"reason": reason}
    shown = {MARK: row}  # nobody sees it, but a page knows by it that the cell has left
    if not said:
        sentence = shared_sentences()["unanswered"]
        shown["text/markdown"] = Wording().sentence(sentence, row, markdown=True)
        shown["text/plain"] = Wording().sentence(sentence, row)
    display(shown, raw=True)


def _stand_in(result) -> None:
    """Put `Missing` in place of what the cell would have assigned; the cell has not failed."""
    from IPython import get_ipython

    error = result.error_in_exec
    if not isinstance(error, Unanswerable):
        return
    result.error_in_exec = None
    missing = Missing(str(error))
    for node in ast.walk(ast.parse(get_ipython().transform_cell(result.info.raw_cell))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            get_ipython().user_ns[node.id] = missing
