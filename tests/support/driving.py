"""What tests of the whole driver need: somebody who listens, somebody who commands."""

from __future__ import annotations

import contextlib
import threading
import time

import numpy as np
from vga_bringup.robot.driver import FrankaDriver
from vga_bringup.robot.types import ChunkRequest

from support.waiting import eventually

AMPLITUDE = np.array([0.3, 0.2, 0.3, 0.2, 0.3, 0.2, 0.3])  # rad, peak to peak
GOALS = (bytes([n]) * 16 for n in range(1, 255))


class Log:
    """A listener that keeps everything, with the time it came."""

    def __init__(self):
        self.ticks = []
        self.states = []

    def on_tick(self, tick):
        self.ticks.append((time.monotonic(), tick))

    def on_state(self, state):
        self.states.append((time.monotonic(), state))

    def since(self, start):
        """Times [N], measured and reference positions [N, 7] of the ticks since `start`."""
        ticks = [(t, tick) for t, tick in list(self.ticks) if t >= start]
        return (
            np.array([t for t, _ in ticks]),
            np.array([tick.arm.q for _, tick in ticks]),
            np.array([tick.reference.q for _, tick in ticks]),
        )

    def real_time_factor(self, start, end):
        """How much of real time the robot's clock kept between two times; a busy machine slows a simulator down."""
        clock = [(t, tick.arm.time_ms * 1e-3) for t, tick in list(self.ticks) if start <= t <= end]
        (t0, robot0), (t1, robot1) = clock[0], clock[-1]
        return (robot1 - robot0) / (t1 - t0)

    def speed_after(self, start):
        """Largest measured joint speed at each tick since `start`: times, rad/s."""
        ticks = [(t, tick) for t, tick in list(self.ticks) if t >= start]
        return np.array([t for t, _ in ticks]), np.array([np.max(np.abs(tick.arm.dq)) for _, tick in ticks])


@contextlib.contextmanager
def driving(cell, **factories):
    """A started driver and its log; connected."""
    log = Log()
    driver = FrankaDriver(cell, log, **factories)
    driver.start()
    try:
        eventually(lambda: driver.state.connected, "a connection", 10.0)
        yield driver, log
    finally:
        driver.close()


class Policy:
    """Commands a sine around home: 20 heartbeats and 10 chunks a second, from a thread, until `end`."""

    def __init__(self, driver, cell, goal=None, frequency=0.5):
        self.goal = goal or next(GOALS)
        self.verdicts = []
        self.started = time.monotonic()
        self._driver = driver
        self._cell = cell
        self._frequency = frequency
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def reference(self, t):
        """The sine at `t` (s, monotonic)."""
        phase = 2 * np.pi * self._frequency * (np.asarray(t)[..., None] - self.started)
        return np.array(self._cell.arm.home) + AMPLITUDE * (1 - np.cos(phase)) / 2

    def chunk(self, sequence, goal=None):
        """A chunk observed 80 ms ago."""
        t_obs, times = time.monotonic() - 0.08, 0.1 * np.arange(1, 9)
        return ChunkRequest(
            t_obs,
            goal or self.goal,
            sequence,
            self._cell.arm.joint_names,
            self.reference(t_obs + times).tolist(),
            times.tolist(),
            [0.08] * 8,
        )

    def kill(self):
        """No word more, as after kill -9; the time of death."""
        self._ended.set()
        self._thread.join()
        return time.monotonic()

    def end(self):
        """Ends the goal properly."""
        self.kill()
        self._driver.heartbeat(None, True, "")
        return time.monotonic()

    def _run(self):
        for count in range(10_000):
            self._driver.heartbeat(self.goal, True, "")
            if count % 2 == 0:
                self.verdicts.append(self._driver.submit(self.chunk(count // 2 + 1)))
            if self._ended.wait(max(0.0, self.started + 0.05 * (count + 1) - time.monotonic())):
                return
