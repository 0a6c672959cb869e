"""The `vga` command finds its sub-commands in installed packages, and survives broken ones."""

import os
import subprocess
import sys
import textwrap

import pytest

from vga_policy import cli

COMMANDS = """
def _add(subparsers, name, run):
    parser = subparsers.add_parser(name, help=f"the {name} command")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--loud", action="store_true")
    parser.set_defaults(run=run)

def greet(subparsers):
    _add(subparsers, "greet", lambda arguments: print("hello " * arguments.count) or 0)

def refuse(subparsers):
    def run(arguments):
        from vga_policy.cell.loading import load_cell
        load_cell("/nowhere/cell.yaml")
    _add(subparsers, "refuse", run)

def interrupted(subparsers):
    def run(arguments):
        raise KeyboardInterrupt
    _add(subparsers, "interrupted", run)

def fails(subparsers):
    _add(subparsers, "fails", lambda arguments: 3)

def half(subparsers):
    _add(subparsers, "half", None)
    raise RuntimeError("stopped 50% through")
"""

ENTRY_POINTS = """
[vga.commands]
greet = cli_plugin:greet
refuse = cli_plugin:refuse
interrupted = cli_plugin:interrupted
fails = cli_plugin:fails
half = cli_plugin:half
absent = cli_plugin_that_is_not_there:command

[vga.commands.bench]
greet = cli_plugin:greet
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A package with commands, good and bad, as pip would have installed it."""
    (tmp_path / "cli_plugin.py").write_text(COMMANDS)
    metadata = tmp_path / "cli_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: cli-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(textwrap.dedent(ENTRY_POINTS))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_runs_a_command_with_its_arguments(plugin, capsys):
    assert cli.main(["greet", "--count", "2"]) == 0
    assert capsys.readouterr().out.strip() == "hello hello"


def test_a_command_of_two_words_is_found_in_its_family(plugin, capsys):
    assert cli.main(["bench", "greet", "--count", "1"]) == 0
    assert capsys.readouterr().out.strip() == "hello"


def test_exit_status_is_the_commands(plugin):
    assert cli.main(["fails"]) == 3
    assert cli.main(["interrupted"]) == 130


def test_wrong_cell_file_is_one_line_without_a_stack_trace(plugin, capsys):
    assert cli.main(["refuse"]) == 2
    assert capsys.readouterr().err == "/nowhere/cell.yaml: cannot be read: No such file or directory\n"


def test_without_a_command_prints_the_list(plugin, capsys):
    assert cli.main([]) == 0
    output = capsys.readouterr().out
    assert "the greet command" in output
    assert "No module named" in output


@pytest.mark.parametrize("arguments", [["absent"], ["absent", "--count", "2", "and more"]])
def test_broken_command_says_why_whatever_its_arguments(plugin, capsys, arguments):
    assert cli.main(arguments) == 1
    message = capsys.readouterr().err
    assert message.startswith("vga absent: cannot be loaded from cli_plugin_that_is_not_there:command")
    assert message.count("\n") == 1


def test_command_that_fails_after_adding_its_parser_says_why(plugin, capsys):
    assert cli.main(["half"]) == 1
    assert "RuntimeError: stopped 50% through" in capsys.readouterr().err


def test_unknown_command_names_the_known_ones(plugin, capsys):
    with pytest.raises(SystemExit) as status:
        cli.main(["nonsense"])
    assert status.value.code == 2
    assert "'greet'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--cuont", "3"), "unrecognized arguments: --cuont 3; is --count meant?"),
        (("--count", "3", "4"), "unrecognized arguments: 4; --count takes one value"),
        (("3",), "unrecognized arguments: 3"),
        (("--loud", "--loud", "3"), "unrecognized arguments: 3"),
        (("--xyzzy=1",), "unrecognized arguments: --xyzzy=1"),
    ],
)
@pytest.mark.parametrize("command", [("greet",), ("bench", "greet")])
def test_an_argument_too_many_is_told_by_the_command_with_what_is_near(plugin, capsys, command, given, told):
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, *given])
    assert ended.value.code == 2
    usage, *_, error = capsys.readouterr().err.splitlines()
    assert usage.startswith(f"usage: vga {' '.join(command)} ")
    assert error == f"vga {' '.join(command)}: error: {told}"


def test_package_listed_twice_counts_once(plugin, tmp_path, monkeypatch, capsys):
    copy = tmp_path / "copy" / "cli_plugin_copy-1.0.dist-info"
    copy.mkdir(parents=True)
    for file in (plugin / "cli_plugin-1.0.dist-info").iterdir():
        (copy / file.name).write_text(file.read_text().replace("cli-plugin", "cli-plugin-copy"))
    monkeypatch.syspath_prepend(copy.parent)
    assert cli.main([]) == 0
    assert capsys.readouterr().out.count("the greet command") == 1


def test_module_runs_as_the_command(plugin):
    environment = {**os.environ, "PYTHONPATH": f"{plugin}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "vga_policy", "greet"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (finished.returncode, finished.stdout.strip()) == (0, "hello")


def test_closed_pipe_is_no_error(plugin):
    environment = {**os.environ, "PYTHONPATH": f"{plugin}:{os.environ.get('PYTHONPATH', '')}"}
    command = f"{sys.executable} -m vga_policy greet --count 100000 | head -c 1"
    finished = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60)
    assert (finished.stdout, finished.stderr) == ("h", "")


@pytest.mark.parametrize(
    ("asked", "usage"),
    [
        (["help"], "usage: vga [-h]"),
        (["help", "greet"], "usage: vga greet"),
        (["help", "bench", "greet"], "usage: vga bench greet"),
        (["help", "bench"], "usage: vga bench [-h]"),
        (["bench", "help"], "usage: vga bench [-h]"),
    ],
)
def test_help_is_a_command_too(plugin, capsys, asked, usage):
    with pytest.raises(SystemExit) as status:
        cli.main(asked)
    assert status.value.code == 0
    assert capsys.readouterr().out.startswith(usage)


def test_a_command_loads_no_other(plugin, monkeypatch):
    monkeypatch.delitem(sys.modules, "cli_plugin_2", raising=False)
    (plugin / "cli_plugin_2.py").write_text("raise KeyboardInterrupt")
    entry_points = plugin / "cli_plugin-1.0.dist-info" / "entry_points.txt"
    entry_points.write_text(
        entry_points.read_text().replace("absent = cli_plugin_that_is_not_there", "slow = cli_plugin_2")
    )
    assert cli.main(["greet"]) == 0
    assert cli.main(["slow"]) == cli.main([]) == 130  # Ctrl-C while a command is being imported: no stack trace
