"""A LeRobot v3.0 dataset → episodes, where joints and cameras are those of the cell."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vga_policy.bags import cdr
from vga_policy.bags.reader import Bag
from vga_policy.bags.writer import BagFile, bag_file
from vga_policy.cell.finger import finger_joint
from vga_policy.cell.loading import dump_cell
from vga_policy.cell.schema import ARM_JOINTS, Camera, Cell
from vga_policy.dataset.actions import Track
from vga_policy.dataset.demonstration import COMPRESSED_IMAGE, JOINT_STATE, ROBOT_REFERENCE
from vga_policy.episodes.listing import Skipped
from vga_policy.episodes.metadata import IMPORTED, Episode, load_episode
from vga_policy.episodes.topics import JOINT_STATES, REFERENCE, image_topic
from vga_policy.files import whole_directory
from vga_policy.lerobot import layout
from vga_policy.lerobot.description import LATEST_NS, EpisodeLabel, FrameFeature
from vga_policy.lerobot.errors import LeRobotError, in_one_line, quoted
from vga_policy.lerobot.pictures import PictureSize, jpeg, promised_size
from vga_policy.lerobot.reader import LeRobotReader
from vga_policy.message_constants import Mode
from vga_policy.units import SECOND
from vga_policy.wording import shortened

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
# When an episode of a dataset begins that does not say when: 1 January 2020. Clocks that were never set say earlier.
START_NS = 1_577_836_800 * SECOND
FARTHEST = 10 * SECOND  # ns that a frame's true times may be away from the dataset's grid
DIGEST = "lerobot"  # key in the bag's first record: what of the dataset became of this episode
IMAGES = layout.image_key("")
NO_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # the next episode could not be written either


class ImportingError(ValueError):
    """A dataset that cannot become episodes of the cell. The message says what differs."""


FAULTS = (LeRobotError, ImportingError)


def import_dataset(
    root: Path, out: Path, cell: Cell, outcome: str | None = None, meanings: Mapping[str, str] | None = None
) -> tuple[list[Path], list[Skipped]]:
    """Writes the dataset's episodes into `out`, one directory each. Returns those and what was left out.

    outcome: label of episodes that have none. meanings: what the dataset's names of joints and of features with images
    are called in the cell, where they are called otherwise.

    Joint states and references are put in between the frames at the cell's tracking rate, linearly; actions are taken
    for what the arm was told for one frame later, as `vga export` writes it.

    An episode that an earlier call has written is returned too, and not done again. One that is wrong in any way is
    left out, and says why; the others do not suffer.

    Raises ImportingError when nothing can be imported: no dataset, other joints or cameras.
    """
    try:
        reader = LeRobotReader(root)
        names = _Names.of(reader, meanings or {})
        cell = _cell_of(reader, cell, names)
    except Exception as error:  # of any kind: whatever is read of it, it cannot be used
        raise ImportingError(in_one_line(error, FAULTS, root)) from None
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    problems = [Skipped(root, problem) for problem in reader.problems]
    taken: set[str] = set()
    for episode in reader.episodes:
        path = out / f"episode_{episode:06d}"
        try:
            label = reader.label(episode)
            if (name := label.id or "") not in taken and NAME.fullmatch(name):
                path = out / name
            taken.add(path.name)
            source = _Source.of(reader, episode, label, cell)
            if not _is_there(path, source):
                with whole_directory(path) as unfinished:
                    _write(reader, source, unfinished, path.name, outcome, names)
            written.append(path)
        except Exception as error:  # of any kind: the other episodes do not suffer
            if isinstance(error, OSError) and error.errno in NO_MORE:
                raise
            problems.append(Skipped(path, f"episode {episode}: {in_one_line(error, FAULTS)}"))
    if not written:
        with suppress(OSError):
            out.rmdir()  # unless there was something in it
    return written, problems


@dataclass(frozen=True)
class _Names:
    """What the dataset calls things that the cell calls otherwise."""

    meanings: Mapping[str, str]

    @classmethod
    def of(cls, reader: LeRobotReader, meanings: Mapping[str, str]) -> _Names:
        """Raises ImportingError for a name that the dataset does not have."""
        numbers = [reader.feature(key) for key in (layout.STATE, layout.ACTION) if key in reader.features]
        known = {str(name) for feature in numbers for name in feature.listed_names or []}
        known |= {name for name in reader.features if name.startswith(IMAGES)}
        whole = {IMAGES + name if IMAGES + name in known else name: meaning for name, meaning in meanings.items()}
        if unknown := [name for name in whole if name not in known]:
            raise ImportingError(f"--map: the dataset has no {quoted(unknown[0])}; it has {quoted(sorted(known))}")
        return cls(whole)

    def meant(self, name: Any) -> Any:
        """What the cell calls it."""
        return self.meanings.get(str(name), name)

    def image_key(self, camera: str) -> str:
        """The feature with the images of a camera of the cell."""
        mapped = (name for name, meaning in self.meanings.items() if meaning == camera and name.startswith(IMAGES))
        return next(mapped, layout.image_key(camera))


@dataclass(frozen=True)
class _Source:
    """An episode of the dataset besides its pictures. state, action: float64 [N, 8]. digest: of all of this."""

    episode: int
    label: EpisodeLabel
    task: str
    state: NDArray[np.float64]
    action: NDArray[np.float64]
    times: _Times
    cell: Cell
    digest: str

    @classmethod
    def of(cls, reader: LeRobotReader, episode: int, label: EpisodeLabel, cell: Cell) -> _Source:
        """Raises LeRobotError when something of it is missing or wrong."""
        task = reader.task(episode)
        numbers = reader.numbers(episode)
        state, action = numbers[layout.STATE], numbers[layout.ACTION]
        times = _Times.of(reader, numbers, [camera.name for camera in cell.cameras], label.started_ns)
        digest = hashlib.sha256()
        for part in (label.model_dump_json().encode(), task.encode(), dump_cell(cell).encode()):
            digest.update(part)
        for array in (state, action, times.t_obs, times.captures):
            digest.update(np.ascontiguousarray(array).tobytes())
        return cls(episode, label, task, state, action, times, cell, digest.hexdigest())


def _is_there(path: Path, source: _Source) -> bool:
    """Whether an earlier call has written this episode. Raises ImportingError when something else is there."""
    if not path.exists():
        return False
    with suppress(Exception), Bag(path) as bag:  # whatever it is, it is not ours
        if load_episode(path).source == IMPORTED and bag.metadata.get(DIGEST) == source.digest:
            return True
    raise ImportingError(f"{path} exists already and is something else: give another directory or remove it")


def _cell_of(reader: LeRobotReader, cell: Cell, names: _Names) -> Cell:
    """The cell with the cameras that the dataset has, at its image sizes. Raises LeRobotError where they differ."""
    where = reader.root / layout.INFO
    expected = [*cell.arm.joint_names, layout.GRIPPER]
    for key in (layout.STATE, layout.ACTION):
        feature = _feature(reader, key, cell)
        found = [names.meant(name) for name in feature.listed_names or []]
        if found != expected:
            number = next((i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), len(found))
            differs = f"name {number} is {quoted(found[number], 20)}" if number < len(found) else f"{len(found)} names"
            needed = f"needs {quoted(expected[number])}" if number < len(expected) else f"needs {len(expected)}"
            pair = f"{found[number]}={expected[number]}" if number < min(len(found), len(expected)) else "NAME=MEANING"
            raise LeRobotError(
                f"{where}: {key} is {quoted(found, 30)}: {differs}, cell '{cell.name}' {needed} (rad, and m of the "
                f"gripper): if it means the same, add --map {shortened(pair, 40)},..."
            )
        if feature.shape != [len(expected)]:
            raise LeRobotError(f"{where}: {key}: shape is {quoted(feature.shape)}, but it has {len(expected)} names")
    cameras: list[Camera] = []
    for camera in cell.cameras:
        key = names.image_key(camera.name)
        if key not in reader.features and camera.slot is None:
            continue  # recorded but not shown to the policy: others need not have it
        height, width = promised_size(_feature(reader, key, cell), f"{where}: {key}")
        color = camera.color.model_copy(update={"height": height, "width": width})
        cameras.append(camera.model_copy(update={"color": color}))
    return cell.model_copy(update={"cameras": cameras})


def _feature(reader: LeRobotReader, key: str, cell: Cell) -> FrameFeature:
    """A feature that the cell needs. Raises LeRobotError when the dataset has none of this name."""
    if key not in reader.features:
        has = [name for name in reader.features if name.startswith(key.partition(".")[0])]
        where = reader.root / layout.INFO
        raise LeRobotError(f"{where}: features: no {key}, which cell '{cell.name}' needs; has {quoted(has)}")
    return reader.feature(key)


def _write(reader: LeRobotReader, source: _Source, path: Path, name: str, outcome: str | None, names: _Names) -> None:
    text = dump_cell(source.cell)
    file = path / bag_file(path.with_name(name)).name
    bag = BagFile(file, {"cell": text, DIGEST: source.digest})
    try:
        for topic, kind in (
            (JOINT_STATES, JOINT_STATE),
            (REFERENCE, ROBOT_REFERENCE),
            *((image_topic(camera.name), COMPRESSED_IMAGE) for camera in source.cell.cameras),
        ):
            bag.add_topic(cdr.topic(topic, kind))
        messages = [*_robot(source), *_pictures(reader, source, names)]
        for log_time, topic, message in sorted(messages, key=lambda each: each[0]):
            bag.write(topic, message, log_time, log_time)
        bag.close()
    finally:
        bag.abandon()
    bag.describe(file)
    label = source.label
    Episode(
        id=name,
        task=label.task or re.sub(r"\W+", "_", source.task.lower()).strip("_"),
        instruction=source.task,
        operator=label.operator or "",
        started_ns=bag.first,
        cell=text,
        ended_ns=bag.last,
        outcome=label.outcome or outcome,
        note=label.note or "",
        messages=dict(bag.counts),
        source=IMPORTED,
        seed=label.seed,
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
    def of(
        cls, reader: LeRobotReader, numbers: dict[str, NDArray[Any]], cameras: list[str], start_ns: int | None
    ) -> _Times:
        """The true times where the dataset has them, else its timestamps after `start_ns`. Raises LeRobotError."""
        if layout.STAMP in numbers:
            t_obs, captures = cls._true(reader, numbers, cameras)
        else:
            timestamps = numbers["timestamp"]
            off = np.abs(timestamps - np.arange(len(timestamps)) / reader.fps)
            if len(wrong := np.flatnonzero(off > 0.5 / reader.fps)):
                frame = int(wrong[0])
                found, expected = timestamps[frame], frame / reader.fps
                raise LeRobotError(f"timestamp of frame {frame} is {found:g} s, expected {expected:g}: correct it")
            start = START_NS if start_ns is None else start_ns
            t_obs = start + np.round(timestamps * SECOND).astype(np.int64)
            captures = np.repeat(t_obs[:, None], len(cameras), axis=1)
        if (np.diff(t_obs) < 0).any() or (np.diff(captures, axis=0) < 0).any():
            raise LeRobotError("its times run backwards")
        return cls(t_obs, captures, reader.fps)

    @staticmethod
    def _true(
        reader: LeRobotReader, numbers: dict[str, NDArray[Any]], cameras: list[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Columns stamp_ns and, of these cameras, capture_stamps_ns. Raises LeRobotError where they make no sense."""
        known = reader.feature(layout.CAPTURE_STAMPS).listed_names or []
        if missing := [camera for camera in cameras if camera not in known]:
            raise LeRobotError(f"{layout.CAPTURE_STAMPS} lacks {', '.join(missing)}")
        t_obs = numbers[layout.STAMP]
        captures = numbers[layout.CAPTURE_STAMPS][:, [known.index(camera) for camera in cameras]]
        expected = t_obs[:1] + np.round(np.arange(len(t_obs)) / reader.fps * SECOND).astype(np.int64)
        for name, stamps in ((layout.STAMP, t_obs[:, None]), (layout.CAPTURE_STAMPS, captures)):
            wrong = np.argwhere((np.abs(stamps - expected[:, None]) > FARTHEST) | (stamps < 0) | (stamps >= LATEST_NS))
            if len(wrong):
                frame, column = wrong[0]
                found = f"{name} of frame {frame} is {stamps[frame, column]} ns"
                raise LeRobotError(f"{found}, expected about {expected[frame]}: correct it")
        return t_obs, captures


def _robot(source: _Source) -> Iterator[tuple[int, str, bytes]]:
    """Joint states and references between the frames, at the cell's tracking rate and at every instant that counts."""
    times, cell = source.times, source.cell
    end = int(times.captures.max())
    step = round(SECOND / cell.arm.tracking.rate_hz)
    names = cell.joint_state_names
    fresh = np.flatnonzero(np.diff(times.t_obs, prepend=times.t_obs[0] - 1))
    state = Track(times.t_obs[fresh], source.state[fresh])
    # The first action is due one frame after the first observation: until then, the arm stays where it is.
    told = Track(
        np.concatenate([times.t_obs[:1], times.t_obs[fresh] + times.period]),
        np.concatenate([_at_rest(source), source.action[fresh]]),
    )
    instants = np.unique(np.concatenate([np.arange(times.t_obs[0], end, step), times.t_obs, times.captures.ravel()]))
    for stamp, values in zip(instants.tolist(), state.interpolated(instants), strict=True):
        position = [*values[:ARM_JOINTS], finger_joint(values[ARM_JOINTS])]
        message = cdr.new(JOINT_STATE, header={"stamp": stamp}, name=names, position=position)
        yield max(stamp, int(times.ticks[0])), JOINT_STATES, cdr.encode(message)
    instants = np.unique(np.concatenate([np.arange(times.t_obs[0], told.stamps[-1], step), told.stamps]))
    joints, widths = told.interpolated(instants), told.held(instants)
    for stamp, q, width in zip(instants.tolist(), joints[:, :ARM_JOINTS], widths[:, ARM_JOINTS], strict=True):
        message = cdr.new(
            ROBOT_REFERENCE,
            header={"stamp": stamp, "frame_id": cell.arm.base_frame},
            joint_names=names[:ARM_JOINTS],
            position=q,
            gripper_width=float(width),
            mode=Mode.TELEOP,
        )
        yield max(stamp, int(times.ticks[0])), REFERENCE, cdr.encode(message)


def _at_rest(source: _Source) -> NDArray[np.float64]:
    """Reference [1, 8] before the first action: the measured joints; the first command of the gripper."""
    return np.append(source.state[0, :ARM_JOINTS], source.action[0, ARM_JOINTS])[None]


def _pictures(reader: LeRobotReader, source: _Source, names: _Names) -> Iterator[tuple[int, str, bytes]]:
    """Every camera's images, a repeated one once."""
    for view, camera in enumerate(source.cell.cameras):
        key, stamps = names.image_key(camera.name), source.times.captures[:, view].tolist()
        size = PictureSize(camera.color.height, camera.color.width)
        for frame, image in enumerate(reader.images(source.episode, key)):
            if frame and stamps[frame] == stamps[frame - 1]:
                continue
            try:
                data = jpeg(image, camera.jpeg_quality, size)
            except LeRobotError as error:
                raise LeRobotError(f"{key}: picture {frame} {error}") from None
            header = {"stamp": stamps[frame], "frame_id": f"{camera.name}_color_optical_frame"}
            message = cdr.new(COMPRESSED_IMAGE, header=header, format="rgb8; jpeg compressed bgr8", data=data)
            yield int(source.times.ticks[frame]), image_topic(camera.name), cdr.encode(message)
