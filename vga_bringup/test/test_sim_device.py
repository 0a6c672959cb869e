"""The software D415 on its bus: plugged in and pulled out while another thread lists and reads the devices."""

import subprocess
import sys

from support.nodes import program


def test_cameras_come_and_go_while_they_are_listed():
    # In a process of its own: a mistake here is a crash of librealsense, or a deadlock, not an exception.
    subprocess.run([sys.executable, program("plug_and_pull")], check=True, timeout=60)
