"""The text encoders by the names of :mod:`vga_policy.names`, each imported when it is asked for."""

from __future__ import annotations

from collections import UserDict
from importlib import import_module
from typing import Any

from vga_policy import names


class _Registry(UserDict[str, Any]):
    def __getitem__(self, name: str) -> Any:
        home = self.data[name]
        if not isinstance(home, str):
            return home
        module, _, kind = home.partition(":")
        return getattr(import_module(f"vga_policy.text.{module}"), kind)


TEXT_ENCODERS = _Registry(names.TEXT_ENCODER_CLASSES)
"""Classes of :class:`vga_policy.text.encoder.TextEncoder`s."""
