"""The policy as everything else sees it: an observation goes in, an action chunk comes out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vga_policy.cell.compatibility import Contract, differences
from vga_policy.cell.schema import Cell
from vga_policy.checkpoints import checkpoint as checkpoints
from vga_policy.checkpoints.checkpoint import Checkpoint, CheckpointError
from vga_policy.inference.compile import RecordingError, for_inference
from vga_policy.inference.devices import usable_device
from vga_policy.inference.function import ChunkFunction
from vga_policy.inference.running import Recorded, Running, Shape, Traced, Views
from vga_policy.model.weights.convert import shown
from vga_policy.observation.observation import ActionChunk, Observation
from vga_policy.text.pretrained import EncoderError

WARM_UP_ACTS = 3
INSTRUCTIONS_CACHED = 64


class ObservationError(ValueError):
    """An observation the policy cannot act on. The message says what is wrong with it."""


class PolicyError(RuntimeError):
    """The model produced something that is no action."""


@dataclass(frozen=True)
class Inputs:
    """A checked observation, on the host.

    views: uint8 [H, W, 3] each, squares of the model's size on a CPU. language: float32 [1, E]. proprioception: float64
    [P], as observed.
    """

    views: Views
    language: Tensor
    proprioception: NDArray[np.float64]


class Policy:
    """A model ready to act with one embodiment: that of a robot's cell, or another.

    `act` is `predict(prepare(observation))`; callers that time the two call them one by one. seconds: what the fastest
    act took while it warmed up.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "cpu", threads: int = 1) -> None:
        """device: torch's name of one, or `auto`: a GPU where there is one. threads: cores this process computes with;
        one leaves the others to the running cell.

        Raises PolicyError when threads or device cannot be used or the weights give no finite output.
        """
        if threads < 1:
            raise PolicyError(f"threads: must be at least 1 (found {threads})")
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        self.checkpoint = checkpoint
        self.embodiment = checkpoint.embodiment
        self._embed = lru_cache(maxsize=INSTRUCTIONS_CACHED)(self._encode)
        try:
            self._device = self._chosen(device)
            self._run = self._running()
            self.warm_up()
        except torch.OutOfMemoryError as error:
            raise PolicyError(
                f"device '{device}' has too little memory free for this policy ({_first_line(error):.100}): end what "
                "else runs on it (nvidia-smi lists it), or give another: device:=cuda:1, or --device cuda:1"
            ) from None
        except RecordingError as error:
            raise PolicyError(f"device '{device}': {error}: use another device") from None

    @staticmethod
    def _chosen(device: str) -> torch.device:
        """What is there of that name. Raises PolicyError."""
        try:
            chosen = torch.device(usable_device(device) if device == "auto" else device)
            torch.empty(0, device=chosen)
        except (RuntimeError, AssertionError) as error:
            raise PolicyError(f"device '{device}' cannot be used: {_first_line(error)}") from None
        return chosen

    def _running(self) -> Running:
        """The model, made ready for its device. Raises RecordingError or OutOfMemoryError."""
        checkpoint = self.checkpoint
        config, views = checkpoint.config, len(self.embodiment.views)
        shape = Shape(views, config.image_size, config.language_width, config.proprioception)
        model = for_inference(checkpoint.model, self._device, views)
        function = ChunkFunction(model, checkpoint.normalization, self.embodiment).to(self._device)
        way = Recorded if self._device.type == "cuda" else Traced
        return way(function, shape, self._device)

    @property
    def device(self) -> str:
        """Where it computes."""
        return str(self._device)

    @classmethod
    def from_pretrained(
        cls, directory: str | Path, cell: Contract | None = None, *, device: str = "cpu", threads: int = 1
    ) -> Policy:
        """Loads a checkpoint; with `cell`, a robot's or another contract, for use there.

        Raises CheckpointError when the checkpoint is unusable or made for a contract that means something else, and
        PolicyError as the constructor does.
        """
        checkpoint = checkpoints.load(directory)
        if cell is not None:
            if found := differences(cell, checkpoint.contract):
                kind, how = ("cell", "in a cell") if isinstance(cell, Cell) else ("embodiment", "with an embodiment")
                raise CheckpointError(
                    f"{directory}: made for another {kind} than '{cell.name}': {'; '.join(map(str, found))}: "
                    f"give a checkpoint that was trained {how} like this one"
                )
            checkpoint = replace(checkpoint, contract=cell)
        return cls(checkpoint, device=device, threads=threads)

    @property
    def cell(self) -> Cell:
        """The robot's cell that it acts in. Raises CheckpointError when it is for none."""
        return self.checkpoint.cell

    def save(self, directory: str | Path) -> None:
        """Writes the policy as a checkpoint directory. Raises CheckpointError when it exists already."""
        checkpoints.save(self.checkpoint, directory)

    def act(self, observation: Observation) -> ActionChunk:
        """The chunk for one observation. Raises ObservationError or PolicyError."""
        return self.predict(self.prepare(observation))

    def encode(self, instruction: str) -> Tensor:
        """The instruction's embedding [1, E]. The encoder is loaded for one that is new, and may take seconds.

        Raises EncoderError when it is not here.
        """
        return self._embed(instruction)

    def prepare(self, observation: Observation) -> Inputs:
        """Checks an observation and turns it into the model's inputs. Raises ObservationError."""
        self._check(observation)
        return Inputs(
            views=self._run.prepare(observation.images),
            language=self.encode(observation.instruction),
            proprioception=observation.proprioception,
        )

    def predict(self, inputs: Inputs) -> ActionChunk:
        """Runs the model. Raises PolicyError when its output is not finite."""
        meant, commanded = self._run(inputs.views, inputs.language, inputs.proprioception)
        if not np.isfinite(meant).all():
            raise PolicyError("the model's output is not finite: its weights or normalization are damaged")
        # Bounds saturate: a regression a hair outside the gripper's range means its end.
        return ActionChunk(commanded)

    def warm_up(self) -> None:
        """Acts on made-up observations, so that the first real one takes no longer than the others."""
        took = []
        for _ in range(WARM_UP_ACTS):
            started = time.perf_counter()
            self.act(self._blank())
            took.append(time.perf_counter() - started)
        self.seconds = min(took)

    def _blank(self) -> Observation:
        contract, side = self.checkpoint.contract, self.checkpoint.config.image_size
        colors = [camera.color for camera in contract.views] if isinstance(contract, Cell) else []
        sizes = [(color.height, color.width) for color in colors] or [(side, side)] * len(self.embodiment.views)
        return Observation(
            stamp_ns=0,
            images=tuple(np.zeros((*size, 3), np.uint8) for size in sizes),
            image_stamps_ns=(0,) * len(sizes),
            proprioception=self.checkpoint.normalization.proprioception.middle,
            instruction="",
        )

    @torch.inference_mode()
    def _encode(self, instruction: str) -> Tensor:
        known = self.checkpoint.embeddings
        if instruction in known:
            return known[instruction][None]
        try:
            return torch.tensor(self.checkpoint.encoder.encode(instruction))[None]
        except EncoderError as error:
            if not known:
                raise
            trained = shown([repr(text) for text in known if text])
            raise EncoderError(f"'{instruction}' is none of those trained on ({trained}), and {error}") from None

    def _check(self, observation: Observation) -> None:
        views = self.embodiment.views
        if len(observation.images) != len(views):
            raise ObservationError(f"{len(observation.images)} images for {len(views)} view slots")
        for view, image in zip(views, observation.images, strict=True):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
                raise ObservationError(
                    f"image of {view.name}: expected uint8 [H, W, 3], found {image.dtype} {list(image.shape)}"
                )
        proprioception, count = observation.proprioception, len(self.embodiment.proprioception)
        if proprioception.shape != (count,) or not np.isfinite(proprioception).all():
            raise ObservationError(f"proprioception: expected {count} finite numbers, found {proprioception}")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
