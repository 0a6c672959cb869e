"""Training: demonstrations to checkpoints, and scenes to the geometry a policy starts from. No ROS."""
