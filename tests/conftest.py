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


@pytest.fixture
def canvas():
    """The look of a report's pictures, and none left open."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    from cjlib.plots.style import set_theme

    with mpl.rc_context():
        set_theme()
        yield
        plt.close("all")


@pytest.fixture(scope="session")
def demo():
    """The committed demo, prepared."""
    from tests.segment_logs import demo_log  # it is slow to import, and few modules need it

    return demo_log()


@pytest.fixture(scope="session")
def found():
    """The demo's customers in three views."""
    from tests.segment_logs import demo_segments

    return demo_segments()


@pytest.fixture(scope="session")
def profile():
    """What sets the demo's segments apart."""
    from tests.segment_logs import demo_profile

    return demo_profile()
