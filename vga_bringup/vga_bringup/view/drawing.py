"""Events, recorded or live, into a Rerun recording: the robot with its cameras, curves, chunks and a log."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from vga_policy.episodes import topics

from vga_bringup.view.cameras import Cameras
from vga_bringup.view.clouds import Clouds
from vga_bringup.view.events import BagMessage
from vga_bringup.view.geometry import Geometry
from vga_bringup.view.happenings import Happenings
from vga_bringup.view.layout import blueprint
from vga_bringup.view.plans import Plans
from vga_bringup.view.robot import FINGER, DrawnRobot
from vga_bringup.view.sheet import Sheet

OF_POLICY = b"checkpoint"  # what a policy's diagnostics name
MEASURED, TOLD = (0, 140, 230), (240, 130, 0)


class Drawing:
    """Draws events as they come; call `flush` now and then, and `close` at the end.

    notes: what is not shown, and why, a line each.
    """

    def __init__(
        self,
        sheet: Sheet,
        urdf: str,
        fixed: Sequence[Any],
        topic_names: Collection[str],
        *,
        views: Sequence[str] = (),
        geometry: Geometry | None = None,
        apart_ns: int = 0,
    ) -> None:
        """urdf, fixed: the robot's description, and what has come on tf_static. topic_names: of what will come, as far
        as that is known.

        views: cameras that a policy sees, in its order, if that is known already. geometry: what a policy knows of
        depth; None: no depth is drawn. apart_ns: frames, curves and images that follow another by less are left out.
        Raises DescriptionError when the description is none.
        """
        self._sheet, self._apart_ns = sheet, apart_ns
        self._robot = DrawnRobot(sheet, urdf, with_tf=topics.TF in topic_names, apart_ns=apart_ns)
        for message in fixed:
            self._robot.take_fixed_tf(message)
        self._cameras = Cameras(sheet, self._robot)
        self._clouds = None if geometry is None else Clouds(sheet, self._robot, self._cameras, geometry)
        self._plans = Plans(sheet, self._robot, self._cameras, self._clouds, views)
        self._joints = [name for name in self._robot.joints if FINGER not in name]
        self._happenings = Happenings()
        self._left_out: dict[str, str] = {}  # why, by topic
        self._latest: dict[str, int] = {}  # stamps of what was drawn, by topic
        self._arranged: tuple[Collection[Any], ...] = ()
        self._takes = {
            topics.TF: lambda event: self._robot.take_tf(event.message),
            topics.TF_STATIC: lambda event: self._robot.take_fixed_tf(event.message),
            topics.JOINT_STATES: self._take_joints,
            topics.REFERENCE: self._take_reference,
            topics.GRIPPER_STATE: self._take_hand,
            topics.DRIVER_STATE: self._tell,
            topics.DIAGNOSTICS: self._take_diagnostics,
            topics.ACTION_CHUNK: lambda event: self._plans.take_chunk(event.message),
            topics.CHUNK_VERDICT: self._take_verdict,
        }
        self.find_cameras(topic_names)
        self._style()
        self._arrange()

    @property
    def notes(self) -> list[str]:
        """What is not shown, and why."""
        clouds = [] if self._clouds is None else self._clouds.notes
        return [*self._cameras.notes, *clouds, *self._left_out.values()]

    def find_cameras(self, topic_names: Collection[str]) -> None:
        """Cameras that have appeared among these topics are drawn from now on."""
        for sight in self._cameras.find(topic_names):
            names = topics.camera_topics(sight.name)
            self._takes[names.info] = partial(self._cameras.take_info, sight)
            self._takes[names.pose] = partial(self._cameras.take_pose, sight)
            self._takes[names.compressed] = partial(self._take_image, sight)
            if self._clouds is not None:
                self._takes[names.depth] = partial(self._clouds.take_depth, sight)
                self._takes[names.compressed_depth] = partial(self._clouds.take_depth, sight)

    def wants(self, topic: str) -> bool:
        """Whether something is drawn of this topic."""
        return topic in self._takes

    def take(self, event: BagMessage) -> None:
        """Draws an event of a topic that is wanted; one that makes no sense is left out, and noted."""
        try:
            self._takes[event.topic](event)
        except (ValueError, LookupError, AttributeError, TypeError) as error:  # as the message is, so is the error
            why = next(iter(str(error).splitlines()), type(error).__name__)
            self._left_out.setdefault(event.topic, f"{event.topic}: some messages are left out: {why}")

    def flush(self) -> None:
        """Hands on what was drawn so far."""
        if self._clouds is not None:
            self._clouds.draw_seen()
        self._arrange()
        self._sheet.flush()

    def close(self) -> None:
        """Ends the recording."""
        self._plans.close()
        self.flush()
        self._sheet.close()

    def _due(self, event: BagMessage) -> bool:
        """Whether it is long enough since the last of this topic that was drawn."""
        stamp, last = event.stamp, self._latest.get(event.topic)
        if last is not None and 0 <= stamp - last < self._apart_ns:
            return False
        self._latest[event.topic] = stamp
        return True

    def _take_joints(self, event: BagMessage) -> None:
        if not self._due(event):
            return
        stamp, message = event.stamp, event.message
        posture = dict(zip(message.name, message.position.tolist(), strict=False))
        self._robot.take_posture(stamp, posture)
        for name, position in posture.items():
            if FINGER not in name:
                self._sheet.row(stamp, f"joints/{name}/measured", "Scalars", scalars=position)

    def _take_reference(self, event: BagMessage) -> None:
        if self._due(event):
            message = event.message
            for name, position in zip(message.joint_names, message.position.tolist(), strict=False):
                self._sheet.row(event.stamp, f"joints/{name}/reference", "Scalars", scalars=position)

    def _take_hand(self, event: BagMessage) -> None:
        message = event.message
        self._tell(event, message)
        if self._due(event):
            self._sheet.row(event.stamp, "hand/measured", "Scalars", scalars=message.width)
            self._sheet.row(event.stamp, "hand/commanded", "Scalars", scalars=message.commanded_width)

    def _take_verdict(self, event: BagMessage) -> None:
        message = event.message
        self._tell(event, message)
        self._plans.take_verdict(message)

    def _take_diagnostics(self, event: BagMessage) -> None:
        if OF_POLICY in bytes(event.data):  # most are of others, and long
            self._plans.take_diagnostics(event.message)

    def _take_image(self, sight: Any, event: BagMessage) -> None:
        self._cameras.take_image(sight, event, drawn=self._due(event))

    def _tell(self, event: BagMessage, message: Any = None) -> None:
        told = self._happenings.of(event.topic, event.message if message is None else message)
        if told is not None:
            self._sheet.at(told.stamp, "log", self._sheet.rerun.TextLog(told.words, level=told.level))

    def _style(self) -> None:
        curves = {f"joints/{name}": "reference" for name in self._joints} | {"hand": "commanded"}
        for entity, told in curves.items():
            for name, color in (("measured", MEASURED), (told, TOLD)):
                self._sheet.still(f"{entity}/{name}", self._sheet.rerun.SeriesLines(names=name, colors=color))

    def _arrange(self) -> None:
        """Lays out what is seen, anew when a camera has come, or a policy has begun to look through other ones."""
        shown = (tuple(self._cameras.entities.items()), self._plans.views)
        if self._arranged != shown:
            self._arranged = shown
            made = blueprint(self._sheet.rerun, self._cameras.entities, self._plans.views, self._joints)
            self._sheet.arrange(made)
