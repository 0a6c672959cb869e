"""A LeRobot v3.0 dataset → episodes, where joints and cameras are those of the cell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from vga_policy.bags import cdr
from vga_policy.bags.times import EARLIEST
from vga_policy.bags.writer import BagFile
from vga_policy.cell.finger import finger_joint
from vga_policy.cell.loading import dump_cell
from vga_policy.cell.schema import Camera, Cell
from vga_policy.dataset.actions import Track
from vga_policy.dataset.demonstration import COMPRESSED_IMAGE, JOINT_STATE, ROBOT_REFERENCE
from vga_policy.episodes.listing import Skipped
from vga_policy.episodes.metadata import IMPORTED, Episode
from vga_policy.episodes.topics import JOINT_STATES, REFERENCE, image_topic
from vga_policy.files import whole_directory
from vga_policy.lerobot import layout
from vga_policy.lerobot.reader import LeRobotError, LeRobotReader
from vga_policy.message_constants import OUTCOMES, Mode
from vga_policy.units import SECOND

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
JPEG_START = b"\xff\xd8\xff"


class ImportingError(ValueError):
    """A dataset that cannot become episodes of the cell. The message says what differs."""


def import_dataset(root: Path, out: Path, cell: Cell, outcome: str | None = None) -> tuple[list[Path], list[Skipped]]:
    """Writes the dataset's episodes into `out`, one directory each. Returns those and what was left out.

    outcome: label of episodes that have none. Joint states and references are put in between the frames at the cell's
    tracking rate, linearly; actions are taken for what the arm was told for one frame later, as `vga export` writes it.

    Raises ImportingError when nothing can be imported: no dataset, other joints or cameras, or episodes that exist.
    """
    try:
        reader = LeRobotReader(root)
    except LeRobotError as error:
        raise ImportingError(str(error)) from None
    cell = _cell_of(reader, cell)
    names = [_name(reader, episode) for episode in range(len(reader))]
    if existing := [name for name in names if (out / name).exists()]:
        raise ImportingError(f"{out}: {existing[0]} exists already: give another directory")
    out.mkdir(parents=True, exist_ok=True)
    written, problems = [], []
    for episode, name in enumerate(names):
        try:
            with whole_directory(out / name) as unfinished:
                _write(reader, episode, cell, unfinished, name, outcome)
            written.append(out / name)
        except (LeRobotError, ImportingError) as error:
            problems.append(Skipped(out / name, str(error)))
    if not written:
        with suppress(OSError):
            out.rmdir()  # unless there was something in it
    return written, problems


def _cell_of(reader: LeRobotReader, cell: Cell) -> Cell:
    """The cell with the cameras that the dataset has, at its image sizes. Raises ImportingError where they differ."""
    where, features = reader.root / layout.INFO, reader.features
    expected = [*cell.arm.joint_names, layout.GRIPPER]
    for key in (layout.STATE, layout.ACTION):
        found = features.get(key, {}).get("names")
        found = found.get("motors", found) if isinstance(found, dict) else found
        if found != expected:
            raise ImportingError(
                f"{where}: {key} is {found}, cell '{cell.name}' needs {expected} (rad, and m): where they mean the "
                "same, correct the names"
            )
    cameras: list[Camera] = []
    for camera in cell.cameras:
        feature = features.get(layout.image_key(camera.name))
        if feature is None and camera.slot is not None:
            images = [key for key, each in features.items() if each["dtype"] in ("image", "video")]
            raise ImportingError(
                f"{where}: no {layout.image_key(camera.name)}, which cell '{cell.name}' needs; has {images}"
            )
        if feature is not None:
            height, width = feature["shape"][:2]
            color = camera.color.model_copy(update={"height": height, "width": width})
            cameras.append(camera.model_copy(update={"color": color}))
    return cell.model_copy(update={"cameras": cameras})


def _name(reader: LeRobotReader, episode: int) -> str:
    name = str(_label(reader, episode).get("id", ""))
    return name if NAME.fullmatch(name) else f"episode_{episode:06d}"


def _label(reader: LeRobotReader, episode: int) -> dict[str, Any]:
    labels = reader.ours.get("episodes", [])
    return dict(labels[episode]) if episode < len(labels) else {}


def _write(reader: LeRobotReader, episode: int, cell: Cell, path: Path, name: str, outcome: str | None) -> None:
    label, numbers, task = _label(reader, episode), reader.numbers(episode), reader.task(episode)
    cameras = [camera.name for camera in cell.cameras]
    times = _Times.of(reader, numbers, cameras, int(label.get("started_ns") or EARLIEST))
    text = dump_cell(cell)
    file = path / f"{name}_0.mcap"
    bag = BagFile(file, {"cell": text})
    try:
        for topic, kind in (
            (JOINT_STATES, JOINT_STATE),
            (REFERENCE, ROBOT_REFERENCE),
            *((image_topic(camera.name), COMPRESSED_IMAGE) for camera in cell.cameras),
        ):
            bag.add_topic(cdr.topic(topic, kind))
        messages = [*_robot(numbers, cell, times), *_pictures(reader, episode, cell, times)]
        for log_time, topic, message in sorted(messages, key=lambda each: each[0]):
            bag.write(topic, message, log_time, log_time)
        bag.close()
    finally:
        bag.abandon()
    bag.describe(file)
    given = label.get("outcome", outcome)
    Episode(
        id=name,
        task=str(label.get("task") or re.sub(r"\W+", "_", task.lower()).strip("_")),
        instruction=task,
        operator=str(label.get("operator", "")),
        started_ns=bag.first,
        cell=text,
        ended_ns=bag.last,
        outcome=given if given in OUTCOMES else outcome,
        note=str(label.get("note", "")),
        messages=dict(bag.counts),
        source=IMPORTED,
        seed=label.get("seed"),
    ).save(path)


class _Times:
    """When an episode's frames happened, ns.

    t_obs: int64 [N]. captures: int64 [N, V], of the cell's cameras. ticks: int64 [N], when the live node would have
    seen each frame: regular, and not before its images were taken.
    """

    def __init__(self, t_obs: NDArray[np.int64], captures: NDArray[np.int64], fps: float) -> None:
        self.t_obs, self.captures = t_obs, captures
        since = np.round(np.arange(len(t_obs)) / fps * SECOND).astype(np.int64)
        self.ticks = since + (captures.max(axis=1) - since).max()
        self.period = round(SECOND / fps)

    @classmethod
    def of(cls, reader: LeRobotReader, numbers: dict[str, NDArray[Any]], cameras: list[str], start_ns: int) -> _Times:
        """The true times where the dataset has them, else its timestamps after `start_ns`."""
        where = f"{reader.root}: episode {int(numbers['episode_index'][0])}"
        if layout.STAMP in numbers and layout.CAPTURE_STAMPS in numbers:
            known = list(reader.features[layout.CAPTURE_STAMPS]["names"])
            if missing := [camera for camera in cameras if camera not in known]:
                raise LeRobotError(f"{where}: {layout.CAPTURE_STAMPS} lacks {', '.join(missing)}")
            t_obs = numbers[layout.STAMP]
            captures = numbers[layout.CAPTURE_STAMPS].reshape(len(t_obs), -1)
            captures = captures[:, [known.index(camera) for camera in cameras]]
        else:
            t_obs = start_ns + np.round(numbers["timestamp"].astype(np.float64) * SECOND).astype(np.int64)
            captures = np.repeat(t_obs[:, None], len(cameras), axis=1)
        if (np.diff(t_obs) < 0).any() or (np.diff(captures, axis=0) < 0).any():
            raise LeRobotError(f"{where}: its times run backwards")
        return cls(t_obs, captures, reader.fps)


def _robot(numbers: dict[str, NDArray[Any]], cell: Cell, times: _Times) -> Iterator[tuple[int, str, bytes]]:
    """Joint states and references between the frames, at the cell's tracking rate and at every instant that counts."""
    end = int(times.captures.max())
    step = round(SECOND / cell.arm.tracking.rate_hz)
    names = cell.joint_state_names
    frames = {key: np.asarray(numbers[key], dtype=np.float64) for key in (layout.STATE, layout.ACTION)}
    for key, values in frames.items():
        if not np.isfinite(values).all():
            raise LeRobotError(f"episode {int(numbers['episode_index'][0])}: {key} is not finite")
    fresh = np.flatnonzero(np.diff(times.t_obs, prepend=times.t_obs[0] - 1))
    state = Track(times.t_obs[fresh], frames[layout.STATE][fresh])
    # The first action is due one frame after the first observation: until then, the arm stays where it is.
    told = Track(
        np.concatenate([times.t_obs[:1], times.t_obs[fresh] + times.period]),
        np.concatenate([_at_rest(frames), frames[layout.ACTION][fresh]]),
    )
    instants = np.unique(np.concatenate([np.arange(times.t_obs[0], end, step), times.t_obs, times.captures.ravel()]))
    for stamp, values in zip(instants.tolist(), state.interpolated(instants), strict=True):
        position = [*values[:7], finger_joint(values[7])]
        message = cdr.new(JOINT_STATE, header={"stamp": stamp}, name=names, position=position)
        yield max(stamp, int(times.ticks[0])), JOINT_STATES, cdr.encode(message)
    instants = np.unique(np.concatenate([np.arange(times.t_obs[0], told.stamps[-1], step), told.stamps]))
    joints, widths = told.interpolated(instants), told.held(instants)
    for stamp, q, width in zip(instants.tolist(), joints[:, :7], widths[:, 7], strict=True):
        message = cdr.new(
            ROBOT_REFERENCE,
            header={"stamp": stamp, "frame_id": cell.arm.base_frame},
            joint_names=names[:7],
            position=q,
            gripper_width=float(width),
            mode=Mode.TELEOP,
        )
        yield max(stamp, int(times.ticks[0])), REFERENCE, cdr.encode(message)


def _at_rest(frames: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Reference [1, 8] before the first action: the measured joints; the first command of the gripper."""
    return np.append(frames[layout.STATE][0, :7], frames[layout.ACTION][0, 7])[None]


def _pictures(reader: LeRobotReader, episode: int, cell: Cell, times: _Times) -> Iterator[tuple[int, str, bytes]]:
    """Every camera's images, a repeated one once."""
    for view, camera in enumerate(cell.cameras):
        key, stamps = layout.image_key(camera.name), times.captures[:, view].tolist()
        frame = -1
        for frame, image in enumerate(reader.images(episode, key)):
            if frame and stamps[frame] == stamps[frame - 1]:
                continue
            header = {"stamp": stamps[frame], "frame_id": f"{camera.name}_color_optical_frame"}
            message = cdr.new(
                COMPRESSED_IMAGE,
                header=header,
                format="rgb8; jpeg compressed bgr8",
                data=_jpeg(image, camera.jpeg_quality, f"{reader.root}: episode {episode}: {key}: frame {frame}"),
            )
            yield int(times.ticks[frame]), image_topic(camera.name), cdr.encode(message)
        if frame + 1 != len(stamps):
            raise LeRobotError(f"{reader.root}: episode {episode}: {key} has {frame + 1} images, {len(stamps)} frames")


def _jpeg(image: bytes | NDArray[np.uint8], quality: int, where: str) -> bytes:
    """The image as JPEG: as it is if it is one."""
    if isinstance(image, bytes):
        if image.startswith(JPEG_START):
            return image
        decoded = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            raise LeRobotError(f"{where} cannot be decoded")
        image = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB).astype(np.uint8)
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, "RGB", "420"))
