"""Configurations, which are dataclasses, as plain data, for checkpoints."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, is_dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

Config = TypeVar("Config")


def to_plain(config: Any) -> dict[str, Any]:
    """JSON-ready data that `from_plain` reads back to an equal config."""
    return json.loads(json.dumps(asdict(config)))


def from_plain(kind: type[Config], data: Any) -> Config:
    """The configuration of class `kind` that `data` describes.

    Raises ValueError naming the key that is unknown, of the wrong type or no possible value.
    """
    try:
        config = TypeAdapter(kind).validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{key}: {message}" if key else message) from None
    _refuse_unknown(data, config, "")
    return config


def _refuse_unknown(data: dict[str, Any], config: Any, path: str) -> None:
    known = {field.name for field in fields(config)}
    for key, value in data.items():
        if key not in known:
            raise ValueError(f"{path}{key}: unknown key; allowed: {', '.join(sorted(known))}")
        if is_dataclass(section := getattr(config, key)):
            _refuse_unknown(value, section, f"{path}{key}.")
