"""Damaged input at every entrance, up to the full command: `make fuzz`.

draw.py: mutations of values, trees, bytes and texts. valid.py: one small valid thing of each kind. bags.py, files.py,
lerobot.py, messages.py: the entrances. worker.py: tries cases in a process with bounded memory. run.py: hands cases to
such processes, ends those that hang, and reports.
"""
