"""The simulated cell: MuJoCo behind libfranka's protocol, rendered cameras behind librealsense."""

import os

# Draw without a display. MuJoCo reads this when it is first imported.
os.environ.setdefault("MUJOCO_GL", "egl")
