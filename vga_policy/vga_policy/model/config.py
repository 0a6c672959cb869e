"""Model configurations as plain data, for checkpoints."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vga_policy.model.vga import VGAConfig


def to_plain(config: VGAConfig) -> dict[str, Any]:
    """JSON-ready data that `from_plain` reads back to an equal config."""
    return json.loads(json.dumps(asdict(config)))


def from_plain(data: Any) -> VGAConfig:
    """Raises ValueError naming the key that is unknown, of the wrong type or no possible value."""
    try:
        config = TypeAdapter(VGAConfig).validate_json(json.dumps(data), strict=True)
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
