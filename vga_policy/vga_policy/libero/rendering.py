"""Samples for training, rendered from the states of demonstrations: a file each, made again whenever it is missing."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from vga_policy.libero.cameras import SIZE, Views
from vga_policy.libero.demonstrations import DemonstrationFile, LiberoDemonstration
from vga_policy.libero.errors import LiberoError
from vga_policy.libero.world import Vector, World

JPEG_QUALITY = 95
MILLIMETERS = 1000.0


@dataclass(frozen=True)
class RenderedEpisode:
    """A demonstration as a policy would have seen it. Step t of each array is before action t.

    images: uint8 [T, V, S, S, 3]; depth: float32 [T, V, S, S], m, 0 where unknown; intrinsics: float32 [T, V, 3, 3];
    extrinsics: float32 [T, V, 4, 4], world to camera; proprioception: float64 [T, 8]; actions: float64 [T, 7].
    """

    task: str
    instruction: str
    images: NDArray[np.uint8]
    depth: NDArray[np.float32]
    intrinsics: NDArray[np.float32]
    extrinsics: NDArray[np.float32]
    proprioception: Vector
    actions: Vector


@dataclass(frozen=True)
class Rendering:
    """How files of demonstrations are rendered. mirrored: as published checkpoints were trained."""

    out: Path
    size: int = SIZE
    mirrored: bool = False
    keep_no_ops: bool = False


def render_files(
    files: Sequence[Path], how: Rendering, processes: int, report: Callable[[str], None]
) -> tuple[int, list[str]]:
    """Renders what is missing of all files; how many episodes there are, and what was left out, in words."""
    episodes = 0
    problems: list[str] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, max(1, len(files))), context) as pool:
        for file, (made, wrong) in zip(files, pool.map(render_file, files, [how] * len(files)), strict=True):
            report(f"{file}: {made} episodes, {len(wrong)} left out")
            episodes, problems = episodes + made, problems + wrong
    return episodes, problems


def render_file(path: Path, how: Rendering) -> tuple[int, list[str]]:
    """Renders what is missing of one file; one fault leaves the other demonstrations as they are."""
    made = 0
    problems: list[str] = []
    world: World | None = None
    try:
        with DemonstrationFile(path) as file:
            for name in file.names:
                target = how.out / file.task.suite / file.task.name / f"{name}.safetensors"
                if target.is_file():
                    made += 1
                    continue
                try:
                    demonstration = file.read(name)
                    if world is None:
                        world = World(file.task, size=how.size)
                        world.reset()
                    write(render(world, demonstration, how), target)
                    made += 1
                except LiberoError as error:
                    text = str(error)
                    problems.append(text if text.startswith(str(path)) else f"{path}, {name}: {text}")
    except LiberoError as error:
        problems.append(str(error))
    finally:
        if world is not None:
            world.close()
    return made, problems


def render(world: World, demonstration: LiberoDemonstration, how: Rendering) -> RenderedEpisode:
    """What a policy would have seen. Raises LiberoError when the demonstration is of another scene, or fails."""
    world.set_fixtures(demonstration.fixtures())
    world.start(demonstration.states[-1])
    if not (world.done() or world.step(demonstration.actions[-1])):
        raise LiberoError("does not end with the task done: left out")
    if not how.keep_no_ops:
        demonstration = demonstration.without_no_ops()
    seen: list[Views] = []
    felt: list[Vector] = []
    for state in demonstration.states:
        world.start(state)
        views = world.views()
        seen.append(views.mirrored() if how.mirrored else views)
        felt.append(world.proprioception())
    return RenderedEpisode(
        world.task.label,
        world.task.instruction,
        np.stack([views.images for views in seen]),
        np.stack([views.depth for views in seen]),
        np.stack([views.intrinsics for views in seen]),
        np.stack([views.extrinsics for views in seen]),
        np.stack(felt),
        demonstration.actions,
    )


def write(episode: RenderedEpisode, file: Path) -> None:
    """Writes JPEG and PNG (16 bit, mm) pictures and what belongs to them; the file appears whole or not at all."""
    steps, views = episode.images.shape[:2]
    jpegs = [simplejpeg.encode_jpeg(image, JPEG_QUALITY, "RGB", "444") for image in _flat(episode.images)]
    depths = np.round(_flat(episode.depth) * MILLIMETERS).clip(0, np.iinfo(np.uint16).max).astype(np.uint16)
    pngs = [cv2.imencode(".png", depth)[1].tobytes() for depth in depths]
    tensors: dict[str, NDArray[Any]] = {
        "intrinsics": episode.intrinsics,
        "extrinsics": episode.extrinsics,
        "proprioception": episode.proprioception,
        "actions": episode.actions,
    }
    for name, blobs in (("jpeg", jpegs), ("png", pngs)):
        tensors[name] = np.frombuffer(b"".join(blobs), np.uint8)
        tensors[f"{name}_ends"] = np.cumsum([len(blob) for blob in blobs]).reshape(steps, views)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    about = {"task": episode.task, "instruction": episode.instruction, "size": str(episode.images.shape[2])}
    save_file(tensors, unfinished, metadata=about)
    unfinished.replace(file)


def read(file: Path) -> RenderedEpisode:
    """The whole of a rendered episode. Raises LiberoError when it is damaged."""
    try:
        with safe_open(file, framework="numpy") as opened:
            about = opened.metadata()
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        shape = tensors["jpeg_ends"].shape
        images = np.stack([simplejpeg.decode_jpeg(blob) for blob in _blobs(tensors, "jpeg")])
        depths = np.stack([_depth(blob) for blob in _blobs(tensors, "png")])
    except Exception as error:  # whatever damaged files make their readers stumble over
        raise LiberoError(f"{file}: damaged ({error}): delete it and render again") from None
    return RenderedEpisode(
        about["task"],
        about["instruction"],
        images.reshape(*shape, *images.shape[1:]),
        depths.reshape(*shape, *depths.shape[1:]),
        tensors["intrinsics"],
        tensors["extrinsics"],
        tensors["proprioception"],
        tensors["actions"],
    )


def _flat(pictures: NDArray[Any]) -> NDArray[Any]:
    return pictures.reshape(-1, *pictures.shape[2:])


def _blobs(tensors: dict[str, NDArray[Any]], name: str) -> Iterator[bytes]:
    ends = [0, *tensors[f"{name}_ends"].ravel().tolist()]
    for begin, end in pairwise(ends):
        yield tensors[name][begin:end].tobytes()


def _depth(png: bytes) -> NDArray[np.float32]:
    millimeters = np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED))
    return (millimeters / MILLIMETERS).astype(np.float32)
