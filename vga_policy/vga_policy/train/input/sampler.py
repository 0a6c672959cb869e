"""Which samples a step sees. A function of seed and step alone: a resumed run, on any number of processes, goes on
with the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BatchSampler:
    """Endless passes over `samples` samples, each shuffled anew, cut into batches."""

    samples: int
    batch: int
    seed: int

    def of(self, step: int) -> NDArray[np.int64]:
        """Indices [batch] of the samples of a step, counted from 0."""
        epochs, places = np.divmod(np.arange(step * self.batch, (step + 1) * self.batch), self.samples)
        parts = [_shuffled(self.samples, self.seed, int(e))[places[epochs == e]] for e in np.unique(epochs)]
        return np.concatenate(parts)

    def batches(self, first: int, last: int, share: slice) -> Iterator[list[int]]:
        """The `share` of each batch that a process takes, for steps `first` to before `last`."""
        for step in range(first, last):
            yield self.of(step)[share].tolist()


@lru_cache(maxsize=2)
def _shuffled(samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(samples)
