"""A cell file as its writer sees it, beside what YAML makes of it: `012` is ten, `12:30` is 750, `no` is false."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import yaml

from vga_policy.cell.keys import all_keys
from vga_policy.files import LOADER
from vga_policy.wording import shortened

# As YAML 1.1 reads them: octal, and base 60.
_ODD_NUMBER = re.compile(r"[-+]?0[0-9_]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_NUMBERS, _BOOLEAN = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"), "tag:yaml.org,2002:bool"

ROOM = 60  # characters of a message for what is found

Location = tuple[int | str, ...]


class WrittenYaml:
    """The scalars of a YAML text that can be read, as they are written."""

    def __init__(self, text: str) -> None:
        self._root = yaml.compose(text, Loader=LOADER)

    def plain(self, location: Sequence[int | str]) -> str | None:
        """The text of the scalar without quotes at this place; None where there is none."""
        node: Any = self._root
        for part in location:
            if isinstance(node, yaml.MappingNode):
                node = next((value for key, value in reversed(node.value) if key.value == part), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
            else:
                return None
        return node.value if _is_plain(node) else None

    def scalars(self) -> Iterator[tuple[Location, str, str]]:
        """Place, tag and text of every scalar without quotes."""
        seen = set()  # a node that an alias names may hold itself
        open_nodes: list[tuple[Location, Any]] = [((), self._root)]
        while open_nodes:
            place, node = open_nodes.pop()
            if _is_plain(node):
                yield place, node.tag, node.value
            elif id(node) not in seen:
                seen.add(id(node))
                if isinstance(node, yaml.MappingNode):
                    open_nodes += [((*place, str(key.value)), value) for key, value in reversed(node.value)]
                elif isinstance(node, yaml.SequenceNode):
                    open_nodes += [((*place, number), value) for number, value in reversed([*enumerate(node.value)])]


def misread(written: WrittenYaml) -> Iterator[tuple[Location, str]]:
    """Where the file says a number and YAML reads another one, or none: place, and what is wrong."""
    for place, tag, text in written.scalars():
        if not (tag in _NUMBERS or tag == _BOOLEAN) or not _is_number(_path(place)):
            continue
        key = ".".join(map(str, place))
        if tag in _NUMBERS and _ODD_NUMBER.fullmatch(text):
            value, text = yaml.load(text, Loader=LOADER), _shown(text)
            fault = f"{key}: YAML reads {text} as {_shown(str(value))}"
            yield place, f"{fault}; write the number without a leading 0 and without colons"
        elif tag == _BOOLEAN:
            yield place, f"{key}: must be a number; YAML reads {text} as true or false"


def impossible(written: WrittenYaml) -> Iterator[str]:
    """Where YAML expects a date or a number and what is written is none, such as 2024-13-45."""
    for place, _, text in written.scalars():
        try:
            yaml.load(text, Loader=LOADER)
        except (ValueError, OverflowError) as error:
            key = ".".join(map(str, place))
            yield f"{key}: {_shown(str(error))} (found {_shown(text)}); if it is a text, put it in quotes"
        except yaml.YAMLError:  # no value of its own
            continue


def not_a_text(written: str, value: Any) -> str:
    """What to say where a text is wanted, and YAML reads what is written as another value."""
    written = _shown(written)
    if value is None:
        return f"must be a text; found {written or 'nothing'}: write it in quotes"
    kind = "true or false" if isinstance(value, bool) else "a number" if isinstance(value, int | float) else "a date"
    return f'YAML reads {written} as {kind}, not as a text: put it in quotes, "{written}"'


def _shown(text: str) -> str:
    return shortened(text, ROOM)


def _path(place: Location) -> str:
    """The key's, which numbers no entry of a list."""
    return ".".join(part for part in place if isinstance(part, str))


@cache
def _is_number(path: str) -> bool:
    """Whether the key at this path holds numbers."""
    return any(key.path == path and "number" in key.kind for key in all_keys())


def _is_plain(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style in (None, "")
