"""Time the demo generator at ten million events: `python tests/benchmarks/bench_demo.py`."""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GENERATOR = Path(__file__).resolve().parents[2] / "data" / "demo" / "generate.py"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("log.parquet", "log.csv"):
            path = Path(folder) / name
            command = [sys.executable, GENERATOR, "--customers", "385000", "--rows-only", path]
            begun = time.perf_counter()
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            seconds = time.perf_counter() - begun
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
            size = path.stat().st_size / 1e6
            print(f"{name}: {said.strip()}, {seconds:.0f} s, {size:.0f} MB, peak {peak:.1f} GB")


if __name__ == "__main__":
    main()
