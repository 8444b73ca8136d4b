"""YAML files read and checked: every error names the file, the key and what to write."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from cjlib.errors import ParameterError, did_you_mean

_NO_TEXT = re.compile("[\0\ud800-\udfff]")

Model = TypeVar("Model", bound=BaseModel)


class _Strings(yaml.SafeLoader):
    """YAML in which every scalar is text, so that ``007`` and ``no`` stay what was written."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - PyYAML's own way

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        if self.check_event(yaml.AliasEvent):  # a few nested ones fill any memory
            raise _problem("an alias (*name); write its content out", self.peek_event())
        return super().compose_node(parent, index)

    def construct_scalar(self, node: yaml.ScalarNode) -> str:
        text = super().construct_scalar(node)
        if _NO_TEXT.search(text):
            raise _problem("a character that is no text (NUL or half of a pair)", node)
        return text

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, times in keys.items():
            if times > 1:
                raise _problem(f"{key!r} stands twice", node)
        return super().construct_mapping(node, deep)


def _problem(what: str, where: yaml.Node | yaml.Event) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(problem=what, problem_mark=where.start_mark)


def read_yaml(path: Path) -> dict:
    """Return the content of a YAML file, every scalar as text.

    Raises
    ------
    ParameterError
        The file cannot be read, is no YAML in UTF-8, holds a key twice, or no keys at all.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Strings)
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ParameterError(f"{path}: is not readable as YAML in UTF-8: {reason}") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{path}: holds no keys; see data/README.md for what to write.")
    return content


def validated(model: type[Model], content: dict, path: Path) -> Model:
    """Return the content of a file as a model.

    Raises
    ------
    ParameterError
        With one line per key that is wrong.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [_explained(problem, model) for problem in error.errors()]
        raise ParameterError("\n".join(f"{path}: {line}" for line in lines)) from None


def _explained(problem: dict, model: type[BaseModel]) -> str:
    """Say where in the file one problem is and what to write instead."""
    location = [step for step in problem["loc"] if step != "[key]"]  # pydantic's mark for a key
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in location]
    place = "".join(steps).lstrip(".") + ": " if steps else ""
    match problem["type"]:
        case "value_error":
            return f"{place}{problem['ctx']['error']}"
        case "extra_forbidden":
            known = _keys_at(location[:-1], model)
            hint = did_you_mean(location[-1], known) or f"; known here: {', '.join(known)}"
            return f"{place}no such key{hint}"
        case "missing":
            return f"{place}is needed; see data/README.md for what to write"
        case "literal_error":
            return f"{place}{problem['input']!r}; write {problem['ctx']['expected']}"
    message = problem["msg"]
    return f"{place}{message[:1].lower()}{message[1:]}"


def _keys_at(location: list, model: Any) -> list[str]:
    """Return the keys that may stand at a place of a file."""
    for step in location:
        field = model.model_fields.get(str(step))
        if field is not None:  # else the step is a key of the company's own, as a touchpoint's name
            model = _section_of(field.annotation)
    return [key for key, field in model.model_fields.items() if not field.exclude]


def _section_of(annotation: Any) -> type[BaseModel]:
    """Return the model within such types as ``dict[str, Touchpoint]`` or ``Privacy | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_section_of, getattr(annotation, "__args__", ()))), None)
