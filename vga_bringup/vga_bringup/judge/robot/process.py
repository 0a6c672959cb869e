"""The judging robot as a child process: started at an address, ended when its record is wanted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO

from vga_bringup.judge.robot import server

INTERPRETER = Path(".venv-judge/bin/python")  # of the checkout; env/judge.sh makes it
OURS = ("LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
WRITE_TIMEOUT = 30.0  # s


class JudgeError(RuntimeError):
    """The judge cannot work. The message says why and what to do."""


class JudgingRobot:
    """franka-sim at `address`, simulating the MJCF `model`; a context manager.

    enforce: whether it stops for what breaks a limit. whole: with a hand, and stopping for lost commands too.
    record: the file that it leaves, beside its log.
    """

    def __init__(
        self, interpreter: Path, address: str, model: Path, record: Path, *, enforce: bool, whole: bool = False
    ) -> None:
        self.record = record
        self._command = [str(interpreter), server.__file__, "--address", address, "--record", str(record)]
        self._command += ["--enforce"] if enforce else []
        self._command += ["--whole"] if whole else []
        # This environment's libraries are built for another NumPy. More threads would only get into each other's way.
        self._environment = {name: value for name, value in os.environ.items() if name not in OURS}
        self._environment |= {"FR3_MJCF": str(model), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._log = record.with_suffix(".log")
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> JudgingRobot:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env=self._environment, start_new_session=True,
            )  # fmt: skip
        if _output(self._process).readline().strip() != server.READY:
            self._process.wait()
            raise JudgeError(f"the judging robot did not start: see {self._log}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(WRITE_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _output(process).close()
        if kind is None and not self.record.is_file():
            raise JudgeError(f"the judging robot left no record: see {self._log}")


def _output(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def find_interpreter() -> Path:
    """The Python of the judge's environment. Raises JudgeError when there is none."""
    root = Path(sys.prefix).parent  # of .venv
    for base in (Path.cwd(), root):
        if (base / INTERPRETER).is_file():
            return (base / INTERPRETER).absolute()
    raise JudgeError(f"no {INTERPRETER} here: run env/judge.sh, or make judge, which does")
