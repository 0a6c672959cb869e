"""`vga arrange`: a new scene in the running simulated cell, drawn from a seed."""

from __future__ import annotations

import argparse
import sys

from vga_policy.message_constants import Mode
from vga_policy.ros import topics
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.scene import SceneClient
from vga_policy.ros.client.session import Session, stop_request
from vga_policy.ros.errors import GraphError

from vga_bringup.cli.options import FIRST_TASK, robot_option
from vga_bringup.trials.scene import prepare

SEEN_WITHIN = 3.0  # s until driver and scene have said how they stand


def run(args: argparse.Namespace) -> int:
    """Arranges it: 0, 1 when that is refused, 130 after Ctrl-C."""
    with stop_request() as stop:
        try:
            with Session("vga_arrange", args.namespace) as session:
                driver, scene = DriverClient(session), SceneClient(session)
                session.find(lambda: scene.offered, f"{session.resolved(topics.SIM_CELL_ARRANGE)} (vga sim does)")
                session.spin_until(lambda: None not in (driver.state, scene.state), SEEN_WITHIN)
                if driver.mode not in (None, Mode.HOLD):
                    raise GraphError(f"the driver is in {driver.mode.name}: end the task first, or `vga stop`")
                task, seed = _drawn(args, scene)
                instruction = prepare(session, driver, scene, task, seed, stop)
        except GraphError as error:
            if stop.is_set():
                return 130
            print(error, file=sys.stderr)
            return 1
    robot = robot_option(args.namespace)
    print(f'{task}, seed {seed} arranged, the arm at its start. next: vga run "{instruction}"{robot}')
    return 0


def _drawn(args: argparse.Namespace, scene: SceneClient) -> tuple[str, int]:
    """Task and seed that are asked for; else the present scene's task, and its next seed."""
    state = scene.state
    present = (state.task, int(state.seed)) if state is not None and state.task else None
    task = args.task or (present[0] if present else FIRST_TASK)
    if args.seed is not None:
        return task, args.seed
    return task, present[1] + 1 if present and present[0] == task else 0
