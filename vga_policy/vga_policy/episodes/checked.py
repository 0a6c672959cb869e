"""The YAML files beside a bag, read into a type: whatever is in one, the answer is a value or one line."""

from __future__ import annotations

import reprlib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import Field, Strict, TypeAdapter, ValidationError

from vga_policy.files import parse_yaml, yaml_fault

LARGEST = 16 * 2**20  # bytes; theirs have some thousands
Text = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=0)]
Stamp = Annotated[int, Strict(), Field(ge=0, lt=2**63)]  # ns since the epoch

SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 40

Read = TypeVar("Read")


def read_mapping(path: Path, adapter: TypeAdapter[Read], known: list[str]) -> Read:
    """What the YAML mapping in a file says. Raises ValueError with one line that names file, key and value."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path}: larger than {LARGEST >> 20} MiB: no such file has so much to say")
        data: Any = parse_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text in UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: cannot be read: {yaml_fault(error)}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path}: expected a mapping of keys, found {type(data).__name__}")
    if unknown := [key for key in data if key not in known]:
        close = get_close_matches(str(unknown[0]), known, 1)
        hint = f"did you mean {close[0]}?" if close else "remove it"
        raise ValueError(f"{path}: unknown key {SHORT.repr(unknown[0])}: {hint}")
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        raise ValueError(f"{path}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, in one line."""
    item = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(str(part)[:60] for part in item["loc"] if not str(part).startswith("[key]"))
    if item["type"] == "missing":
        return f"{key}: required and missing"
    words = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    hint = ": put it in quotes" if item["type"] == "string_type" and not isinstance(item["input"], list | dict) else ""
    return f"{key}: {words[:100]} (found {SHORT.repr(item['input'])}){hint}".lstrip(": ")
