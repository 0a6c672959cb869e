"""`vga run`: one task, from arming the driver to its end."""

from __future__ import annotations

import argparse
import sys

from vga_policy.ros.client.policy import Task
from vga_policy.ros.client.session import Session, stop_request
from vga_policy.ros.errors import GraphError

from vga_msgs.action import RunTask

EXIT_CODES = {RunTask.Result.STEP_LIMIT: 0, RunTask.Result.CANCELED: 130, RunTask.Result.ABORTED: 1}


def run(args: argparse.Namespace) -> int:
    """Runs one task: 0 at its step limit, 130 when Ctrl-C cancelled it, 1 when it was refused or aborted."""
    with stop_request() as stop, Session("vga_run") as session:
        task = Task(session)
        try:
            try:
                task.arm()
                if stop.is_set():
                    return EXIT_CODES[RunTask.Result.CANCELED]
                task.send(args.instruction, args.max_steps)
                print(f"running {args.instruction!r}; Ctrl-C cancels", flush=True)
                session.spin_until(lambda: task.done or task.orphaned or stop.is_set())
                result = task.result() if task.done else task.cancel()
            finally:  # also where the driver has armed itself too late for an answer
                task.disarm()
        except GraphError as error:
            print(error, file=sys.stderr)
            return 1
    print(f"{result.message or 'ended'} ({result.steps} steps, {result.chunks} chunks)")
    return EXIT_CODES[result.outcome]
