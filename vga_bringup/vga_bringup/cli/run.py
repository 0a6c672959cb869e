"""`vga run`: one task, from arming the driver to its end."""

from __future__ import annotations

import argparse
import sys

from vga_policy.message_constants import TaskOutcome
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.policy import PolicyClient
from vga_policy.ros.client.session import Session, stop_request
from vga_policy.ros.errors import GraphError

EXIT_CODES = {TaskOutcome.STEP_LIMIT: 0, TaskOutcome.CANCELED: 130, TaskOutcome.ABORTED: 1}


def run(args: argparse.Namespace) -> int:
    """Runs one task: 0 at its step limit, 130 when Ctrl-C canceled it, 1 when it was refused or aborted."""
    with stop_request() as stop, Session("vga_run") as session:
        driver, policy = DriverClient(session), PolicyClient(session)
        try:
            try:
                driver.policy()
                if stop.is_set():
                    return EXIT_CODES[TaskOutcome.CANCELED]
                policy.start(args.instruction, args.max_steps)
                print(f"running {args.instruction!r}; Ctrl-C cancels", flush=True)
                result = policy.finish(stop)
            finally:  # also where the driver has armed itself too late for an answer
                driver.hold()
        except GraphError as error:
            print(error, file=sys.stderr)
            return 1
    print(f"{result.message or 'ended'} ({result.steps} steps, {result.chunks} chunks)")
    return EXIT_CODES[result.outcome]
