"""`vga sim`: the simulated graph, until Ctrl-C."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Collection
from threading import Event

from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.cell.shipped import cell_path
from vga_policy.checkpoints import instructions
from vga_policy.processors import Processors
from vga_policy.ros.client.alone import require_alone
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.readiness import wait_until_steady
from vga_policy.ros.client.scene import SceneClient
from vga_policy.ros.client.session import Session, stop_request
from vga_policy.ros.errors import REFUSED, GraphError

from vga_bringup.cli.options import FIRST_TASK, robot_option
from vga_bringup.graph.runner import Runner
from vga_bringup.graph.spec import from_text, sim_graph
from vga_bringup.sim.scene.task import Arrangement, TaskError
from vga_bringup.sim.tasks.builtin import TASKS
from vga_bringup.sim.tasks.registry import arrange
from vga_bringup.trials.scene import prepare
from vga_policy import topics

FIRST_SEED = 0
REMIND_EVERY = 10.0  # s
OVERLOADED = 0.98  # share of the processors' time; a healthy graph with its commands has been seen at 0.96
OVERLOADED_FOR = 10.0  # s that the processors must have had too much to do until it is said
OVERLOAD_EVERY = 60.0  # s


def run(args: argparse.Namespace) -> int:
    """Runs the graph; 0 after Ctrl-C, 2 when a node refuses what it is given, 1 when every node has ended."""
    try:
        graph = from_text(sim_graph, vars(args))
        cell = load_cell(cell_path(args.cell))
        os.environ.update(graph[0].environment)
        require_alone(args.namespace)
        with stop_request() as stop, Runner(graph, sys.stdout) as runner:
            simulation = Simulation(runner, stop, arrange(args.task or first_task(args.checkpoint), FIRST_SEED))
            try:
                simulation.bring_up(cell, args.namespace)
                while not stop.wait(0.2):
                    simulation.look()
            except Over:
                pass
            return 0 if runner.running else 1
    except (InputRefused, TaskError, GraphError) as error:
        print(error, file=sys.stderr)
        return 1 if isinstance(error, GraphError) else REFUSED


def first_task(checkpoint: str) -> str:
    """The task to begin with: one that the policy was trained for, as far as its checkpoint tells."""
    learned = instructions(checkpoint)
    return next((name for name, task in TASKS.items() if task.instruction in learned), FIRST_TASK)


def what_next(
    nodes: Collection[str],
    namespace: str = "",
    task: str = FIRST_TASK,
    instruction: str = TASKS[FIRST_TASK].instruction,
) -> str:
    """What to type in another shell beside a graph of these nodes."""
    robot = robot_option(namespace)
    steps = []
    if {topics.GELLO, topics.RECORDER} <= set(nodes):
        steps.append(f'vga record --task {task} --instruction "{instruction}" --episodes 5{robot}')
        if topics.SIM_LEADER in nodes:
            steps[0] += f", and to move the arm yourself in a third: vga leader{robot}"
    if topics.POLICY in nodes:
        steps.append(f'vga run "{instruction}"{robot}, and for another scene: vga arrange{robot}')
    if not steps:
        steps.append(f"vga home{robot} (for vga run, start with --policy true; for vga record, --teleop and --record)")
    return "; or: ".join(steps)


class Over(Exception):  # noqa: N818 - named for what happened
    """Ctrl-C has come, or every node has ended."""


class InputRefused(Exception):  # noqa: N818 - named for what happened
    """A node cannot be used with what it was given. The message says which, and why."""


class Simulation:
    """Looks after a graph: what is missing, what ended, and whether the machine can do it."""

    def __init__(self, runner: Runner, stop: Event, first: Arrangement) -> None:
        """first: the first scene, where it arranges one."""
        self._runner, self._stop, self._first = runner, stop, first
        self._processors = Processors(OVERLOADED_FOR)
        self._started = self._reminded = time.monotonic()
        self._complained = self._started + OVERLOADED_FOR - OVERLOAD_EVERY

    def bring_up(self, cell: Cell, namespace: str) -> None:
        """Says when there is something to do, and what; until then, what is missing. Raises as `look`."""
        nodes = [spec.name for spec in self._runner.graph]
        with Session("vga_sim", namespace) as session:
            wait_until_steady(session, cell, self._remind, steady=0.0, within=math.inf, nodes=nodes, in_time=True)
            scene = self._arrange(session) if topics.POLICY in nodes and topics.GELLO not in nodes else ""
        self._runner.say(
            f"ready after {time.monotonic() - self._started:.0f} s{scene}. in another shell: "
            f"{what_next(nodes, namespace, self._first.task, self._first.instruction)}; Ctrl-C here stops everything"
        )

    def look(self) -> None:
        """Raises Over or InputRefused; says when the processors have too much to do."""
        for name, code in self._runner.ended().items():
            if code == REFUSED:
                raise InputRefused(f"{name} cannot run: {self._runner.last_words(name)}")
        if self._stop.is_set() or not self._runner.running:
            raise Over
        self._processors.look()
        if time.monotonic() - self._complained > OVERLOAD_EVERY and (overload := self._processors.overload(OVERLOADED)):
            self._complained = time.monotonic()
            self._runner.say(overload)

    def _remind(self, missing: list[str]) -> None:
        self.look()
        if missing and time.monotonic() - self._reminded > REMIND_EVERY:
            self._reminded = time.monotonic()
            ends = self._runner.ends
            parts = [part for part in missing if part.removeprefix("camera ") not in ends]
            self._runner.say(f"waiting for: {', '.join([*parts, *(f'{name} (ended, {ends[name]})' for name in ends)])}")

    def _arrange(self, session: Session) -> str:
        """Draws the first scene, which the cell then judges; what it is, in words."""
        try:
            prepare(session, DriverClient(session), SceneClient(session), self._first.task, FIRST_SEED, self._stop)
        except GraphError as error:
            self.look()
            self._runner.say(session.explain(f"no scene is arranged: {error}"))
            return ""
        return f" ({self._first.task}, seed {FIRST_SEED} arranged)"
