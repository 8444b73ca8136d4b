import pytest

from cjlib.dataset import find_datasets, load_dataset
from cjlib.errors import ParameterError
from tests.conftest import ROOT

TEXT = """
name: shop
source: log.csv
columns:
  customer_id: user
  timestamp: {column: at, timezone: Europe/Madrid}
  touchpoint: event
  sentiment: {column: score, scale: [1, 5]}
touchpoints:
  view: {stage: awareness, initiator: company}
  007: {stage: consideration}
  no: {stage: purchase}
journey: {inactivity: 30 days, purchase: no}
quality: {max_quarantined: 2%}
"""


def load(tmp_path, text, **options):
    path = tmp_path / "shop.yml"
    path.write_text(text, encoding="utf-8")
    return load_dataset(path, **options)


def test_a_dataset_file_gives_what_it_says_and_defaults_for_the_rest(tmp_path):
    dataset = load(tmp_path, TEXT)
    assert dataset.journey.inactivity.days == 30
    assert dataset.journey.purchase == ["no"]
    assert dataset.quality.max_quarantined == pytest.approx(0.02)
    assert dataset.churn.horizon.days == 90
    assert dataset.privacy.smallest_group == 5
    assert dataset.columns.sources == {
        "customer_id": "user",
        "timestamp": "at",
        "touchpoint": "event",
        "sentiment": "score",
    }


def test_weeks_are_seven_days(tmp_path):
    assert load(tmp_path, TEXT.replace("30 days", "2 weeks")).journey.inactivity.days == 14
    assert load(tmp_path, TEXT.replace("30 days", "1 week")).journey.inactivity.days == 7


def test_scalars_stay_the_text_that_was_written(tmp_path):
    assert list(load(tmp_path, TEXT).touchpoints) == ["view", "007", "no"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("inactivity", "inactivty", r"journey\.inactivty: no such key; did you mean 'inactivity'"),
        ("quality:", "qualty:", r"qualty: no such key; did you mean 'quality'"),
        ("initiator:", "initator:", r"initator: no such key; did you mean 'initiator'"),
        ("column: score", "colum: score", r"colum: no such key; did you mean 'column'"),
        ("30 days", "30 dys", "no length of time; write for example '30 days'"),
        ("30 days", "1 month", "no length of time"),
        ("name: shop", "name: shop\ndelimiter: '\"'", "one character"),
        ("30 days", "-3 days", "longer than nothing"),
        ("2%", "200%", "not between 0% and 100%"),
        ("Europe/Madrid", "Europe/Madri", "no time zone"),
        ("stage: awareness", "stage: awarenes", "did you mean 'awareness'"),
        ("purchase: no", "purchase: yes", "journey.purchase: 'yes' is not under touchpoints"),
        ("purchase: no", "purchase: view", "is not a purchase"),
        ("scale: [1, 5]", "scale: [5, 1]", "from its worst to its best"),
        ("scale: [1, 5]", "scale: [1, 5], labels: {a: 1}", "either scale"),
        ("  view:", "  no:", "'no' stands twice"),
        ("name: shop", "name: ../shop", "name"),
        ("source: log.csv", "", "source: is needed"),
        ("timezone:", "format: '%d/%m/%y', timezone:", "century"),
        ("name: shop", "name: shop\nstage_model: five_fases", "five_phases"),
    ],
)
def test_wrong_keys_and_values_name_the_key_and_the_remedy(tmp_path, old, new, message):
    with pytest.raises(ParameterError, match=message):
        load(tmp_path, TEXT.replace(old, new, 1))


def test_a_file_that_is_no_dataset_file_is_refused(tmp_path):
    for text in ("", "- a\n", "a: [\n", "\x00"):
        with pytest.raises(ParameterError, match=r"shop\.yml"):
            load(tmp_path, text)


def test_source_as_of_and_language_can_be_replaced(tmp_path):
    dataset = load(tmp_path, TEXT, source="other.csv", as_of="2024-05-01", language="ca")
    assert dataset.source.endswith("other.csv")
    assert dataset.as_of.year == 2024
    assert dataset.language == "ca"


def test_a_name_is_found_in_data_and_a_wrong_one_gets_a_hint():
    assert {"demo", "ecom", "cdnow", "olist", "online_retail"} <= set(find_datasets(ROOT))
    with pytest.raises(ParameterError, match="did you mean 'demo'"):
        load_dataset("demmo")


@pytest.mark.parametrize("name", ["demo", "ecom", "cdnow", "olist", "online_retail"])
def test_the_dataset_files_of_this_project_are_sound(name):
    assert load_dataset(name).name == name
