"""What every part of the system agrees on: the cell file, observations, action chunks and the resampler.

Imports neither torch nor rclpy: the robot PC needs no torch, and training needs no ROS.
"""
