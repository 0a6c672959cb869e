"""A simulated camera: the ordinary camera node on a librealsense context whose camera shows the simulated cell.

Parameters: those of :mod:`vga_bringup.nodes.camera_node`. The camera is plugged in while the cell runs and pulled out
when it stops; neither the node nor its order of starting matters to that.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack

from vga_policy.cell.schema import Camera, Cell

from vga_bringup.camera.discovery import Remedies
from vga_bringup.nodes import camera_node
from vga_bringup.sim.rendering.frame_ring import SLOTS, FrameReader
from vga_bringup.sim.rendering.software_d415 import Bus, SoftwareD415

POLL_S = 0.002
LOOK_S = 0.1  # how often a cell is looked for
RENDERED = Remedies(
    absent="the simulated cell (sim_cell) at the cell file's arm.ip brings it",
    silent="the simulated cell has ended, or this computer has too much to do",
)
SILENCE_S = 1.0  # a cell without a new frame for so long is gone


class Feeder:
    """Feeds a camera of the bus with the frames of the running simulated cell, each at the time it is due."""

    def __init__(self, bus: Bus, address: str, camera: Camera) -> None:
        self._bus = bus
        self._address = address
        self._camera = camera
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"feeder of {camera.name}", daemon=True)

    def start(self) -> None:
        """Starts feeding."""
        self._thread.start()

    def stop(self) -> None:
        """Stops feeding and pulls the camera out."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_S):
            try:
                ring = FrameReader(self._address, self._camera)
            except FileNotFoundError:
                continue
            except ValueError as error:
                print(f"sim_camera: {error}; waiting for another one", file=sys.stderr, flush=True)
                self._stopping.wait(5.0)
                continue
            self._follow(ring)

    def _follow(self, ring: FrameReader) -> None:
        """Delivers a cell's frames until it is gone."""
        number = ring.written
        last_frame = time.monotonic()
        device: SoftwareD415 | None = None
        while not (self._stopping.is_set() or ring.withdrawn or time.monotonic() - last_frame > SILENCE_S):
            if ring.written > number + SLOTS // 2:  # held up: what is old by now is lost, as on a real camera
                number = ring.written - 1
            frame = ring.read(number)
            if frame is None:
                self._stopping.wait(POLL_S)
                continue
            if device is None:
                device = self._bus.plug(self._camera)
            self._stopping.wait(max(0.0, frame.due - time.time()))
            device.push(frame)
            number += 1
            last_frame = time.monotonic()
            self._stopping.wait(max(0.0, frame.due + 1 / self._camera.color.fps - time.time()))
        del device  # the bus still holds it: whoever lists the devices must find it alive
        self._bus.unplug_all()


def main(args: list[str] | None = None) -> int:
    """Runs the camera node; see :func:`vga_bringup.nodes.camera_node.main`."""
    with ExitStack() as stack:

        def devices(cell: Cell, camera: Camera) -> Bus:
            bus = Bus()
            feeder = Feeder(bus, cell.arm.ip, camera)
            feeder.start()
            stack.callback(feeder.stop)
            return bus

        return camera_node.main(args, devices, RENDERED)
