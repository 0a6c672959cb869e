"""How fast a dataset gives samples. Needs torch alone: LeRobot's interpreter runs it too."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader

SINGLES = 200


class Speed(NamedTuple):
    """rate: samples a second through a loader with workers. cpu_ms: CPU time of one sample, without a loader.

    The rate is what training gets; the CPU time hardly depends on what else the machine does.
    """

    rate: float
    cpu_ms: float


def measure(dataset: Any, batch: int, workers: int, seconds: float) -> Speed:
    """Reads a dataset as training does: shuffled, in batches. Raises ValueError when it fills no batch."""
    torch.set_num_threads(1)
    if len(dataset) < batch:
        raise ValueError(f"{len(dataset)} samples make no batch of {batch}: give more episodes")
    return Speed(_rate(dataset, batch, workers, seconds), _cpu_ms(dataset))


def _rate(dataset: Any, batch: int, workers: int, seconds: float) -> float:
    loader = DataLoader(
        dataset, batch, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )
    batches = iter(loader)
    next(batches)  # the workers are up
    samples, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        if next(batches, None) is None:
            batches = iter(loader)
        else:
            samples += batch
    return samples / (time.perf_counter() - started)


def _cpu_ms(dataset: Any) -> float:
    chosen = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:SINGLES].tolist()
    dataset[chosen[0]]
    started = time.process_time()
    for index in chosen:
        dataset[index]
    return 1e3 * (time.process_time() - started) / len(chosen)
