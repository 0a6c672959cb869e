"""`vga home`, `vga recover` and `vga stop`: what the driver does at a request."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Event

from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.session import Session, stop_request
from vga_policy.ros.errors import GraphError, RefusedError


def home(args: argparse.Namespace) -> int:
    """Moves the arm home; Ctrl-C stops it. The hand keeps what it holds, unless it is to open first."""

    def go(driver: DriverClient, stop: Event) -> str:
        if args.open:
            driver.open()
        else:
            with suppress(GraphError):  # a hand that is not there keeps nobody from going home
                if width := driver.held():
                    print(
                        f"the hand holds something ({width:.3f} m) and keeps it; vga home --open opens it", flush=True
                    )
        if stop.is_set():
            raise GraphError("interrupted")
        return driver.home(args.position, args.speed, stop)

    return _act(args, go)


def recover(args: argparse.Namespace) -> int:
    """Clears a reflex, or rebuilds the connection to the arm, which stays in HOLD."""
    return _act(args, DriverClient.recover)


def stop(args: argparse.Namespace) -> int:
    """Decelerates the arm to HOLD."""
    try:
        with Session("vga_stop", args.namespace) as session:
            print(DriverClient(session).stop())
    except GraphError as error:
        return _failed(error)
    return 0


def _act(args: argparse.Namespace, act: Callable[[DriverClient, Event], str]) -> int:
    with stop_request() as requested:
        try:
            with Session("vga_arm", args.namespace) as session:
                print(act(DriverClient(session), requested))
        except RefusedError as error:
            return _failed(error)
        except GraphError as error:
            return 130 if requested.is_set() else _failed(error)
    return 0


def _failed(error: GraphError) -> int:
    print(error, file=sys.stderr)
    return 1
