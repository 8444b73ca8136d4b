"""What a report is made of, as one fingerprint: equal ones give equal pages."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
import pandas as pd

from cjlib.log import Log
from cjlib.runs.plan import Plan
from cjlib.tables import hash_ids


def fingerprint(plan: Plan, log: Log, earlier: Sequence[str], versions: dict[str, str]) -> str:
    """Return the SHA-256 of all that a report depends on.

    Parameters
    ----------
    plan : Plan
        Notebooks as they are before the run, and every parameter.
    log : Log
        Its folder is named by source, dataset file and moment.
    earlier : sequence of str
        Ids of the reports of earlier moments, with which it may be compared.
    versions : dict
        Of packages; cjlib's own files count whatever its version.
    """
    described = log.dataset.model_dump(mode="json")
    parts = [log.folder.name, log.as_of, described, plan.parameters, sorted(earlier), versions]
    if log.dataset.privacy.customer_ids == "hash":  # tables depend on the key, too
        parts += hash_ids(pd.Series(["inputs"])).tolist()
    whole = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
    for path, notebook in sorted(plan.notebooks.items()):
        whole.update(path.name.encode() + nbformat.writes(notebook).encode())
    for path in [*_files(Path(__file__).parents[1]), *_named(plan, log)]:
        whole.update(path.as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def _files(place: Path) -> Iterator[Path]:
    """Yield a file, or the files of a folder in order."""
    found = sorted(place.rglob("*")) if place.is_dir() else [place]
    return (path for path in found if path.is_file() and path.suffix != ".pyc")


def _named(plan: Plan, log: Log) -> Iterator[Path]:
    """Yield the files that parameters and the dataset file name beside the source."""
    rules = (log.dataset.segments or {}).get("rfm")
    if isinstance(rules, str):
        yield from _files(log.dataset.path.parent / rules)
    for values in plan.parameters.values():
        for name in values.keys() & plan.given.keys():
            path = Path(str(values[name]))
            if path.is_absolute():  # as paths are once they are checked
                yield from _files(path)
