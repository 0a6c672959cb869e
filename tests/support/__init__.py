"""What tests of every package share: cells, addresses and ROS domains of their own, waiting, stand-ins, made episodes.

The fixtures made of it (`sim_cell`, `ros_domain`, `robot_address`) are in the `conftest.py` at the top. Programs that
tests run as processes are in `nodes/`, each by itself: it imports nothing of this package.
"""
