"""Files that are either whole or absent, and the YAML in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is several times as fast, where there is one


def write_atomically(path: Path, text: str) -> None:
    """Writes `text` so that a reader, or a power cut, finds the old file or the new one, never half of either."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def parse_yaml(text: str) -> Any:
    """What a YAML text says; plain data only. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=LOADER)
