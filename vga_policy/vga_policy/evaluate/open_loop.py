"""What a policy would have done in recorded episodes, against what was done: no robot, no feedback.

A small error is needed but not enough: errors that accumulate in closed loop do not show here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vga_policy.cell.schema import ARM_JOINTS
from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.inference.policy import Policy
from vga_policy.observation.observation import Observation


@dataclass(frozen=True)
class OpenLoop:
    """Chunks of N samples, rad and m: predicted and recorded float64 [N, H, 8]; known: bool [N, H], recorded steps.

    observed: float64 [N, 8], proprioception. stamps: int64 [N], t_obs. episodes: int64 [N].
    """

    predicted: NDArray[np.float64]
    recorded: NDArray[np.float64]
    known: NDArray[np.bool_]
    observed: NDArray[np.float64]
    stamps: NDArray[np.int64]
    episodes: NDArray[np.int64]

    def errors(self) -> NDArray[np.float64]:
        """Mean absolute error of each step and joint [H, 8], rad; the last column is the gripper's, m. NaN: unknown."""
        return self._mean(np.abs(self.predicted - self.recorded))

    def standing_still(self) -> NDArray[np.float64]:
        """The same error of a policy that stays where it is: the yardstick."""
        return self._mean(np.abs(self.observed[:, None] - self.recorded))

    def summary(self) -> dict[str, Any]:
        """Everything as plain data."""
        errors, still = self.errors(), self.standing_still()
        return {
            "samples": len(self.stamps),
            "episodes": len(np.unique(self.episodes)),
            "joint_error_rad": _mean(errors[:, :ARM_JOINTS]),
            "gripper_error_m": _mean(errors[:, ARM_JOINTS]),
            "standing_still": {
                "joint_error_rad": _mean(still[:, :ARM_JOINTS]),
                "gripper_error_m": _mean(still[:, ARM_JOINTS]),
            },
            "by_step": [
                {"joints_rad": _plain(row[:ARM_JOINTS]), "gripper_m": _plain(row[ARM_JOINTS:])[0]} for row in errors
            ],
        }

    def _mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over the samples that know the step."""
        count = self.known.sum(axis=0)[:, None]
        total = np.where(self.known[..., None], values, 0.0).sum(axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def run(policy: Policy, dataset: EpisodeDataset, rows: Sequence[int]) -> OpenLoop:
    """Has the policy act on these samples of the dataset, through the same code as in the cell."""
    predicted, drawn = [], []
    for row in rows:
        sample = dataset[row]
        images = tuple(np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in sample["images"])
        stamp = sample["stamp_ns"]
        observed = sample["proprioception"].double().numpy()
        # Images of the model's own size: preparing them once more changes nothing.
        chunk = policy.act(Observation(stamp, images, (stamp,) * len(images), observed, sample["instruction"]))
        predicted.append(chunk.values)
        drawn.append({key: value for key, value in sample.items() if key != "images"})
    return OpenLoop(
        predicted=np.array(predicted),
        recorded=np.array([sample["actions"].double().numpy() for sample in drawn]),
        known=np.array([sample["action_mask"].numpy() for sample in drawn]),
        observed=np.array([sample["proprioception"].double().numpy() for sample in drawn]),
        stamps=np.array([sample["stamp_ns"] for sample in drawn]),
        episodes=np.array([sample["episode"] for sample in drawn]),
    )


def spread(dataset: EpisodeDataset, samples: int) -> list[int]:
    """At most so many rows, spread evenly over the dataset."""
    return sorted({round(row) for row in np.linspace(0, len(dataset) - 1, min(samples, len(dataset)))})


def longest_episode(dataset: EpisodeDataset) -> list[int]:
    """The rows of the episode with the most samples."""
    counts = [episode.samples for episode in dataset.episodes]
    longest = int(np.argmax(counts))
    return list(range(sum(counts[:longest]), sum(counts[: longest + 1])))


def table(result: OpenLoop, joint_names: list[str]) -> str:
    """The errors as text: a line a step, mrad and mm."""
    names = [*(name.split("_")[-1] for name in joint_names), "gripper"]
    head = f"{'step':>6}" + "".join(f"{name:>9}" for name in names)
    lines = [head, f"{'':>6}" + f"{'mrad':>9}" * ARM_JOINTS + f"{'mm':>9}"]
    for title, values in [
        *((str(step + 1), row) for step, row in enumerate(result.errors())),
        ("mean", np.nanmean(result.errors(), axis=0)),
        ("still", np.nanmean(result.standing_still(), axis=0)),
    ]:
        lines.append(f"{title:>6}" + "".join(f"{1e3 * value:9.1f}" for value in values))
    return "\n".join(lines)


def _mean(values: NDArray[np.float64]) -> float:
    return round(float(np.nanmean(values)), 6)


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 6) for value in values]
