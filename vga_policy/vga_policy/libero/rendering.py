"""Demonstrations for training, rendered from states: a file each, made again whenever it is missing."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from vga_policy.dataset.origins import Origin
from vga_policy.dataset.shards import EVERY, SUFFIX, RenderedDemonstration, begin_demonstrations, write_demonstration
from vga_policy.episodes.listing import DatasetError
from vga_policy.files import alone
from vga_policy.libero.cameras import SIZE, Views
from vga_policy.libero.demonstrations import POLICY_STEPS, DemonstrationFile, LiberoDemonstration
from vga_policy.libero.embodiment import LIBERO, MIRRORED
from vga_policy.libero.errors import LiberoError, told
from vga_policy.libero.world import Vector, World
from vga_policy.workers import worker_pool

MILLIMETERS = 1000.0
UNSAID = {EVERY: "1"}  # what files say nothing of that were rendered before it was an option


@dataclass(frozen=True)
class Rendering:
    """How files of demonstrations are rendered, into a directory of each suite below `out`.

    mirrored: as published checkpoints were trained. every: the first of so many steps is drawn.
    """

    out: Path
    size: int = SIZE
    mirrored: bool = False
    keep_no_ops: bool = False
    every: int = 1

    def about(self, demonstration: LiberoDemonstration) -> dict[str, str]:
        """What is written beside a rendered demonstration: by it one that is there already is known again."""
        content = zlib.crc32(demonstration.actions.tobytes(), zlib.crc32(demonstration.states.tobytes()))
        return {
            "source": f"{content:08x}",
            "pixels": str(self.size),
            "mirrored": str(self.mirrored),
            "no_ops": "kept" if self.keep_no_ops else "left out",
            EVERY: str(self.every),
        }


def render_files(
    files: Sequence[Path], how: Rendering, processes: int, report: Callable[[str], None]
) -> tuple[int, list[str]]:
    """Renders what is missing of all files; how many demonstrations there are, and what was left out, in words."""
    demonstrations: set[Path] = set()
    problems: list[str] = []
    with worker_pool(min(processes, max(1, len(files)))) as pool:
        running = [pool.submit(render_file, file, how) for file in files]
        for file, done in zip(files, running, strict=True):
            error = done.exception()
            made, wrong = done.result() if error is None else ([], [f"{file}: {told(error)}"])
            copies = f", {len(known)} of them known" if (known := demonstrations.intersection(made)) else ""
            report(f"{file}: {len(made)} demonstrations{copies}, {len(wrong)} left out")
            if made:
                _tell_instruction(file, report)
            demonstrations.update(made)
            problems += wrong
    return len(demonstrations), problems


def _tell_instruction(path: Path, report: Callable[[str], None]) -> None:
    """Says so where a file has another instruction: a policy learns the one that it is evaluated with."""
    with suppress(LiberoError), DemonstrationFile(path) as file:
        if (said := file.other_instruction()) is not None:
            report(f"{path}: says {said!r}; the benchmark's {file.task.instruction!r} is taken instead")


def render_file(path: Path, how: Rendering) -> tuple[list[Path], list[str]]:
    """Renders what is missing of one file; one fault leaves the other demonstrations as they are.

    The files of those that are rendered then, and what was left out, in words.
    """
    made: list[Path] = []
    problems: list[str] = []
    world: World | None = None
    try:
        with DemonstrationFile(path) as file, ExitStack() as stack:
            suite = how.out / file.task.suite
            begin_demonstrations(suite, MIRRORED if how.mirrored else LIBERO)
            stack.enter_context(alone(suite / f".{file.task.name}.lock"))
            for name in file.names:
                try:
                    demonstration, target = file.read(name), f"{file.task.name}/{name}"
                    rendered = suite / f"{target}{SUFFIX}"
                    if not _is_there(rendered, how.about(demonstration)):
                        if world is None:
                            world = World(file.task, size=how.size)
                            world.reset()
                        write_demonstration(render(world, demonstration, how), suite, target)
                    made.append(rendered)
                except (OSError, DatasetError):
                    raise
                except Exception as error:  # whatever a file makes the simulator stumble over
                    text = told(error)
                    problems.append(text if text.startswith(str(path)) else f"{path}, {name}: {text}")
    except (LiberoError, DatasetError) as error:
        problems.append(str(error))
    except OSError as error:
        problems.append(f"{path}: the rest of it cannot be written to {how.out} ({error})")
    finally:
        if world is not None:
            world.close()
    return made, problems


def render(world: World, demonstration: LiberoDemonstration, how: Rendering) -> RenderedDemonstration:
    """What a policy would have seen. Raises LiberoError when the demonstration is of another scene, or fails.

    Positions are the simulation's world's, in which proprioception is, too.
    """
    about = how.about(demonstration)
    world.refuse_impossible(demonstration.states)
    world.set_fixtures(demonstration.fixtures())
    world.start(demonstration.states[-1])
    if not (world.done() or world.step(demonstration.actions[-1])):
        raise LiberoError("does not end with the task done: left out")
    if not how.keep_no_ops:
        demonstration = demonstration.without_no_ops()
    seen: list[Views] = []
    felt: list[Vector] = []
    for step, state in enumerate(demonstration.states):
        world.start(state)
        felt.append(world.proprioception())
        if step % how.every == 0:
            views = world.views()
            seen.append(views.mirrored() if how.mirrored else views)
    depth = MILLIMETERS * np.stack([views.depth for views in seen])
    return RenderedDemonstration(
        task=world.task.label,
        instruction=world.task.instruction,
        images=np.stack([views.images.transpose(0, 3, 1, 2) for views in seen]),
        proprioception=np.stack(felt).astype(np.float32),
        actions=demonstration.actions.astype(np.float32),
        depth=depth.round().clip(0, np.iinfo(np.uint16).max).astype(np.uint16),
        intrinsics=np.stack([views.intrinsics for views in seen]),
        extrinsics=np.stack([views.extrinsics for views in seen]),
        every=how.every,
        origin=Origin.INTERVENTION if POLICY_STEPS in demonstration.notes else Origin.DEMONSTRATION,
        about=about,
    )


def _is_there(file: Path, about: dict[str, str]) -> bool:
    """Whether a demonstration is rendered. Raises LiberoError when something else is in its place."""
    if not file.is_file():
        return False
    try:
        with safe_open(file, framework="numpy") as opened:
            found = opened.metadata() or {}
    except (OSError, SafetensorError):
        return False  # damaged: rendered again
    for key, value in about.items():
        if found.get(key, UNSAID.get(key)) != value:
            raise LiberoError(f"{file} has {key} {found.get(key)}, not {value}: choose another --out")
    return True
