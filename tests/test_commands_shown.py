"""What the pages tell a reader to type is understood: today's pages without a note, those of fb79bd7 still."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from vga_bringup.graph import spec
from vga_policy.cli import build_parser

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("*/README.md"), *(ROOT / "docs").rglob("*.md")])
FORMER = ROOT / "tests/artefacts/commands.txt"
CALLED_OTHERWISE = {"--fast": "--in-process", "--average": "--ema", "--size": "--image-size"}
VARIABLES = {"$task": "pick_cube", "$view": "id", "$camera": "fixed"}  # of the pages' loops


def commands(page):
    """The commands `vga` and `ros2 launch` of a page's code blocks, as lists of words, but those with "$@".

    A block of ```text shows what is printed: only its lines after a prompt are commands.
    """
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        if kind == "text":
            block = "\n".join(re.findall(r"^\$ (.*)", block, re.MULTILINE))
        for line in re.sub(r"\\\n", " ", block).splitlines():
            for name, value in VARIABLES.items():
                line = line.replace(name, value)
            if re.search(r"\b(vga|ros2) ", line):
                words = shlex.shlex(line, posix=True, punctuation_chars=";&|")
                words.whitespace_split = True
                yield from one_by_one(words)


def one_by_one(words):
    command = []
    for word in [*words, ";"]:
        if word not in (";", "&", "&&", "|", "||", "}"):
            command.append(word)
            continue
        for first in ("vga", "ros2"):
            if first in command and "$@" not in command:
                yield command[command.index(first) :]
        command = []


PARSER = build_parser()


def understand(command):
    """Raises SystemExit, after argparse's complaint, or KeyError where a command is not understood."""
    if command[0] == "vga":
        PARSER.parse_args(command[1:])
    elif command[1] == "launch":
        graph = getattr(spec, command[3].replace(".launch.py", "_graph"))
        for argument in command[4:]:
            spec.options(graph)[argument.partition(":=")[0]]


@pytest.fixture
def own_files(tmp_path, monkeypatch):
    """In the present folder what pages have a reader write: the task of add-a-task.md, listed; libero.md's policy."""
    shutil.copy(ROOT / "docs/examples/own_task/own_task.py", tmp_path / "push_block.py")
    (tmp_path / "my_policy.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VGA_LIBERO_POLICIES", "")
    monkeypatch.setenv("VGA_TASKS", str(tmp_path / "push_block.py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.usefixtures("own_files")
def test_what_a_page_shows_is_understood(page, capsys):
    for command in commands(page):
        understand(command)
        assert capsys.readouterr().err == "", command


def test_the_pages_show_commands():
    assert sum(len(list(commands(page))) for page in PAGES) > 50


def test_what_the_pages_showed_before_is_still_understood(capsys):
    for line in FORMER.read_text().splitlines():
        understand(command := shlex.split(line))
        notes = {f"{former} is now {name}" for former, name in CALLED_OTHERWISE.items() if former in command}
        assert set(capsys.readouterr().err.splitlines()) == notes, line


def git(*words):
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()


@pytest.mark.usefixtures("own_files")
def test_git_ignores_what_the_pages_commands_make():
    made = {
        str(PARSER.parse_args(command[1:]).out)
        for page in PAGES
        for command in commands(page)
        if command[0] == "vga" and "--out" in command
    }
    made = {path for path in made if not re.search(r"^/|[A-Z$]", path)} | {"my_cell.yaml"}
    assert len(made) > 10
    assert set(git("check-ignore", "--no-index", *(f"{path}/x" for path in made))) == {f"{path}/x" for path in made}


def test_git_ignores_nothing_of_the_sources():
    assert git("ls-files", "--cached", "--ignored", "--exclude-standard") == []
