"""The arm: is it there, is its research interface (FCI) open, in which state is it. Never takes control of it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError
from ipaddress import ip_address
from typing import Any

from vga_policy.cell.limits import limit_problems
from vga_policy.cell.plausible import implausible
from vga_policy.cell.schema import Cell
from vga_policy.topics import DRIVER_GRIPPER_HOMING, DRIVER_RECOVER, absolute

from vga_bringup.doctor.finding import Finding, Health
from vga_bringup.robot.bounds import self_collision
from vga_bringup.robot.bounds.limits import Limits
from vga_bringup.robot.libfranka import ROBOT_PORT, libfranka_version, protocol_of, remedy

DESK = 443
TIMEOUT = 1.0  # s
HOME_THE_HAND = f"empty the hand, then call the action {absolute(DRIVER_GRIPPER_HOMING)}"
CONNECT_THE_HAND = "plug the hand in, set it as end effector in Desk, activate FCI; end other programs that use it"
LOOK_IN_DESK = "unlock the joints, release the user stop and activate FCI in Desk: https://{ip}"

# A shipped cell file of each model
_EXAMPLES = {"fr3": "lab.yaml", "panda": "lab_panda.yaml"}

# libfranka's robot modes in which nothing moves until a person has done something
_REMEDIES = {
    "other": "the brakes are closed: unlock the joints in Desk",
    "user stopped": "release the user stop",
    "reflex": f"clear what the arm touched, then call the action {absolute(DRIVER_RECOVER)}",
    "guiding": "let go of the guiding buttons",
}


def is_simulated(cell: Cell) -> bool:
    """Whether the cell's arm is served from this machine: then its cameras are rendered too."""
    try:
        return ip_address(cell.arm.ip).is_loopback
    except ValueError:  # a host name
        return cell.arm.ip == "localhost"


def arm(cell: Cell | None) -> Iterator[Finding]:
    """The arm's network side. One client at a time may own the robot, so this only opens a connection and closes it."""
    if cell is None:
        yield Finding("robot", Health.UNKNOWN, "no cell file given", "vga doctor --cell my_cell.yaml, or --cell sim")
        return
    ip = cell.arm.ip
    if is_simulated(cell):
        if _connect(ip, ROBOT_PORT) is None:
            yield Finding("robot", Health.READY, f"the simulated arm answers on {ip}")
        else:
            yield Finding("robot", Health.ABSENT, f"no simulated arm on {ip}", "it runs with: vga sim")
        return

    refusal = _connect(ip, ROBOT_PORT)
    desk = _connect(ip, DESK)
    if refusal is None or desk is None or isinstance(refusal, ConnectionRefusedError):
        yield Finding("robot", Health.READY, f"{ip} answers")
    else:
        remedy = (
            "switch the control box on; connect this PC to its LAN port; give this PC an address of the same "
            "network; arm.ip in the cell file must be the robot's"
        )
        yield Finding("robot", Health.MISSING, f"{ip} does not answer: {_reason(refusal)}", remedy)
        return
    if refusal is None:
        yield Finding("FCI", Health.READY, f"port {ROBOT_PORT} is open")
    else:
        seen = f"port {ROBOT_PORT}: {_reason(refusal)}"
        yield Finding("FCI", Health.MISSING, seen, LOOK_IN_DESK.format(ip=ip))


def libfranka(cell: Cell | None) -> Iterator[Finding]:
    """Which libfranka the installed franky has, and whether it speaks to the cell's arm."""
    subject = "libfranka"
    try:
        version = libfranka_version()
    except PackageNotFoundError:
        yield Finding(subject, Health.ABSENT, "no franky here", "on the robot PC: make setup PURPOSES=robot")
        return
    spoken = protocol_of(version)
    if spoken is None:
        seen = f"which robots {version} speaks to is unknown" if version else "franky does not tell its version"
        yield Finding(subject, Health.UNKNOWN, seen, "the robot refuses one that does not fit it: docs/how-to/panda.md")
    elif cell is not None and spoken.model != cell.arm.model:
        seen = f"{version} speaks to {spoken.robot}; arm.model is {cell.arm.model}"
        yield Finding(subject, Health.MISSING, seen, remedy(cell.arm.model))
    else:
        yield Finding(subject, Health.READY, f"{version}, for {spoken.robot}")


def limits(cell: Cell | None) -> Iterator[Finding]:
    """The limits that follow from the arm's own and the cell's, and whether it may be at home within them."""
    if cell is None:
        return
    odd = [*implausible(cell)]
    for problem in odd:
        yield Finding("cell file", Health.MISSING, problem, "what each key means: vga cell explain KEY")
    problems = limit_problems(cell)
    for problem in problems:
        yield Finding("arm limits", Health.MISSING, problem, f"values that fit: {_EXAMPLES[cell.arm.model]}")
    if problems or odd:
        return
    yield Finding("arm limits", Health.READY, _limits_in_words(cell))
    for problem in self_collision.problems(cell):
        seen, _, remedy_here = problem.rpartition(": ")
        yield Finding("self-collision", Health.MISSING, seen, remedy_here)


def driven(cell: Cell | None, look: Callable[[], dict[str, Any] | None] | None = None) -> Iterator[Finding]:
    """Brakes, user stop and hand, from a running driver: reading them from the robot would take the robot from it.

    look: gives the driver's state, where it is not to be asked for.
    """
    if cell is None:
        return
    state = driver_state() if look is None else look()
    yield _brakes(cell, state)
    if state is not None:
        yield _hand(state["hand"])
        yield from _policy(state.get("policy"))
        if state["settings"]:
            remedy_here = "restart the driver; if it stays, install the pinned franky: make setup PURPOSES=robot"
            yield Finding("driver's settings", Health.MISSING, state["settings"], remedy_here)


def _brakes(cell: Cell, state: dict[str, Any] | None) -> Finding:
    subject = "brakes, user stop"
    if state is None or not state["connected"]:
        seen = "only a connected driver can tell" if state is None else "the driver is not connected to the robot"
        remedy = "it runs with: vga sim" if is_simulated(cell) else f"look in Desk: https://{cell.arm.ip}"
        return Finding(subject, Health.UNKNOWN, seen, remedy)
    mode = state["robot_mode"]
    seen = f"robot mode {mode}; driver in {state['mode']}" + (f" ({state['reason']})" if state["reason"] else "")
    remedy = _REMEDIES.get(mode, "")
    return Finding(subject, Health.MISSING if remedy else Health.READY, seen, remedy)


def _hand(hand: dict[str, Any] | None) -> Finding:
    if hand is None:
        return Finding("hand", Health.UNKNOWN, "the driver sent no diagnostics meanwhile", "try again")
    if hand["obeys"]:
        return Finding("hand", Health.READY, hand["message"])
    return Finding("hand", Health.MISSING, hand["message"], HOME_THE_HAND if hand["connected"] else CONNECT_THE_HAND)


def _policy(policy: dict[str, Any] | None) -> Iterator[Finding]:
    if policy is None:
        return
    if policy["healthy"]:
        yield Finding("policy", Health.READY, "healthy")
    else:
        yield Finding(
            "policy", Health.UNKNOWN, f"not healthy: {policy['reason']}", "if that stays, see to what it names"
        )


def driver_state(namespace: str = "") -> dict[str, Any] | None:
    """The state a running franka_driver last published; None without one. Asked in a process of its own, which ends.

    `hand`: what it says of the hand, None where that did not come. `settings`: those the robot did not take, in words.
    Where they came: `cell`, the path of its cell file; `policy`, how the policy does.
    """
    command = [sys.executable, "-m", "vga_bringup.nodes.driver_probe", namespace]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=4.3)
    except subprocess.TimeoutExpired:
        return None
    return json.loads(answer.stdout) if answer.returncode == 0 and answer.stdout.strip() else None


def _connect(ip: str, port: int) -> OSError | None:
    """Opens and closes a TCP connection; the reason if that fails."""
    try:
        socket.create_connection((ip, port), timeout=TIMEOUT).close()
    except OSError as error:
        return error
    return None


def _limits_in_words(cell: Cell) -> str:
    """What a motion may do, joint after joint."""
    own, limits, share = cell.arm.own, Limits(cell), cell.arm.limits.share
    ends = "" if own.offset is None else f", near an end {share:g} of what the arm takes there"
    return (
        f"{own.title}; from {_figures(limits.lower)} to {_figures(limits.upper)} rad; "
        f"{_figures(limits.velocity)} rad/s{ends}; {_figures(limits.acceleration)} rad/s²; franky plans with "
        f"{_figures(limits.tracker_acceleration)} rad/s² and {_figures(limits.tracker_jerk)} rad/s³"
    )


def _figures(values: Iterable[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _reason(error: OSError) -> str:
    return "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
