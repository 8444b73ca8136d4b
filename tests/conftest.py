"""What several test modules share."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data():
    """Return a function that finds a file beside the project, or skips the test with a message."""

    def find(path: str) -> Path:
        full = ROOT.parent / "shared" / "data" / path
        if not full.exists():
            pytest.skip(f"needs {path}, which is not beside this checkout (../shared/data)")
        return full

    return find
