"""The pages of files on disk, an episode and a checkpoint: their fields, from the dataclasses that read them."""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

from vga_policy.checkpoints.checkpoint import CELL, CONFIG, FORMAT, MODELS, NORMALIZATION, VIEWS, WEIGHTS
from vga_policy.episodes import decisions, metadata
from vga_policy.names import TEXT_ENCODER_CLASSES
from vga_policy.text.registry import TEXT_ENCODERS

from reference.markdown import MADE, code, table

EPISODE = f"""\
# An episode on disk

An episode is a directory:

| file | what it is |
|---|---|
| `*.mcap`, `metadata.yaml` | the bag, as rosbag2 writes it: `ros2 bag info`, rosbags and Foxglove read it |
| `{metadata.FILE}` | what is known besides the messages, written when the episode ends |
| `{decisions.FILE}` | the verdict, written by `vga curate`; without it a success is trained on |

The bag is never changed after the recording. Which topics it has, the cell file's [`recording`](cell_file.md#recording)
says; what they mean: [Topics](topics.md). `vga check EPISODE` says whether all of it is whole.

{MADE.format(source="`vga_policy/episodes`")}
"""

CHECKPOINT = f"""\
# A checkpoint on disk

A checkpoint is a directory of four files and a few more. They are data only: a pickle is refused, since it can run
code.

| file | what it is |
|---|---|
| `{CONFIG}` | the model and the text encoder, below |
| `{WEIGHTS}` | the weights by name, in float32 or float16; loaded as float32 |
| `{NORMALIZATION}` | what maps the robot's units to [-1, 1] and back, below |
| `{CELL}` | the [cell file](cell_file.md) that the policy was trained with |
| `{VIEWS}/` | what each view showed, to [notice a camera that moved](../how-to/camera-moved.md); not in older ones |

`vga train` writes checkpoints into a run's directory: `best/` is the one with the least validation error. Wherever a
command takes `--checkpoint`, the run, a checkpoint or the name of a shipped policy will do. `vga check CHECKPOINT` says
whether it is whole, and `vga export policy RUN --out DIRECTORY` writes one in float16 to hand on.

{MADE.format(source="`vga_policy/checkpoints` and `vga_policy/model`")}
"""

CONFIG_KEYS = [
    ("`format`", f"{FORMAT}, the only version so far"),
    ("`model`", f"`name`, one of {', '.join(code(name) for name in MODELS)}, and the fields below"),
    ("`text_encoder`", "`name`, one of the text encoders below, and its fields"),
]

NORMALIZATION_KEYS = [
    ("`targets`", "`relative`: joint actions are offsets from where the joints are (rad); `absolute`: angles (rad)"),
    (
        "`action`",
        "`q01`, `q99`: the 1st and 99th percentile of the training's actions, [8] or, a step each, [horizon, 8]",
    ),
    ("`proprioception`", "`q01`, `q99`: the same of the joint angles (rad) and the opening of the hand (m), [8]"),
]


def episode_page() -> str:
    """episode.yaml and curation.yaml."""
    return "\n".join(
        [
            EPISODE,
            f"## {metadata.FILE}\n",
            _table(metadata.Episode),
            f"## {decisions.FILE}\n",
            _table(decisions.Curation),
            "A person's `decided` goes before `proposed`. Both are `accept`, `review` or `reject`.\n",
        ]
    )


def checkpoint_page() -> str:
    """config.json and normalization.json."""
    encoders = [(code(name), _summary(TEXT_ENCODERS[name])) for name in TEXT_ENCODER_CLASSES]
    return "\n".join(
        [
            CHECKPOINT,
            f"## {CONFIG}\n",
            table(("key", "value"), CONFIG_KEYS),
            *_sections("model", MODELS["vga"]),
            "### Text encoders\n",
            table(("name", "what it is"), encoders),
            f"## {NORMALIZATION}\n",
            table(("key", "value"), NORMALIZATION_KEYS),
        ]
    )


def _sections(path: str, kind: type[Any]) -> Iterator[str]:
    """Heading and table of a configuration, then those of the configurations in its fields."""
    yield f"### {path}\n"
    yield _table(kind)
    hints = typing.get_type_hints(kind)
    for each in dataclasses.fields(kind):
        inner: list[Any] = [one for one in _alternatives(hints[each.name]) if dataclasses.is_dataclass(one)]
        for one in inner:
            suffix = f" ({one.kind})" if len(inner) > 1 else ""
            yield from _sections(f"{path}.{each.name}{suffix}", one)


def _table(kind: type[Any]) -> str:
    hints, meanings = typing.get_type_hints(kind), _meanings(kind)
    rows = [
        (code(each.name), _type(hints[each.name]), _default(each), meanings.get(each.name, ""))
        for each in dataclasses.fields(kind)
    ]
    return table(("field", "type", "default", "meaning"), rows)


def _summary(kind: type[Any]) -> str:
    return " ".join((kind.__doc__ or "").strip().split("\n\n")[0].split())


def _meanings(kind: type[Any]) -> dict[str, str]:
    """What the docstring says of each field: `width: in pixels. low, high: both inclusive.`"""
    names = "|".join(each.name for each in dataclasses.fields(kind))
    text = " ".join((kind.__doc__ or "").split())
    parts = re.split(rf"(?:(?<=^)|(?<=[.:;] ))((?:{names})(?:, (?:{names}))*): ", text)
    meanings = {}
    for several, meaning in zip(parts[1::2], parts[2::2], strict=True):
        for name in several.split(", "):
            meanings[name] = re.sub(r"\bNone\b", "null", meaning.strip().rstrip(".;"))
    return meanings


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (typing.Union, UnionType):
        return [one for part in get_args(annotation) for one in _alternatives(part)]
    return [annotation]


def _type(annotation: Any) -> str:
    return " or ".join(dict.fromkeys(_type_word(one) for one in _alternatives(annotation)))


def _type_word(kind: Any) -> str:
    words = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}
    if kind in words:
        return words[kind]
    if get_origin(kind) is typing.Literal:
        return code(str(get_args(kind)[0]))
    if dataclasses.is_dataclass(kind):
        return "section"
    if get_origin(kind) in (list, tuple):
        return f"list of {_type(get_args(kind)[0])}s"
    if isinstance(kind, type) and issubclass(kind, str):
        return "text"
    return "mapping"


def _default(each: dataclasses.Field[Any]) -> str:
    if each.default is not dataclasses.MISSING:
        value = each.default
    elif each.default_factory is not dataclasses.MISSING:
        value = each.default_factory()
    else:
        return "required"
    if dataclasses.is_dataclass(value):
        return "that of each field"
    return code(json.dumps(value)) if value or value in (0, None) else "empty"
