"""How a node's process takes the signals that end it."""

import signal
import subprocess
import sys

import pytest

NODE = """
import os, time
import rclpy
from vga_policy.ros.lifetime import start_ros

class Rest:
    def __del__(self, write=os.write, sleep=time.sleep):  # runs after Python has handed signals back
        write(1, b"ends\\n")
        sleep(1.0)

rest = Rest()
stop = start_ros([])
print("runs", flush=True)
while not stop:
    time.sleep(0.01)
rclpy.shutdown()
"""


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_process_ends_in_order_though_a_signal_comes_again(first, second):
    with subprocess.Popen([sys.executable, "-c", NODE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "runs\n"
        process.send_signal(first)
        assert process.stdout.readline() == "ends\n"
        process.send_signal(second)
        assert process.wait(30) == 0
