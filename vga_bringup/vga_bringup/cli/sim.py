"""`vga sim`: the simulated graph, until Ctrl-C."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from threading import Event

from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Cell
from vga_policy.cell.shipped import cell_path
from vga_policy.ros.client.readiness import wait_until_steady
from vga_policy.ros.client.session import Session, stop_request
from vga_policy.ros.errors import GraphError

from vga_bringup.graph.runner import Runner
from vga_bringup.graph.spec import from_text, sim_graph

NEXT_STEP = 'in another shell: vga run "pick up the red cube"; Ctrl-C here stops everything'
REMIND_EVERY = 10.0  # s


def run(args: argparse.Namespace) -> int:
    """Runs the graph; 0 after Ctrl-C, 1 when it cannot run or every node has ended."""
    try:
        graph = from_text(sim_graph, vars(args))
        cell = load_cell(cell_path(args.cell))
        os.environ.update(graph[0].environment)
        with stop_request() as stop, Runner(graph, sys.stdout) as runner:
            _wait_until_ready(runner, cell, args.namespace, stop)
            while runner.running and not stop.wait(0.2):
                runner.ended()
            return 0 if runner.running else 1
    except GraphError as error:
        print(error, file=sys.stderr)
        return 1


class _Over(Exception):  # noqa: N818 - named for what happened
    """Ctrl-C has come, or every node has ended."""


def _wait_until_ready(runner: Runner, cell: Cell, namespace: str, stop: Event) -> None:
    """Says when a task can be run and, until then, what is missing."""
    started = reminded = time.monotonic()

    def look(missing: list[str]) -> None:
        nonlocal reminded
        runner.ended()
        if stop.is_set() or not runner.running:
            raise _Over
        if time.monotonic() - reminded > REMIND_EVERY:
            reminded = time.monotonic()
            runner.say(f"waiting for: {', '.join(missing)}")

    try:
        with Session("vga_sim", namespace) as session:
            wait_until_steady(session, cell, look, steady=0.0, within=math.inf)
    except _Over:
        return
    runner.say(f"ready after {time.monotonic() - started:.0f} s. {NEXT_STEP}")
