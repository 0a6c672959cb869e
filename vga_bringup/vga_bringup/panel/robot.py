"""The robot, as the panel sees it and asks it. What it hears is kept by the thread that serves its session."""

from __future__ import annotations

import math
import shutil
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CompressedImage, JointState
from vga_policy.message_constants import MODE_NAMES, Mode
from vga_policy.ros import topics
from vga_policy.ros.client.driver import DriverClient
from vga_policy.ros.client.policy import PolicyClient
from vga_policy.ros.client.recorder import RecorderClient
from vga_policy.ros.client.scene import SceneClient
from vga_policy.ros.client.served import ServedSession
from vga_policy.ros.client.stream import RawStream
from vga_policy.ros.errors import GraphError
from vga_policy.units import SECOND, nanoseconds

from vga_bringup.cli.episode import named
from vga_bringup.panel import checks, model
from vga_bringup.panel.study import Progress
from vga_bringup.panel.task import PanelTask
from vga_msgs.msg import ChunkVerdict, DriverState, RecorderState, RobotReference

NAME = "vga_panel"
SEEN_FOR = 0.1  # s that a snapshot serves every page
WATCHED_FOR = 3.0  # s after the last page looked, for which images and leader are listened to
LOOK_EVERY = 0.5  # s
DIRECTORY_EVERY = 10.0  # s
IMAGE_GONE = 3.0  # s
LEADER_GONE = 1.0  # s
VIEWS = 2  # cameras shown where no policy says which
EVENTS = 50
ANY = "NAME"  # in place of a camera's name


class PanelRobot:
    """Through `session`. What a person asks for is done by a thread of its own and told in `events`, done or not."""

    def __init__(self, session: ServedSession, study: Path | None = None) -> None:
        self._session, self._namespace = session, session.node.get_namespace().strip("/")
        self._driver, self._policy = DriverClient(session), PolicyClient(session)
        self._recorder = RecorderClient(session)
        self._task = PanelTask(session, self._driver, self._policy, SceneClient(session), self._namespace)
        self._chunks = model.Chunks()
        self._parts = model.Parts(session.resolved(topics.DRIVER).removesuffix(topics.DRIVER))
        self._study = None if study is None else Progress(study)
        self._views: dict[str, RawStream] = {}
        self._leader: tuple[RawStream, RawStream] | None = None
        self._events: deque[model.LogLine] = deque(maxlen=EVENTS)
        self._doing: list[str] = []
        self._lock = Lock()
        self._seen: tuple[float, model.RobotStatus | None] = (-math.inf, None)
        self._watched = -math.inf
        self._told = model.RobotStatus(model.Driver("SILENT"))  # what the keeper finds
        self._directory, self._asked_at = "", -math.inf
        session.node.create_subscription(ChunkVerdict, topics.DRIVER_CHUNK_VERDICT, self._on_verdict, 50)
        session.node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._on_diagnostics, 20)
        Thread(target=self._keep, name="panel: keeper", daemon=True).start()

    # What it sees.

    def snapshot(self) -> model.RobotStatus:
        """How everything stands now; one for all pages that ask within SEEN_FOR."""
        now = time.monotonic()
        self._watched = now
        at, snapshot = self._seen
        if snapshot is None or now - at > SEEN_FOR:
            snapshot = self._look(now)
            self._seen = now, snapshot
        return snapshot

    def image(self, camera: str) -> tuple[bytes, float, float] | None:
        """The newest JPEG of a camera, how old it is (s), and the rate of its images (Hz); None where none comes."""
        stream = self._views.get(camera)
        if stream is None or stream.silent_for > IMAGE_GONE:
            return None
        message = stream.newest()
        return bytes(message.data), time.time() - nanoseconds(message.header.stamp) / SECOND, stream.rate_hz

    # What it asks.

    def stop(self) -> str:
        """Stops the arm at once; what the driver says of it. Raises GraphError when it does not answer."""
        self._task.give_up()
        try:
            answer = self._driver.stop()
        except GraphError as error:
            self._tell(f"stop: {error}", trouble=True)
            raise
        self._tell(f"stop: {answer}")
        return answer

    def home(self) -> None:
        """Moves the arm home."""
        self._ask("home", self._driver.home)

    def recover(self) -> None:
        """Clears a reflex, or rebuilds the connection to the arm."""
        self._ask("recover", self._driver.recover)

    def run(self, instruction: str, max_steps: int = 0) -> None:
        """Arms the driver and runs a task to its end."""
        self._ask("run", lambda: self._task.perform(instruction, max_steps))

    def cancel(self) -> None:
        """Ends the task that runs, whoever started it."""
        self._ask("cancel", self._task.cancel)

    def start_episode(self, task: str, instruction: str) -> None:
        """Starts recording. task: its short name; empty: made of the instruction."""
        self._ask("episode", lambda: f"recording {self._recorder.start(task or named(instruction), instruction)}")

    def end_episode(self, outcome: str) -> None:
        """Ends the recording with its label, or labels the last episode. outcome: empty for no label yet."""

        def end() -> str:
            problem = self._recorder.stop(outcome)
            return f"the episode is {f'labeled {outcome}' if outcome else 'ended'}{f' ({problem})' if problem else ''}"

        self._ask("episode", end)

    def examine(self) -> None:
        """Runs `vga doctor`."""
        with self._lock:
            if self._told.findings.looking:
                return
            self._told = replace(self._told, findings=replace(self._told.findings, looking=True))
        Thread(target=self._examine, name="panel: doctor", daemon=True).start()

    # How.

    def _ask(self, what: str, do: Callable[[], str]) -> None:
        with self._lock:
            if busy := what in self._doing:
                self._tell(f"{what}: is being done already", trouble=True)
            else:
                self._doing.append(what)
        if not busy:
            Thread(target=self._perform, args=(what, do), name=f"panel: {what}", daemon=True).start()

    def _perform(self, what: str, do: Callable[[], str]) -> None:
        try:
            self._tell(f"{what}: {do()}")
        except GraphError as error:
            self._tell(f"{what}: {self._session.explain(error)}", trouble=True)
        finally:
            self._doing.remove(what)

    def _tell(self, text: str, trouble: bool = False) -> None:
        self._events.appendleft(model.LogLine(time.strftime("%H:%M:%S"), text, trouble))

    def _examine(self) -> None:
        findings = checks.examine(self._namespace)
        with self._lock:
            self._told = replace(self._told, findings=findings)

    def _look(self, now: float) -> model.RobotStatus:
        parts = self._parts.at(now)
        return replace(
            self._told,
            driver=_driver(self._driver.state, self._session.served),
            views=tuple(_view(camera, stream) for camera, stream in self._views.items()),
            task=self._task.in_words or _running(parts),
            timing=self._chunks.timing(),
            parts=parts,
            leader=self._misalignment(),
            recorder=self._recorder_now(),
            events=tuple(self._events),
            doing=tuple(self._doing),
            busy=self._session.processors.overload(),
        )

    def _misalignment(self) -> tuple[tuple[str, float], ...]:
        if self._leader is None or any(stream.silent_for > LEADER_GONE for stream in self._leader):
            return ()
        leader, reference = (stream.newest() for stream in self._leader)
        angles = dict(zip(leader.name, leader.position, strict=True))
        return model.misalignment(angles, reference.joint_names, reference.position)

    def _recorder_now(self) -> model.RecorderStatus:
        state: RecorderState | None = self._recorder.state
        if state is None:
            return model.RecorderStatus()
        return model.RecorderStatus(
            there=True,
            recording=state.recording,
            episode=state.episode_id,
            seconds=state.duration,
            messages=state.messages,
            lost=state.messages_lost,
            problem=state.problem,
            directory=self._directory,
            disk_free=self._told.recorder.disk_free,
        )

    # What comes.

    def _on_verdict(self, verdict: Any) -> None:
        self._chunks.note(
            bytes(verdict.goal_id.uuid),
            verdict.sequence,
            nanoseconds(verdict.t_obs) / SECOND,
            nanoseconds(verdict.header.stamp) / SECOND,
            accepted=verdict.accepted,
            reason=verdict.reason,
            message=verdict.message,
            steps_dropped=verdict.steps_dropped,
        )

    def _on_diagnostics(self, array: Any) -> None:
        now = time.monotonic()
        for status in array.status:
            values = [(pair.key, pair.value) for pair in status.values]
            self._parts.note(status.name, ord(status.level), status.message, values, now)

    # The keeper: what takes time, or changes rarely.

    def _keep(self) -> None:
        while True:
            self._session.spin_until(lambda: False, LOOK_EVERY)
            try:
                self._keep_once()
            except GraphError:  # who was asked has gone meanwhile
                continue

    def _keep_once(self) -> None:
        node = self._session.node
        others = node.get_node_names_and_namespaces().count((NAME, node.get_namespace())) - 1
        study = None if self._study is None else self._study.read()
        with self._lock:
            self._told = replace(self._told, panels=max(others, 0), study=study)
        watched = time.monotonic() - self._watched < WATCHED_FOR
        self._listen_to_views(self._cameras() if watched else ())
        self._listen_to_leader(watched and bool(node.count_publishers(topics.GELLO_JOINT_STATES)))
        self._look_at_disk()

    def _cameras(self) -> tuple[str, ...]:
        """Those that the policy looks through; without one, some that are there."""
        if self._policy.offered and (views := self._policy.views()):
            return views
        before, after = self._session.resolved(topics.camera(ANY).compressed).split(ANY)
        names = (name for name, _ in self._session.node.get_topic_names_and_types())
        found = (
            name.removeprefix(before).removesuffix(after)
            for name in names
            if name.startswith(before) and name.endswith(after)
        )
        return tuple(sorted(found))[:VIEWS]

    def _listen_to_views(self, cameras: tuple[str, ...]) -> None:
        if cameras == tuple(self._views):
            return

        def change() -> None:
            former = self._views
            self._views = {
                camera: former.get(camera)
                or RawStream(self._session, CompressedImage, topics.camera(camera).compressed, topics.SENSOR_DATA)
                for camera in cameras
            }
            for camera in former.keys() - set(cameras):
                former[camera].close()

        self._session.do(change)

    def _listen_to_leader(self, there: bool) -> None:
        if there == (self._leader is not None):
            return

        def change() -> None:
            for stream in self._leader or ():
                stream.close()
            self._leader = (
                (
                    RawStream(self._session, JointState, topics.GELLO_JOINT_STATES),
                    RawStream(self._session, RobotReference, topics.DRIVER_REFERENCE),
                )
                if there
                else None
            )

        self._session.do(change)

    def _look_at_disk(self) -> None:
        now = time.monotonic()
        if self._recorder.state is None or now - self._asked_at < DIRECTORY_EVERY:
            return
        self._asked_at = now
        self._directory = str(self._recorder.directory)
        free = disk_free(Path(self._directory))
        with self._lock:
            self._told = replace(self._told, recorder=replace(self._told.recorder, disk_free=free))


def disk_free(directory: Path) -> int | None:
    """Bytes left where `directory` is, or will be made; None where its parent is not here or may not be seen."""
    try:
        there = next((path for path in (directory, directory.parent) if path.is_dir()), None)
        return None if there is None else shutil.disk_usage(there).free
    except OSError:
        return None


def _driver(state: DriverState | None, served: bool) -> model.Driver:
    if not served:
        return model.Driver("SILENT", "the panel hears nothing any more: start vga panel again")
    if state is None:
        return model.Driver("SILENT", "no driver is heard: is it running, and on this ROS_DOMAIN_ID?")
    return model.Driver(
        mode=MODE_NAMES.get(state.mode, str(state.mode)),
        why=state.hold_reason if state.mode == Mode.HOLD else "",
        at_rest=state.at_rest,
        connected=state.connected,
        needs_recovery=state.needs_recovery,
        goal=any(state.goal_id.uuid),
    )


def _view(camera: str, stream: RawStream) -> model.CameraView:
    return model.CameraView(camera, stream.rate_hz, stream.silent_for if stream.count else None)


def _running(parts: tuple[model.NodeHealth, ...]) -> str:
    """The policy's task in its own words, whoever started it; empty where it is idle."""
    message = next((part.message for part in parts if part.name == f"{topics.POLICY}: inference"), "")
    return message if message.startswith("task ") else ""
