"""Renders the node graph as processes, for machines without `ros2 launch`.

Processes and prefixed output are honcho's. Its Manager is not used: it ends every process as soon as one ends, and a
robot driver must outlive a camera.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from honcho.colour import get_colours
from honcho.printer import Message, Printer
from honcho.process import Popen
from vga_policy.ros.errors import REFUSED, GraphError

from vga_bringup.graph.shared_memory import remove_leftovers
from vga_bringup.graph.spec import Graph, NodeSpec, Value

GRACE = 10.0  # s a node has to end by itself
HELPERS_GRACE = 2.0  # s the processes that it started have, once it has ended
LINES_KEPT = 50  # of each node's output


class Runner:
    """Runs the nodes of a graph, each in a session of its own. A node that ends is reported; the others keep running.

    Use it as a context manager: on leaving, every node is stopped (SIGTERM, after GRACE seconds SIGKILL), and no
    process or shared memory of theirs remains. Should this process be killed, its nodes are told to end (SIGTERM).
    Nodes live no longer than the thread that started them.

    output: where the nodes' lines go, each prefixed with its node's name. ends: how nodes ended that do not run again,
    by their names, in words: the exit code, and the node's last line.
    """

    def __init__(self, graph: Graph, output: IO[str]) -> None:
        self.graph = graph
        self._printer = Printer(output, width=max(len(spec.name) for spec in graph))
        self._colors = dict(zip((spec.name for spec in graph), _colors(), strict=False))
        self._processes: dict[str, Popen] = {}
        self._readers: dict[str, threading.Thread] = {}
        self._last: dict[str, deque[str]] = {spec.name: deque(maxlen=LINES_KEPT) for spec in graph}
        self.ends: dict[str, str] = {}

    def __enter__(self) -> Runner:
        for spec in self.graph:
            self.start(spec.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, name: str) -> None:
        """Starts the node called `name`, which is not running: for the first time, or again."""
        spec = self._spec(name)
        self.ends.pop(name, None)
        self._last[name].clear()
        process = Popen(command(spec), shell=False, env={**os.environ, **spec.environment}, stdin=subprocess.DEVNULL)
        self._processes[name] = process
        reader = threading.Thread(target=self._relay, args=(name, process), name=f"output of {name}", daemon=True)
        reader.start()
        self._readers[name] = reader

    def pid(self, name: str) -> int:
        """Process id of the running node called `name`."""
        return self._processes[name].pid

    def ended(self) -> dict[str, int]:
        """Nodes that ended since the last call, with their exit codes (negative: killed by that signal)."""
        codes = {name: process.poll() for name, process in self._processes.items()}
        ended = {name: code for name, code in codes.items() if code is not None}
        for name, code in ended.items():
            self._kill(name)
            self.ends[name] = f"{explain(code)}: {self.last_words(name)}".rstrip(": ")
            others = "" if code == REFUSED else "; the other nodes keep running"
            self.say(f"{name} ended: {explain(code)}{others}")
        return ended

    def last_words(self, name: str) -> str:
        """Why a node ended, as far as its output tells: what it says in its executable's name, else its last line."""
        lines = [line for line in self._last[name] if line.strip()]
        begin = f"{self._spec(name).executable}: "
        for i, line in enumerate(lines):
            if line.startswith(begin):
                return "\n".join(lines[i:]).removeprefix(begin)
        return lines[-1] if lines else ""

    def check(self, stop: threading.Event | None = None) -> None:
        """Raises GraphError when there is no point in going on: `stop` is set, or a node ended since the last call."""
        if stop is not None and stop.is_set():
            raise GraphError("interrupted")
        if ended := self.ended():
            raise GraphError(", ".join(f"{name} ended: {explain(code)}" for name, code in ended.items()))

    @property
    def running(self) -> list[str]:
        """Names of the nodes not yet known to have ended."""
        return list(self._processes)

    def stop(self) -> None:
        """Stops every node; those that stand for devices, which the others use, last."""
        running = [spec for spec in self.graph if spec.name in self._processes]
        for simulators in (False, True):
            self._stop([spec.name for spec in running if spec.simulates is simulators])
        remove_leftovers()

    def say(self, text: str) -> None:
        """Prints a line of the runner's own among the nodes'."""
        self._print("", None, text)

    def _stop(self, names: Sequence[str]) -> None:
        for name in names:
            self._processes[name].send_signal(signal.SIGTERM)  # SIGINT leaves a stack trace of one still importing
        deadline = time.monotonic() + GRACE
        for name in names:
            try:
                self._processes[name].wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.say(f"{name} did not stop within {GRACE:g} s: killed")
            self._kill(name)

    def _kill(self, name: str) -> None:
        """Ends what is left of a node: itself if need be, and helpers it started, which may tidy up first."""
        process = self._processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            deadline = time.monotonic() + HELPERS_GRACE
            while time.monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._readers.pop(name).join(timeout=1.0)

    def _relay(self, name: str, process: Popen) -> None:
        for line in iter(process.stdout.readline, b""):
            text = line.decode(errors="replace")
            self._last[name].append(text.rstrip())
            self._print(name, self._colors[name], text)
        process.stdout.close()

    def _spec(self, name: str) -> NodeSpec:
        return next(spec for spec in self.graph if spec.name == name)

    def _print(self, name: str, color: str | None, text: str) -> None:
        self._printer.write(Message("line", text, datetime.datetime.now(), name, color))


def command(spec: NodeSpec) -> list[str]:
    """Command line of one node. Raises GraphError when its package or executable is not installed."""
    try:
        executable = Path(get_package_prefix(spec.package), "lib", spec.package, spec.executable)
    except PackageNotFoundError:
        raise GraphError(f"package {spec.package} is not installed: make setup") from None
    if not executable.is_file():
        raise GraphError(f"{executable} does not exist: make setup")
    arguments = ["-r", f"__node:={spec.name}", "-r", f"__ns:={spec.namespace}"]
    for source, target in spec.remappings:
        arguments += ["-r", f"{source}:={target}"]
    for name, value in spec.parameters.items():
        arguments += ["-p", f"{name}:={_yaml(value)}"]
    return [*_tied_to_parent(), str(executable), "--ros-args", *arguments]


def explain(code: int) -> str:
    """An exit code in words."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _tied_to_parent() -> list[str]:
    """Command prefix that ends a process when its parent dies (util-linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "SIGTERM"] if setpriv else []


def _yaml(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False)


def _colors() -> Iterator[str]:
    return get_colours()
