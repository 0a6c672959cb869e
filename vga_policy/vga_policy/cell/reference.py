"""The reference page of the cell file, from its schema."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vga_policy.cell.keys import Key, all_keys
from vga_policy.cell.schema import Section

INTRODUCTION = """\
# The cell file

One YAML file says what a robot cell is made of and what it may do. Every node, the recorder and the training read it,
and it is stored in every episode and checkpoint. Start from a file in `vga_bringup/config/cells`: `lab.yaml` for an
FR3, `lab_panda.yaml` for a Panda; `sim.yaml` is the simulated cell.

```
vga cell check my_cell.yaml            # valid, or what is wrong, a line a fault
vga cell show my_cell.yaml             # every value, those that the file leaves out as well
vga cell explain arm.speed_scale       # what is below, in the terminal
vga doctor --cell my_cell.yaml         # whether robot, cameras and leader are what the file says
```

Units are SI, angles are radians. Boxes are in the arm's base frame: x forward, y left, z up, origin in the base's foot.
Unit 1 is a share, a count, or a number without a unit. An unknown key is refused, and so is a value out of its range.

This page is made by `make reference` from `vga_policy/cell/schema`: change the words there.
"""

HEADER = "| key | type | unit | default | meaning |\n|---|---|---|---|---|"


def reference_page() -> str:
    """The page in Markdown: one table a section."""
    keys = list(all_keys())
    return "\n".join([INTRODUCTION, *_section(None, keys), *(line for key in keys for line in _section(key, keys))])


def _section(section: Key | None, keys: list[Key]) -> Iterator[str]:
    """Heading and table of what is right below `section`, None for the top; nothing for a key that is no section."""
    path = "" if section is None else section.path
    rows = [_row(key) for key in keys if key.parent == path]
    if not rows:
        return
    yield from ("## Top level", "") if section is None else (f"## `{path}`", "", section.description, "")
    yield from (HEADER, *rows, "")


def _row(key: Key) -> str:
    name = f"[`{key.name}`](#{key.path.replace('.', '')})" if key.section else f"`{key.name}`"
    allowed = re.sub(r"(?<=like )(\S+)", r"`\1`", key.allowed)
    kind = f"{key.kind}: {allowed}" if allowed else key.kind
    words = key.required or isinstance(key.default, Section)
    default = key.default_words if words else f"`{key.default_words}`"
    return f"| {name} | {kind} | {key.unit or ''} | {default} | {key.description} |"
