"""Collection by the full ROS path, in real time. Servos, robot and cameras are simulated behind their protocols."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

from vga_policy.ros.client.alone import require_alone
from vga_policy.ros.client.session import Session, stop_request
from vga_teleop.session.earlier import SCRIPTED
from vga_teleop.session.graph_cell import GraphCell
from vga_teleop.session.operators import AutomaticOperator
from vga_teleop.session.workflow import Sight, Taken, Workflow

from vga_bringup.graph.runner import Runner
from vga_bringup.graph.spec import record_graph

COMPLETE_WITHIN = 180.0  # s from the start of the graph
STEADY = 3.0  # s until the first episode: start-up is the busiest time
HOMING_SPEED = 0.5  # of the cell's speed: nobody stands beside a simulated arm


def collect_live(
    task: str, episodes: int, directory: Path, seed: int, cell: str, say: Callable[[str], None]
) -> list[Taken]:
    """Records `episodes` of a task with the seeds from `seed` on. The nodes' output goes to `directory`.log.

    Raises GraphError and Refused; Ctrl-C ends it early.
    """
    graph = record_graph(simulated=True, cell=cell, episodes=str(directory), task=task)
    os.environ.update(graph[0].environment)
    require_alone()
    directory.mkdir(parents=True, exist_ok=True)
    with (
        directory.with_name(f"{directory.name}.log").open("w", encoding="utf-8") as log,
        stop_request() as stop,
        Runner(graph, log) as runner,
        Session("vga_collect") as session,
    ):
        watched = WatchedCell(session, task, stop, runner)
        say(f"bringing the graph up, output in {log.name}")
        began = time.monotonic()
        watched.wait_until_complete(COMPLETE_WITHIN)
        session.spin_until(stop.is_set, STEADY)
        say(f"ready after {time.monotonic() - began:.0f} s")
        workflow = Workflow(watched, AutomaticOperator(seed, session.explain), say)
        workflow.run(episodes)
        return workflow.taken


class WatchedCell(GraphCell):
    """A cell whose nodes are watched: should one end, so does the session, with GraphError."""

    def __init__(self, session: Session, task: str, stop: Event, runner: Runner) -> None:
        super().__init__(session, task, SCRIPTED, stop, HOMING_SPEED)
        self._runner = runner

    def look(self, seconds: float) -> Sight:
        """The cell as it is after this time."""
        self._runner.check()
        return super().look(seconds)
