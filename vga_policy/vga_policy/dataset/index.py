"""The table of samples of an episode: everything but pixels, and where in the bag those lie."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from typing import cast

import numpy as np
from numpy.typing import NDArray

from vga_policy.bags.reader import Bag, BagError
from vga_policy.dataset.demonstration import COMPRESSED_IMAGE, ActionSource, Demonstration, StoredImage
from vga_policy.dataset.frames import RecordedFrames
from vga_policy.dataset.geometry import extrinsics
from vga_policy.dataset.origins import BEFORE, IMITATED, Origin
from vga_policy.episodes.topics import camera_topics
from vga_policy.observation.resampler import Selection

IDLE_JOINTS = 0.01  # rad; a chunk that moves no joint further,
IDLE_WIDTH = 0.002  # m, nor the gripper, only teaches to stand still


@dataclass(frozen=True)
class SampleTable:
    """N observations with V views and chunks of H steps.

    stamps: int64 [N], t_obs. images: int64 [N, V, 2], offset and length of the JPEG in the bag file.
    image_stamps: int64 [N, V]. proprioception: float32 [N, 8]. actions: float32 [N, H, 8]. action_mask: bool [N, H].
    keyframes: float32 [N, 7]. origins: uint8 [N], an Origin each: who commanded.
    """

    stamps: NDArray[np.int64]
    images: NDArray[np.int64]
    image_stamps: NDArray[np.int64]
    proprioception: NDArray[np.float32]
    actions: NDArray[np.float32]
    action_mask: NDArray[np.bool_]
    keyframes: NDArray[np.float32]
    origins: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.stamps)

    def where(self, kept: NDArray[np.bool_]) -> SampleTable:
        """The samples with a True in `kept` [N]."""
        return SampleTable(**{field.name: getattr(self, field.name)[kept] for field in fields(self)})

    @staticmethod
    def concatenated(parts: Sequence[SampleTable]) -> SampleTable:
        """All samples of all parts."""
        names = [field.name for field in fields(SampleTable)]
        return SampleTable(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@dataclass(frozen=True)
class GeometryTable:
    """Ground truth of the views of N observations; present: bool [N, V], False where there is none (then zeros).

    depth: int64 [N, V, 2], offset and length of the compressed depth image. extrinsics: float32 [N, V, 4, 4].
    intrinsics: float64 [N, V, 3, 3], of images of `sizes` [N, V, 2] (width, height).
    """

    present: NDArray[np.bool_]
    depth: NDArray[np.int64]
    extrinsics: NDArray[np.float32]
    intrinsics: NDArray[np.float64]
    sizes: NDArray[np.int64]

    @staticmethod
    def concatenated(parts: Sequence[GeometryTable]) -> GeometryTable:
        """All samples of all parts."""
        names = [field.name for field in fields(GeometryTable)]
        return GeometryTable(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def samples_of(
    demonstration: Demonstration,
    selections: Sequence[Selection],
    source: ActionSource | None = None,
    before: float = BEFORE,
) -> SampleTable:
    """The table of these observations of a demonstration. `source`: what action labels are made of.

    before: s before a take-over in which the policy is taken to err.
    """
    stamps = np.array([selected.stamp_ns for selected in selections], dtype=np.int64)
    actions, mask = demonstration.actions(stamps, source)
    views = len(demonstration.cell.views)
    stored = [[cast(StoredImage, image) for image in selected.images] for selected in selections]
    return SampleTable(
        stamps=stamps,
        images=np.array([[(i.offset, i.length) for i in images] for images in stored], np.int64).reshape(-1, views, 2),
        image_stamps=np.array([selected.image_stamps_ns for selected in selections], np.int64).reshape(-1, views),
        proprioception=np.array([s.proprioception for s in selections], np.float32).reshape(-1, actions.shape[-1]),
        actions=actions,
        action_mask=mask,
        keyframes=demonstration.keyframes(stamps),
        origins=demonstration.origins(stamps, before),
    )


def index(
    demonstration: Demonstration,
    rate_hz: float,
    source: ActionSource | None = None,
    holds: Callable[[int], bool] = lambda _: True,
    skip_idle: bool = True,
    origins: Collection[Origin] = IMITATED,
    before: float = BEFORE,
) -> SampleTable:
    """The samples of a demonstration: what the live node would have seen at each tick of `rate_hz`.

    holds: whether a t_obs belongs to the part to train on. skip_idle: leaves out samples whose chunk stands still.
    origins, before: whose samples, as :class:`EpisodeDataset` has it.
    """
    selections = [selected for selected in demonstration.observations(rate_hz) if holds(selected.stamp_ns)]
    samples = samples_of(demonstration, selections, source, before)
    kept = samples.action_mask[:, 0] & np.isin(samples.origins, list(origins))
    if skip_idle:
        kept = kept & _moves(samples)
    return samples.where(kept)


def geometry_of(demonstration: Demonstration, image_stamps: NDArray[np.int64]) -> GeometryTable:
    """Depth and cameras of images with these stamps [N, V]: depth recorded with exactly the same stamp, and the
    camera's pose too, as a simulation records it, or by tf, where the camera was calibrated."""
    bag, shape = demonstration.bag, image_stamps.shape
    found = GeometryTable(
        present=np.zeros(shape, bool),
        depth=np.zeros((*shape, 2), np.int64),
        extrinsics=np.zeros((*shape, 4, 4), np.float32),
        intrinsics=np.zeros((*shape, 3, 3)),
        sizes=np.ones((*shape, 2), np.int64),
    )
    frames = None
    for slot, camera in enumerate(demonstration.cell.views):
        topics = camera_topics(camera.name)
        depth_topic, info_topic = topics.compressed_depth, topics.info
        if not (bag.count(depth_topic) and bag.count(info_topic)):
            continue
        bag.require(depth_topic, COMPRESSED_IMAGE)
        bag.require(info_topic, "sensor_msgs/msg/CameraInfo")
        info = bag.message(info_topic, 0)
        stamps = image_stamps[:, slot]
        if bag.count(topics.pose):
            transforms, known = _recorded(bag, topics.pose, stamps)
        else:
            frames = frames or RecordedFrames(bag)
            base = info.header.frame_id.removesuffix(camera.optical_frame) + demonstration.cell.arm.base_frame
            poses, known = frames.poses(info.header.frame_id, base, stamps)
            transforms = np.linalg.inv(poses).astype(np.float32)
        depths = {int(stamp): i for i, stamp in enumerate(bag.stamps(depth_topic))}
        for row, stamp in enumerate(stamps.tolist()):
            if stamp not in depths or not known[row]:
                continue
            found.extrinsics[row, slot] = transforms[row]
            found.depth[row, slot] = bag.payload(depth_topic, depths[stamp], "data")
            found.intrinsics[row, slot] = info.k.reshape(3, 3)
            found.sizes[row, slot] = info.width, info.height
            found.present[row, slot] = True
    return found


def _recorded(bag: Bag, topic: str, stamps: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Base frame → camera [N, 4, 4] by poses with exactly these stamps, ns, and whether there is one [N]."""
    bag.require(topic, "geometry_msgs/msg/PoseStamped")
    poses = {int(stamp): i for i, stamp in enumerate(bag.stamps(topic))}
    transforms, known = np.zeros((len(stamps), 4, 4), np.float32), np.zeros(len(stamps), bool)
    for row, stamp in enumerate(stamps.tolist()):
        if stamp not in poses:
            continue
        pose = bag.message(topic, poses[stamp]).pose
        at, turn = pose.position, pose.orientation
        try:
            transforms[row] = extrinsics([at.x, at.y, at.z], [turn.x, turn.y, turn.z, turn.w])
        except ValueError as error:
            raise BagError(f"{bag.file}: {topic}: message {poses[stamp]}: {error}") from None
        known[row] = True
    return transforms, known


def _moves(samples: SampleTable) -> NDArray[np.bool_]:
    """Whether the known steps of each chunk [N] go anywhere, seen from its first step or from each other."""
    known = samples.action_mask[..., None]
    low = np.where(known, samples.actions, np.inf).min(axis=1)
    high = np.where(known, samples.actions, -np.inf).max(axis=1)
    limits = np.array([IDLE_JOINTS] * (samples.actions.shape[-1] - 1) + [IDLE_WIDTH])
    return np.asarray((high - low > limits).any(axis=1))
