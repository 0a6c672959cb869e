"""What a policy acts with, as data: what its actions and its proprioception are, how often it acts, what it sees.

A robot's cell derives one from its cell file (`Cell.embodiment`); a benchmark is one (`vga_policy.libero`).
"""
