"""Plugs a software D415 in and pulls it out while it lists the devices."""

import threading
import time

import pyrealsense2 as rs
from vga_bringup.graph.spec import cell_path
from vga_bringup.sim.rendering.software_d415 import Bus
from vga_policy.cell.loading import load_cell

camera, bus, done = load_cell(cell_path("sim")).cameras[0], Bus(), threading.Event()


def plug_and_pull():
    for _ in range(30):
        device = bus.plug(camera)
        time.sleep(0.01)
        del device
        bus.unplug_all()
        time.sleep(0.002)
    done.set()


threading.Thread(target=plug_and_pull).start()
counts = set()
while not done.is_set():
    devices = bus.query_devices()
    for i in range(len(devices)):
        assert devices[i].get_info(rs.camera_info.serial_number) == camera.serial
    counts.add(len(devices))
    del devices
    time.sleep(0.0005)
assert counts == {0, 1}, counts
assert len(bus.query_devices()) == 0
