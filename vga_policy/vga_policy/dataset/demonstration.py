"""One recorded episode as the policy would have seen it, and what the arm was told."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vga_policy.bags.reader import Bag, BagError
from vga_policy.cell.errors import CellError
from vga_policy.cell.loading import parse_cell
from vga_policy.cell.schema import ARM_JOINTS, Cell
from vga_policy.dataset.actions import Track, chunks
from vga_policy.dataset.origins import BEFORE, origins_at
from vga_policy.episodes.listing import DatasetError
from vga_policy.episodes.metadata import FILE, load_episode
from vga_policy.episodes.topics import JOINT_STATES, LEADER, REFERENCE, image_topic
from vga_policy.message_constants import Mode
from vga_policy.observation.joint_states import JointStateError, JointStates, proprioception
from vga_policy.observation.observation import PROPRIOCEPTION
from vga_policy.observation.resampler import JpegImage, Problem, Resampler, Selection
from vga_policy.units import SECOND

JOINT_STATE, ROBOT_REFERENCE = "sensor_msgs/msg/JointState", "vga_msgs/msg/RobotReference"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"

ActionSource = Literal["accepted_reference", "next_joint_state", "leader"]


@dataclass(frozen=True)
class StoredImage:
    """A JPEG in a bag, read when its pixels are asked for."""

    file: Path
    offset: int
    length: int

    def decode(self) -> NDArray[np.uint8]:
        """RGB pixels [H, W, 3]. Raises ValueError when the data is no intact JPEG."""
        return JpegImage(read_span(self.file, self.offset, self.length)).decode()


class Demonstration:
    """One episode, open for reading.

    episode: its episode.yaml. cell: the contract it was recorded in, with the views asked for.
    """

    def __init__(self, path: Path, views: Sequence[str] | None = None) -> None:
        """`views`: cameras for slots 0, 1, …; by default those of the episode's cell.

        Raises EpisodeError, CellError or BagError when the episode lacks what an observation needs, when its times
        make no sense, or when it differs from its checksums.
        """
        self.path = path
        self.episode = load_episode(path)
        try:
            cell = _parse_cell(self.episode.cell)
            self.cell = cell.with_views(list(views)) if views else cell
        except CellError as error:
            raise CellError(f"{path / FILE}: {error}") from None
        self.bag = Bag(path)
        self.bag.verify()
        self._images = {image_topic(camera.name): camera.name for camera in self.cell.views}
        for topic in self._images:
            self.bag.require(topic, COMPRESSED_IMAGE, "header", "data")
            self.bag.ordered_stamps(topic)
        self.bag.require(JOINT_STATES, JOINT_STATE, "header", "name", "position")

    def close(self) -> None:
        """Lets go of the bag."""
        self.bag.close()

    # Observations.

    def ticks(self, rate_hz: float) -> Iterator[tuple[int, Selection | tuple[Problem, ...]]]:
        """What the live node would have seen at every tick: the time, ns, and the observation or why there is none."""
        resampler = self._resampler()
        arrivals = self.bag.in_order([*self._images, JOINT_STATES])
        pending = next(arrivals, None)
        for tick in range(int((self.bag.end_ns - self.bag.start_ns) / SECOND * rate_hz) + 1):
            now = self.bag.start_ns + round(tick * SECOND / rate_hz)
            while pending is not None and pending[0] <= now:
                self._push(resampler, *pending[1:])
                pending = next(arrivals, None)
            yield now, resampler.select(now)

    def observations(self, rate_hz: float) -> Iterator[Selection]:
        """The observations at these ticks, each t_obs once, in order."""
        newest = None
        for _, selected in self.ticks(rate_hz):
            if isinstance(selected, Selection) and selected.stamp_ns != newest:
                newest = selected.stamp_ns
                yield selected

    def observation_at(self, t_obs_ns: int) -> Selection | tuple[Problem, ...]:
        """The observation at a t_obs that the live node has seen, or what keeps it from being made."""
        return self._whole.select_at(t_obs_ns)

    @cached_property
    def _whole(self) -> Resampler:
        """A resampler that has received the whole episode."""
        capacity = max(self.bag.count(topic) for topic in (*self._images, JOINT_STATES))
        resampler = self._resampler(images_kept=capacity, joints_kept=capacity)
        for _, topic, index in self.bag.in_order([*self._images, JOINT_STATES]):
            self._push(resampler, topic, index)
        return resampler

    def _resampler(self, **kept: int) -> Resampler:
        return Resampler([camera.name for camera in self.cell.views], self.cell.inputs, **kept)

    def _push(self, resampler: Resampler, topic: str, index: int) -> None:
        stamp = int(self.bag.stamps(topic)[index])
        if topic == JOINT_STATES:
            values, disbelieved = self._joint_states
            if index in disbelieved:
                resampler.pass_over_joints(str(disbelieved[index]))
            else:
                resampler.push_joints(stamp, values[index])
        else:
            image = StoredImage(self.bag.file, *self.bag.payload(topic, index, "data"))
            resampler.push_image(self._images[topic], stamp, image)

    # What the arm did and was told.

    @cached_property
    def measured(self) -> Track:
        """Measured joints (rad) and opening (m): [N, 8]. As live, what is not believed is passed over."""
        values, disbelieved = self._joint_states
        kept = np.delete(np.arange(len(values)), list(disbelieved))
        return Track(self.bag.ordered_stamps(JOINT_STATES)[kept], values[kept])

    def passed_over(self) -> tuple[float, float, str]:
        """For how long the joint states were passed over: without the hand's joint, for any other reason, s, and that.

        A joint state counts until the next one that is believed.
        """
        _, disbelieved = self._joint_states
        ends = np.append(self.bag.ordered_stamps(JOINT_STATES), self.bag.end_ns)
        lasted = np.maximum(np.diff(ends), 0) / SECOND
        hand = [index for index, error in disbelieved.items() if error.hand_away]
        others = [index for index, error in disbelieved.items() if not error.hand_away]
        why = str(disbelieved[others[0]]) if others else ""
        return float(lasted[hand].sum()), float(lasted[others].sum()), why

    @cached_property
    def leader(self) -> Track:
        """Where the leader arm stood: joints (rad) and opening (m), [N, 8]. What lacks a joint is passed over."""
        self.bag.require(LEADER, JOINT_STATE, "header", "name", "position")
        values = np.full((self.bag.count(LEADER), PROPRIOCEPTION), np.nan)
        why = "not finite"
        for index, message in enumerate(self.bag.messages(LEADER)):
            try:
                values[index] = proprioception(self.cell, message.name, message.position)
            except JointStateError as error:
                why = str(error)
        kept = np.isfinite(values).all(axis=1)
        if not kept.any():
            raise BagError(f"{self.bag.file}: {LEADER}: none is complete: {why}")
        return Track(self.bag.ordered_stamps(LEADER)[kept], values[kept])

    @property
    def reference(self) -> Track:
        """What the driver accepted: joints (rad) and commanded opening (m), [N, 8]."""
        return self._told[0]

    def origins(self, t_obs: NDArray[np.int64], before: float = BEFORE) -> NDArray[np.uint8]:
        """Who commanded at `t_obs` [N], ns: an Origin each. before: s before a take-over in which the policy errs."""
        track, policy, corrected = self._told
        return origins_at(t_obs, track.stamps, policy, corrected, before)

    @cached_property
    def _told(self) -> tuple[Track, NDArray[np.bool_], NDArray[np.bool_]]:
        """The references, and whether each is the policy's, or a person's who had taken over from it.

        Where the arm holds and the policy's goal lives on, for the leader fell silent, nobody demonstrates: that is put
        down to the policy.
        """
        self.bag.require(
            REFERENCE, ROBOT_REFERENCE, "header", "joint_names", "position", "gripper_width", "mode", "goal_id"
        )
        stamps = self.bag.ordered_stamps(REFERENCE)
        values = np.empty((len(stamps), PROPRIOCEPTION))
        names, columns = None, []
        policy, corrected = np.zeros(len(stamps), bool), np.zeros(len(stamps), bool)
        for index, message in enumerate(self.bag.messages(REFERENCE)):
            of_goal = any(message.goal_id.uuid)
            policy[index] = message.mode == Mode.POLICY or (message.mode == Mode.HOLD and of_goal)
            corrected[index] = message.mode == Mode.TELEOP and of_goal
            if message.joint_names != names:
                names = message.joint_names
                columns = self._columns(names, index)
            values[index, :ARM_JOINTS] = message.position[columns]
            values[index, ARM_JOINTS] = message.gripper_width
        return self._track(REFERENCE, stamps, values), policy, corrected

    def actions(
        self, t_obs: NDArray[np.int64], source: ActionSource | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Chunks [N, H, 8] (rad, m) for the observations at `t_obs` [N], and which steps are known [N, H].

        source: what the joints' labels are; by default what the cell's contract says. The gripper's is the command.
        """
        tracks = {"accepted_reference": "reference", "next_joint_state": "measured", "leader": "leader"}
        joints: Track = getattr(self, tracks[source or self.cell.action.joints])
        return chunks(
            Track(joints.stamps, joints.values[:, :ARM_JOINTS]),
            Track(self.reference.stamps, self.reference.values[:, ARM_JOINTS:]),
            t_obs,
            self.cell.action.horizon,
            self.cell.dt,
            round(self.cell.inputs.max_joint_age * SECOND),
        )

    def keyframes(self, t_obs: NDArray[np.int64]) -> NDArray[np.float32]:
        """Where the arm next takes hold of something or lets go: its joints [N, 7], rad, for the observations at
        `t_obs` [N]. After the last time, where it ends.

        Taking hold is a command that leaves the upper half of the hand's range, letting go one that comes back. (The
        keyframes of James and Davison, 2021.)
        """
        wide = self.reference.values[:, ARM_JOINTS] > self.cell.gripper.max_width / 2
        stamps = np.append(self.reference.stamps[1:][wide[1:] != wide[:-1]], self.reference.stamps[-1])
        following = np.minimum(np.searchsorted(stamps, t_obs, side="right"), len(stamps) - 1)
        return self.measured.interpolated(stamps)[following, :ARM_JOINTS].astype(np.float32)

    @cached_property
    def _joint_states(self) -> tuple[NDArray[np.float64], dict[int, JointStateError]]:
        """Every joint state, [N, 8], and by the index of those that are not believed the reason why.

        Raises BagError when none is.
        """
        believe, disbelieved = JointStates(self.cell).believed, dict[int, JointStateError]()
        values = np.zeros((self.bag.count(JOINT_STATES), PROPRIOCEPTION))
        for index, message in enumerate(self.bag.messages(JOINT_STATES)):
            try:
                values[index] = believe(message.name, message.position)
            except JointStateError as error:
                disbelieved[index] = error
        if len(disbelieved) == len(values):
            raise BagError(f"{self.bag.file}: {JOINT_STATES}: none is believed; the first: {disbelieved[0]}")
        return values, disbelieved

    def _columns(self, names: Sequence[str], index: int) -> list[int]:
        try:
            return [list(names).index(name) for name in self.cell.arm.joint_names]
        except ValueError as error:
            found = f"joint {error}: found {str(names)[:80]}"
            raise BagError(f"{self.bag.file}: {REFERENCE}: message {index}: {found}") from None

    def _track(self, topic: str, stamps: NDArray[np.int64], values: NDArray[np.float64]) -> Track:
        if not (finite := np.isfinite(values).all(axis=1)).all():
            raise BagError(f"{self.bag.file}: {topic}: message {finite.argmin()} is not finite")
        return Track(stamps, values)


@lru_cache(maxsize=16)  # episodes of one cell share its text
def _parse_cell(text: str) -> Cell:
    return parse_cell(text)


def read_span(file: Path, offset: int, length: int) -> bytes:
    """Some bytes of a file. Raises DatasetError when it has changed or gone since it was indexed."""
    try:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            data = os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read any more: {error.strerror}") from None
    if len(data) < length:
        raise DatasetError(f"{file}: shorter than when it was indexed")
    return data
