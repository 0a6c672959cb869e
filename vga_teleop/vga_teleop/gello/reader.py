"""Reads the leader as long as it takes: opens the port, reads at the cell's rate, and begins anew when it is lost."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from vga_policy.cadence import Cadence
from vga_policy.cell.schema import Cell, Leader

from vga_teleop.gello.bus import Bus, ReadError
from vga_teleop.gello.joints import Conversion, LeaderPose
from vga_teleop.gello.port import PortError, is_simulated

RETRY = 0.2  # s between attempts to open the port
FAILURES = 3  # readings in a row that failed until it is asked who does not answer
ASK_AGAIN = 1.0  # s between two such questions
FORGET = 0.2  # s without a reading after which the servos may have been without power


@dataclass(frozen=True)
class Sample:
    """The leader's pose. read_ns: system time of the read; nothing in the pose is older."""

    read_ns: int
    pose: LeaderPose


@dataclass(frozen=True)
class LeaderReport:
    """How reading goes. problem: why nothing is read, empty while all is well.

    Since the last report: rate_hz; jitter, the standard deviation of the intervals, s; worst_gap, s; read_time, what a
    reading takes on average, s. Since the start: samples, reconnects, errors by kind.
    """

    problem: str
    rate_hz: float
    jitter: float
    worst_gap: float
    read_time: float
    samples: int
    reconnects: int
    errors: dict[str, int]


class LeaderReader:
    """A thread that reads the leader of a cell.

    on_sample: called with every reading, and with nothing but readings. on_problem: called with every change of what is
    wrong, "" when reading goes on. Both in the thread.
    """

    def __init__(
        self,
        cell: Cell,
        leader: Leader,
        on_sample: Callable[[Sample], None],
        on_problem: Callable[[str], None],
    ) -> None:
        self._leader = leader
        self._conversion = Conversion(cell, leader)
        self._on_sample, self._on_problem = on_sample, on_problem
        self._lock = threading.Lock()  # guards the figures
        self._problem = "not connected yet"
        self._intervals: list[float] = []
        self._last = time.monotonic()
        self._read_times: list[float] = []
        self._samples = self._connections = 0
        self._errors: Counter[str] = Counter()
        self._reported = time.monotonic()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)

    def start(self) -> None:
        """Starts reading."""
        self._thread.start()

    @property
    def failed(self) -> bool:
        """Whether the thread ended by a mistake of ours. It has left a trace on stderr then."""
        return not self._thread.is_alive() and not self._closing.is_set()

    def close(self) -> None:
        """Ends the thread and frees the port."""
        self._closing.set()
        self._thread.join()

    def report(self) -> LeaderReport:
        """Figures since the last report."""
        now = time.monotonic()
        with self._lock:
            intervals = np.array(self._intervals)
            report = LeaderReport(
                problem=self._problem,
                rate_hz=len(intervals) / max(now - self._reported, 1e-9),
                jitter=float(intervals.std()) if len(intervals) else 0.0,
                worst_gap=float(max(intervals.max(initial=0.0), now - self._last)),
                read_time=float(np.mean(self._read_times)) if self._read_times else 0.0,
                samples=self._samples,
                reconnects=max(self._connections - 1, 0),
                errors=dict(self._errors),
            )
            self._intervals, self._read_times, self._reported = [], [], now
        return report

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with Bus(self._leader) as bus:
                    self._connections += 1
                    self._conversion.reset()
                    self._serve(bus)
            except PortError as error:
                with self._lock:
                    self._errors["port"] += 1
                self._say(str(error))
            self._closing.wait(RETRY)

    def _serve(self, bus: Bus) -> None:
        """Reads until the port is lost or we close."""
        cadence = Cadence(self._leader.rate_hz)
        failures, ask_at = 0, 0.0
        while not self._closing.is_set():
            cadence.wait()
            try:
                reading = bus.read()
            except ReadError as error:
                failures += 1
                with self._lock:
                    self._errors[error.kind] += 1
                now = time.monotonic()
                if now - self._last > FORGET:
                    self._conversion.reset()
                if failures >= FAILURES and now >= ask_at:
                    self._say(self._diagnosis(bus, error))
                    ask_at = time.monotonic() + ASK_AGAIN
                continue
            failures = 0
            self._take(reading.began, time.monotonic())
            self._on_sample(Sample(reading.began_ns, self._conversion(reading.ticks)))
            self._say("")

    def _take(self, began: float, ended: float) -> None:
        with self._lock:
            self._samples += 1
            self._intervals.append(began - self._last)
            self._last = began
            self._read_times.append(ended - began)

    def _diagnosis(self, bus: Bus, error: ReadError) -> str:
        """What is wrong, in words: who does not answer, if that is it."""
        try:
            silent = bus.silent()
        except ReadError:
            silent = []
        if not silent:
            return str(error)
        everybody = len(silent) == len(self._leader.ids)
        who = "no servo answers" if everybody else f"servo {', '.join(map(str, silent))} does not answer"
        if is_simulated(self._leader.port):
            return f"{who}: sim_leader hangs, or this computer has too much to do"
        if everybody:
            return f"{who}: is the leader powered, and leader.baudrate right? `vga gello ping` looks"
        return f"{who}: check its cable and power"

    def _say(self, problem: str) -> None:
        with self._lock:
            changed, self._problem = problem != self._problem, problem
        if changed:
            self._on_problem(problem)
