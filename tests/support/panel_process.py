"""`vga panel` beside the simulated graph, and what the driver does while a page asks it."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from vga_bringup.graph.runner import Runner
from vga_bringup.graph.spec import sim_graph
from vga_policy.cell.loading import dump_cell, load_cell
from vga_policy.message_constants import Mode
from vga_policy.ros import topics
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.readiness import wait_until_steady
from vga_policy.ros.client.session import Session
from vga_policy.units import SECOND, nanoseconds

from support.waiting import eventually
from vga_msgs.msg import DriverState, RobotReference

INSTRUCTION = "pick up the red cube"
STARTS_WITHIN = 60.0  # s; a busy machine
STOPS_WITHIN = 0.42  # s that the driver takes from its top speed: 2.5 rad/s, at 6 rad/s^2
STILL = 1e-3  # rad/s


def free_port() -> int:
    """A TCP port of nobody."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def panel(*options: str, log: Path):
    """The process, and the first address that it prints, with its token if there is one."""
    command = [sys.executable, "-m", "vga_policy", "panel", "--port", str(free_port()), *options]
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            told = eventually(
                lambda: process.poll() is not None or [s for s in log.read_text().split() if s.startswith("http")],
                lambda: f"the panel starts: {log.read_text()}",
                STARTS_WITHIN,
            )
            assert told is not True, log.read_text()
            yield process, told[0]
        finally:
            process.terminate()


@contextmanager
def watched_graph(cell_file: Path, log: Path):
    """The whole simulated graph with the shipped policy, and a Watch of it."""
    graph = sim_graph(cell=str(half_rate(cell_file)), checkpoint="nano", task="pick_cube")
    try:
        with log.open("w") as output, Runner(graph, output), Session("watch") as session:
            watch = Watch(session)
            wait_until_steady(session, load_cell(cell_file), nodes=(topics.POLICY,), steady=0.5)
            yield watch
    finally:
        print(log.read_text())


def stopped_from(watch, page, turn):
    """Runs the task from the page and stops it in motion, by mouse or by Escape in turn: `Watch.held_after`."""
    page.evaluate("addEventListener('pointerdown', () => { window.pressed = Date.now() }, true)")
    page.evaluate("addEventListener('keydown', () => { window.pressed = Date.now() }, true)")
    watch.run_from(page)
    watch.forget()
    page.press("Escape") if turn % 2 else page.click("#stop")
    watch.until(watch.rests, "rest in HOLD")
    clicked = page.evaluate("window.pressed") / 1e3
    page.until("document.querySelector('.mode')?.innerText === 'HOLD'", "the mode")
    page.until("!document.querySelector('.running')", "the end of the task")
    held, rest = watch.held_after(clicked)
    print(f"HOLD {1e3 * held:.0f} ms after the click, at rest {1e3 * rest:.0f} ms later")
    return held, rest


def half_rate(file: Path) -> Path:
    """The cell in `file` with cameras at half their rate, 6 Hz: a browser beside a simulated cell fills two cores."""
    cell = load_cell(file)
    cameras = [
        camera.model_copy(update={"color": camera.color.model_copy(update={"fps": 6})}) for camera in cell.cameras
    ]
    inputs = cell.inputs.model_copy(update={"max_image_age": 0.5, "max_image_skew": 0.3})  # a few periods, and two
    file.write_text(dump_cell(cell.model_copy(update={"cameras": cameras, "inputs": inputs})))
    return file


class Watch:
    """The driver as topics tell."""

    def __init__(self, session):
        self.session, self.driver = session, DriverClient(session)
        self.states, self.references = [], []
        session.node.create_subscription(DriverState, topics.DRIVER_STATE, self.states.append, 100)
        session.node.create_subscription(RobotReference, topics.DRIVER_REFERENCE, self.references.append, 1000)

    def until(self, condition, what, seconds=30.0):
        assert self.session.spin_until(condition, seconds), f"{what} did not come within {seconds} s"

    def forget(self):
        """Lets only what comes from now on count."""
        self.session.spin_until(lambda: False, 0.2)
        self.states.clear()
        self.references.clear()

    def run_from(self, page):
        """Runs the task from the page, until the arm moves by it; on a busy machine it may be stopped at first."""
        for _ in range(3):
            page.until("!document.querySelector('.run').disabled", "a page that can run")
            self.forget()
            page.click("button", "Run")
            if self.session.spin_until(self.moves, 5.0):
                return
        raise AssertionError(f"no task moved the arm: {page.text('.events')}")

    def moves(self):
        """Whether the arm moves by the policy."""
        newest = self.references[-1] if self.references else None
        return newest is not None and newest.mode == Mode.POLICY and np.abs(newest.velocity).max() > 0.05

    def rests(self):
        """Whether the arm is at rest in HOLD."""
        if not self.states or not self.references:
            return False
        state, reference = self.states[-1], self.references[-1]
        still = reference.mode == Mode.HOLD and np.abs(reference.velocity).max() < STILL
        return state.mode == Mode.HOLD and state.at_rest and still

    def held_after(self, clicked):
        """s from a time (s) to the first state in HOLD, and from that to the end of the motion."""
        held = next(r for r in self.references if seconds(r) > clicked and r.mode == Mode.HOLD)
        rest = next(r for r in self.references if seconds(r) >= seconds(held) and np.abs(r.velocity).max() < STILL)
        state = next(s for s in self.states if seconds(s) > clicked and s.mode == Mode.HOLD)
        return seconds(state) - clicked, seconds(rest) - seconds(held)


def seconds(message):
    return nanoseconds(message.header.stamp) / SECOND
