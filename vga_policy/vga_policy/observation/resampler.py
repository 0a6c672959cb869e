"""From stamped samples to observations: the same code on live topics and on a bag.

What has arrived decides only which t_obs is the newest possible one. The observation at a given t_obs depends on the
samples' stamps alone: so a dataset finds in the bag exactly what the live node saw.
Stamps and times are ns of one clock (the system clock, or /clock in a replay).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Generic, Protocol, TypeVar

import numpy as np
import simplejpeg
from numpy.typing import ArrayLike, NDArray

from vga_policy.cell.schema import PolicyInputs
from vga_policy.observation.observation import PROPRIOCEPTION, Observation
from vga_policy.units import SECOND

JOINTS = "joint_states"
IMAGES_KEPT = 16  # 0.27 s at 60 Hz: longer than the oldest usable image is old
JOINTS_KEPT = 1024  # 1 s of a 1 kHz stream, 10 s of the driver's 100 Hz
LARGEST_IMAGE = 2**26  # pixels; a damaged header may claim 4 billion, and memory for them
CLOCK_TOLERANCE = 10_000_000  # ns a stamp may lie ahead of now: what the clocks of two hosts may differ by

Sample = TypeVar("Sample")


class Image(Protocol):
    """An image that may not be decoded yet."""

    def decode(self) -> NDArray[np.uint8]:
        """RGB pixels [H, W, 3]. Raises ValueError when the data is damaged."""


def jpeg_size(data: bytes | NDArray[np.uint8]) -> tuple[int, int]:
    """Height and width of a JPEG. Raises ValueError when the data is none, or claims a size that no camera has."""
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    if height * width > LARGEST_IMAGE:
        raise ValueError(f"its header claims {width}x{height} pixels")
    return height, width


class JpegImage:
    """A compressed image, decoded when its pixels are first asked for, and only once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pixels: NDArray[np.uint8] | None = None

    def decode(self) -> NDArray[np.uint8]:
        """RGB pixels [H, W, 3]. Raises ValueError when the data is no intact JPEG."""
        if self._pixels is None:
            jpeg_size(self._data)
            self._pixels = simplejpeg.decode_jpeg(self._data)
        return self._pixels


class Fault(StrEnum):
    """What can be wrong with an input, in words."""

    MISSING = "nothing received"
    STALE = "newest is {age:.3f} s old, limit {limit:.3f} s"
    FUTURE = "stamped {age:.3f} s in the future, limit {limit:.3f} s: check the clocks"
    SKEWED = "newest is {age:.3f} s older than another view's, limit {limit:.3f} s"
    GAP = "{age:.3f} s between the samples around t_obs, limit {limit:.3f} s"
    OUTSIDE = "t_obs lies {age:.3f} s outside the samples"
    DAMAGED = "image cannot be decoded"
    NOT_BELIEVED = "the last to arrive is not believed: {why}"


@dataclass(frozen=True)
class Problem:
    """Why there is no observation: an input and its fault; age and limit (s) and why, where the fault has them."""

    input: str
    fault: Fault
    age: float = 0.0
    limit: float = 0.0
    why: str = ""

    def __str__(self) -> str:
        return f"{self.input}: {self.fault.format(age=self.age, limit=self.limit, why=self.why)}"


@dataclass(frozen=True)
class Selection:
    """What an observation is made of, its images not decoded yet; fields as in Observation."""

    views: tuple[str, ...]
    stamp_ns: int
    images: tuple[Image, ...]
    image_stamps_ns: tuple[int, ...]
    proprioception: NDArray[np.float64]

    def decode(self, instruction: str) -> Observation | tuple[Problem, ...]:
        """The observation, or the views whose image is damaged."""
        pixels, damaged = [], []
        for view, image in zip(self.views, self.images, strict=True):
            try:
                pixels.append(image.decode())
            except ValueError:
                damaged.append(Problem(view, Fault.DAMAGED))
        if damaged:
            return tuple(damaged)
        return Observation(self.stamp_ns, tuple(pixels), self.image_stamps_ns, self.proprioception, instruction)


class Resampler:
    """Keeps the recent samples of every input and assembles observations from them.

    t_obs is the capture time of the oldest image among the newest of all views, of those that the joint states have
    caught up with. The observation at t_obs: of every view the first image from t_obs on, and the proprioception
    interpolated at t_obs. Samples may arrive late, repeated or out of order. Memory is bounded. Safe to use from
    several threads.

    images_kept, joints_kept: samples that each input keeps; the live defaults outlast the oldest usable t_obs.
    """

    def __init__(
        self,
        views: Sequence[str],
        limits: PolicyInputs,
        images_kept: int = IMAGES_KEPT,
        joints_kept: int = JOINTS_KEPT,
    ) -> None:
        self.views = tuple(views)
        self._max_image_age = round(limits.max_image_age * SECOND)
        self._max_image_skew = round(limits.max_image_skew * SECOND)
        self._max_joint_age = round(limits.max_joint_age * SECOND)
        self._images: dict[str, _Recent[Image]] = {view: _Recent(images_kept) for view in self.views}
        self._joints: _Recent[NDArray[np.float64]] = _Recent(joints_kept)
        self._disbelief = ""
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
            self._disbelief = ""

    def pass_over_joints(self, why: str) -> None:
        """Leaves out one joint state that is not believed; when nothing else comes, the problem is `why`."""
        with self._lock:
            self._disbelief = why

    def clear(self) -> None:
        """Forgets all samples (the clock was set back)."""
        with self._lock:
            for _, recent in self._inputs():
                recent.clear()
            self._disbelief = ""

    def ages(self, now_ns: int) -> dict[str, float | None]:
        """Age of the newest sample of every input, seconds; None where there is none."""
        with self._lock:
            newest = {name: recent.newest(now_ns + CLOCK_TOLERANCE) for name, recent in self._inputs()}
        return {name: None if stamp is None else (now_ns - stamp) / SECOND for name, stamp in newest.items()}

    def problems(self, now_ns: int) -> tuple[Problem, ...]:
        """What keeps an observation from being made at `now_ns`; empty when one can be. Decodes nothing."""
        selected = self.select(now_ns)
        return selected if isinstance(selected, tuple) else ()

    def observe(self, now_ns: int, instruction: str) -> Observation | tuple[Problem, ...]:
        """The observation at `now_ns`, or everything that is missing, stale, skewed or damaged."""
        selected = self.select(now_ns)
        return selected if isinstance(selected, tuple) else selected.decode(instruction)

    def select(self, now_ns: int) -> Selection | tuple[Problem, ...]:
        """Like :meth:`observe`; decodes nothing."""
        with self._lock:
            t_obs = self._newest_t_obs(now_ns)
            return self._at(t_obs) if isinstance(t_obs, int) else t_obs

    def select_at(self, t_obs_ns: int) -> Selection | tuple[Problem, ...]:
        """The observation at a known t_obs, or what keeps it from being made. Decodes nothing."""
        with self._lock:
            return self._at(t_obs_ns)

    def _inputs(self) -> Iterable[tuple[str, _Recent]]:
        yield from self._images.items()
        yield JOINTS, self._joints

    def _newest_t_obs(self, now_ns: int) -> int | tuple[Problem, ...]:
        """The newest instant at which every input is known, or why there is none that is recent."""
        stale = [_stale(view, recent, now_ns, self._max_image_age) for view, recent in self._images.items()]
        problems = [problem for problem in (*stale, self._stale_joints(now_ns)) if problem is not None]
        known_until = self._joints.newest(now_ns + CLOCK_TOLERANCE)
        if problems or known_until is None:
            return tuple(problems)
        newest = []
        for view, recent in self._images.items():
            if (stamp := recent.newest(known_until)) is None:
                gap = (recent.earliest() or known_until) - known_until
                return (Problem(JOINTS, Fault.OUTSIDE, gap / SECOND),)
            if (age := now_ns - stamp) > self._max_image_age:
                return (_problem(view, Fault.STALE, age, self._max_image_age),)
            newest.append(stamp)
        return min(newest)

    def _stale_joints(self, now_ns: int) -> Problem | None:
        problem = _stale(JOINTS, self._joints, now_ns, self._max_joint_age)
        return Problem(JOINTS, Fault.NOT_BELIEVED, why=self._disbelief) if problem and self._disbelief else problem

    def _at(self, t_obs: int) -> Selection | tuple[Problem, ...]:
        images, stamps = [], []
        for view, recent in self._images.items():
            if (stamp := recent.first_from(t_obs)) is None:
                return (Problem(view, Fault.MISSING),)
            images.append(recent[stamp])
            stamps.append(stamp)
        if (skew := max(stamps) - t_obs) > self._max_image_skew:
            oldest = self.views[stamps.index(min(stamps))]
            return (_problem(oldest, Fault.SKEWED, skew, self._max_image_skew),)
        proprioception = _interpolate(self._joints, t_obs, self._max_joint_age)
        if isinstance(proprioception, Problem):
            return (proprioception,)
        return Selection(self.views, t_obs, tuple(images), tuple(stamps), proprioception)


class _Recent(Generic[Sample]):
    """The last samples to arrive, by stamp; a stamp seen before is ignored.

    Eviction follows arrival, not stamps, so that one sample from a wrong clock, or a clock set back, is outlived.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._samples: dict[int, Sample] = {}  # in order of arrival
        self._stamps: list[int] = []  # ascending

    def __getitem__(self, stamp_ns: int) -> Sample:
        return self._samples[stamp_ns]

    def __len__(self) -> int:
        return len(self._samples)

    def push(self, stamp_ns: int, sample: Sample) -> None:
        if stamp_ns in self._samples:
            return
        self._samples[stamp_ns] = sample
        insort(self._stamps, stamp_ns)
        if len(self._samples) > self._capacity:
            evicted = next(iter(self._samples))
            del self._samples[evicted]
            del self._stamps[bisect_left(self._stamps, evicted)]

    def clear(self) -> None:
        self._samples.clear()
        self._stamps.clear()

    def earliest(self) -> int | None:
        """The first stamp."""
        return self._stamps[0] if self._stamps else None

    def newest(self, until_ns: int) -> int | None:
        """The last stamp that is not after `until_ns`."""
        count = bisect_right(self._stamps, until_ns)
        return self._stamps[count - 1] if count else None

    def first_from(self, start_ns: int) -> int | None:
        """The first stamp that is not before `start_ns`."""
        index = bisect_left(self._stamps, start_ns)
        return self._stamps[index] if index < len(self._stamps) else None


def _stale(name: str, recent: _Recent, now_ns: int, limit_ns: int) -> Problem | None:
    newest = recent.newest(now_ns + CLOCK_TOLERANCE)
    if newest is None:
        earliest = recent.earliest()
        if earliest is None:
            return Problem(name, Fault.MISSING)
        return _problem(name, Fault.FUTURE, earliest - now_ns, CLOCK_TOLERANCE)
    age = now_ns - newest
    return _problem(name, Fault.STALE, age, limit_ns) if age > limit_ns else None


def _interpolate(joints: _Recent[NDArray[np.float64]], t_obs: int, max_gap: int) -> NDArray[np.float64] | Problem:
    """Proprioception at `t_obs` between its two neighbors, if they are close enough."""
    before, after = joints.newest(t_obs), joints.first_from(t_obs)
    if before is None or after is None:
        nearest = joints.earliest() if before is None else before
        return Problem(JOINTS, Fault.OUTSIDE, 0.0 if nearest is None else abs(t_obs - nearest) / SECOND)
    if after == before:
        return joints[before]
    if after - before > max_gap:
        return _problem(JOINTS, Fault.GAP, after - before, max_gap)
    weight = (t_obs - before) / (after - before)
    return (1.0 - weight) * joints[before] + weight * joints[after]


def _problem(name: str, fault: Fault, age_ns: int, limit_ns: int) -> Problem:
    return Problem(name, fault, age_ns / SECOND, limit_ns / SECOND)
