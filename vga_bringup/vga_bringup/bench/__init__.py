"""Measurements of `vga bench` that need the robot's side."""
