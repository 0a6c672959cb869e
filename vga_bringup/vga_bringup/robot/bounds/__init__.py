"""Where the arm may be and how fast it may move: limits, kinematics, self-collision."""
