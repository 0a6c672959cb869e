"""Motion: what the arm is asked for at every instant."""
