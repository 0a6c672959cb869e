"""A video of a trial: what the policy saw, and how it ended."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vga_policy.evaluate.rollout import Rollout, run_trial
from vga_policy.evaluate.trials import Trial
from vga_policy.observation.observation import Observation

HEIGHT = 240  # pixels of every view
BAR = 44  # pixels of the two lines below the views
LAST = 1.5  # s for which the outcome stands
INK, PAPER, GOOD, BAD = (31, 41, 51), (255, 255, 255), (22, 110, 60), (170, 40, 30)


class TrialVideo:
    """Writes observations as frames, `rate` a second. The file appears once `close` has been told how the trial ended.

    A context manager: left without `close`, it leaves no file.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._path = path
        self._unfinished = path.with_name(f".{path.name}")
        self._rate = Fraction(rate).limit_denominator(1000)
        self._container: av.container.OutputContainer | None = None
        self._views: Image.Image | None = None
        self._instruction = ""
        self._frames = 0

    def __enter__(self) -> TrialVideo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is not None:
            self._container.close()
        self._unfinished.unlink(missing_ok=True)

    def add(self, observation: Observation) -> None:
        """The next frame."""
        self._views, self._instruction = _side_by_side(observation.images), observation.instruction
        self._write(f"{self._frames / float(self._rate):.1f} s", INK)

    def close(self, success: bool, outcome: str) -> None:
        """Ends the video with the outcome in words; nothing is written where there was no frame."""
        if self._views is None or self._container is None:
            return
        for _ in range(round(LAST * float(self._rate))):
            self._write(outcome, GOOD if success else BAD)
        self._container.mux(self._stream.encode())
        self._container.close()
        self._container = None
        self._unfinished.replace(self._path)

    def _write(self, caption: str, color: tuple[int, int, int]) -> None:
        assert self._views is not None
        frame = Image.new("RGB", (self._views.width, HEIGHT + BAR), PAPER)
        frame.paste(self._views)
        draw, font = ImageDraw.Draw(frame), ImageFont.load_default(14)
        draw.text((8, HEIGHT + 4), self._instruction, INK, font)
        draw.text((8, HEIGHT + 23), caption, color, font)
        if self._container is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self._unfinished), "w", format="mp4")
            options = {"crf": "23", "preset": "veryfast", "threads": "1"}
            self._stream = self._container.add_stream("libx264", rate=self._rate, options=options)
            self._stream.pix_fmt = "yuv420p"
            self._stream.width, self._stream.height = frame.size
        self._container.mux(self._stream.encode(av.VideoFrame.from_image(frame)))
        self._frames += 1


def filmed_trial(rollout: Rollout, task: str, seed: int, *, dt: float, path: Path | None, every: int = 1) -> Trial:
    """One trial (see `run_trial`), with a video at `path` if there is one. every: steps from one frame to the next."""
    if path is None:
        return run_trial(rollout, task, seed, dt=dt)
    with TrialVideo(path, 1 / (dt * every)) as video:
        trial = run_trial(rollout, task, seed, dt=dt, watch=video.add)
        video.close(trial.success, f"{trial.outcome}: {trial.reason}")
    return trial


def _side_by_side(images: tuple[NDArray[np.uint8], ...]) -> Image.Image:
    """The views at one height, whatever their sizes; widths are even, as the format asks."""
    views = []
    for image in images:
        height, width = image.shape[:2]
        size = (2 * round(width * HEIGHT / height / 2), HEIGHT)
        views.append(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    whole = Image.new("RGB", (sum(view.width for view in views), HEIGHT))
    left = 0
    for view in views:
        whole.paste(view, (left, 0))
        left += view.width
    return whole
