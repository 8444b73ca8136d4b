"""The form of a dataset file: its sections, their keys, defaults and checks.

``dataset.py`` reads the file; ``data/README.md`` explains every key to those who write one.
"""

import datetime as dt
import io
import re
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pandas as pd
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cjlib.errors import did_you_mean
from cjlib.stages import RESERVED, StageModel
from cjlib.timestamps import EPOCHS, compile_format


def _duration(value: Any) -> dt.timedelta:
    try:
        text = re.sub(r"\bweeks?\b", "W", str(value))  # pandas knows weeks by this letter alone
        duration = pd.Timedelta(text)
        if pd.isna(duration):
            raise ValueError
        duration = duration.to_pytimedelta()
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is no length of time; write for example '30 days'") from None
    if duration <= dt.timedelta(0):
        raise ValueError(f"{value!r} must be longer than nothing; write for example '30 days'")
    return duration


def _share(value: Any) -> float:
    text = str(value).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ValueError(f"{value!r} is no share; write for example '1%'") from None
    if not 0 <= share <= 1:
        raise ValueError(f"{value!r} is not between 0% and 100%")
    return share


def _moment(value: Any) -> dt.datetime:
    try:
        moment = pd.Timestamp(str(value))
        if pd.isna(moment):
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is no date; write for example 2024-12-31") from None
    if moment.tz is not None:
        moment = moment.tz_convert("UTC").tz_localize(None)
    return moment.to_pydatetime()


def _end_of_day(value: Any, timezone: str | None) -> Any:
    """Let a day stand for its last moment in a zone; a time of day is taken as it is."""
    moment = _moment(value)
    if re.search(r"\d[T ]+\d|:", str(value)):
        return moment
    last = pd.Timestamp(moment.date()) + pd.Timedelta(days=1)
    return last.tz_localize(
        timezone or "UTC", nonexistent="shift_forward", ambiguous=True
    ).tz_convert("UTC") - pd.Timedelta(1, "us")


def _shorthand(value: Any) -> Any:
    """Let ``value: amount`` stand for ``value: {column: amount}``."""
    return {"column": value} if isinstance(value, str) else value


def _texts(value: Any) -> Any:
    """Let ``lifecycle: [a, b]`` stand for ``lifecycle: {texts: [a, b]}``."""
    return value if isinstance(value, dict) else {"texts": value}


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Duration = Annotated[dt.timedelta, BeforeValidator(_duration)]
Share = Annotated[float, BeforeValidator(_share)]
Moment = Annotated[dt.datetime, BeforeValidator(_moment)]
Names = Annotated[list[str], BeforeValidator(_one_or_more)]
Word = Annotated[str, Field(pattern=r"^[a-z]{2,40}$")]
Said = Annotated[str, Field(pattern=r"^[^\W\d_][^\W_ ]*( [^\W\d_]+)*$", max_length=40)]
Purpose = Literal["delivery", "onboarding", "support", "resolution", "review", "referral"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TimestampColumn(_Section):
    """Where an event's time stands, in which formats, and on whose clocks."""

    column: str
    format: Names = []
    timezone: str | None = None

    @field_validator("format")
    @classmethod
    def _readable(cls, formats: list[str]) -> list[str]:
        for form in formats:
            if form not in EPOCHS:
                compile_format(form)
        return formats

    @field_validator("timezone")
    @classmethod
    def _known(cls, zone: str | None) -> str | None:
        try:
            return zone and ZoneInfo(zone).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"{zone!r} is no time zone; write for example Europe/Madrid or UTC"
            ) from None


class TouchpointColumn(_Section):
    """Where an event's touchpoint stands, or the one touchpoint that every row is.

    ``refund`` is what a row or order of the one touchpoint is when it is worth less than nothing.
    """

    column: str | None = None
    value: str | None = None
    refund: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "TouchpointColumn":
        if (self.column is None) == (self.value is None):
            raise ValueError("write either {column: NAME} or {value: TOUCHPOINT}")
        if self.refund is not None and self.value is None:
            raise ValueError("refund goes with {value: TOUCHPOINT}; a column says it by itself")
        return self


class ValueColumn(_Section):
    """Where an event's value stands, or the two columns whose product it is; its decimal mark.

    The value of the touchpoints in ``refunds`` counts as negative, whatever its sign.
    """

    column: str | None = None
    product: tuple[str, str] | None = None
    decimal: Literal[".", ","] = "."
    refunds: Names = []

    @model_validator(mode="after")
    def _one_of_both(self) -> "ValueColumn":
        if (self.column is None) == (self.product is None):
            raise ValueError("write either {column: NAME} or {product: [QUANTITY, PRICE]}")
        return self


class SentimentColumn(_Section):
    """Where an event's feeling stands: numbers on a scale, or labels."""

    column: str
    scale: tuple[float, float] | None = None
    labels: dict[str, float] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "SentimentColumn":
        if (self.scale is None) == (self.labels is None):
            raise ValueError("write either scale: [1, 5] or labels: {bad: -1, good: 1}")
        if self.scale and not -inf < self.scale[0] < self.scale[1] < inf:
            raise ValueError("a scale goes from its worst to its best number, as in [1, 5]")
        if self.labels and not all(-1 <= feeling <= 1 for feeling in self.labels.values()):
            raise ValueError("labels take feelings from -1 (worst) to 1 (best)")
        return self


class Columns(_Section):
    """Which column of the source holds what."""

    customer_id: str
    timestamp: Annotated[TimestampColumn, BeforeValidator(_shorthand)]
    touchpoint: Annotated[TouchpointColumn, BeforeValidator(_shorthand)]
    channel: str | None = None
    value: Annotated[ValueColumn, BeforeValidator(_shorthand)] | None = None
    sentiment: SentimentColumn | None = None
    feedback: str | None = None
    event_id: str | None = None
    order_id: str | None = None
    journey_id: str | None = None

    @property
    def sources(self) -> dict[str, str]:
        """The source's column for each declared field; a product has one for each factor."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        names = {key: getattr(field, "column", field) for key, field in fields.items()}
        if self.value and self.value.product:
            names |= dict(zip(("value", "value.product"), self.value.product, strict=True))
        return {key: column for key, column in names.items() if isinstance(column, str)}


class Wanted(_Section):
    """The texts of a column whose rows belong to the log, or those whose rows do not."""

    texts: Names = []
    without: Names = []

    @model_validator(mode="after")
    def _one_of_both(self) -> "Wanted":
        if bool(self.texts) == bool(self.without):
            raise ValueError("write the texts to keep, or {without: [texts to leave out]}")
        return self


class Touchpoint(_Section):
    """What a touchpoint is: its stage, who starts it, where, how directly, and what it is for."""

    stage: str
    initiator: Literal["company", "customer"] | None = None
    medium: Literal["online", "physical"] | None = None
    contact: Literal["direct", "indirect"] = "direct"
    purpose: Purpose | None = None


class Journey(_Section):
    """When a journey ends, what ends it at once, and what counts as a purchase."""

    inactivity: Duration
    purchase: Names = Field(min_length=1)
    ends: Names = []


class Churn(_Section):
    """How long a customer must not have bought to count as gone."""

    horizon: Duration = dt.timedelta(days=90)


class Quality(_Section):
    """How much dirt a run tolerates."""

    max_quarantined: Share = 0.01
    unmapped: str = "quarantine"
    duplicates: Literal["drop", "keep"] = "drop"
    earliest: Moment | None = None
    missing: list[str] = ["NULL", "null", "NaN", "nan"]


class Privacy(_Section):
    """What pages and files may show of single customers."""

    customer_ids: Literal["keep", "hash"] = "keep"
    smallest_group: int = Field(default=5, ge=1)


class Customers(_Section):
    """A second table with one row per customer: what is known of them beside the log."""

    source: str
    columns: dict[str, str]

    @field_validator("columns")
    @classmethod
    def _has_id(cls, columns: dict[str, str]) -> dict[str, str]:
        if "customer_id" not in columns:
            raise ValueError("say which column is the customer_id")
        return columns


class Dataset(_Section):
    """A company's log as its dataset file describes it.

    Besides the keys of the file it knows ``path``, where the file stands, ``folder``, where a
    relative source is looked for, and ``stages``, the stage model that ``stage_model`` names.
    ``tables`` is the folder in which the query of a ``.sql`` source finds its tables.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    title: str = ""
    source: str
    engine: str = "duckdb"
    delimiter: str = ","
    encoding: str = "utf-8"
    header: list[str] | None = None
    tables: str = ""
    only: dict[str, Annotated[Wanted, BeforeValidator(_texts)]] = {}
    columns: Columns
    currency: str = ""
    language: Literal["en", "es", "ca"] = "en"
    stage_model: str = "five_phases"
    touchpoints: dict[str, Touchpoint] = Field(min_length=1)
    journey: Journey
    churn: Churn = Churn()
    as_of: Moment | None = None
    quality: Quality = Quality()
    privacy: Privacy = Privacy()
    customers: Customers | None = None
    segments: dict[str, Any] | None = None
    words: dict[Word, Said] = {}
    path: Path = Field(default=Path("dataset.yml"), exclude=True)
    folder: Path = Field(default=Path(), exclude=True)
    stages: StageModel = Field(default=None, exclude=True, validate_default=False)

    @field_validator("as_of", mode="before")
    @classmethod
    def _whole_day(cls, as_of: Any, given: ValidationInfo) -> Any:
        columns = given.data.get("columns")
        return _end_of_day(as_of, columns and columns.timestamp.timezone)

    @field_validator("delimiter")
    @classmethod
    def _delimiter(cls, delimiter: str) -> str:
        delimiter = {"\\t": "\t", "tab": "\t"}.get(delimiter, delimiter)
        if delimiter != "whitespace" and (len(delimiter) != 1 or delimiter in '"\r\n'):
            raise ValueError("write one character (',' ';' '|'), tab or whitespace")
        return delimiter

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, encoding: str) -> str:
        try:
            sample = io.BytesIO("a".encode(encoding))
            io.TextIOWrapper(sample, encoding, errors="surrogateescape").read()
        except (LookupError, ValueError, TypeError):
            raise ValueError(f"{encoding!r} is no encoding; write utf-8 or cp1252") from None
        return encoding

    @model_validator(mode="after")
    def _stages_known(self) -> "Dataset":
        stages = self.stages.names
        for name, touchpoint in self.touchpoints.items():
            if touchpoint.stage not in stages:
                raise ValueError(
                    f"touchpoints.{name}.stage: {touchpoint.stage!r} is no stage of"
                    f" {self.stages.name}{did_you_mean(touchpoint.stage, stages)}"
                )
        for name in self.journey.purchase:
            if name not in self.touchpoints:
                raise ValueError(
                    f"journey.purchase: {name!r} is not under touchpoints"
                    f"{did_you_mean(name, self.touchpoints)}"
                )
            stage = self.touchpoints[name].stage
            if self.stages.roles[stage] != "purchase":
                raise ValueError(
                    f"journey.purchase: {name!r} is on stage {stage!r}, which is not a purchase"
                    f" stage of {self.stages.name}; put it on {self.stages.purchase[0]!r}"
                )
        for name in self.journey.ends:
            if name not in self.touchpoints:
                raise ValueError(
                    f"journey.ends: {name!r} is not under touchpoints"
                    f"{did_you_mean(name, self.touchpoints)}"
                )
            if name in (*stages, *RESERVED):
                raise ValueError(
                    f"journey.ends: {name!r} is also a stage, or a word that tables use; rename the"
                    " touchpoint in the source"
                )
        if self.quality.unmapped not in ("quarantine", *stages):
            raise ValueError(
                f"quality.unmapped: {self.quality.unmapped!r}; write quarantine, or the stage that"
                f" every other touchpoint is on ({', '.join(stages)})"
            )
        constant = self.columns.touchpoint
        named = [("touchpoint.value", constant.value), ("touchpoint.refund", constant.refund)]
        named += [("value.refunds", name) for name in getattr(self.columns.value, "refunds", [])]
        for key, name in named:
            if name is not None and name not in self.touchpoints:
                hint = did_you_mean(name, self.touchpoints)
                raise ValueError(f"columns.{key}: {name!r} is not under touchpoints{hint}")
        if constant.refund and not self.columns.value:
            raise ValueError("columns.touchpoint.refund: needs columns.value to be told by")
        return self
