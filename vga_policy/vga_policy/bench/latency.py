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
from torch import nn

from vga_policy.inference.compile import Forward, as_one_call, for_inference, inference_dtype
from vga_policy.inference.preprocess import resize_views
from vga_policy.model.vga import VGA, VGAConfig
from vga_policy.presets.presets import PRESETS

CAMERA = (480, 640, 3)
WARM_UP = 10
WARM_UP_SHARE = 0.25  # of the time for measuring that the passes before it may take
TOLD_EVERY = 5.0  # s


@dataclass
class Effort:
    """How many passes are measured, for how long at most (s), and who is told how far that is."""

    repeats: int
    seconds: float
    mode: str
    say: Callable[[str], None]
    told: float = 0.0

    def goes_on(self, done: int, started: float) -> bool:
        """Whether to measure one more, after `done` since `started` (s)."""
        now = time.perf_counter()
        if now - self.told > TOLD_EVERY:
            self.told = now
            self.say(f"{self.mode}: {done} of {self.repeats} passes in {now - started:.0f} s")
        return done == 0 or (done < self.repeats and now - started < self.seconds)


def latency(
    preset: str,
    *,
    device: str = "cpu",
    views: int = 2,
    threads: int | None = None,
    repeats: int = 100,
    seconds: float = 60.0,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Percentiles of the time from camera images to a chunk, with random weights.

    The model runs twice: eagerly, and as a policy runs it: compiled with CUDA graphs on a GPU, traced on a CPU. Each
    time `repeats` passes are measured, or as many as `seconds` give time for, one at least. say: is told what is done.
    """
    say(f"building {preset} on {device}")
    if threads is not None:
        torch.set_num_threads(threads)
    config = replace(PRESETS[preset]().model, camera_head=None, depth_head=None)
    model = random_model(config, device)
    modes = ["eager", "compiled" if torch.device(device).type == "cuda" else "traced"]
    return {
        "preset": preset,
        "device": _name(device),
        "threads": torch.get_num_threads(),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "views": views,
        "image_size": config.image_size,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "repeats": repeats,
        "modes": {
            mode: _measure(model, device, views, Effort(repeats, seconds, mode, say), eager=mode == "eager")
            for mode in modes
        },
    }


def random_model(config: VGAConfig, device: str) -> VGA:
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
    return for_inference(model, device)


def _measure(model: VGA, device: str, views: int, effort: Effort, *, eager: bool) -> dict[str, Any]:
    config = model.config
    rng = np.random.default_rng(0)
    seen = [rng.integers(0, 256, CAMERA, dtype=np.uint8) for _ in range(views)]
    language = torch.randn(1, config.language_width, device=device)
    proprioception = torch.randn(1, config.proprioception, device=device)

    def prepare() -> torch.Tensor:
        return torch.from_numpy(resize_views(seen, config.image_size))[None].to(device).float() / 255

    def chunk(images: torch.Tensor) -> NDArray[np.float32]:
        return act(images, language, proprioception).cpu().numpy()

    rows: list[tuple[float, float, float]] = []
    with torch.inference_mode():
        started = time.perf_counter()
        effort.say(f"{effort.mode}: getting ready")
        act: Forward = model if eager else as_one_call(model, (prepare(), language, proprioception))
        ready = time.perf_counter()
        for _ in range(WARM_UP):
            chunk(prepare())
            if time.perf_counter() - ready > WARM_UP_SHARE * effort.seconds:
                break
        warm_up = time.perf_counter() - started
        begun = time.perf_counter()
        while effort.goes_on(len(rows), begun):
            start = time.perf_counter()
            images = prepare()
            _synchronize(device)
            prepared = time.perf_counter()
            chunk(images)
            rows.append((prepared - start, (end := time.perf_counter()) - prepared, end - start))
    times = np.array(rows)
    parts = {"preprocessing_ms": times[:, 0], "inference_ms": times[:, 1], "total_ms": times[:, 2]}
    figures = {name: _percentiles(values) for name, values in parts.items()}
    return {"warm_up_s": round(warm_up, 2), "passes": len(rows), **figures}


def _percentiles(seconds: NDArray[np.float64]) -> dict[str, float]:
    return {f"p{p}": round(1e3 * float(np.percentile(seconds, p)), 2) for p in (50, 95, 99)}


def _synchronize(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def _name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()})"
