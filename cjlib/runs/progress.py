"""What a run tells whoever watches: a bar on a terminal, a line a notebook elsewhere."""

import contextlib
import sys
from collections.abc import Iterator

from cjlib.forms import shortened
from cjlib.runs.execution import Outcome, Progress


@contextlib.contextmanager
def watch() -> Iterator[Progress]:
    """Yield the progress that fits where the error stream goes."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    bar = Bar()
    try:
        yield bar
    finally:
        bar.close()


class Lines(Progress):
    """A line for each notebook, for logs of schedulers."""

    def ended(self, outcome: Outcome) -> None:
        """Write how a notebook ended."""
        how = "failed" if outcome.exit_code else "done"
        print(f"{outcome.name} {how} in {outcome.seconds:.1f} s", file=sys.stderr, flush=True)


class Bar(Progress):
    """One bar over the cells of all notebooks, naming the notebook and the cell."""

    def __init__(self):
        from tqdm import tqdm

        form = "{percentage:3.0f}%|{bar:24}| {elapsed} {desc}"
        self.bar = tqdm(total=0, bar_format=form, file=sys.stderr, leave=False, nrows=20)
        self.come_to: dict[str, int] = {}

    def step(self, text: str) -> None:
        """Show what the run does now."""
        self.bar.set_description_str(shortened(text, 60))

    def begin(self, cells: int) -> None:
        """Set the length of the bar."""
        self.bar.total = cells
        self.bar.refresh()

    def cell(self, notebook: str, done: int, of: int, heading: str) -> None:
        """Move the bar to a notebook's cell and name it."""
        self.bar.update(max(done - self.come_to.get(notebook, 0), 0))
        self.come_to[notebook] = done
        self.step(f"{notebook} · cell {done} of {of} · {heading}")

    def ended(self, outcome: Outcome) -> None:
        """Say above the bar how a notebook ended."""
        how = "failed" if outcome.exit_code else "done"
        self.bar.write(f"{outcome.name} {how} in {outcome.seconds:.1f} s", file=sys.stderr)

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()
