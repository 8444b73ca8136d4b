"""Whole reports on a log made to give customers away: nothing of it is on any page or picture."""

import json
import os
import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from cjlib.errors import PrivacyError
from cjlib.runs.plan import Request
from cjlib.runs.run import report
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

SMALLEST = 5
DATASET = """
name: giveaway
source: giveaway.csv
columns:
  customer_id: who
  timestamp: {{column: at, timezone: UTC}}
  touchpoint: what
  channel: where
  value: worth
  sentiment: {{column: felt, scale: [-1, 1]}}
stage_model: four_phases
touchpoints:
  look: {{stage: awareness, initiator: customer}}
  advert: {{stage: consideration, initiator: company}}
  buy: {{stage: decision, initiator: customer}}
  call: {{stage: post_sale, initiator: company}}
  {more}
journey: {{inactivity: 30 days, purchase: [buy]}}
churn: {{horizon: 60 days}}
privacy: {{smallest_group: 5}}
quality: {{unmapped: awareness}}
customers: {{source: people.csv, columns: {{customer_id: who, region: region}}}}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a project with the notebooks, whose kernels draw SVG with its texts as texts."""
    profile = tmp_path / "ipython" / "profile_default"
    profile.mkdir(parents=True)
    config = 'c.InlineBackend.figure_formats = {"png", "svg"}\n'
    (profile / "ipython_kernel_config.py").write_text(config)
    (tmp_path / "matplotlibrc").write_text("svg.fonttype: none\n")
    monkeypatch.setenv("IPYTHONDIR", str(profile.parent))
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path / "matplotlibrc"))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "data").mkdir()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        (tmp_path / "notebooks" / path.name).write_text(json.dumps(notebook), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(project, names=()):
    """Write a log of 300 customers; few meet what they can be told by, some what `names` are."""
    rng = np.random.default_rng(3)
    rows = []
    for customer in range(300):
        day = pd.Timestamp("2023-01-01") + pd.Timedelta(days=int(rng.integers(0, 90)))
        for _ in range(int(rng.integers(2, 7))):
            for what in rng.choice(["look", "look", "advert", "buy", "buy", "call"], size=3):
                worth = round(float(rng.gamma(2, 30)), 2) if what == "buy" else ""
                where = rng.choice(["web", "shop", "post"])
                day += pd.Timedelta(hours=float(rng.exponential(60)))
                rows.append((f"u{customer:05}x", day, what, where, worth, rng.uniform(-1, 1)))
            day += pd.Timedelta(days=float(rng.exponential(35)))
    log = pd.DataFrame(rows, columns=["who", "at", "what", "where", "worth", "felt"])
    for few in range(1, SMALLEST):  # touchpoints and channels of one to four customers
        those = log["who"].drop_duplicates().sample(few, random_state=few)
        places = log[log["who"].isin(those) & (log["what"] == "look")].index
        log.loc[places, "what"] = f"rare {few}"
        log.loc[places, "where"] = f"seldom {few}"
    for place, name in enumerate(names):
        log.loc[log.index[place::18], "what"] = name
        log.loc[log.index[place + 4 :: 18], "where"] = name
    log["at"] = log["at"].dt.strftime("%Y-%m-%d %H:%M:%S")
    log.to_csv(project / "data" / "giveaway.csv", index=False)
    people = pd.DataFrame({"who": log["who"].unique()})
    people["region"] = ["north", "south"] * 148 + ["isle"] * 4
    people.to_csv(project / "data" / "people.csv", index=False)
    more = [f"rare {few}" for few in range(1, SMALLEST)]
    more = "\n  ".join(f"{json.dumps(name)}: {{stage: awareness}}" for name in more)
    text = DATASET.format(more=more)
    (project / "data" / "giveaway.yml").write_text(text, encoding="utf-8")
    return log


def outputs(folder):
    for path in sorted(folder.glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                yield path.stem, output


def drawn(output):
    """Return the texts of a picture as its SVG draws them."""
    svg = "".join(output.get("data", {}).get("image/svg+xml", []))
    texts = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text") if svg else []
    return [" ".join("".join(text.itertext()).split()) for text in texts]


def test_no_group_too_small_is_on_any_page_or_picture(project):
    write(project)
    few = ("max_clusters=2", "max_types=2", "weeks_ahead=2")  # it is not about these
    folder = report(Request("giveaway", jobs=2, parameters=few)).folder
    counted, pictures = 0, 0
    for _, output in outputs(folder):
        texts = drawn(output)
        pictures += bool(texts)
        for text in texts:
            assert not re.search(r"\bn [1-4]\b", text), text
            assert not re.fullmatch(r"(lost|ended here) [1-4]", text), texts
        html = "".join(output.get("data", {}).get("text/html", []))
        for table in re.findall(r"<table.*?</table>", html, re.S):
            heads = re.findall(r"<th\b[^>]*>(.*?)</th>", table)
            for row in re.findall(r"<tr>(<td.*?)</tr>", table):
                cells = dict(zip(heads, re.findall(r"<td\b[^>]*>(.*?)</td>", row), strict=True))
                counts = [cells[name] for name in ("customers", "buyers", "n") if name in cells]
                counted += len(counts)
                assert not set(counts) & {"1", "2", "3", "4"}, cells
                assert not any("rare" in cell for cell in cells.values()) or not counts
    assert counted > 40
    assert pictures > 12
    said = [finding["sentence"] for finding in json.loads((folder / "findings.json").read_text())]
    for page in folder.glob("*.html"):
        said.append(page.read_text(encoding="utf-8"))
        assert str(project) not in said[-1]
    for text in said:
        assert not re.search(r"(?<![\d.,])[1-4] (customers|buyers)\b", text)
    for path in folder.rglob("*"):
        if path.suffix in (".json", ".ipynb", ".csv", ".html"):
            assert str(project) not in path.read_text(encoding="utf-8"), path


def test_ids_and_addresses_as_labels_stop_the_report_and_are_named_by_their_places(project):
    names = {"u00007x": "customer id", "ana.ruiz@shop.example": "e-mail address"}
    write(project, names)
    with pytest.raises(PrivacyError) as caught:
        report(Request("giveaway", only=("01", "02"), jobs=2))
    message = str(caught.value)
    assert not any(name in message for name in names)
    for kind in names.values():
        assert re.search(rf"ipynb, cell \[\d+\], picture: {kind}", message), message
        assert re.search(rf"\.html: {kind}", message), message
    assert "a touchpoint and channel of the log" in message
    assert os.listdir(project / "reports" / "giveaway") == [".lock"]
