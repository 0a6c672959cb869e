"""What every ROS node of the robot shares: topics, clocks, messages, life and death of a process."""
