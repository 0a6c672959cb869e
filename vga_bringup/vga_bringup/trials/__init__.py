"""Closed-loop trials of policies in the simulated cell: in one process on simulated time, or through the ROS graph."""
