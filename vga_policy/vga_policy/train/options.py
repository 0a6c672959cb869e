"""Options of the command line that are fields of a configuration: type, meaning and default come from the field."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from vga_policy.cli_types import add_former_name, at_least


@dataclass(frozen=True)
class Doc:
    """Belongs into the Annotated type of a field.

    text: what the field means, in whole sentences, with its unit. minimum: of a number.
    """

    text: str
    minimum: int | None = None


@dataclass(frozen=True)
class Option(Doc):
    """A field that is an option as well, `--named-like-it`.

    flag: where the option is named otherwise. metavar: of its value, or of each of its values. choices: where the
    type does not name them. parse: of a text, where the type says too little. default: in words, where the field's own
    says too little. former: what the option was called before.
    """

    flag: str | None = None
    metavar: str | tuple[str, ...] | None = None
    choices: tuple[str, ...] | None = None
    parse: Callable[[str], Any] | None = None
    default: str | None = None
    former: str | None = None


def doc(kind: type, name: str) -> str:
    """What is said of a field of the configuration class `kind`."""
    said, _ = _described(kind)[name]
    return said.text


def add_options(
    parser: argparse._ActionsContainer,
    kind: type,
    *,
    without: tuple[str, ...] = (),
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Adds the options of the configuration class `kind`. One that is not given is None.

    defaults: instances whose fields are the defaults, by what they are the defaults for; else the class's own.
    """
    for name, option, hint in _options(kind):
        if name not in without:
            told = option.default or _told({what: getattr(one, name) for what, one in (defaults or {"": kind}).items()})
            parser.add_argument(
                flag(name, option),
                dest=name,
                help=f"{option.text} Default: {told}.".replace("%", "%%"),
                **_parsed(option, hint),
            )
            if option.former is not None:
                add_former_name(parser, option.former, flag(name, option))


def flag(name: str, option: Option) -> str:
    """The option of a field."""
    return option.flag or f"--{name.replace('_', '-')}"


def in_words(config: Any) -> list[str]:
    """The options that would make this configuration, one a line; where a field leaves it to others, in words."""
    lines = []
    for name, option, _ in _options(type(config)):
        value = getattr(config, name)
        told = f"({option.default})" if value in (None, ()) and option.default else _value(value)
        lines.append(f"{flag(name, option):20} {told}")
    return lines


def given(arguments: argparse.Namespace, kind: type) -> dict[str, Any]:
    """The fields of the configuration class `kind` whose options were given."""
    values = {name: getattr(arguments, name, None) for name, _, _ in _options(kind)}
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if value is not None
    }


def check(config: Any) -> None:
    """Raises ValueError where a number of a configuration is below its minimum."""
    for name, (said, _) in _described(type(config)).items():
        value = getattr(config, name)
        if said.minimum is not None and value is not None and not value >= said.minimum:
            raise ValueError(f"{name}: must be at least {said.minimum} (found {value})")


def _described(kind: type) -> dict[str, tuple[Doc, Any]]:
    """What is said of each field, and its type."""
    hints = get_type_hints(kind, include_extras=True)
    described = {}
    for field in fields(kind):
        if get_origin(hint := hints[field.name]) is Annotated:
            plain, said = get_args(hint)[:2]
            described[field.name] = said, plain
    return described


def _options(kind: type) -> Iterator[tuple[str, Option, Any]]:
    for name, (said, hint) in _described(kind).items():
        if isinstance(said, Option):
            yield name, said, hint


def _parsed(option: Option, hint: Any) -> dict[str, Any]:
    """What argparse has to be told to parse a value of the type `hint`, or of what it is beside None."""
    (hint,) = [part for part in get_args(hint) if part is not NoneType] if NoneType in get_args(hint) else [hint]
    if hint is bool:
        return {"action": "store_true", "default": None}
    told: dict[str, Any] = {"metavar": option.metavar}
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        told["nargs"] = "+" if Ellipsis in parts else len(parts)
        hint = parts[0]
    if get_origin(hint) is Literal:
        return {**told, "choices": get_args(hint)}
    if option.choices is not None:
        return {**told, "choices": option.choices}
    return {**told, "type": option.parse or (hint if option.minimum is None else at_least(option.minimum, hint))}


def _told(defaults: Mapping[str, Any]) -> str:
    """Default values in words."""
    values = list(defaults.values())
    if all(value == values[0] for value in values):
        return _value(values[0])
    return ", ".join(f"{_value(value)} for {what}" for what, value in defaults.items())


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_value, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else f"{value}"
