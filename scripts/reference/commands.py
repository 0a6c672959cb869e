"""The page of the `vga` command, from its parsers."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from unittest.mock import patch

from vga_policy.cli import build_parser

from reference.markdown import MADE, code, table

CORES = 2  # as if on this many: the page is the same on every machine

INTRODUCTION = f"""\
# The `vga` command

```text
vga --help                 # all commands
vga train --help           # the options of one, as below
```

Exit status: 0 success; 1 the command failed; 2 wrong arguments or a cell file that cannot be used; 130 interrupted.
A default of {CORES} processes stands for one a processor core.

{MADE.format(source="the commands' own help")}
"""


def commands_page() -> str:
    """Every command with its arguments and defaults."""
    with patch.object(os, "cpu_count", lambda: CORES):
        parser = build_parser()
    return "\n".join([INTRODUCTION, *_commands_of(parser, "")])


def _commands_of(parser: argparse.ArgumentParser, summary: str) -> Iterator[str]:
    """Sections of a parser and of the commands below it."""
    subcommands = next((a for a in parser._actions if isinstance(a, argparse._SubParsersAction)), None)
    if subcommands is None:
        yield _section(parser, summary)
        return
    summaries = {action.dest: _sentence(action.help or "") for action in subcommands._choices_actions}
    for name in sorted(subcommands.choices):
        yield from _commands_of(subcommands.choices[name], summaries.get(name, ""))


def _section(parser: argparse.ArgumentParser, summary: str) -> str:
    formatter = parser._get_formatter()
    rows = [
        _argument(parser, action)
        for action in parser._actions
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
    ]
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups)
    usage = " ".join(formatter.format_help().removeprefix("usage: ").split())
    parts = [
        f"## {parser.prog}",
        summary,
        _prose(parser.description),
        f"```text\n{_wrapped(usage)}\n```",
        table(("argument", "default", "meaning"), rows).rstrip("\n"),
        _prose(parser.epilog),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _argument(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str, str]:
    """Names and values, default, meaning."""
    formatter = parser._get_formatter()
    if action.option_strings:
        values = f" {formatter._format_args(action, formatter._get_default_metavar_for_optional(action))}"
        names = [name + (values if action.nargs != 0 else "") for name in action.option_strings]
    else:
        names = [formatter._format_args(action, formatter._get_default_metavar_for_positional(action))]
    help_text = " ".join(formatter._expand_help(action).split()) if action.help else ""
    meaning, default = _without_default(help_text)
    return ", ".join(code(_spaced(name)) for name in names), _escaped(default or _default(action)), _escaped(meaning)


def _without_default(help_text: str) -> tuple[str, str]:
    """The help without its words on the default, and those words: they say more than the parser's value does."""
    for pattern in (r",? ?\(default: (.*?)\)", r"(?<!; )\b[Dd]efault: (.*?)\.?$", r"; default: (.*)$"):
        if found := re.search(pattern, help_text):
            return (help_text[: found.start()] + help_text[found.end() :]).strip(), found[1].strip("'")
    return help_text, ""


def _default(action: argparse.Action) -> str:
    if action.required or action.default in (None, argparse.SUPPRESS, False):
        return ""
    if isinstance(action.default, list | tuple):
        return " ".join(map(str, action.default))
    return str(action.default)


def _spaced(name: str) -> str:
    """Alternatives with room for line breaks, and only once where several may be given."""
    once = re.sub(r"(\{.*?\}) \[\1 \.\.\.\]", r"\1 ...", name)
    return re.sub(r"\{.*?\}", lambda choices: choices.group().replace(",", ", "), once)


def _prose(text: str | None) -> str:
    return _escaped(" ".join((text or "").split()))


def _escaped(text: str) -> str:
    return re.sub(r"(?<!`)<|(?<=[\s(])\*", lambda match: f"\\{match.group()}", text)


def _sentence(text: str) -> str:
    """A summary of argparse's as a sentence."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _wrapped(usage: str, width: int = 100) -> str:
    """The usage in lines that are not broken within a bracket."""
    lines = [""]
    for part in re.findall(r"\[[^\[\]]*(?:\[[^\]]*\][^\[\]]*)*\]|\([^)]*\)|\S+", usage):
        if lines[-1] and len(lines[-1]) + len(part) + 1 > width:
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {part}" if lines[-1] else part
    return "\n".join(lines)
