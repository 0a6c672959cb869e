"""How long a chunk takes, from camera images to numbers."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vga_policy.checkpoints.normalization import Normalization, Range
from vga_policy.embodiment.embodiment import Embodiment, View
from vga_policy.embodiment.space import Channel, ChannelKind, Space
from vga_policy.inference.compile import Forward, as_one_call, fixed, inference_dtype
from vga_policy.inference.function import ChunkFunction
from vga_policy.inference.running import Recorded, Running, Shape, Stepwise, Traced
from vga_policy.model.vga import VGA, VGAConfig
from vga_policy.presets.presets import PRESETS

CAMERA = (480, 640)
WARM_UP = 10
WARM_UP_SHARE = 0.25  # of the time for measuring that the passes before it may take
TOLD_EVERY = 5.0  # s


class TimeIsOverError(Exception):
    """The time for all measurements is over."""


@dataclass
class Effort:
    """How many passes are measured, for how long at most (s), until when at the latest, and who is told how it goes."""

    repeats: int
    seconds: float
    until: float
    mode: str
    say: Callable[[str], None]
    told: float = 0.0

    def step(self, words: str) -> None:
        """Begins with something. Raises TimeIsOverError when there is no time for it."""
        if time.perf_counter() > self.until:
            raise TimeIsOverError
        self.say(f"{self.mode}: {words}")

    def goes_on(self, done: int, started: float) -> bool:
        """Whether to measure one more, after `done` since `started` (s)."""
        now = time.perf_counter()
        if now - self.told > TOLD_EVERY:
            self.told = now
            self.say(f"{self.mode}: {done} of {self.repeats} passes in {now - started:.0f} s")
        return done == 0 or (done < self.repeats and now < min(started + self.seconds, self.until))


def latency(
    preset: str,
    *,
    device: str = "cpu",
    views: int = 2,
    threads: int | None = None,
    repeats: int = 100,
    seconds: float = 60.0,
    limit: float = float("inf"),
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Percentiles of the time from camera images to a chunk, with random weights.

    The model runs in two ways on a CPU, operation by operation and traced, and in three on a GPU: operation by
    operation, and recorded as a CUDA graph without and with compilation. In each way `repeats` passes are measured, or
    as many as `seconds` give time for, one at least; those that `limit` (s, for all) does not reach are None. say: is
    told what is done.
    """
    until = time.perf_counter() + limit
    say(f"building {preset} on {device}")
    if threads is not None:
        torch.set_num_threads(threads)
    config = replace(PRESETS[preset]().model, camera_head=None, depth_head=None)
    model = random_model(config, device, views)
    function = ChunkFunction(model, *stand_in(config, views)).to(device)
    shape = Shape(views, config.image_size, config.language_width, config.proprioception)
    modes: dict[str, Any] = {}
    for mode in ("eager", "recorded", "compiled") if _is_gpu(device) else ("eager", "traced"):
        modes[mode] = _measure(mode, function, shape, torch.device(device), Effort(repeats, seconds, until, mode, say))
    return {
        "preset": preset,
        "device": _name(device),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "views": views,
        "camera": list(CAMERA),
        "image_size": config.image_size,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "repeats": repeats,
        "modes": modes,
        "not_measured": [mode for mode, times in modes.items() if times is None],
    }


def stand_in(config: VGAConfig, views: int) -> tuple[Normalization, Embodiment]:
    """For a robot of as many joints as the model has actions: offsets between -1 and 1 rad from where they are."""
    felt = tuple(Channel(f"joint{i}", ChannelKind.JOINT, "rad") for i in range(config.proprioception))
    acted = tuple(
        Channel(f"target{i}", ChannelKind.JOINT, "rad", relative_to=felt[i % len(felt)].name, bounds=(-3.0, 3.0))
        for i in range(config.actions)
    )
    embodiment = Embodiment(
        name="stand-in",
        actions=Space(acted),
        proprioception=Space(felt),
        rate_hz=10.0,
        horizon=config.horizon,
        views=tuple(View(f"camera{i}", "fixed") for i in range(views)),
    )
    actions, proprioception = (Range.of([-1.0] * n, [1.0] * n) for n in (config.actions, config.proprioception))
    return Normalization(actions, proprioception, relative=True), embodiment


def random_model(config: VGAConfig, device: str, views: int) -> VGA:
    """A model ready to act, made on its device: a large one never passes through this machine's memory."""
    with torch.device("meta"):
        model = config.build().to(inference_dtype(device))
    model.to_empty(device=device)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.LayerNorm) and module.weight is not None:
                module.weight.fill_(1.0)
                module.bias.zero_()
            else:
                for parameter in module.parameters(recurse=False):
                    parameter.normal_(std=0.02)
    return fixed(model, device, views)


def _measure(
    mode: str, function: ChunkFunction, shape: Shape, device: torch.device, effort: Effort
) -> dict[str, Any] | None:
    """Of one way: from images to a chunk, and the network alone. None where there is no time for it."""
    try:
        started = time.perf_counter()
        effort.step("getting ready")
        images, language, felt = shape.made_up(0, [CAMERA] * shape.views)
        with torch.inference_mode():
            way, network, inputs = _ready(mode, function, shape, device)

            def chunk() -> tuple[float, float, float, float]:
                start = time.perf_counter()
                views = way.prepare(images)
                prepared = time.perf_counter()
                way(views, language, felt)
                end = time.perf_counter()
                network(*inputs)
                _synchronize(device)
                return prepared - start, end - prepared, end - start, time.perf_counter() - end

            ready = time.perf_counter()
            effort.step("warming up")
            for _ in range(WARM_UP):
                chunk()
                if time.perf_counter() - ready > WARM_UP_SHARE * effort.seconds:
                    break
            begun = time.perf_counter()
            effort.step("measuring")
            rows: list[tuple[float, float, float, float]] = []
            while effort.goes_on(len(rows), begun):
                rows.append(chunk())
    except TimeIsOverError:
        effort.say(f"{mode}: not measured, the time is over")
        return None
    names = "preprocessing_ms", "inference_ms", "total_ms", "model_ms"
    figures = {name: _percentiles(values) for name, values in zip(names, np.array(rows).T, strict=True)}
    return {
        "ready_s": round(ready - started, 2),
        "warm_up_s": round(begun - started, 2),
        "passes": len(rows),
        **figures,
    }


def _ready(
    mode: str, function: ChunkFunction, shape: Shape, device: torch.device
) -> tuple[Running, Forward, tuple[Tensor, Tensor, Tensor]]:
    """The function and its network alone in a way of running them, and what the network takes, on the device."""
    stepwise = Stepwise(function, shape, device)
    inputs = function.network_inputs(*stepwise.tensors(*shape.made_up(0)))
    if mode == "eager":
        return stepwise, function.network, inputs
    if mode == "traced":
        return Traced(function, shape, device), as_one_call(function.network, inputs), inputs
    recorded = Recorded(function, shape, device, fused=mode == "compiled")
    return recorded, as_one_call(recorded.network, inputs), inputs


def _percentiles(seconds: NDArray[np.float64]) -> dict[str, float]:
    return {f"p{p}": round(1e3 * float(np.percentile(seconds, p)), 2) for p in (50, 95, 99)}


def _is_gpu(device: torch.device | str) -> bool:
    return torch.device(device).type == "cuda"


def _synchronize(device: torch.device) -> None:
    if _is_gpu(device):
        torch.cuda.synchronize(device)


def _name(device: str) -> str:
    return torch.cuda.get_device_name(device) if _is_gpu(device) else f"CPU ({platform.machine()})"
