"""A cell key by key: every value, and whether the file says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from vga_policy.cell.keys import unit_of
from vga_policy.cell.schema import Cell, Section


class Value(NamedTuple):
    """One value. key: its path, "cameras.0.slot". source: "file", "default", or "derived" from other keys."""

    key: str
    value: Any
    unit: str | None
    source: str


def values(cell: Cell, written: Mapping[str, Any]) -> list[Value]:
    """Every value of a cell in the file's order. written: the plain data of the file that it was read from."""
    return list(_values(cell, written, ""))


def _values(section: Section, written: Mapping[str, Any], parent: str) -> Iterator[Value]:
    for name, field in type(section).model_fields.items():
        key, value = f"{parent}{name}", getattr(section, name)
        if isinstance(value, Section):
            yield from _values(value, written.get(name, {}), f"{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], Section):
            for number, entry in enumerate(value):
                yield from _values(entry, written[name][number], f"{key}.{number}.")
        else:
            is_default = value == field.get_default(call_default_factory=True)
            source = "file" if name in written else "default" if is_default else "derived"
            yield Value(key, value, unit_of(field), source)
