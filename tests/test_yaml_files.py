"""Errors in YAML files name the file, the key and the remedy."""

from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict

from cjlib.errors import ParameterError
from cjlib.yaml_files import read_yaml, validated


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int
    kind: Literal["small", "large"] = "small"


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")

    listed: list[Part] = []
    named: dict[str, Part | None] = {}


@pytest.fixture
def read(tmp_path):
    def written(content):
        path = tmp_path / "own.yml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return validated(Whole, read_yaml(path), path)

    return written


def test_scalars_are_text_until_the_model_says_otherwise(read, tmp_path):
    assert read("listed: [{size: 007}]").listed[0].size == 7
    (tmp_path / "other.yml").write_text("no: 007\nyes: 2024-01-01")
    assert read_yaml(tmp_path / "other.yml") == {"no": "007", "yes": "2024-01-01"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "listed: [{size: 1}, {sise: 1, size: 1}]",
            r"listed\[1\]\.sise: no such key; did you mean",
        ),
        ("named: {a: {size: 1, x: 1}}", r"named\.a\..*x: no such key; known here: size, kind"),
        ("listed: [{kind: small}]", r"listed\[0\]\.size: is needed"),
        ("listed: [{size: 1, kind: big}]", r"kind: 'big'; write 'small' or 'large'"),
        ("listed: [{size: x}]", r"listed\[0\]\.size: input should be a valid integer"),
        ("listed: []\nlisted: []", "'listed' stands twice"),
        ("listed: [", "not readable as YAML"),
        (b"listed: \xe9", "UTF-8"),
        ("[" * 5_000, "not readable"),
        ("", "holds no keys"),
        ("- a", "holds no keys"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(read, content, message):
    with pytest.raises(ParameterError, match=message) as caught:
        read(content)
    assert "own.yml" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r"gone\.yml: cannot be read \(No such file"):
        read_yaml(tmp_path / "gone.yml")
