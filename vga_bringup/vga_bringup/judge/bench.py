"""The driver under judgement: our FrankaDriver in this process, moved through its public methods only."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.schema import Cell
from vga_policy.message_constants import Mode

from vga_bringup.judge.motions import ChunkSource, Curve, steps
from vga_bringup.judge.robot.process import JudgeError
from vga_bringup.robot.arm import RobotFactory
from vga_bringup.robot.driver import FrankaDriver
from vga_bringup.robot.motion.teleoperation import LeaderSample
from vga_bringup.robot.reports import DriverState, Tick
from vga_bringup.robot.safety.modes import ModeRefusedError
from vga_bringup.robot.types import ChunkRequest, Verdict

Vector = NDArray[np.float64]
Ending = Literal["hold", "stop", "silence"]

CONNECT_TIMEOUT = 20.0  # s
REST_TIMEOUT = 5.0  # s for the arm to come to rest and be let go
JOB_TIMEOUT = 30.0  # s for homing and recovery
HOMING_ATTEMPTS = 5
BEAT = 0.05  # s between the policy's heartbeats
POLL = 0.005  # s
LAG = (0.02, 0.11)  # s from a chunk's observation to its arrival


class NoHand:
    """The judging robot has none."""

    def __init__(self, _address: str) -> None:
        raise OSError("the judging robot has no hand")


@dataclass
class Notes:
    """What a scenario did. verdicts: on its chunks, by reason, "" for accepted. faults: that the robot stopped for.

    remarks: why the driver held otherwise, and what it refused.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def remark(self, text: str) -> None:
        """Each once."""
        if text not in self.remarks:
            self.remarks.append(text)


class Watcher:
    """The driver's listener: its newest tick, its faults, and a way to hold its loop up."""

    def __init__(self) -> None:
        self.tick: Tick | None = None
        self.at = 0.0  # when that tick came, s
        self.notes = Notes()
        self._hold_up = 0.0

    def hold_up(self, seconds: float) -> None:
        """Keeps the control loop from going on for a while, once."""
        self._hold_up = seconds

    def on_tick(self, tick: Tick) -> None:
        """See Listener."""
        self.tick, self.at = tick, time.monotonic()
        pause, self._hold_up = self._hold_up, 0.0
        if pause:
            time.sleep(pause)

    def on_state(self, state: DriverState) -> None:
        """See Listener."""
        if state.needs_recovery and self.notes.faults[-1:] != [state.hold_reason]:
            self.notes.faults.append(state.hold_reason)
        elif state.hold_reason and not state.needs_recovery:
            self.notes.remark(state.hold_reason)


class Bench:
    """A connected driver and what scenarios do with it. A context manager.

    amount: share of a scenario's full length. rng: of the scenario under way.
    """

    def __init__(self, cell: Cell, robot_factory: RobotFactory, amount: float) -> None:
        self.cell = cell
        self.home_posture = np.array(cell.arm.home)
        self.rng = np.random.default_rng(0)
        self._amount = amount
        self._watcher = Watcher()
        self._driver = FrankaDriver(cell, self._watcher, robot_factory=robot_factory, hand_factory=NoHand)
        self._sequence = 0
        self._newest_t_obs = -np.inf
        self._goals = 0

    def __enter__(self) -> Bench:
        self._driver.start()
        if not self._wait(lambda: self._driver.state.connected, CONNECT_TIMEOUT):
            self._driver.close()
            raise JudgeError(f"the driver did not connect: {self._driver.state.hold_reason}")
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.close()

    def begin(self, rng: np.random.Generator) -> Notes:
        """A new scenario begins; the notes that it fills."""
        self.rng = rng
        self._watcher.notes = Notes()
        return self._watcher.notes

    def times(self, count: int) -> range:
        """That often in a run of full length."""
        return range(max(1, round(count * self._amount)))

    def seconds(self, length: float) -> float:
        """So long in a run of full length."""
        return length * self._amount

    @property
    def faulty(self) -> bool:
        """Whether the robot has stopped by itself."""
        return self._driver.state.needs_recovery

    def reference(self) -> tuple[Vector, Vector]:
        """What the arm is asked to do now, rad and rad/s: by the newest tick."""
        tick = self._watcher.tick
        assert tick is not None  # connected
        age = time.monotonic() - self._watcher.at
        return tick.reference.q + age * tick.reference.dq, tick.reference.dq

    def ready(self) -> bool:
        """Brings the arm to rest in HOLD, recovered."""
        self._driver.set_mode(Mode.HOLD)
        self._wait(self._rests, REST_TIMEOUT)
        if self.faulty:
            job = self._driver.recover()
            job.wait(JOB_TIMEOUT)
            if not job.success:
                self._watcher.notes.remark(f"not recovered: {job.message}")
                return False
        return self._wait(self._rests, REST_TIMEOUT)

    def home(self, posture: Vector | None = None, speed: float = 1.0, stop_after: float | None = None) -> bool:
        """Goes home or to `posture`; whether it arrived. stop_after: s after which it is stopped on the way.

        A robot that stops by itself on the way is recovered and sent again, some times.
        """
        for _ in range(HOMING_ATTEMPTS):
            if self._home(posture, speed, stop_after):
                return True
            if stop_after is not None or not self.faulty:
                return False
        return False

    def _home(self, posture: Vector | None, speed: float, stop_after: float | None) -> bool:
        self.ready()
        job = self._driver.home(speed, [] if posture is None else posture.tolist())
        if stop_after is not None:
            time.sleep(stop_after)
            self._driver.stop()
        job.wait(JOB_TIMEOUT)
        if not job.success and stop_after is None:
            self._watcher.notes.remark(job.message)
        self._wait(self._rests, REST_TIMEOUT)
        return job.success

    def hold_up(self, seconds: float) -> None:
        """Holds the driver's control loop up."""
        self._watcher.hold_up(seconds)

    def start_homing(self, posture: Vector) -> Callable[[], None]:
        """Begins to go to `posture` at full speed; what to call to wait for the end."""
        self.ready()
        job = self._driver.home(1.0, posture.tolist())

        def wait() -> None:
            job.wait(JOB_TIMEOUT)
            self._wait(self._rests, REST_TIMEOUT)

        return wait

    @contextlib.contextmanager
    def policy(self, ending: Ending = "hold", rest: bool = True) -> Iterator[bytes | None]:
        """POLICY with a live goal (None when refused); at the end HOLD is set, or a stop, or heartbeats end.

        rest: whether to wait for the arm to come to rest, before and after.
        """
        if rest:
            self.ready()
        try:
            self._driver.set_mode(Mode.POLICY)
        except ModeRefusedError as error:
            self._watcher.notes.remark(str(error))
            yield None
            return
        self._goals += 1
        goal = self._goals.to_bytes(16, "big")
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(BEAT):
                self._driver.heartbeat(goal, True, "")

        self._driver.heartbeat(goal, True, "")
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield goal
        finally:
            if ending == "stop":
                self._driver.stop()
            elif ending == "hold":
                self._driver.set_mode(Mode.HOLD)
            ended.set()
            thread.join()
            if rest:
                self._wait(self._rests, REST_TIMEOUT)

    def submit(self, goal: bytes, t_obs: float, joints: Vector) -> Verdict:
        """Offers one chunk [H, 7]."""
        self._sequence += 1
        horizon, width = self.cell.action.horizon, self.cell.gripper.max_width
        due = (self.cell.dt * np.arange(1, horizon + 1)).tolist()
        request = ChunkRequest(
            t_obs, goal, self._sequence, self.cell.arm.joint_names, joints.tolist(), due, [width] * horizon
        )
        verdict = self._driver.submit(request)
        self._watcher.notes.verdicts[verdict.reason] += 1
        return verdict

    def follow(self, curve: Curve, seconds: float, ending: Ending = "hold") -> None:
        """Receding chunks along `curve`, which starts from rest at its beginning."""
        steps_ahead = self.cell.dt * np.arange(1, self.cell.action.horizon + 1)
        with self.policy(ending) as goal:
            if goal is None:
                return
            began = time.monotonic()
            for now in self._periods(began + seconds):
                t_obs = now - LAG[1]
                self.submit(goal, t_obs, np.array([curve(t) for t in t_obs - began + steps_ahead]))

    def recede(self, source: ChunkSource, seconds: float, accepted: int = 2**31) -> int:
        """Receding chunks of `source` for so long, or until so many were accepted; how many were."""
        count, refused = 0, 0
        with self.policy() as goal:
            if goal is None:
                return 0
            for now in self._periods(time.monotonic() + seconds):
                lag = min(self.rng.uniform(*LAG), now - self._newest_t_obs - 1e-3)
                q, dq = self.reference()
                taken = any(self.submit(goal, now - lag, joints).accepted for joints in source.tries(q, dq, lag))
                self._newest_t_obs = now - lag
                count, refused = count + taken, 0 if taken else refused + 1
                if count >= accepted or refused >= 5:
                    break
        return count

    def swing(self, goal: bytes, wanted: Vector, chunks: int) -> None:
        """A few chunks from the present motion on that head for the joint speeds `wanted` (rad/s)."""
        acceleration = 0.4 * np.array(self.cell.arm.limits.acceleration)
        for _ in range(chunks):
            q, dq = self.reference()
            self.submit(goal, time.monotonic() - LAG[0], steps(self.cell, q, dq, wanted, acceleration, LAG[0]))
            time.sleep(self.cell.dt * 0.8)

    def teleoperate(self, curve: Curve, seconds: float, rate: float = 100.0) -> None:
        """The leader moves along `curve`, which begins at the arm's home; the arm follows it."""
        names = self.cell.joint_state_names
        ended = threading.Event()
        began = [np.inf]

        def lead() -> None:
            while not ended.wait(1 / rate):
                now = time.monotonic()
                self._driver.leader(LeaderSample(now, names, [*curve(now - began[0]), 0.04]))

        thread = threading.Thread(target=lead, daemon=True)
        thread.start()
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                began[0] = np.inf  # the leader waits at the beginning
                if not self.home() or not self._teleop():
                    return
                began[0] = time.monotonic()
                self._wait(lambda: self.faulty or self._driver.state.mode is not Mode.TELEOP, end - began[0])
            self._driver.set_mode(Mode.HOLD)
            self._wait(self._rests, REST_TIMEOUT)
        finally:
            ended.set()
            thread.join()

    def pause(self, seconds: float) -> None:
        """Lets time pass."""
        time.sleep(seconds)

    def _teleop(self) -> bool:
        try:
            self._driver.set_mode(Mode.TELEOP)
        except ModeRefusedError as error:
            self._watcher.notes.remark(str(error))
            return False
        return True

    def _periods(self, end: float) -> Iterator[float]:
        """The instants of a policy's steps until `end` or a fault."""
        due = time.monotonic()
        while (now := time.monotonic()) < end and not self.faulty:
            yield now
            due = max(due + self.cell.dt, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def _rests(self) -> bool:
        state = self._driver.state
        return state.needs_recovery or (state.at_rest and state.robot_mode == "idle")

    def _wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(POLL)
        return True
