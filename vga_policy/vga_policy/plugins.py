"""What other packages add by entry points, and files by a variable: simulated tasks, text encoders, policies of
the LIBERO benchmark.

Nothing of theirs is imported before it is asked for by its name, so that a broken one is in nobody else's way.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from vga_policy.names import TASK_NAMES, TEXT_ENCODER_NAMES


class PluginError(ValueError):
    """There is nothing of this name, or it cannot be used. The message says whose it is and what is wrong."""


@dataclass(frozen=True)
class PluginKind:
    """One kind of addition.

    what: in words. group: of its entry points. own: the names that VGA-ROS itself has, which nobody else's can take.
    files: environment variable that lists Python files of them, as PATH lists folders; attribute: what such a file
    defines; empty: there are no such files.
    """

    what: str
    group: str
    own: tuple[str, ...]
    files: str = ""
    attribute: str = ""

    def names(self) -> tuple[str, ...]:
        """All names: VGA-ROS's own, those of installed packages, those of files."""
        return tuple(dict.fromkeys((*self.own, *sorted(self._installed()), *sorted(self._listed()))))

    def require(self, name: str) -> None:
        """Raises PluginError when there is nothing of this name. Imports nothing."""
        if name not in self.names():
            raise PluginError(f"no {self.what} '{name}'; there are {', '.join(self.names()) or 'none'}")

    def package(self, name: str) -> str:
        """The package whose entry point has this name; empty where there is none."""
        return _package(found[0]) if (found := self._installed().get(name)) else ""

    def named(self, text: str) -> str:
        """The name of what is asked for by its name or its file. Raises PluginError."""
        for problem in self._ignored():
            print(problem, file=sys.stderr)
        if self.files and text.endswith(".py"):
            return self.add_file(text)
        self.require(text)
        return text

    def add_file(self, path: str | Path) -> str:
        """Lists a file, for this process and those that it starts; the name: the file's. Raises PluginError."""
        path = Path(path)
        if not path.is_file():
            raise PluginError(f"{path}: no such file")
        if path.stem in (*self.own, *self._installed()):
            raise PluginError(f"{path}: there is another {self.what} '{path.stem}': rename the file")
        listed = {**self._listed(), path.stem: path.absolute()}
        os.environ[self.files] = os.pathsep.join(map(str, listed.values()))
        return path.stem

    def load(self, name: str) -> Any:
        """What an entry point or file of this name, not one of `own`, stands for. Raises PluginError."""
        if name in (installed := self._installed()):
            return self._load_installed(name, installed[name])
        if name in (listed := self._listed()):
            return self._load_file(listed[name])
        self.require(name)
        raise AssertionError(f"{name}: one of VGA-ROS's own")

    def whose(self, name: str) -> str:
        """Where a name comes from, for messages."""
        if found := self._installed().get(name):
            return ", ".join(map(_whose, found))
        return str(self._listed().get(name, "vga"))

    def _ignored(self) -> list[str]:
        """What packages offer under a name of VGA-ROS's own, a line each."""
        found = [(point.name, point) for point in entry_points(group=self.group) if point.name in self.own]
        return [f"{_whose(point)}: '{name}' is a {self.what} of vga itself: ignored" for name, point in found]

    def _installed(self) -> Mapping[str, list[EntryPoint]]:
        """Entry points by name, one a package: a source checkout may list a package twice."""
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            if point.name not in self.own:
                others = found.setdefault(point.name, [])
                if all(_package(other) != _package(point) for other in others):
                    others.append(point)
        return found

    def _listed(self) -> Mapping[str, Path]:
        paths = os.environ.get(self.files, "").split(os.pathsep) if self.files else []
        return {Path(path).stem: Path(path) for path in paths if path}

    def _load_installed(self, name: str, points: list[EntryPoint]) -> Any:
        if len(points) > 1:
            both = " and ".join(map(_whose, points))
            raise PluginError(f"{self.what} '{name}': {both} both offer it: uninstall one of them")
        try:
            return points[0].load()
        except (Exception, SystemExit) as error:  # whatever a package does at import
            raise PluginError(f"{self.what} '{name}' of {_whose(points[0])}: {_in_a_line(error)}") from error

    def _load_file(self, path: Path) -> Any:
        spec = spec_from_file_location(f"{self.group.replace('.', '_')}_{path.stem}", path)
        if spec is None or spec.loader is None or not path.is_file():
            raise PluginError(f"{path}: no Python file")
        module = module_from_spec(spec)
        sys.modules[spec.name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise PluginError(f"{self.what} '{path.stem}' of {path}: {_in_a_line(error)}") from error
        if not hasattr(module, self.attribute):
            raise PluginError(f"{path}: defines no {self.attribute}")
        return getattr(module, self.attribute)


TASKS = PluginKind("task", "vga.tasks", TASK_NAMES, files="VGA_TASKS", attribute="TASK")
TEXT_ENCODERS = PluginKind("text encoder", "vga.text_encoders", TEXT_ENCODER_NAMES)
LIBERO_POLICIES = PluginKind(
    "policy of LIBERO", "vga.libero_policies", (), files="VGA_LIBERO_POLICIES", attribute="POLICY"
)

TASK_HELP = f"{', '.join(TASK_NAMES)}, the name of an installed one, or a Python file that defines TASK"


def task_name(text: str) -> str:
    """Type of a task, for argparse. A file is listed for this process and those that it starts."""
    return _named(TASKS, text)


def libero_policy_name(text: str) -> str:
    """Type of somebody's policy of LIBERO, for argparse; as `task_name`."""
    return _named(LIBERO_POLICIES, text)


def _named(kind: PluginKind, text: str) -> str:
    try:
        return kind.named(text) if text else ""
    except PluginError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "?"


def _whose(point: EntryPoint) -> str:
    return f"{_package(point)} ({point.group}: {point.name} = {point.value})"


def _in_a_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
