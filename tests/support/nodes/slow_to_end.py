"""A node that takes a second to end, when Python has handed signals back already."""

import os
import time

import rclpy
from vga_policy.ros.lifetime import start_ros


class Rest:
    def __del__(self, write=os.write, sleep=time.sleep):  # runs after Python has handed signals back
        write(1, b"ends\n")
        sleep(1.0)


rest = Rest()
stop = start_ros([])
print("runs", flush=True)
while not stop:
    time.sleep(0.01)
rclpy.shutdown()
