"""From stamped samples to observations: the same code on live topics and on a bag.

The result depends only on the samples pushed so far and on the `now` asked for, never on a clock of its own.
Stamps and times are ns of one clock (the system clock, or /clock in a replay).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Generic, Protocol, TypeVar

import numpy as np
import simplejpeg
from numpy.typing import ArrayLike, NDArray

from vga_policy.contract.cell import Cell, PolicyInputs
from vga_policy.contract.observation import PROPRIOCEPTION, Observation

JOINTS = "joint_states"
SECOND = 1_000_000_000
IMAGES_KEPT = 8
JOINTS_KEPT = 1024  # 1 s of a 1 kHz stream, 10 s of the driver's 100 Hz
CLOCK_TOLERANCE = 10_000_000  # ns a stamp may lie ahead of now: what the clocks of two hosts may differ by
EXTRAPOLATION = 30_000_000  # ns beyond the joint history for which its nearest sample stands in

Sample = TypeVar("Sample")


class Image(Protocol):
    """An image that may not be decoded yet."""

    def decode(self) -> NDArray[np.uint8]:
        """RGB pixels [H, W, 3]. Raises ValueError when the data is damaged."""


class JpegImage:
    """A compressed image, decoded when its pixels are first asked for, and only once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pixels: NDArray[np.uint8] | None = None

    def decode(self) -> NDArray[np.uint8]:
        """RGB pixels [H, W, 3]. Raises ValueError when the data is no intact JPEG."""
        if self._pixels is None:
            self._pixels = simplejpeg.decode_jpeg(self._data)
        return self._pixels


class Fault(StrEnum):
    """What can be wrong with an input, in words."""

    MISSING = "nothing received"
    STALE = "newest is {age:.3f} s old, limit {limit:.3f} s"
    FUTURE = "stamped {age:.3f} s in the future, limit {limit:.3f} s: check the clocks"
    SKEWED = "newest is {age:.3f} s older than another view's, limit {limit:.3f} s"
    GAP = "{age:.3f} s between the samples around t_obs, limit {limit:.3f} s"
    OUTSIDE = "nearest sample is {age:.3f} s away from t_obs, limit {limit:.3f} s"
    DAMAGED = "image cannot be decoded"


@dataclass(frozen=True)
class Problem:
    """Why there is no observation: an input and its fault; age and limit in seconds where the fault has them."""

    input: str
    fault: Fault
    age: float = 0.0
    limit: float = 0.0

    def __str__(self) -> str:
        return f"{self.input}: {self.fault.format(age=self.age, limit=self.limit)}"


class Resampler:
    """Keeps the recent samples of every input and assembles observations from them.

    t_obs is the capture time of the oldest image among the newest of all views; proprioception is interpolated
    at t_obs. Samples may arrive late, repeated or out of order. Memory is bounded. Safe to use from several threads.
    """

    def __init__(self, views: Sequence[str], limits: PolicyInputs) -> None:
        self.views = tuple(views)
        self._max_image_age = round(limits.max_image_age * SECOND)
        self._max_image_skew = round(limits.max_image_skew * SECOND)
        self._max_joint_age = round(limits.max_joint_age * SECOND)
        self._images: dict[str, _Recent[Image]] = {view: _Recent(IMAGES_KEPT) for view in self.views}
        self._joints: _Recent[NDArray[np.float64]] = _Recent(JOINTS_KEPT)
        self._lock = Lock()

    def push_image(self, view: str, stamp_ns: int, image: Image) -> None:
        """Takes one image of a view, captured at `stamp_ns`."""
        with self._lock:
            self._images[view].push(stamp_ns, image)

    def push_joints(self, stamp_ns: int, proprioception: ArrayLike) -> None:
        """Takes one measured joint state: 7 joint angles (rad) and the gripper's opening (m).

        Raises ValueError when it is not 8 finite numbers.
        """
        sample = np.array(proprioception, dtype=np.float64)
        if sample.shape != (PROPRIOCEPTION,) or not np.isfinite(sample).all():
            raise ValueError(f"expected {PROPRIOCEPTION} finite numbers, found {sample.tolist()}")
        with self._lock:
            self._joints.push(stamp_ns, sample)

    def clear(self) -> None:
        """Forgets all samples (the clock was set back)."""
        with self._lock:
            for _, recent in self._inputs():
                recent.clear()

    def ages(self, now_ns: int) -> dict[str, float | None]:
        """Age of the newest sample of every input, seconds; None where there is none."""
        with self._lock:
            newest = {name: recent.newest(now_ns) for name, recent in self._inputs()}
        return {name: None if sample is None else (now_ns - sample[0]) / SECOND for name, sample in newest.items()}

    def problems(self, now_ns: int) -> tuple[Problem, ...]:
        """What keeps an observation from being made at `now_ns`; empty when one can be. Decodes nothing."""
        with self._lock:
            assembled = self._assemble(now_ns)
        return assembled if isinstance(assembled, tuple) else ()

    def observe(self, now_ns: int, instruction: str) -> Observation | tuple[Problem, ...]:
        """The observation at `now_ns`, or everything that is missing, stale, skewed or damaged."""
        with self._lock:
            assembled = self._assemble(now_ns)
        if isinstance(assembled, tuple):
            return assembled
        pixels, damaged = [], []
        for view, (_, image) in zip(self.views, assembled.images, strict=True):
            try:
                pixels.append(image.decode())
            except ValueError:
                damaged.append(Problem(view, Fault.DAMAGED))
        if damaged:
            return tuple(damaged)
        return Observation(
            stamp_ns=assembled.stamp_ns,
            images=tuple(pixels),
            image_stamps_ns=tuple(stamp for stamp, _ in assembled.images),
            proprioception=assembled.proprioception,
            instruction=instruction,
        )

    def _inputs(self) -> Iterable[tuple[str, _Recent]]:
        yield from self._images.items()
        yield JOINTS, self._joints

    def _assemble(self, now_ns: int) -> _Assembled | tuple[Problem, ...]:
        problems = []
        for name, recent in self._inputs():
            limit = self._max_joint_age if name == JOINTS else self._max_image_age
            if (problem := _stale(name, recent, now_ns, limit)) is not None:
                problems.append(problem)
        if problems:
            return tuple(problems)
        images = [sample for recent in self._images.values() if (sample := recent.newest(now_ns)) is not None]
        stamps = [stamp for stamp, _ in images]
        t_obs = min(stamps)
        if (skew := max(stamps) - t_obs) > self._max_image_skew:
            oldest = self.views[stamps.index(t_obs)]
            return (_problem(oldest, Fault.SKEWED, skew, self._max_image_skew),)
        proprioception = _interpolate(self._joints.until(now_ns), t_obs, self._max_joint_age)
        if isinstance(proprioception, Problem):
            return (proprioception,)
        return _Assembled(t_obs, images, proprioception)


def proprioception(cell: Cell, names: Sequence[str], positions: Sequence[float]) -> NDArray[np.float64]:
    """The proprioception vector [8] in a JointState's names and positions, in the cell's joint order.

    Its finger joint is half the gripper's opening, as in the URDF. Raises ValueError naming missing joints.
    """
    found = dict(zip(names, positions, strict=False))
    try:
        joints = [found[name] for name in cell.arm.joint_names]
        return np.array([*joints, 2.0 * found[cell.gripper.joint_name]])
    except KeyError as missing:
        raise ValueError(f"joint {missing} is missing; found {sorted(found)}") from None


@dataclass(frozen=True)
class _Assembled:
    """An observation before its images are decoded."""

    stamp_ns: int
    images: list[tuple[int, Image]]
    proprioception: NDArray[np.float64]


class _Recent(Generic[Sample]):
    """The last samples to arrive, by stamp; a stamp seen before is ignored.

    Eviction follows arrival, not stamps, so that one sample from a wrong clock, or a clock set back, is outlived.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._samples: dict[int, Sample] = {}

    def push(self, stamp_ns: int, sample: Sample) -> None:
        self._samples.setdefault(stamp_ns, sample)
        if len(self._samples) > self._capacity:
            del self._samples[next(iter(self._samples))]

    def clear(self) -> None:
        self._samples.clear()

    def until(self, now_ns: int) -> list[tuple[int, Sample]]:
        """The samples that are not from the future, oldest first."""
        return sorted(
            (item for item in self._samples.items() if item[0] <= now_ns + CLOCK_TOLERANCE), key=lambda item: item[0]
        )

    def newest(self, now_ns: int) -> tuple[int, Sample] | None:
        """The newest sample that is not from the future."""
        stamps = [stamp for stamp in self._samples if stamp <= now_ns + CLOCK_TOLERANCE]
        return (max(stamps), self._samples[max(stamps)]) if stamps else None

    def earliest_ns(self) -> int | None:
        return min(self._samples, default=None)


def _stale(name: str, recent: _Recent, now_ns: int, limit_ns: int) -> Problem | None:
    newest = recent.newest(now_ns)
    if newest is None:
        earliest = recent.earliest_ns()
        if earliest is None:
            return Problem(name, Fault.MISSING)
        return _problem(name, Fault.FUTURE, earliest - now_ns, CLOCK_TOLERANCE)
    age = now_ns - newest[0]
    return _problem(name, Fault.STALE, age, limit_ns) if age > limit_ns else None


def _interpolate(
    history: list[tuple[int, NDArray[np.float64]]], t_obs: int, max_gap: int
) -> NDArray[np.float64] | Problem:
    """Proprioception at `t_obs` between its neighbours in the history, if they are close enough."""
    after = bisect_left(history, t_obs, key=lambda sample: sample[0])
    if after == len(history) or after == 0:
        stamp, nearest = history[min(after, len(history) - 1)]
        gap = abs(t_obs - stamp)
        return nearest if gap <= EXTRAPOLATION else _problem(JOINTS, Fault.OUTSIDE, gap, EXTRAPOLATION)
    (start, before_values), (end, after_values) = history[after - 1], history[after]
    if end - start > max_gap:
        return _problem(JOINTS, Fault.GAP, end - start, max_gap)
    weight = (t_obs - start) / (end - start)
    return (1.0 - weight) * before_values + weight * after_values


def _problem(name: str, fault: Fault, age_ns: int, limit_ns: int) -> Problem:
    return Problem(name, fault, age_ns / SECOND, limit_ns / SECOND)
