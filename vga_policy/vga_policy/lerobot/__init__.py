"""Demonstrations as LeRobot v3.0 datasets, and back: what ACT, π0.5 and others train on. Needs no LeRobot."""
