import pytest

from cjlib.errors import ParameterError
from cjlib.stages import load_stage_model, ready_made

# Stages and roles as marketing practice states them, one line per model.
EXPECTED = {
    "five_phases": "awareness< consideration< decision< purchase= post_sale>",
    "four_phases": "awareness< consideration< decision= post_sale>",
    "six_steps": "research< awareness< evaluation< decision< purchase= post_sale>",
    "buying_process": "need_recognition< information_search< evaluation_of_alternatives< "
    "purchase_decision= post_purchase>",
    "ecommerce": "awareness< consideration< purchase= retention> advocacy>",
    "store_visit": "search_and_compare< gather_buying_information< choose_online_or_store< "
    "buying_process= post_sale_service>",
    "discovery_to_loyalty": "discovery< evaluation_of_alternatives< purchase_action= "
    "post_sale_service> loyalty>",
    "decision_to_bond": "recognition< decision< purchase= bonding>",
}
SIGN = {"before": "<", "purchase": "=", "after": ">"}

OWN = """\
name: dentist
labels: {en: At the dentist's, ca: Al dentista}
stages:
  - {name: pain, role: before, labels: {en: Pain, es: Dolor}}
  - {name: treatment, role: purchase}
  - {name: check_up, role: after, labels: {en: Check-up}}
"""


@pytest.fixture
def own(tmp_path):
    def write(text):
        (tmp_path / "own.yml").write_text(text, encoding="utf-8")
        return load_stage_model("own.yml", base=tmp_path)

    return write


def test_ready_made_models_are_the_eight_promised():
    assert ready_made() == sorted(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_ready_made_model_has_its_stages_roles_and_labels_in_three_languages(name):
    model = load_stage_model(name)
    assert model.name == name
    assert " ".join(stage.name + SIGN[stage.role] for stage in model.stages) == EXPECTED[name]
    assert set(model.labels) == {"en", "es", "ca"}
    for stage in model.stages:
        assert set(stage.labels) == {"en", "es", "ca"}
    for language in ("en", "es", "ca"):
        labels = [model.label(stage, language) for stage in model.names]
        assert len(set(labels)) == len(model.stages)


def test_model_answers_by_name_role_and_position():
    model = load_stage_model("ecommerce")
    assert model.before == ["awareness", "consideration"]
    assert model.purchase == ["purchase"]
    assert model.after == ["retention", "advocacy"]
    assert model.positions["advocacy"] == 4
    assert model.roles["retention"] == "after"
    assert len(model.stages) == 5
    assert "advocacy" in model.names
    assert "lost" not in model.names


def test_own_model_is_found_beside_the_dataset_file_and_labels_fall_back(own):
    model = own(OWN)
    assert model.label("pain", "es") == "Dolor"
    assert model.label("pain", "ca") == "Pain"
    assert model.label("treatment", "ca") == "treatment"
    assert model.label("lost") == "lost"


def test_own_model_is_found_by_an_absolute_path(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(OWN, encoding="utf-8")
    assert load_stage_model(str(path)).names == ["pain", "treatment", "check_up"]


def test_model_cannot_be_changed_after_loading():
    model = load_stage_model("five_phases")
    with pytest.raises(ValueError, match="frozen"):
        model.stages[0].name = "other"


@pytest.mark.parametrize("name", ["five_phase", "Five-Phases"])
def test_unknown_name_gets_did_you_mean(name):
    with pytest.raises(ParameterError, match=r"did you mean 'five_phases'\?"):
        load_stage_model(name)


def test_unknown_name_lists_what_there_is():
    with pytest.raises(ParameterError, match=r"Ready-made are buying_process, .*path of its \.yml"):
        load_stage_model("zzz")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r"no file .*gone\.yml"):
        load_stage_model("gone.yml", base=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("role: before", "role: befor"), r"stages\[0\]\.role: 'befor'; write 'before'"),
        (
            ("role: before", "roles: before"),
            r"\.roles: no such key; did you mean 'role'",
        ),
        (("name: pain, ", ""), r"stages\[0\]\.name: is needed"),
        (("name: pain", "name: lost"), r"stages\[0\]\.name: 'lost' is reserved"),
        (("name: pain", "name: all"), r"stages\[0\]\.name: 'all' is reserved"),
        (("name: pain", "name: The Pain"), r"stages\[0\]\.name: 'The Pain' is no name"),
        (("name: pain", "name: treatment"), r"treatment stands twice"),
        (("name: pain", "name: 7"), r"stages\[0\]\.name: '7' is no name"),
        (("role: purchase", "role: before"), r"none has the role purchase"),
        (("role: after", "role: before"), r"check_up \(before\) stands after treatment"),
        (("es: Dolor", "fr: Douleur"), r"stages\[0\]\.labels\.fr: 'fr'; write 'en', 'es' or 'ca'"),
        (("en: Pain", "en: ''"), r"stages\[0\]\.labels\.en: .*at least 1"),
        (("name: dentist", "nome: dentist"), r"nome: no such key; did you mean 'name'"),
        (("stages:", "stages: ["), r"not readable as YAML"),
    ],
)
def test_wrong_file_says_place_and_remedy(own, change, message):
    with pytest.raises(ParameterError, match=message) as caught:
        own(OWN.replace(*change, 1))
    assert "own.yml" in str(caught.value)


@pytest.mark.parametrize("text", ["", "just text", "- a list", "name: x\nstages: []\n"])
def test_file_of_another_form_is_refused(own, text):
    with pytest.raises(ParameterError, match=r"own\.yml"):
        own(text)


def test_file_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "own.yml").write_bytes(b"name: d\xe9cision\n")
    with pytest.raises(ParameterError, match="UTF-8"):
        load_stage_model("own.yml", base=tmp_path)
