"""scripts/: the recipes of policies fit today's commands and go on after an interruption."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from vga_policy.cli import _commands, build_parser

ROOT = Path(__file__).parents[1]
RECIPE, LIBERO = ROOT / "scripts/train_nano.sh", ROOT / "scripts/train_libero.sh"

# Stands in for `vga`: writes down how it was called, begins the collection or run asked for, and fails on demand.
VGA = """#!/bin/bash
echo "$*" >>"$CALLS"
[[ $* =~ --out\\ ([^ ]+) ]] && mkdir -p "${BASH_REMATCH[1]}" && touch "${BASH_REMATCH[1]}/config.json"
[[ -z $FAIL || ! $* =~ $FAIL ]]
"""


def recipe(*arguments, script=RECIPE, **environment):
    return subprocess.run(
        [script, *map(str, arguments)], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )


def commands(printed):
    return [shlex.split(line.removeprefix("+ vga ")) for line in printed.splitlines() if line.startswith("+ vga ")]


@pytest.fixture
def called(tmp_path):
    """Runs the recipe with a stand-in for `vga` that fails at what contains `fail`; gives its calls."""
    (tmp_path / "vga").write_text(VGA)
    (tmp_path / "vga").chmod(0o755)

    def run(fail="", *options, script=RECIPE):
        calls = tmp_path / "calls"
        calls.write_text("")
        path = f"{tmp_path}:{os.environ['PATH']}"
        finished = recipe(*options, tmp_path / "out", script=script, PATH=path, CALLS=str(calls), FAIL=fail)
        assert (finished.returncode != 0) == bool(fail), finished.stderr
        return calls.read_text().splitlines()

    return run


@pytest.mark.parametrize("options", [[], ["--quick"]])
def test_every_command_of_the_recipe_is_understood(options):
    parser = build_parser(_commands())
    shown = commands(recipe("--print", *options).stdout)
    assert [command[0] for command in shown].count("train") == 5
    for command in shown:
        parser.parse_args(command)


@pytest.mark.parametrize("options", [[], ["--quick"]])
def test_every_command_of_liberos_recipe_is_understood(options):
    parser = build_parser(_commands())
    shown = commands(recipe("--print", *options, script=LIBERO).stdout)
    assert [command[0] for command in shown].count("train") == 22
    for command in shown:
        parser.parse_args(command)


def test_liberos_recipe_goes_on_where_it_was_interrupted(called, tmp_path):
    before = called("eval libero .*no-wrist", script=LIBERO)
    assert [command.split()[0] for command in before] == ["export", "libero", "libero", "train", "eval", "eval"]
    (tmp_path / "out/.done/object").unlink()
    after = called(script=LIBERO)
    assert after[:2] == [f"train --resume {tmp_path}/out/object", before[-1]]
    assert called(script=LIBERO) == []


def test_the_quick_recipe_goes_through_every_step_of_the_full_one(called):
    quick, full = (commands(recipe("--print", *options).stdout) for options in (["--quick"], []))
    assert [command[:3] for command in quick] == [command[:3] for command in full]
    assert [command.split()[0] for command in called("", "--quick")] == [command[0] for command in full]


def test_the_recipe_goes_on_where_it_was_interrupted(called):
    before = called("more/starts ")
    assert "--out " in before[-1]
    assert before[-1].split()[-1] == "2"
    after = called()
    assert after[0] == before[-1]
    assert len(before) - 1 + len(after) == len(commands(recipe("--print").stdout))
    assert called() == []


def test_a_training_that_was_interrupted_is_resumed(called, tmp_path):
    called("out/run2 ")
    after = called()
    assert after[0] == f"train --resume {tmp_path}/out/run2"
    assert after[1].startswith("collect ")


def test_a_collection_that_was_interrupted_begins_anew(called, tmp_path):
    called("demos/vegetable$")
    (half := tmp_path / "out/demos/vegetable/grasp_vegetable_000000").mkdir()
    called("demos/starts ")
    assert not half.exists()


def test_without_vga_the_recipe_says_what_to_type():
    finished = recipe(PATH="/usr/bin:/bin")
    assert finished.returncode == 1
    assert finished.stderr == 'train_nano: no vga here: eval "$(make -s env)"\n'


def test_a_word_that_is_no_option_is_refused():
    assert recipe("--fast").returncode == 2
