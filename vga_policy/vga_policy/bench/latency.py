"""How long a chunk takes, from camera images to numbers."""

from __future__ import annotations

import platform
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vga_policy.inference.compile import Forward, as_one_call, for_inference, inference_dtype
from vga_policy.inference.preprocess import resize_views
from vga_policy.model.vga import VGA, VGAConfig
from vga_policy.observation.observation import PROPRIOCEPTION
from vga_policy.presets.presets import PRESETS

CAMERA = (480, 640, 3)
WARM_UP = 10


def latency(
    preset: str, *, device: str = "cpu", views: int = 2, threads: int | None = None, repeats: int = 100
) -> dict[str, Any]:
    """Percentiles of the time from camera images to a chunk, with random weights.

    The model runs twice: eagerly, and as a policy runs it: compiled with CUDA graphs on a GPU, traced on a CPU.
    """
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
        "modes": {mode: _measure(model, device, views, repeats, eager=mode == "eager") for mode in modes},
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


def _measure(model: VGA, device: str, views: int, repeats: int, *, eager: bool) -> dict[str, Any]:
    config = model.config
    rng = np.random.default_rng(0)
    seen = [rng.integers(0, 256, CAMERA, dtype=np.uint8) for _ in range(views)]
    language = torch.randn(1, config.language_width, device=device)
    proprioception = torch.randn(1, PROPRIOCEPTION, device=device)

    def prepare() -> torch.Tensor:
        return torch.from_numpy(resize_views(seen, config.image_size))[None].to(device).float() / 255

    def chunk(images: torch.Tensor) -> NDArray[np.float32]:
        return act(images, language, proprioception).cpu().numpy()

    times = np.empty((repeats, 3))
    with torch.inference_mode():
        started = time.perf_counter()
        act: Forward = model if eager else as_one_call(model, (prepare(), language, proprioception))
        for _ in range(WARM_UP):
            chunk(prepare())
        warm_up = time.perf_counter() - started
        for row in times:
            start = time.perf_counter()
            images = prepare()
            _synchronize(device)
            prepared = time.perf_counter()
            chunk(images)
            row[:] = prepared - start, (end := time.perf_counter()) - prepared, end - start
    parts = {"preprocessing_ms": times[:, 0], "inference_ms": times[:, 1], "total_ms": times[:, 2]}
    return {"warm_up_s": round(warm_up, 2), **{name: _percentiles(values) for name, values in parts.items()}}


def _percentiles(seconds: NDArray[np.float64]) -> dict[str, float]:
    return {f"p{p}": round(1e3 * float(np.percentile(seconds, p)), 2) for p in (50, 95, 99)}


def _synchronize(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def _name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()})"
