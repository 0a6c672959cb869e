"""Reads video files that hold many episodes: which episodes lie where their rows say, and each row's own picture.

A picture beside another row is worse than none. What does not agree leaves an episode out; nothing is ever shifted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from vga_policy.lerobot.description import WIDEST
from vga_policy.lerobot.errors import LeRobotError

HALF = 0.5 - 1e-6  # of a frame: as far as a picture may be from its row's time
REORDERED = 16  # frames that may be decoded in another order than shown: H.264 and HEVC allow no more
TOO_MANY = 64  # positions an episode could have after others that are wrong: then no more are thought of


class Claim(NamedTuple):
    """Where an episode says it lies in a file, s, and how many frames it has.

    start, end: None where that is not known, of an episode that may lie in this file or elsewhere. others: what it may
    have instead of `length`, where what is said of it disagrees.
    """

    episode: int
    start: float | None
    end: float | None
    length: int
    others: tuple[int, ...] = ()


class Footage:
    """One video file. times: float64 [N], s, when each frame is shown, ascending. period: s between them."""

    def __init__(self, path: Path) -> None:
        """Reads when each frame is shown, without decoding any. Raises LeRobotError when that cannot be known."""
        self.path = path
        try:
            if not path.is_file():
                raise LeRobotError(f"{path}: missing")
            with av.open(str(path)) as container:
                if not container.streams.video:
                    raise LeRobotError(f"{path}: no video in it")
                stream = container.streams.video[0]
                shown = [packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard]
                base = stream.time_base
                context = stream.codec_context  # none for a codec that is not known
                if context is None:
                    raise LeRobotError(f"{path}: its codec is not known: fetch it again")
                _require_color(path, context.format, stream.width, stream.height)
        except (FFmpegError, OSError) as error:
            raise LeRobotError(f"{path}: no readable video: {error.strerror}: fetch it again") from None
        except UnicodeDecodeError:  # of its own words about itself
            raise LeRobotError(f"{path}: no readable video: its metadata are no UTF-8: fetch it again") from None
        if not shown or base is None or any(pts is None for pts in shown):
            raise LeRobotError(f"{path}: its frames have no times: write it anew, as LeRobot does")
        self._shown = np.sort(np.array(shown, dtype=np.int64))
        self.times = self._shown * float(base)
        self.period = float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0

    def misplaced(self, claims: Sequence[Claim], fps: float) -> dict[int, str]:
        """Which of the file's episodes, in the order of the dataset, do not lie where they say, and why.

        Each must begin where the ones before it end, have as many frames as it lasts, and the file must end with the
        last one. An episode that fails, or whose place is not known, may be in the file or not: either will do.
        """
        found: dict[int, str] = {}
        ends = {0.0}  # where the next episode may begin
        for claim in claims:
            begins = min(ends, key=lambda end: abs(end - (claim.start or 0.0)))
            reason = _inconsistency(claim, begins, fps)
            if claim.start is not None and not reason:
                ends = {begins + claim.length / fps}
                continue
            if reason:
                found[claim.episode] = f"{self.path}: {reason}: correct meta/episodes"
            if len(ends) <= TOO_MANY:
                ends |= {round(end + length / fps, 6) for end in ends for length in (claim.length, *claim.others)}
        if damage := self._damage(ends, fps):
            found |= {claim.episode: f"{self.path}: {damage}" for claim in claims if claim.start is not None}
        return found

    def frames_at(self, start: float, count: int, fps: float) -> NDArray[np.int64]:
        """Numbers of the frames that are nearest to start + k / fps, k < count: int64 [count], each used once.

        Raises LeRobotError where there is none within half a frame, and where frames are missing or doubled.
        """
        wanted = start + np.arange(count) / fps
        after = np.searchsorted(self.times, wanted).clip(1, max(len(self.times) - 1, 1))
        before = after - 1
        after = after.clip(max=len(self.times) - 1)
        nearest = np.where(wanted - self.times[before] <= self.times[after] - wanted, before, after)
        far = np.flatnonzero((np.abs(self.times[nearest] - wanted) > HALF / fps) | (np.diff(nearest, prepend=-1) < 1))
        if len(far):
            row = int(far[0])
            raise LeRobotError(f"{self.path}: no frame of its own for row {row}, at {wanted[row]:.3f} s")
        steps = np.diff(self.times[nearest[0] : nearest[-1] + 1]) / (self.period or 1.0)
        if len(odd := np.flatnonzero((steps > 1.5) | (steps < 0.5))):
            at, step = self.times[nearest[0] + odd[0]], steps[odd[0]]
            raise LeRobotError(f"{self.path}: frames are {'missing' if step > 1 else 'doubled'} after {at:.3f} s")
        return nearest

    def pictures(self, frames: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """The pictures [H, W, 3] of these frames, whose numbers ascend. Raises LeRobotError when one is damaged."""
        wanted = self._shown[frames].tolist()
        try:
            with av.open(str(self.path)) as container:
                stream = container.streams.video[0]
                # Earlier than the first: some formats seek by the order of decoding.
                container.seek(int(self._shown[max(frames[0] - REORDERED, 0)]), stream=stream)
                given = 0
                for frame in container.decode(stream):
                    if frame.pts is not None and frame.pts < wanted[given]:
                        continue
                    if frame.pts != wanted[given] or frame.is_corrupt:
                        break
                    _require_color(self.path, frame.format, frame.width, frame.height)
                    yield np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
                    given += 1
                    if given == len(wanted):
                        return
        except FFmpegError as error:
            raise LeRobotError(f"{self.path}: damaged: {error.strerror}: fetch it again") from None
        at = self.times[frames[given]]
        raise LeRobotError(f"{self.path}: the frame at {at:.3f} s cannot be decoded: fetch the file again")

    def _damage(self, ends: set[float], fps: float) -> str:
        """Why no episode of the file can be trusted; empty when all its frames are those of its episodes."""
        period = self.period or 1 / fps
        half, last = HALF * min(period, 1 / fps), float(self.times[-1]) + period
        if abs(self.times[0]) > half:
            return f"its first frame is at {self.times[0]:.3f} s, not at 0: write it anew"
        if all(abs(end - last) > half for end in ends):
            nearest = min(ends, key=lambda end: abs(end - last))
            return (
                f"it ends at {last:.3f} s, its episodes at {nearest:.3f} s: frames are missing or too many, "
                "and which cannot be told: fetch or write it anew"
            )
        return ""


def _inconsistency(claim: Claim, begins: float, fps: float) -> str:
    """Why an episode that should begin at `begins` does not lie where it says; empty where it does, or says nothing."""
    if claim.start is None or claim.end is None:
        return ""
    lasts, expected = claim.end - claim.start, claim.length / fps
    if abs(lasts - expected) > HALF / fps:
        return f"to_timestamp - from_timestamp is {lasts:.3f} s, but {claim.length} frames last {expected:.3f} s"
    if abs(claim.start - begins) > HALF / fps:
        return f"from_timestamp is {claim.start:.3f} s, but the episodes before end at {begins:.3f} s"
    return ""


def _require_color(path: Path, form: av.VideoFormat | None, width: int, height: int) -> None:
    """Raises LeRobotError for pictures that are not of a color camera, or larger than any."""
    if form is None:
        raise LeRobotError(f"{path}: no picture in it can be decoded: fetch it again")
    if len(form.components) < 3 or max(component.bits for component in form.components) >= 16:
        raise LeRobotError(f"{path}: its pictures are {form.name}, not color: depth is not taken for color")
    if not (0 < width <= WIDEST and 0 < height <= WIDEST):
        raise LeRobotError(f"{path}: its pictures are {width}x{height}, which no camera has")
