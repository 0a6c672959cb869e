"""Files and directories that are either whole or absent, open to others as the umask says; locks, links, YAML."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

LOG = logging.getLogger(__name__)

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is several times as fast, where there is one

DEEPEST = 50  # levels of nesting in a YAML text


def cache_directory(name: str) -> Path:
    """Where what can be made again lies under this name: below XDG's cache directory. It may not be there yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vga" / name


def write_atomically(path: Path, text: str) -> None:
    """Writes `text` so that a reader, or a power cut, finds the old file or the new one, never half of either."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file to write, by whatever library; it becomes `path` when it is written and on the disk."""
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.unlink(missing_ok=True)
    unfinished.touch()
    try:
        mode = unfinished.stat().st_mode
        yield unfinished
        _finish(unfinished, mode)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def whole_directory(directory: Path) -> Iterator[Path]:
    """A directory to write into; it becomes `directory` when everything is written and on the disk.

    One process at a time makes it: what is found there unfinished was left by one that was killed.
    """
    unfinished = directory.with_name(f".{directory.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        mode = unfinished.stat().st_mode
        yield unfinished
        for file in unfinished.rglob("*"):
            if file.is_file():
                _finish(file, mode)
        unfinished.rename(directory)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Inside, no other process is inside with the same file `lock`. One that is killed is no longer inside."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOG.info("%s: another process is writing there; waiting for its end", lock.parent)
            fcntl.flock(opened, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(opened, fcntl.LOCK_UN)  # closing does not, while workers forked inside have it open


def point(link: Path, target: Path) -> None:
    """Makes `link` point to `target`, beside or below it; a reader finds the old target or the new one."""
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(target, link.parent))
    temporary.replace(link)


def parse_yaml(text: str) -> Any:
    """What a YAML text says; plain data only. Raises yaml.YAMLError, also where a key is given twice: one would win."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:  # libyaml's loader would overflow the stack
            raise yaml.YAMLError(f"nested more than {DEEPEST} deep")
    loader = LOADER(text)
    try:
        node = loader.get_single_node()
        _refuse_twins(node, set())
        return None if node is None else loader.construct_document(node)
    except (ValueError, OverflowError) as error:  # no day of any month, a number of thousands of digits
        raise yaml.YAMLError(str(error)) from None
    finally:
        loader.dispose()


def yaml_fault(error: yaml.YAMLError) -> str:
    """What is wrong with a YAML text, and where, in one line."""
    mark: Any = getattr(error, "problem_mark", None)
    words = str(getattr(error, "problem", None) or error).splitlines()[0][:100]
    return f"{words} (line {mark.line + 1}, column {mark.column + 1})" if mark else words


def _refuse_twins(node: yaml.Node | None, seen: set[int]) -> None:
    if id(node) in seen:  # an anchor may lie in what it names
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in lines:
                problem = f"{name[:40]!r} is given twice, first in line {lines[name]}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            lines[name] = key.start_mark.line + 1
            _refuse_twins(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            _refuse_twins(each, seen)


def _finish(file: Path, like: int) -> None:
    """Puts a file on the disk, readable and writable by whom something new of mode `like` is."""
    mode = like & 0o666
    if file.stat().st_mode & 0o777 != mode:  # safetensors' files, and those of the module tempfile, are their owner's
        file.chmod(mode)
    synchronize(file)


def synchronize(file: Path) -> None:
    """Returns when the file is on the disk."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
