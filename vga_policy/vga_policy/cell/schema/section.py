"""What the sections of a cell file are made of: their base, the description of a key, vectors and boxes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

ARM_JOINTS = 7

Joints = Annotated[list[float], Field(min_length=ARM_JOINTS, max_length=ARM_JOINTS)]
PositiveJoints = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=ARM_JOINTS, max_length=ARM_JOINTS)]
Vector3 = Annotated[list[float], Field(min_length=3, max_length=3)]
Positive = Annotated[float, Field(gt=0)]


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


Named = Annotated[str, AfterValidator(_not_blank)]


def described(description: str, unit: str | None = None) -> Any:
    """Says what a key is, in whole sentences for a stranger. unit: of a number; "1" for shares and counts."""
    return Field(description=description, json_schema_extra=None if unit is None else {"unit": unit})


class Section(BaseModel):
    """Base of every section: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Box(Section):
    """A box with its edges along the axes of a frame, meters."""

    name: Annotated[str, described("What the box stands for, as messages shall call it. It may be left empty.")] = ""
    min: Annotated[Vector3, described("Corner of the box with the lowest x, y and z.", "m")]
    max: Annotated[
        Vector3, described("Opposite corner of the box. Each value must be above the same value of min.", "m")
    ]

    @model_validator(mode="after")
    def _ordered(self) -> Box:
        if any(low >= high for low, high in zip(self.min, self.max, strict=True)):
            raise ValueError("every value of min must be below the same value of max")
        return self
