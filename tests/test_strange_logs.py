"""Honest logs of every odd kind: what `cj check` lets pass makes a whole report."""

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from cjlib.cli import cli
from tests.simulations.worlds import World, described, rows_of


def few_customers(rows):
    return rows[rows["customer_id"].isin(rows["customer_id"].unique()[:3])], {}


def nothing_bought(rows):
    return rows[rows["touchpoint"] != "buy"], {}


def one_event_each(rows):
    return rows.drop_duplicates("customer_id"), {}


def large_groups_alone(rows):
    rows = rows[rows["customer_id"].isin(rows["customer_id"].unique()[:200])]
    rows["value"] = rows["value"] * 1e12  # near the largest that is read
    return rows, {"privacy": {"smallest_group": 100}}


def a_date_far_back_and_purchases_worth_nothing(rows):
    rows["value"] = 0 * rows["value"]
    rows["timestamp"] = rows["timestamp"].astype(str)
    rows.loc[5, "timestamp"] = "0001-01-01 00:00:00"
    rare = rows["customer_id"].isin(rows["customer_id"].unique()[:3])
    rows["channel"] = np.where(rare, "rare", "web")
    return rows, {}


def half_an_hour(rows):
    passed = (rows["timestamp"] - rows["timestamp"].min()) / 17_520
    rows["timestamp"] = pd.Timestamp("2024-01-01") + passed.dt.floor("s")
    journey = {"inactivity": "2 minutes", "purchase": ["buy"]}
    return rows, {"journey": journey, "churn": {"horizon": "5 minutes"}}


KINDS = [
    few_customers,
    nothing_bought,
    one_event_each,
    large_groups_alone,
    a_date_far_back_and_purchases_worth_nothing,
    half_an_hour,
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_the_check_lets_pass_makes_a_whole_report(tmp_path, kind):
    rows, changes = kind(rows_of(World(3, customers=300)).copy())
    rows.to_csv(tmp_path / "log.csv", index=False)
    dataset = tmp_path / "strange.yml"
    dataset.write_text(yaml.safe_dump(described("strange") | {"source": "log.csv"} | changes))
    checked = CliRunner().invoke(cli, ["check", str(dataset)])
    assert checked.exit_code == 0, checked.output
    made = CliRunner().invoke(cli, ["report", str(dataset), "--out", str(tmp_path / "reports")])
    assert made.exit_code == 0, made.output
    assert (tmp_path / "reports" / "strange" / "latest" / "index.html").exists()
