"""`vga home`, `vga recover` and `vga stop`: what the driver does at a request."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rclpy.action import ActionClient
from std_srvs.srv import Trigger
from vga_policy.ros import topics
from vga_policy.ros.client.hand import Hand
from vga_policy.ros.client.session import Session, stop_request
from vga_policy.ros.errors import GraphError

from vga_msgs.action import Home, Recover

WITHIN = 60.0  # s


def home(args: argparse.Namespace) -> int:
    """Moves the arm home; Ctrl-C stops it. The hand keeps what it holds, unless it is to open first."""

    def see_to_the_hand(session: Session) -> None:
        hand = Hand(session)
        if args.open:
            hand.open()
            return
        with suppress(GraphError):  # a hand that is not there keeps nobody from going home
            if width := hand.held():
                print(f"the hand holds something ({width:.3f} m) and keeps it; vga home --open opens it", flush=True)

    return _act(Home, topics.DRIVER_HOME, Home.Goal(speed_scale=args.speed, position=args.position), see_to_the_hand)


def recover(_: argparse.Namespace) -> int:
    """Clears a reflex, or rebuilds the connection to the arm, which stays in HOLD."""
    return _act(Recover, topics.DRIVER_RECOVER, Recover.Goal())


def stop(_: argparse.Namespace) -> int:
    """Decelerates the arm to HOLD."""
    with Session("vga_stop") as session:
        try:
            response = session.call(session.node.create_client(Trigger, topics.DRIVER_STOP), Trigger.Request())
        except GraphError as error:
            return _say(str(error), success=False)
    return _say(response.message, success=response.success)


def _act(kind: Any, name: str, goal: Any, before: Callable[[Session], None] = lambda _: None) -> int:
    with stop_request() as requested, Session("vga_arm") as session:
        try:
            before(session)
            if requested.is_set():
                return 130
            result = session.act(ActionClient(session.node, kind, name), name, goal, requested, WITHIN)
        except GraphError as error:
            return 130 if requested.is_set() else _say(str(error), success=False)
    return _say(result.message, success=result.success)


def _say(message: str, *, success: bool) -> int:
    print(message, file=sys.stdout if success else sys.stderr)
    return 0 if success else 1
