"""The running node graph, as a recording session sees it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from threading import Event
from typing import ClassVar

from sensor_msgs.msg import JointState
from vga_policy.message_constants import Mode
from vga_policy.names import TASK_NAMES
from vga_policy.ros import topics
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.newest import Newest
from vga_policy.ros.client.recorder import RecorderClient
from vga_policy.ros.client.scene import SceneClient
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError, RefusedError

from vga_msgs.msg import RobotReference
from vga_teleop.session.workflow import Refused, Scene, SessionEnded, Sight, Trial, Verdict

DISCOVERED_WITHIN = 2.0  # s until what runs beside the nodes needed must have been found
SEEN_WITHIN = 3.0  # s until a node's state shows what its service has confirmed


class Attended(Event):
    """Is set when `stop` is. `meanwhile` is done whenever somebody looks whether it is: about ten times a second."""

    def __init__(self, stop: Event, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._stop, self._meanwhile = stop, meanwhile

    def is_set(self) -> bool:
        """Whether `stop` is set."""
        self._meanwhile()
        return self._stop.is_set()


class GraphCell:
    """A workflow's cell: the clients' answers in its words. For one task.

    stop: when set, every request raises SessionEnded, apart from leave(). homing_speed: share of the cell's speed; 0:
    its homing speed.

    needed: by topic, who publishes it. remedy: what starts them. meanwhile: done again and again while the arm moves by
    itself, so that somebody is heard who wants it to stop.
    """

    needed: ClassVar[Mapping[str, str]] = {
        topics.DRIVER_STATE: "the driver (franka_driver)",
        topics.RECORDER_STATE: "the recorder",
        topics.GELLO_JOINT_STATES: "the leader (gello_node)",
    }
    remedy = "record.launch.py, or all of it simulated with `vga sim --policy false --teleop true --record true`"

    def __init__(self, session: Session, task: str, operator_name: str, stop: Event, homing_speed: float = 0.0) -> None:
        self._session = session
        self._task = task
        self._operator_name = operator_name
        self._stop = stop
        self._homing_speed = homing_speed
        self._leaving = False
        self.meanwhile: Callable[[], object] = lambda: None
        self._driver, self._recorder, self._scene = DriverClient(session), RecorderClient(session), SceneClient(session)
        self._followed: tuple[Newest, Newest] | None = None  # leader and reference: how far the leader is from the arm

    # What there is.

    def wait_until_complete(self, seconds: float) -> None:
        """Raises GraphError naming what is missing after `seconds`."""
        if not self._session.spin_until(lambda: self._stop.is_set() or not self._missing(), seconds):
            raise GraphError(f"missing: {', '.join(self._missing())}; start them with {self.remedy}; see `vga doctor`")

    def refuse_unknown_task(self) -> None:
        """Raises Refused where a simulated cell draws and judges the scenes, and does not know the task."""
        if self._task not in TASK_NAMES and self._simulated:
            self.arrange(0)

    @property
    def scripted(self) -> bool:
        """Whether nobody but a script moves the leader."""
        return self._simulated and self._session.spin_until(self._has_sim_leader, DISCOVERED_WITHIN)

    @property
    def directory(self) -> Path:
        """Where episodes go, on the recorder's host."""
        return self._recorder.directory

    def record_into(self, directory: Path) -> None:
        """Has the recorder write into `directory`, of its own host. Raises GraphError when it refuses."""
        self._recorder.record_into(directory)

    def look(self, seconds: float) -> Sight:
        """The cell as it is after this time."""
        self._session.spin_until(self._stop.is_set, seconds)
        self._check()
        driver, recorder, trial = self._driver.state, self._recorder.state, self._scene.state
        return Sight(
            teleop=self._driver.mode is Mode.TELEOP,
            hold_reason=driver.hold_reason if driver is not None else "it is silent",
            needs_recovery=driver is not None and driver.needs_recovery,
            misalignment=self._misalignment(),
            recording=recorder is not None and recorder.recording,
            problem=recorder.problem if recorder is not None else "the recorder is silent",
            trial=Trial(trial.success, trial.failed, trial.detail) if trial and trial.task == self._task else None,
        )

    # What can be asked of it. Everything raises Refused with the reason.

    def hold(self) -> None:
        """Brings the arm to rest."""
        with self._refusals():
            self._driver.hold()
        self._until_mode(Mode.HOLD)
        self._until(self._at_rest, "the arm does not come to rest")

    def halt(self) -> None:
        """Stops the arm at once; what that means for the session, the driver's state says."""
        with self._refusals():
            self._driver.stop()

    def recover(self) -> None:
        """Clears a reflex, or rebuilds the connection to the arm."""
        with self._refusals("recover: "):
            self._driver.recover(Attended(self._stop, self.meanwhile))

    def held(self) -> float:
        """Opening (m) around what the hand holds; 0: nothing."""
        with self._refusals():
            return self._driver.held()

    def open(self) -> None:
        """Opens the hand all the way: what it holds falls."""
        with self._refusals("the hand is not opened: "):
            self._driver.open()

    def home(self, position: Sequence[float] = ()) -> None:
        """Moves the arm to these joint angles (rad), or home; the hand keeps still."""
        with self._refusals("home: "):
            self._driver.home(position, self._homing_speed, Attended(self._stop, self.meanwhile))

    def arrange(self, seed: int) -> Scene | None:
        """Sets the scene drawn from `seed`. None where no simulated cell does so."""
        if not self._scene.offered:
            return None
        with self._refusals():
            arranged = self._scene.arrange(self._task, seed)
        return Scene(arranged.instruction, arranged.arm_start)

    def position(self) -> tuple[float, ...]:
        """Where the arm is asked to be, rad."""
        _, reference = self._follow()
        self._until(lambda: reference.message is not None, "the driver publishes no reference")
        return tuple(reference.message.position)

    def teleoperate(self) -> None:
        """Lets the arm follow the leader."""
        self._follow()
        with self._refusals():
            self._driver.teleop()
        self._until_mode(Mode.TELEOP)

    def start(self, instruction: str) -> Path:
        """Starts an episode; its directory."""
        self._unfollow()
        with self._refusals():
            path = self._recorder.start(self._task, instruction, self._operator_name)
        self._until(lambda: self._records(path), "the recorder does not record")
        return path

    def stop(self, verdict: Verdict) -> str:
        """Ends the episode, or labels the one that ended without a label. Returns what is wrong with it otherwise.

        The arm is brought to rest while a slow disk is waited for.
        """

        def rest() -> None:
            with suppress(Refused):
                self.hold()

        with self._refusals():
            return self._recorder.stop(verdict.outcome or "", verdict.note, rest)

    def discard(self, path: Path) -> None:
        """Labels the episode in this directory discarded, which the recorder must hold for the last one."""
        state = self._recorder.state
        if state is None or Path(state.path) != path:
            remedy = f"vga curate {path.parent} --reject {path.name}"
            raise Refused(f"it is not the recorder's last; leave it out of training with {remedy}")
        with self._refusals():
            self._recorder.discard()

    def leave(self) -> None:
        """Ends an episode that still runs, without a label, and brings the arm to rest; also after Ctrl-C."""
        self._leaving = True
        self._unfollow()
        state = self._recorder.state
        if state is not None and state.recording:
            with suppress(Refused):
                self.stop(Verdict(None, "the session was ended"))
        with suppress(Refused):
            self.hold()

    # How.

    @cached_property
    def _simulated(self) -> bool:
        return self._session.spin_until(lambda: self._scene.offered, DISCOVERED_WITHIN)

    def _has_sim_leader(self) -> bool:
        node = self._session.node
        return (topics.SIM_LEADER, node.get_namespace()) in node.get_node_names_and_namespaces()

    def _check(self) -> None:
        if self._stop.is_set() and not self._leaving:
            raise SessionEnded

    @contextmanager
    def _refusals(self, before: str = "") -> Iterator[None]:
        """Raises Refused for GraphError. before: put before the reason of a node that refuses."""
        self._check()
        try:
            yield
        except GraphError as error:
            self._check()
            raise Refused(before + error.reason if isinstance(error, RefusedError) else str(error)) from None
        self._check()

    def _until(self, condition: Callable[[], bool], otherwise: str) -> None:
        with self._refusals():
            if not self._session.spin_until(condition, SEEN_WITHIN):
                raise Refused(otherwise)

    def _until_mode(self, mode: Mode) -> None:
        self._until(lambda: self._driver.mode is mode, "the driver's state does not show its mode")

    def _at_rest(self) -> bool:
        state = self._driver.state
        return state is not None and state.at_rest

    def _records(self, path: Path) -> bool:
        state = self._recorder.state
        return state is not None and state.recording and Path(state.path) == path

    def _missing(self) -> list[str]:
        missing = [who for topic, who in self.needed.items() if not self._session.node.count_publishers(topic)]
        state = self._driver.state
        if not missing and (state is None or not state.connected):
            missing.append("the driver's connection to the robot")
        return missing

    def _follow(self) -> tuple[Newest, Newest]:
        """Listens to leader and reference, at a hundred messages a second each: only while it matters."""
        self._unfollow()
        leader = Newest(self._session, JointState, topics.GELLO_JOINT_STATES)
        self._followed = leader, Newest(self._session, RobotReference, topics.DRIVER_REFERENCE)
        return self._followed

    def _unfollow(self) -> None:
        for newest in self._followed or ():
            newest.close()
        self._followed = None

    def _misalignment(self) -> float:
        """Largest distance (rad) of a joint of the leader from the arm's reference; inf while either is unknown."""
        if self._followed is None:
            return math.inf
        leader, reference = (newest.message for newest in self._followed)
        if leader is None or reference is None:
            return math.inf
        angles = dict(zip(leader.name, leader.position, strict=True))
        pairs = zip(reference.joint_names, reference.position, strict=True)
        return max(abs(angles.get(name, math.inf) - angle) for name, angle in pairs)
