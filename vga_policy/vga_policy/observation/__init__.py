"""What the policy sees and answers, and the resampler that makes it of a stream of messages, live or recorded.

Imports neither torch nor rclpy: the robot PC needs no torch, and training needs no ROS.
"""
