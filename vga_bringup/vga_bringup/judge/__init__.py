"""The outside judge of the driver: an independent simulated FR3 that counts what the real one would stop for."""
