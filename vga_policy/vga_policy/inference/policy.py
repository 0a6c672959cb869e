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
from vga_policy.inference.compile import Forward, RecordingError, as_one_call, for_inference
from vga_policy.inference.devices import usable_device
from vga_policy.inference.preprocess import resize_views
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
    """A prepared observation.

    images: uint8 [1, V, 3, S, S]. language: float32 [1, E]. normalized: float32 [1, P], the proprioception in [-1, 1].
    proprioception: float64 [P], as observed.
    """

    images: Tensor
    language: Tensor
    normalized: Tensor
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
            device = usable_device(device) if device == "auto" else device
            self._device = torch.device(device)
            model = for_inference(checkpoint.model, device)
        except (RuntimeError, AssertionError) as error:
            raise PolicyError(f"device '{device}' cannot be used: {str(error).splitlines()[0]}") from None
        try:
            self._forward: Forward = as_one_call(model, _tensors(self.prepare(self._blank())))
            self.warm_up()
        except RecordingError as error:
            raise PolicyError(f"device '{device}': {error}: use another device") from None
        except torch.OutOfMemoryError as error:
            raise PolicyError(
                f"device '{device}' has too little memory free for this policy ({str(error).splitlines()[0]:.100}): "
                "end what else runs on it, or use another"
            ) from None

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
        images = resize_views(observation.images, self.checkpoint.config.image_size)
        normalized = self.checkpoint.normalization.proprioception.normalize(observation.proprioception)
        return Inputs(
            images=torch.from_numpy(images)[None].to(self._device),
            language=self.encode(observation.instruction),
            normalized=torch.from_numpy(normalized).float()[None].to(self._device),
            proprioception=observation.proprioception,
        )

    @torch.inference_mode()
    def predict(self, inputs: Inputs) -> ActionChunk:
        """Runs the model. Raises PolicyError when its output is not finite."""
        normalized = self._forward(*_tensors(inputs))[0].cpu().double().numpy()
        origin = self.embodiment.origin(inputs.proprioception)
        chunk = self.checkpoint.normalization.chunk(normalized, origin=origin)
        if not np.isfinite(chunk).all():
            raise PolicyError("the model's output is not finite: its weights or normalization are damaged")
        # Bounds saturate: a regression a hair outside the gripper's range means its end.
        return ActionChunk(self.embodiment.actions.command(chunk))

    def warm_up(self) -> None:
        """Acts on made-up observations, so that the first real one takes no longer than the others."""
        took = []
        for _ in range(WARM_UP_ACTS):
            started = time.perf_counter()
            self.act(self._blank())
            took.append(time.perf_counter() - started)
        self.seconds = min(took)

    def _blank(self) -> Observation:
        side = self.checkpoint.config.image_size
        views = len(self.embodiment.views)
        return Observation(
            stamp_ns=0,
            images=(np.zeros((side, side, 3), np.uint8),) * views,
            image_stamps_ns=(0,) * views,
            proprioception=self.checkpoint.normalization.proprioception.middle,
            instruction="",
        )

    @torch.inference_mode()
    def _encode(self, instruction: str) -> Tensor:
        known = self.checkpoint.embeddings
        if instruction in known:
            return known[instruction].to(self._device)[None]
        try:
            return torch.tensor(self.checkpoint.encoder.encode(instruction), device=self._device)[None]
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


def _tensors(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """What the model takes: images in [0, 1], language, normalized proprioception."""
    return inputs.images.float() / 255.0, inputs.language, inputs.normalized
