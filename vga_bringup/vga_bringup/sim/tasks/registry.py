"""Tasks by their names: the cell's own, those of installed packages (`vga.tasks`), and those of files (`VGA_TASKS`)."""

from __future__ import annotations

import os
from functools import lru_cache

import mujoco
from vga_policy.plugins import TASKS as KIND
from vga_policy.plugins import PluginError

from vga_bringup.sim.scene import objects
from vga_bringup.sim.scene import task as definition
from vga_bringup.sim.scene.task import Arrangement, Task, TaskError
from vga_bringup.sim.tasks.builtin import TASKS


def find(name: str) -> Task:
    """The task of this name. Raises TaskError."""
    return TASKS[name] if name in TASKS else _load(name, os.environ.get(KIND.files, ""))


def objects_of(name: str) -> objects.Objects:
    """What is on the table for a task; the cell's own things for no name. Raises TaskError."""
    return find(name).objects if name else objects.TABLE


def arrange(name: str, seed: int) -> Arrangement:
    """The scene of one trial; the same seed gives the same scene. Raises TaskError."""
    return definition.arrange(name, find(name), seed)


@lru_cache
def _load(name: str, _files: str) -> Task:
    """Somebody's task, whose objects have been tried."""
    try:
        task = KIND.load(name)
    except PluginError as error:
        raise TaskError(str(error)) from None
    whose = f"task '{name}' of {KIND.whose(name)}"
    if not isinstance(task, Task):
        raise TaskError(f"{whose}: is a {type(task).__name__}, not a Task of vga_bringup.sim.tasks")
    try:
        mujoco.MjModel.from_xml_string(objects.mjcf(task.objects))
    except Exception as error:  # of a wrong Object, of XML, of MuJoCo
        raise TaskError(f"{whose}: its objects: {' '.join(str(error).split())}") from None
    return task
