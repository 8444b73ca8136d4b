"""Stage models: the ordered steps of a customer's journey, ready-made or a company's own.

Every analysis asks a stage for its position and its role, never for its name, so any model of the
same form works everywhere.
"""

import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from cjlib.errors import ParameterError, did_you_mean
from cjlib.yaml_files import read_yaml, validated

Role = Literal["before", "purchase", "after"]
Language = Literal["en", "es", "ca"]
ROLES: tuple[Role, ...] = ("before", "purchase", "after")
READY_MADE = Path(__file__).parent / "stage_models"
RESERVED = frozenset({"lost", "bought", "open", "start", "all"})
"""Words that published tables use beside stage names: ends of journeys, and everybody."""


def _name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise ValueError(f"{name!r} is no name; write at most 40 lower-case letters, digits and _")
    if name in RESERVED:
        raise ValueError(
            f"{name!r} is reserved ({', '.join(sorted(RESERVED))}); write another name"
        )
    return name


Name = Annotated[str, AfterValidator(_name)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]


class Stage(BaseModel):
    """One step of a stage model.

    Attributes
    ----------
    name : str
        Lower-case identifier, the value of the column ``stage``.
    role : {"before", "purchase", "after"}
        Where the step stands relative to the purchase.
    labels : dict
        What pictures and tables show, by language (en, es, ca).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    role: Role
    labels: dict[Language, Text] = Field(default_factory=dict)


class StageModel(BaseModel):
    """An ordered list of stages: ``before`` ones, then ``purchase`` (at least one), then ``after``.

    Attributes
    ----------
    name : str
        The model's own name.
    labels : dict
        The model's title by language.
    stages : tuple of Stage
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    labels: dict[Language, Text] = Field(default_factory=dict)
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_order(self) -> "StageModel":
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise ValueError(f"stages: {', '.join(repeated)} stands twice; give each its own name")
        if not self.purchase:
            raise ValueError("stages: none has the role purchase; give it to the buying stage")
        for stage, following in pairwise(self.stages):
            if ROLES.index(following.role) < ROLES.index(stage.role):
                raise ValueError(
                    f"stages: {following.name} ({following.role}) stands after {stage.name} "
                    f"({stage.role}); order them before, purchase, after"
                )
        return self

    @property
    def names(self) -> list[str]:
        """Names of the stages in their order."""
        return [stage.name for stage in self.stages]

    @property
    def roles(self) -> dict[str, Role]:
        """Role of each stage by its name."""
        return {stage.name: stage.role for stage in self.stages}

    @property
    def positions(self) -> dict[str, int]:
        """Position of each stage (0, 1, …) by its name."""
        return {name: position for position, name in enumerate(self.names)}

    @property
    def before(self) -> list[str]:
        """Names of the stages before the purchase."""
        return self._with_role("before")

    @property
    def purchase(self) -> list[str]:
        """Names of the stages that carry the purchase, at least one."""
        return self._with_role("purchase")

    @property
    def after(self) -> list[str]:
        """Names of the stages after the purchase."""
        return self._with_role("after")

    def _with_role(self, role: Role) -> list[str]:
        return [stage.name for stage in self.stages if stage.role == role]

    def label(self, stage: str, language: str = "en") -> str:
        """Return what to show for a stage: its label, else the English one, else its name.

        ``stage`` may be any text; what is no stage of the model ("lost", say) comes back as it is.
        """
        labels = next((known.labels for known in self.stages if known.name == stage), {})
        return labels.get(language) or labels.get("en") or stage


def ready_made() -> list[str]:
    """Return the names of the stage models that come with cjlib, sorted."""
    return sorted(path.stem for path in READY_MADE.glob("*.yml"))


def load_stage_model(name_or_path: str, base: Path | None = None) -> StageModel:
    """Load a ready-made stage model by its name, or a company's own from a YAML file.

    Parameters
    ----------
    name_or_path : str
        One of :func:`ready_made`, or a path that ends in ``.yml`` or ``.yaml``.
    base : Path, optional
        Folder that a relative path starts from (the dataset file's); the working folder by default.

    Returns
    -------
    StageModel

    Raises
    ------
    ParameterError
        Unknown name, missing or unreadable file, or a file of another form; names file and key.
    """
    text = str(name_or_path)
    if text.lower().endswith((".yml", ".yaml")):
        path = (base or Path()) / Path(text).expanduser()
        if not path.is_file():
            raise ParameterError(f"stage_model: there is no file {path}; correct the path")
    elif text in ready_made():
        path = READY_MADE / f"{text}.yml"
    else:
        hint = did_you_mean(text.lower().replace("-", "_"), ready_made())
        raise ParameterError(
            f"stage_model: there is none called {text!r}{hint or chr(46)} Ready-made are "
            f"{', '.join(ready_made())}; for your own write the path of its .yml file"
        )
    return validated(StageModel, read_yaml(path), path)
