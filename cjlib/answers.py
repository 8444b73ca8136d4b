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

    __call__ = __getitem__ = __setitem__ = __iter__ = __len__ = __bool__ = __contains__ = _ask
    __setattr__ = __array__ = __float__ = __int__ = __index__ = __eq__ = __ne__ = _ask
    __lt__ = __le__ = __gt__ = __ge__ = __or__ = __ror__ = __and__ = __rand__ = __invert__ = _ask
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __neg__ = _ask
    __truediv__ = __rtruediv__ = _ask
    __hash__ = object.__hash__


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
    from IPython.display import display

    plt.close("all")
    row = {"reason": str(error)}
    shown = {MARK: row}  # which nobody sees, but by which a run knows that the cell has left
    if not isinstance(error, _Again):
        text = shared_sentences()["unanswered"]
        shown["text/markdown"] = Wording().sentence(text, row, markdown=True)
        shown["text/plain"] = Wording().sentence(text, row)
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
