"""Logs and their segments that several test modules share; each is made once."""

from functools import cache

import numpy as np
import pandas as pd
import yaml

from cjlib.log import open_log
from cjlib.segments.profiles import profiles
from cjlib.segments.segments import find_segments
from data.demo.files import write_rows
from data.demo.generate import generate
from tests.conftest import ROOT


@cache
def demo_log():
    """The committed demo."""
    return open_log("demo")


@cache
def demo_segments():
    """The demo's customers in three views."""
    return find_segments(demo_log(), most_clusters=3, seed=1)


@cache
def demo_profile():
    """What sets the demo's segments apart."""
    return profiles(demo_log(), demo_segments())


def log_of_rows(folder, rows, **changes):
    """A log from a table of rows, described as the demo is, with changes."""
    described = yaml.safe_load((ROOT / "data" / "demo.yml").read_text())
    described.pop("customers")
    rows.to_csv(folder / "rows.csv", index=False)
    (folder / "log.yml").write_text(yaml.safe_dump(described | {"source": "rows.csv"} | changes))
    return open_log(folder / "log.yml")


def log_of_demo(folder, **options):
    demo = generate(dirt=False, **options)
    described = yaml.safe_load((ROOT / "data" / "demo.yml").read_text())
    described.pop("customers")
    write_rows(demo, folder / "rows.parquet")
    described |= {"source": "rows.parquet"}
    (folder / "log.yml").write_text(yaml.safe_dump(described))
    return demo, open_log(folder / "log.yml")


def orders_only(folder):
    """Orders of 200 customers, nothing else: one stage, no channel, value or sentiment."""
    rng = np.random.default_rng(1)
    who = rng.integers(200, size=600)
    when = pd.Timestamp("2025-02-01") + pd.to_timedelta(rng.integers(360, size=600), unit="D")
    rows = pd.DataFrame({"customer_id": who, "timestamp": when, "touchpoint": "order_placed"})
    columns = {name: name for name in rows.columns}
    columns["timestamp"] = {"column": "timestamp", "timezone": "UTC"}
    return log_of_rows(folder, rows, columns=columns)
