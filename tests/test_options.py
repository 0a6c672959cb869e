"""The options of all commands: a name has one meaning, is written in one way, and is told in whole sentences."""

import argparse
import re

import pytest
from vga_policy.cli import build_parser

# What one name may be where several commands have it: else its value is written alike everywhere.
WRITTEN_OTHERWISE = {
    "--out": {"DIR", "FILE"},  # a result is a directory, or one file
    "--task": {"TASK", None},  # a person's own word for it on the robot; the simulated cell's are choices
    "--control": {None},  # each benchmark has its own
    "--policy": {"CHECKPOINT", "FILE", None},  # which one acts; whether the simulated graph has one
    "--record": {None},  # true or false to vga sim, as to its launch file
    "--image-size": {"PIXELS"},  # an export's may have a width and a height
}
SEVERAL = {"--task", "--view"}  # evaluations take several where other commands take one
SEVERAL |= {"--record"}  # a flag takes none
# Words that are not used beside the ones that mean the same.
UNUSED = {
    "--directory": "--out",
    "--output": "--out",
    "--seconds": "--duration",
    "--processes": "--jobs",
    "--size": "--image-size",
    "--cameras": "--views",
    "--pose": "--position",
    "--model": "--checkpoint",
    "--policy-path": "--checkpoint",
    "--fast": "--in-process",
    "--force": "--overwrite",
}


def parsers(parser, name="vga"):
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command, below in action.choices.items():
                yield from parsers(below, f"{name} {command}")


PARSER = build_parser()
ALL = dict(parsers(PARSER))
SHOWN = [
    (command, action)
    for command, parser in ALL.items()
    for action in parser._actions
    if action.help != argparse.SUPPRESS
    and not isinstance(action, (argparse._HelpAction, argparse._VersionAction, argparse._SubParsersAction))
]
NAMES = sorted({name for _, action in SHOWN for name in action.option_strings})


def kind(action):
    """What a value becomes: text, a path and a name are one."""
    if action.nargs == 0 or action.choices is not None:
        return "flag" if action.nargs == 0 else "choice"
    for text in ("1", "0.5"):
        try:
            return type((action.type or str)(text)).__name__.replace("PosixPath", "str")
        except (ValueError, argparse.ArgumentTypeError):
            continue
    return "text"


def of(name):
    return [(command, action) for command, action in SHOWN if name in action.option_strings]


def test_there_are_many():
    assert len(ALL) > 35
    assert len(NAMES) > 80


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_written_in_one_way(name):
    found = dict(of(name))
    metavars = {action.metavar for action in found.values()}
    assert len(metavars) == 1 or metavars <= WRITTEN_OTHERWISE.get(name, set()), metavars
    if name not in WRITTEN_OTHERWISE:
        assert len({kind(action) for action in found.values()}) == 1, {c: kind(a) for c, a in found.items()}
        assert len({tuple(action.choices or ()) for action in found.values()}) == 1
    if name not in SEVERAL:
        assert len({action.nargs for action in found.values()}) == 1, {c: a.nargs for c, a in found.items()}


@pytest.mark.parametrize(("unused", "instead"), UNUSED.items())
def test_no_second_word_for_what_has_one(unused, instead):
    assert unused not in NAMES, f"call it {instead}"


def test_former_names_are_not_names_of_something_else():
    hidden = {
        (command, name): action.dest
        for command, parser in ALL.items()
        for action in parser._actions
        if action.help == argparse.SUPPRESS
        for name in action.option_strings
    }
    assert hidden
    for (command, former), dest in hidden.items():
        assert dest in {action.dest for other, action in SHOWN if other == command}, former


@pytest.mark.parametrize(("command", "action"), SHOWN, ids=lambda one: one if isinstance(one, str) else one.dest)
def test_help_is_whole_sentences(command, action):
    text = (action.help or "") % {**vars(action), "prog": command}
    assert re.match(r"[A-Z0-9]|(auto|cpu|false|true|vga) ", text), text
    assert text.endswith("."), text


@pytest.mark.parametrize("command", ALL)
def test_options_are_not_abbreviated(command):
    """One that is added later would else change what a script's abbreviation means."""
    assert not ALL[command].allow_abbrev


@pytest.mark.parametrize(
    "command", [command for command, action in of("--out") if action.dest == "out" and action.metavar == "DIR"]
)
def test_a_result_is_not_put_where_a_file_is(command, tmp_path, capsys):
    """It is said before the work, not after it."""
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        ALL[command].parse_args(["--out", str(tmp_path / "file")])
    assert ended.value.code == 2
    assert "--out: must be a directory, and " in capsys.readouterr().err
