"""Process of the simulated cell that draws what its cameras see, beside the physics so as not to hold it up."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing

import mujoco
import numpy as np
from numpy.typing import NDArray
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Camera, Cell

from vga_bringup.sim.physics.children import Termination
from vga_bringup.sim.physics.pacing import Pacer
from vga_bringup.sim.physics.simulator import compile_model
from vga_bringup.sim.physics.state import Snapshot, find_state
from vga_bringup.sim.rendering.canvas import Canvas
from vga_bringup.sim.rendering.frame_ring import FrameWriter
from vga_bringup.sim.scene import objects, views
from vga_bringup.sim.tasks.registry import objects_of

DEPTH_RANGE = 8.0  # m; beyond it a camera reports no depth. The sky is drawn as a cube from 8.66 m on
NOISE = 1.5  # standard deviation of a pixel's noise, of 255: as of a real sensor, no two images are the same
MOST_NOISE = 5


class SensorNoise:
    """Adds noise to images in place. It is cheap: each image takes another cut of one long sequence."""

    def __init__(self, largest_image: int, seed: int | None = None) -> None:
        self._random = np.random.default_rng(seed)
        sequence = self._random.normal(0.0, NOISE, 2 * largest_image).clip(-MOST_NOISE, MOST_NOISE)
        self._sequence = np.rint(sequence).astype(np.int8).view(np.uint8)

    def reseed(self, seed: int) -> None:
        """Begins anew: the same images get the same noise from here on."""
        self._random = np.random.default_rng(seed)

    def add(self, image: NDArray[np.uint8]) -> None:
        """Adds noise to an image of any shape."""
        start = self._random.integers(len(self._sequence) - image.size)
        noise = self._sequence[start : start + image.size].reshape(image.shape)
        np.clip(image, MOST_NOISE, 255 - MOST_NOISE, out=image)  # now adding modulo 256 adds signed numbers
        np.add(image, noise, out=image)


class CellRenderer:
    """Draws the cell as its cameras see it. Belongs to the thread that made it; close it there.

    model: of a simulated cell with these cameras, compiled when not given. noise: seed of the sensors' noise.
    """

    def __init__(
        self, cameras: Sequence[Camera], model: mujoco.MjModel | None = None, noise: int | None = None
    ) -> None:
        self.model = compile_model([camera.name for camera in cameras]) if model is None else model
        self.data = mujoco.MjData(self.model)
        self._lamp = self.model.material("lamp").rgba
        sizes = {(camera.color.height, camera.color.width) for camera in cameras}
        self._canvas = Canvas(self.model, *np.max(list(sizes), axis=0).tolist())
        self.noise = SensorNoise(max(3 * height * width for height, width in sizes), noise)

    def load(self, snapshot: Snapshot) -> None:
        """Sets what the next images show."""
        snapshot.load(self.model, self.data)
        self._lamp[:3] = objects.LAMP_ON if objects.button_latched(self.data) else objects.LAMP_OFF

    def draw(self, camera: Camera, color: NDArray[np.uint8], depth: NDArray[np.uint16] | None = None) -> None:
        """Draws one camera's image [H, W, 3] into `color`, and what it shows in mm [H, W] into `depth` if given."""
        meters = self._canvas.draw(self.data, camera.name, color, with_depth=depth is not None)
        self.noise.add(color)
        if depth is not None and meters is not None:
            meters[meters > DEPTH_RANGE] = 0.0
            depth[:] = np.rint(meters * 1000)

    def close(self) -> None:
        """Frees the GL context."""
        self._canvas.close()


def render(
    cell: Cell,
    things: objects.Objects,
    moved: Mapping[str, views.View],
    physics: int,
    capture_delay: float,
    termination: Termination,
) -> None:
    """Draws every camera of the cell at its rate until terminated. Cameras due together show the same instant.

    things: on the table. moved: cameras that stand elsewhere.
    physics: id of the process that computes the state; drawing starts when it publishes its first.
    capture_delay: seconds from the instant drawn to the delivery of its frame.
    """
    fastest = max(camera.color.fps for camera in cell.cameras)
    model = compile_model([camera.name for camera in cell.cameras], things)
    for name, view in moved.items():
        views.move(model, name, view)
    with ExitStack() as stack:
        renderer = stack.enter_context(closing(CellRenderer(cell.cameras, model)))
        while (state := find_state(cell.arm.ip, physics)) is None:
            if termination:
                return
            time.sleep(0.05)
        rings = [stack.enter_context(closing(FrameWriter(cell.arm.ip, camera))) for camera in cell.cameras]
        pacer = Pacer(1 / fastest, give_up=1 / fastest)
        turn = 0
        while not termination:
            snapshot = state.read()
            renderer.load(snapshot)
            for camera, ring in zip(cell.cameras, rings, strict=True):
                if _due(turn, camera.color.fps, fastest):
                    renderer.draw(camera, ring.color, ring.depth if camera.depth else None)
                    captured = snapshot.wall_time
                    ring.publish(captured, snapshot.sim_time, captured + capture_delay, time.time())
            turn += 1
            pacer.wait()


def _due(turn: int, fps: int, fastest: int) -> bool:
    """Whether a camera of this rate has a frame in this turn of the fastest one."""
    return turn * fps // fastest != (turn - 1) * fps // fastest


def main() -> None:
    """Entry point of the process; started by `sim_cell`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", required=True, help="path of the cell file")
    parser.add_argument("--task", default="", help="whose objects are on the table")
    parser.add_argument(
        "--moved", action="append", default=[], help="a camera that stands elsewhere: `views.displaced`"
    )
    parser.add_argument("--physics", type=int, required=True, help="process that computes the state")
    parser.add_argument("--capture-delay", type=float, required=True, help="seconds from capture to delivery")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="process whose end ends this one")
    arguments = parser.parse_args()
    termination = Termination(arguments.parent)
    cell, things = load_cell(arguments.cell), objects_of(arguments.task)
    moved = dict(map(views.displaced, arguments.moved))
    render(cell, things, moved, arguments.physics, arguments.capture_delay, termination)


if __name__ == "__main__":
    main()
