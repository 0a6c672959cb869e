"""The sub-command `vga panel`; what it needs is imported when it runs."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

from vga_policy.cli_options import add_namespace
from vga_policy.cli_types import between

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"
PORT = 8180
STATE = "vga-ros/instructions.json"  # below XDG_STATE_HOME


class PanelError(RuntimeError):
    """A panel that cannot be shown. The message says why and what to do."""


def panel_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `vga panel`."""
    parser = subparsers.add_parser(
        "panel",
        help="a page to see and run the robot from, also on a phone",
        description="Shows mode, views, chunks, leader, recorder and health of the running graph. Stops, homes and "
        "recovers the arm, runs tasks and records episodes. Losing the page or the panel changes nothing about the "
        "robot: a task that runs goes on.",
        epilog="Exit status: 0 after Ctrl-C; 1 when the page cannot be served.",
    )
    parser.add_argument(
        "--port",
        type=between(1, 65535, int),
        default=PORT,
        metavar="PORT",
        help="The page's port. Default: %(default)s.",
    )
    parser.add_argument(
        "--lan",
        action="store_true",
        help="Lets other machines of the local network in, too, by an address with a token that is printed.",
    )
    parser.add_argument(
        "--study",
        type=Path,
        metavar="DIR",
        help="Shows how many trials of a running evaluation are done, and how many succeeded: the --out of `vga eval "
        "sim`, or a study of `vga eval robot`.",
    )
    add_namespace(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        if find_spec("nicegui") is None:
            raise PanelError("NiceGUI is not installed: make setup PURPOSES=panel")
        _require_free(EVERYWHERE if arguments.lan else LOOPBACK, arguments.port)
        _show(arguments)
    except PanelError as error:
        print(f"vga panel: {error}", file=sys.stderr)
        return 1
    return 0


def _show(arguments: argparse.Namespace) -> None:
    from vga_policy.ros.client.served import ServedSession

    from vga_bringup.panel import access, server
    from vga_bringup.panel.model import History
    from vga_bringup.panel.robot import NAME, PanelRobot

    token = access.new_token() if arguments.lan else ""
    hosts = access.lan_hosts() if arguments.lan else access.LOOPBACK
    with ServedSession(NAME, arguments.namespace) as session:
        robot = PanelRobot(session, arguments.study)
        robot.examine()
        app = server.application(robot, History(_state_file()), arguments.namespace)

        def ready() -> None:
            for address in access.lan_addresses() if arguments.lan else [LOOPBACK]:
                query = f"?{access.TOKEN}={token}" if token else ""
                print(f"open http://{address}:{arguments.port}/{query}", flush=True)
            print("Ctrl-C ends the panel; a task that runs goes on", flush=True)

        host = EVERYWHERE if arguments.lan else LOOPBACK
        server.serve(access.Access(app, arguments.port, hosts, token), host, arguments.port, ready)


def _require_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PanelError(
                f"port {port}: {(error.strerror or str(error)).lower()}; another panel? give another --port"
            ) from None


def _state_file() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state", STATE)
