"""The running node graph, as a recording session sees it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from vga_policy.ros import topics
from vga_policy.ros.client.hand import Hand
from vga_policy.ros.client.session import Session
from vga_policy.ros.errors import GraphError

from vga_msgs.action import Home, Recover
from vga_msgs.msg import DriverState, RecorderState, RobotReference, TaskState
from vga_msgs.srv import ArrangeScene, SetMode, StartEpisode, StopEpisode
from vga_teleop.session.workflow import Refused, Scene, SessionEnded, Sight, Trial, Verdict

SILENT_AFTER = 3.0  # s without a message of a node that publishes twice a second or oftener
SEEN_WITHIN = 3.0  # s until a node's state shows what its service has confirmed
ACTION_WITHIN = 60.0  # s
SWIFT = 1.0  # s in which a disk that is not busy has an episode
WRITTEN_WITHIN = 30.0  # s in which any disk has

NEEDED = {  # topic: who publishes it
    topics.DRIVER_STATE: "the driver (franka_driver)",
    topics.RECORDER_STATE: "the recorder",
    topics.GELLO_JOINT_STATES: "the leader (gello_node)",
}


class GraphCell:
    """A workflow's cell, through topics, services and actions. For one task.

    stop: when set, every request raises SessionEnded, apart from leave(). homing_speed: share of the cell's speed; 0:
    its homing speed.
    """

    def __init__(self, session: Session, task: str, operator_name: str, stop: Event, homing_speed: float = 0.0) -> None:
        self._session = session
        self._task = task
        self._operator_name = operator_name
        self._stop = stop
        self._homing_speed = homing_speed
        self._leaving = False
        self._seen: dict[str, tuple[float, Any]] = {}  # topic: when its newest message came, and the message
        node = session.node
        for kind, topic in ((DriverState, topics.DRIVER_STATE), (RecorderState, topics.RECORDER_STATE)):
            node.create_subscription(kind, topic, self._noting(topic), topics.LATCHED)
        node.create_subscription(TaskState, topics.SIM_CELL_TASK_STATE, self._noting(topics.SIM_CELL_TASK_STATE), 1)
        self._set_mode = node.create_client(SetMode, topics.DRIVER_SET_MODE)
        self._arrange = node.create_client(ArrangeScene, topics.SIM_CELL_ARRANGE)
        self._start = node.create_client(StartEpisode, topics.RECORDER_START)
        self._stop_episode = node.create_client(StopEpisode, topics.RECORDER_STOP)
        self._discard = node.create_client(Trigger, topics.RECORDER_DISCARD)
        self._set_recorder = node.create_client(SetParameters, topics.RECORDER_SET_PARAMETERS)
        self._home = ActionClient(node, Home, topics.DRIVER_HOME)
        self._recover = ActionClient(node, Recover, topics.DRIVER_RECOVER)
        self._hand = Hand(session)
        self._followed: list[Any] = []  # subscriptions that tell how far the leader is from the arm

    # What there is.

    def wait_until_complete(self, seconds: float) -> None:
        """Raises GraphError naming what is missing after `seconds`."""
        if not self._session.spin_until(lambda: self._stop.is_set() or not self._missing(), seconds):
            raise GraphError(
                f"missing: {', '.join(self._missing())}; start them with record.launch.py, see `vga doctor`"
            )

    def record_into(self, directory: Path) -> None:
        """Has the recorder write into `directory`, of its own host. Raises GraphError when it refuses."""
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=str(directory.absolute()))
        request = SetParameters.Request(parameters=[Parameter(name="directory", value=value)])
        (result,) = self._session.call(self._set_recorder, request).results
        if not result.successful:
            raise GraphError(f"the recorder refuses the directory: {result.reason}")

    def look(self, seconds: float) -> Sight:
        """The cell as it is after this time."""
        self._session.spin_until(self._stop.is_set, seconds)
        self._check()
        driver, recorder = self._newest(topics.DRIVER_STATE), self._newest(topics.RECORDER_STATE)
        trial = self._newest(topics.SIM_CELL_TASK_STATE)
        return Sight(
            teleop=driver is not None and driver.mode == DriverState.TELEOP,
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
        self._mode(SetMode.Request.HOLD)
        self._until(lambda: self._shows(topics.DRIVER_STATE, "at_rest"), "the arm does not come to rest")

    def recover(self) -> None:
        """Clears a reflex, or rebuilds the connection to the arm."""
        self._act(self._recover, Recover.Goal(), "recover")

    def held(self) -> float:
        """Opening (m) around what the hand holds; 0: nothing."""
        with self._refusals():
            return self._hand.held()

    def open(self) -> None:
        """Opens the hand all the way: what it holds falls."""
        with self._refusals():
            self._hand.open()

    def home(self, position: Sequence[float] = ()) -> None:
        """Moves the arm to these joint angles (rad), or home; the hand keeps still."""
        self._act(self._home, Home.Goal(speed_scale=self._homing_speed, position=list(position)), "home")

    def arrange(self, seed: int) -> Scene | None:
        """Sets the scene drawn from `seed`. None where no simulated cell does so."""
        if not self._arrange.service_is_ready():
            return None
        response = self._ask(self._arrange, ArrangeScene.Request(task=self._task, seed=seed))
        return Scene(response.instruction, tuple(response.arm_start))

    def position(self) -> tuple[float, ...]:
        """Where the arm is asked to be, rad."""
        self._follow(True)
        self._until(lambda: self._newest(topics.DRIVER_REFERENCE) is not None, "the driver publishes no reference")
        return tuple(self._newest(topics.DRIVER_REFERENCE).position)

    def teleoperate(self) -> None:
        """Lets the arm follow the leader."""
        self._follow(True)
        self._mode(SetMode.Request.TELEOP)

    def start(self, instruction: str) -> Path:
        """Starts an episode; its directory."""
        self._follow(False)
        request = StartEpisode.Request(task=self._task, instruction=instruction, operator_name=self._operator_name)
        response = self._ask(self._start, request)
        path = response.path
        self._until(lambda: self._shows(topics.RECORDER_STATE, "recording", path=path), "the recorder does not record")
        return Path(path)

    def stop(self, verdict: Verdict) -> str:
        """Ends the episode, or labels the one that ended without a label. Returns what is wrong with it otherwise.

        The arm is brought to rest while a slow disk is waited for.
        """
        request = StopEpisode.Request(outcome=verdict.outcome or "", note=verdict.note)
        with self._refusals():
            if not self._session.spin_until(self._stop_episode.service_is_ready, SEEN_WITHIN):
                raise Refused("the recorder has gone: start it again")
            answer = self._stop_episode.call_async(request)
            if not self._session.spin_until(answer.done, SWIFT):
                with suppress(Refused):
                    self.hold()
            if not self._session.spin_until(answer.done, WRITTEN_WITHIN):
                raise Refused("the recorder does not answer")
        response = answer.result()
        if not response.path:
            raise Refused(response.message)
        return "" if response.success else str(response.message)

    def discard(self, path: Path) -> None:
        """Labels the episode in this directory discarded, which the recorder must hold for the last one."""
        if not self._shows(topics.RECORDER_STATE, path=str(path)):
            remedy = f"vga curate {path.parent} --reject {path.name}"
            raise Refused(f"it is not the recorder's last; leave it out of training with {remedy}")
        self._ask(self._discard, Trigger.Request())

    def leave(self) -> None:
        """Ends an episode that still runs, without a label, and brings the arm to rest; also after Ctrl-C."""
        self._leaving = True
        self._follow(False)
        if self._shows(topics.RECORDER_STATE, "recording"):
            with suppress(Refused):
                self.stop(Verdict(None, "the session was ended"))
        with suppress(Refused):
            self.hold()

    # How.

    def _check(self) -> None:
        if self._stop.is_set() and not self._leaving:
            raise SessionEnded

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        self._check()
        try:
            yield
        except GraphError as error:
            self._check()
            raise Refused(str(error)) from None
        self._check()

    def _ask(self, client: Any, request: Any) -> Any:
        """Calls a service that tells whether it did what was asked."""
        with self._refusals():
            response = self._session.call(client, request)
        if not response.success:
            raise Refused(response.message)
        return response

    def _mode(self, mode: int) -> None:
        self._ask(self._set_mode, SetMode.Request(mode=mode))
        self._until(lambda: self._shows(topics.DRIVER_STATE, mode=mode), "the driver's state does not show its mode")

    def _act(self, client: ActionClient, goal: Any, name: str) -> None:
        """Has an action done to its end."""
        with self._refusals():
            result = self._session.act(client, f"{topics.DRIVER}/{name}", goal, self._stop, ACTION_WITHIN)
        if not result.success:
            raise Refused(f"{name}: {result.message}")

    def _until(self, condition: Callable[[], bool], otherwise: str) -> None:
        with self._refusals():
            if not self._session.spin_until(condition, SEEN_WITHIN):
                raise Refused(otherwise)

    def _noting(self, topic: str) -> Callable[[Any], None]:
        def note(message: Any) -> None:
            self._seen[topic] = time.monotonic(), message

        return note

    def _newest(self, topic: str) -> Any:
        """The newest message of a topic; None when it is silent."""
        at, message = self._seen.get(topic, (-math.inf, None))
        return message if time.monotonic() - at < SILENT_AFTER else None

    def _shows(self, topic: str, *true: str, **equal: Any) -> bool:
        """Whether the newest message has these fields, true or with these values."""
        message = self._newest(topic)
        if message is None:
            return False
        return all(getattr(message, name) for name in true) and all(
            getattr(message, name) == value for name, value in equal.items()
        )

    def _missing(self) -> list[str]:
        missing = [who for topic, who in NEEDED.items() if not self._session.node.count_publishers(topic)]
        if not missing and not self._shows(topics.DRIVER_STATE, "connected"):
            missing.append("the driver's connection to the robot")
        return missing

    def _follow(self, wanted: bool) -> None:
        """Listens to leader and reference, at a hundred messages a second each, only while it matters."""
        for subscription in self._followed:
            self._session.node.destroy_subscription(subscription)
        self._followed = []
        if wanted:
            for kind, topic in ((JointState, topics.GELLO_JOINT_STATES), (RobotReference, topics.DRIVER_REFERENCE)):
                self._seen.pop(topic, None)
                self._followed.append(self._session.node.create_subscription(kind, topic, self._noting(topic), 1))

    def _misalignment(self) -> float:
        """Largest distance (rad) of a joint of the leader from the arm's reference; inf while either is unknown."""
        leader, reference = self._newest(topics.GELLO_JOINT_STATES), self._newest(topics.DRIVER_REFERENCE)
        if leader is None or reference is None:
            return math.inf
        angles = dict(zip(leader.name, leader.position, strict=True))
        pairs = zip(reference.joint_names, reference.position, strict=True)
        return max(abs(angles.get(name, math.inf) - angle) for name, angle in pairs)
