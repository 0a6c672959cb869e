"""The text encoders by name, each imported when it is asked for: those of :mod:`vga_policy.names`, and other packages'.

A package adds its own by an entry point of the group `vga.text_encoders`: see docs/how-to/add-a-text-encoder.md.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from typing import Any

from vga_policy import names
from vga_policy.plugins import TEXT_ENCODERS as KIND
from vga_policy.plugins import PluginError


class _Registry(UserDict[str, Any]):
    """Its names are VGA-ROS's own and those of packages that have been asked for; others are found all the same."""

    def __init__(self) -> None:
        super().__init__(names.TEXT_ENCODER_CLASSES)
        self._others: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """Raises PluginError."""
        if name not in self.data:
            if name not in self._others:
                self._others[name] = _checked(name, KIND.load(name))
            return self._others[name]
        home = self.data[name]
        if not isinstance(home, str):
            return home
        module, _, kind = home.partition(":")
        return getattr(import_module(f"vga_policy.text.{module}"), kind)

    def __contains__(self, name: object) -> bool:
        return name in self.data or name in KIND.names()

    def __iter__(self) -> Iterator[str]:
        return iter((*self.data, *self._others))

    def __len__(self) -> int:
        return len(self.data) + len(self._others)


def package_of(name: str) -> str:
    """The package that an encoder of this name comes from; empty for VGA-ROS's own."""
    return "" if name in TEXT_ENCODERS.data else KIND.package(name)


def _checked(name: str, kind: Any) -> Any:
    whose = f"text encoder '{name}' of {KIND.whose(name)}"
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise PluginError(f"{whose}: is no dataclass, whose fields a checkpoint could keep")
    if missing := [part for part in ("encode", "parameters") if not callable(getattr(kind, part, None))]:
        raise PluginError(f"{whose}: has no {missing[0]}(), see vga_policy.text.encoder.TextEncoder")
    return kind


TEXT_ENCODERS = _Registry()
"""Classes of :class:`vga_policy.text.encoder.TextEncoder`s."""
