"""Where a camera is, from pictures of a board that were taken in several poses of the arm. No ROS."""
