"""The page that explains dataset files says what the code does."""

import re
from pathlib import Path

import pytest
import yaml

from cjlib import dataset_file
from cjlib.dataset import load_dataset
from cjlib.reading.events import RULES
from cjlib.stages import load_stage_model, ready_made

PAGE = Path(__file__).parents[1] / "data" / "README.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
DATASETS = [block for block in BLOCKS if "source:" in block]


def test_page_shows_a_small_an_order_only_an_order_line_and_a_full_dataset_file():
    assert len(DATASETS) == 4


@pytest.mark.parametrize("block", DATASETS, ids=["small", "orders", "lines", "full"])
def test_every_dataset_file_on_the_page_is_valid(tmp_path, block):
    (tmp_path / "own.yml").write_text(block, encoding="utf-8")
    assert load_dataset(tmp_path / "own.yml").name


def test_every_key_is_on_the_page():
    full = yaml.safe_load(DATASETS[-1])
    inner = {"path", "folder", "stages"}
    assert set(full) == set(dataset_file.Dataset.model_fields) - inner
    for key, section in [
        ("columns", dataset_file.Columns),
        ("journey", dataset_file.Journey),
        ("churn", dataset_file.Churn),
        ("quality", dataset_file.Quality),
        ("privacy", dataset_file.Privacy),
        ("customers", dataset_file.Customers),
    ]:
        assert set(full[key]) == set(section.model_fields), key


def test_stated_defaults_are_those_of_the_code(tmp_path):
    (tmp_path / "own.yml").write_text(DATASETS[0], encoding="utf-8")
    small = load_dataset(tmp_path / "own.yml")
    full = yaml.safe_load(DATASETS[-1])
    assert small.quality.max_quarantined == 0.01
    assert (small.stage_model, small.language, small.churn.horizon.days) == (
        "five_phases",
        "en",
        90,
    )
    assert small.privacy.model_dump() == full["privacy"]
    assert small.quality.missing == full["quality"]["missing"]
    assert (small.quality.unmapped, small.quality.duplicates) == ("quarantine", "drop")
    assert small.quality.earliest is None


def test_every_ready_made_stage_model_is_on_the_page_as_it_is():
    section = TEXT.split("## Stages")[1].split("Your own is")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\w, *]+) \|$", section, re.MULTILINE))
    rows.pop("stage_model")  # the heading
    assert sorted(rows) == ready_made()
    for name, stages in rows.items():
        model = load_stage_model(name)
        bold = [f"**{stage}**" if stage in model.purchase else stage for stage in model.names]
        assert stages == ", ".join(bold)


def test_own_stage_model_on_the_page_is_valid(tmp_path):
    block = next(block for block in BLOCKS if block.startswith("name: subscription"))
    (tmp_path / "own.yml").write_text(block, encoding="utf-8")
    model = load_stage_model("own.yml", base=tmp_path)
    assert model.label("use", "ca") == "Ús"
    assert model.label("renewal", "ca") == "renewal"


def test_every_rule_is_on_the_page_in_the_order_of_checking():
    section = TEXT.split("## What happens to every row")[1].split("## Privacy")[0]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)))
    assert set(named) == set(RULES)
