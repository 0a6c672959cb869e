"""The judge's robot: an independent FR3 in a process of its own."""
