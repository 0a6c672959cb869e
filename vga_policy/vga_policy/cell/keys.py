"""The keys of a cell file as its schema defines them: meaning, unit, type, allowed values, default."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic.fields import FieldInfo

from vga_policy.cell.schema import Cell, Section

_TYPES = {float: "number", int: "whole number", str: "text", bool: "true or false"}
_BOUNDS = {Gt: ("gt", "above"), Ge: ("ge", "at least"), Le: ("le", "at most")}
_NEAR = 0.6  # of difflib's ratio: what is less alike is no misspelling
_SUGGESTIONS = 3


@dataclass(frozen=True)
class Key:
    """One key of a cell file.

    path: from the top, "arm.speed_scale"; one inside a list has no number, "cameras.slot". unit: of a number; "1" for
    shares and counts, None for what is no number. kind, allowed: in words; allowed is empty where any value will do.
    default: the value of a file without the key, None also where there is none. section: whose keys are below this one.
    """

    path: str
    description: str
    unit: str | None
    kind: str
    allowed: str
    required: bool
    default: Any
    section: type[Section] | None

    @property
    def name(self) -> str:
        """Its last part, as it stands in the file."""
        return self.path.rpartition(".")[2]

    @property
    def parent(self) -> str:
        """The path of the section it is in; empty at the top."""
        return self.path.rpartition(".")[0]

    @property
    def default_words(self) -> str:
        """The default as it would stand in the file; "required" where the file must have the key."""
        if self.required:
            return "required"
        return "that of each key" if isinstance(self.default, Section) else in_words(self.default)


def all_keys(section: type[Section] = Cell, parent: str = "") -> Iterator[Key]:
    """Every key of `section` and of the sections below it, in the file's order."""
    for name, field in section.model_fields.items():
        key = _key(f"{parent}.{name}" if parent else name, field)
        yield key
        if key.section is not None:
            yield from all_keys(key.section, key.path)


def find_keys(path: str) -> list[Key]:
    """The key at `path`, which may number a list's entry, then the keys right below it; empty when there is none."""
    path = ".".join(part for part in path.split(".") if not part.isdigit())
    return [key for key in all_keys() if key.path == path or (path and key.parent == path)]


def nearest_paths(path: str) -> list[str]:
    """The paths most like a misspelled one, the best first; empty when none is like it."""

    def likeness(other: str) -> float:
        names = difflib.SequenceMatcher(None, path.rpartition(".")[2], other.rpartition(".")[2]).ratio()
        return max(names, difflib.SequenceMatcher(None, path, other).ratio())

    near = sorted((key.path for key in all_keys()), key=likeness, reverse=True)
    return [other for other in near[:_SUGGESTIONS] if likeness(other) >= _NEAR]


def in_words(value: Any) -> str:
    """A value as it would stand in a cell file, on one line."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def section_of(annotation: Any) -> type[Section] | None:
    """The Section inside an annotation such as list[Camera] or Leader | None."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for inner in get_args(annotation) if (found := section_of(inner)) is not None), None)


def unit_of(field: FieldInfo) -> str | None:
    """The unit that a field of a section was described with."""
    extra = field.json_schema_extra
    unit = extra.get("unit") if isinstance(extra, dict) else None
    return unit if isinstance(unit, str) else None


def _key(path: str, field: FieldInfo) -> Key:
    kind, allowed = _form(field.annotation, field.metadata)
    return Key(
        path=path,
        description=field.description or "",
        unit=unit_of(field),
        kind=kind,
        allowed=allowed,
        required=field.is_required(),
        default=None if field.is_required() else field.get_default(call_default_factory=True),
        section=section_of(field.annotation),
    )


def _form(annotation: Any, constraints: Sequence[Any]) -> tuple[str, str]:
    """Kind and allowed values in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _form(inner[0], [*constraints, *(item for field in inner[1:] for item in field.metadata)])
    if origin in (Union, UnionType):
        kind, allowed = _form(next(item for item in inner if item is not NoneType), constraints)
        return f"{kind} or null", allowed
    if origin is list:
        return _list_form(inner[0], constraints)
    if origin is Literal:
        return _TYPES[type(inner[0])], _either(inner)
    if issubclass(annotation, Enum):
        return "text", _either([member.value for member in annotation])
    if issubclass(annotation, Section):
        return "section", ""
    return _TYPES[annotation], _bounds(constraints)


def _list_form(item: Any, constraints: Sequence[Any]) -> tuple[str, str]:
    kind, allowed = _form(item, ())
    least = next((limit.min_length for limit in constraints if isinstance(limit, MinLen)), 0)
    most = next((limit.max_length for limit in constraints if isinstance(limit, MaxLen)), None)
    count = f"{least} " if least == most else f"{least} or more " if least else ""
    return f"list of {count}{kind}s", f"each {allowed}" if allowed else ""


def _either(choices: Sequence[Any]) -> str:
    *others, last = map(str, choices)
    return f"{', '.join(others)} or {last}" if others else last


def _bounds(constraints: Sequence[Any]) -> str:
    words = [
        f"{word} {getattr(limit, attribute):g}"
        for limit in constraints
        for kind, (attribute, word) in _BOUNDS.items()
        if isinstance(limit, kind)
    ]
    patterns = [f"like {limit.pattern}" for limit in constraints if getattr(limit, "pattern", None)]
    return ", ".join(words + patterns)
