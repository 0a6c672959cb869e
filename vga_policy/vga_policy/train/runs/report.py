"""What a run says while it runs: progress with the time left, the loss curve, TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vga_policy.train.runs.curves import draw_curves
from vga_policy.train.runs.run import Run

SHOWN = ("loss", "action", "keyframe", "camera", "depth")
REDRAW_S = 0.5
LINE_S = 30.0  # from one line to the next where nothing can be redrawn: in a file, or a pipe


class Reporter:
    """Tells of steps and validations. Only the main process's is active."""

    def __init__(self, run: Run, step: int, steps: int, *, active: bool) -> None:
        self._run = run
        self._active = active
        self._steps = steps
        self._console = Console(stderr=True)
        self._live = active and self._console.is_terminal
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[metrics]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=self._console,
            disable=not self._live,
        )
        self._task = self._bar.add_task("", total=steps, completed=step, metrics="")
        self._drawn = 0.0
        self._board: Any = None

    def __enter__(self) -> Self:
        if self._active:
            from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

            self._board = SummaryWriter(str(self._run.tensorboard), purge_step=self._bar.tasks[0].completed + 1)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._active:
            self._bar.stop()
            self._board.close()
            try:
                draw_curves(self._run)
            except OSError as why:  # a picture is not worth the run, nor the error that ends it
                self._console.print(f"curves.png could not be written: {why}", highlight=False)

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """A step is done."""
        if not self._active:
            return
        self._run.log({"step": step, **metrics})
        for name, value in metrics.items():
            self._board.add_scalar(f"train/{name}", value, step)
        if time.monotonic() - self._drawn > (REDRAW_S if self._live else LINE_S):
            self._drawn = time.monotonic()
            if self._live:
                shown = " ".join(f"{name} {metrics[name]:.4f}" for name in SHOWN if name in metrics)
                self._bar.update(self._task, completed=step, metrics=f"{shown} {1e3 * metrics['seconds']:.0f} ms")
            else:
                self._console.print(self._line(step, metrics), highlight=False, soft_wrap=True)

    def _line(self, step: int, metrics: Mapping[str, float]) -> str:
        left = timedelta(seconds=round((self._steps - step) * metrics["seconds"]))
        shown = "".join(f", {name} {metrics[name]:.4f}" for name in SHOWN[:2] if name in metrics)
        return f"step {step} of {self._steps}{shown}, {1e3 * metrics['seconds']:.0f} ms, {left} left"

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """A validation is done."""
        if not self._active:
            return
        self._run.log({"step": step, "validation": dict(metrics)})
        for name, value in metrics.items():
            self._board.add_scalar(f"validation/{name}", value, step)
        told = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        self._console.print(f"step {step}: validation {told}", highlight=False, soft_wrap=not self._live)
