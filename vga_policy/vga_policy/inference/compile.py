"""A trained model made ready to act: same actions, less work per chunk."""

from __future__ import annotations

import copy
import logging
import os
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from vga_policy.files import cache_directory
from vga_policy.model.backbone.attention import Block, LayerScale
from vga_policy.model.backbone.patches import PATCH, GridEncoder
from vga_policy.model.vga import VGA
from vga_policy.objective.lora import merge_lora

Forward = Callable[..., Tensor]
"""A function of tensors, like `VGA.forward`."""

CLOSE = 0.1  # of a normalized chunk, by which fused kernels in bfloat16 may differ from those one by one
WARM_UP = 3  # passes before the recording: kernels are chosen, and workspaces allocated, in the first

COMPILED = "TORCHINDUCTOR_CACHE_DIR"  # torch's variable for where it keeps what it compiles


class RecordingError(RuntimeError):
    """What was recorded of a model does not act as the model does."""


def for_inference(model: VGA, device: torch.device | str = "cpu", views: int = 2) -> VGA:
    """A copy of `model` for predicting actions on `device`: bfloat16 on a GPU, float32 on a CPU.

    Low-rank updates are merged, LayerScale is folded into the layer before it, and the 3D heads are left out. What no
    input changes is computed once and for all: position embeddings of the model's image size, rotations of the tokens
    of so many views, and what the action head begins with.
    """
    heads = (model.camera_head, model.depth_head)
    model.camera_head = model.depth_head = None
    try:
        fast = copy.deepcopy(model)
    finally:
        model.camera_head, model.depth_head = heads
    if any(".lora_" in name for name, _ in fast.named_parameters()):
        merge_lora(fast)
    return fixed(fast, device, views)


def fixed(model: VGA, device: torch.device | str, views: int) -> VGA:
    """`model` itself, without low-rank updates and 3D heads, made ready as `for_inference` makes a copy."""
    for module in model.modules():
        if isinstance(module, Block):
            module.ls1 = _fold(module.ls1, module.attn.proj)
            module.ls2 = _fold(module.ls2, module.mlp.fc2)
        elif isinstance(module, GridEncoder):
            module.fix_grid(model.config.image_size // PATCH)
    # Channels-last convolutions take a quarter off the CPU time of a small model.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.action_head.fix_start(model.chunk_embeddings)
    model.to(device, inference_dtype(device)).eval().requires_grad_(False)
    model.fix_positions(views)
    model.action_head.norm_out.float()
    model.action_head.project_out.float()
    return model


def inference_dtype(device: torch.device | str) -> torch.dtype:
    """The precision a device infers in."""
    return torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32


def as_one_call(function: Forward, inputs: tuple[Tensor, ...]) -> Forward:
    """`function` for inputs of these shapes as it runs best on their device: `record` on a GPU, else `trace`.

    Raises RecordingError when it does not answer other inputs as the function does.
    """
    recorded = record(function, inputs) if inputs[0].is_cuda else trace(function, inputs)
    check_recording(recorded, function, inputs)
    return recorded


@torch.inference_mode()
def check_recording(recorded: Forward, function: Forward, inputs: tuple[Tensor, ...]) -> None:
    """Raises RecordingError unless `recorded`, made with `inputs`, answers others as `function` does."""
    others = tuple(torch.rand_like(value) for value in inputs)
    expected, found = function(*others), recorded(*others)
    compare(expected, found, recorded(*inputs), inputs[0].device)


def compare(expected: Tensor, found: Tensor, first: Tensor, device: torch.device, unit: Tensor | float = 1.0) -> None:
    """Raises RecordingError unless a recording's answer is the expected one, and not stuck at its first one.

    An empty recording, as of another GPU than the model's, gives the same chunk for whatever it is shown. unit: what
    the answer changes by where a normalized chunk changes by 1.
    """
    wrong = float(((found - expected) / unit).abs().max())
    stuck = wrong > 0 and torch.equal(found, first)
    if stuck or not wrong <= CLOSE:
        how = "gives the same chunk for other inputs" if stuck else f"is {wrong:.2g} off the model, limit {CLOSE}"
        raise RecordingError(f"the recording of the model on {device} {how}")


@torch.inference_mode()
def record(function: Forward, inputs: tuple[Tensor, ...], device: torch.device | None = None) -> Forward:
    """`function` on a GPU, for inputs of these shapes: a whole pass launched as one CUDA graph.

    device: where it is, if its inputs come from the host. The recording may be replayed in any thread, which
    torch.compile's own CUDA graphs may not. One call at a time: its inputs have their place.
    """
    device = inputs[0].device if device is None else device
    with torch.cuda.device(device):  # streams and recordings are the current device's, else the first one's
        static = tuple(value.to(device, copy=True) for value in inputs)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                function(*static)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            chunk = function(*static)

    def replay(*values: Tensor) -> Tensor:
        with torch.cuda.device(device):
            for place, value in zip(static, values, strict=True):
                place.copy_(value, non_blocking=True)
            graph.replay()
            return chunk.clone()

    return replay


@torch.inference_mode()
def trace(function: Forward, inputs: tuple[Tensor, ...]) -> Forward:
    """`function` on a CPU, for inputs of these shapes, as one call: the same operations, and none waits for Python.

    A node that also receives images would else hold up every one of some thousand operations. torch.jit is on its way
    out; what shall follow it needs a C++ compiler wherever the policy runs.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated, and that shapes become constants, as they should
        return torch.jit.trace(function, inputs, check_trace=False)


@torch.inference_mode()
def fuse(model: Forward, inputs: tuple[Tensor, ...]) -> Forward:
    """`model` with its kernels fused for these inputs; as it is, with a warning, where this machine cannot compile."""
    keep_compiled()
    compiled = torch.compile(model, fullgraph=True, dynamic=False)
    try:
        compiled(*inputs)
    except torch.OutOfMemoryError:
        raise  # which running it as it is would not help
    except (RuntimeError, ImportError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        logging.getLogger(__name__).warning("the model runs without compilation, slower: %s", reason)
        return model
    return compiled


def keep_compiled() -> None:
    """What torch.compile makes outlives this process: the next start finds it in the user's cache directory.

    There is a directory for each build of torch; in it torch itself tells graphs, options and GPUs apart. A place that
    TORCHINDUCTOR_CACHE_DIR names is kept; where nothing can be written it is torch's own, which a restart may empty.
    """
    if os.environ.get(COMPILED) not in (None, default_cache_dir()):  # which torch itself sets when it is loaded
        return
    directory = cache_directory(f"compiled-torch-{torch.__version__}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logging.getLogger(__name__).warning("compiled kernels may have to be made again at the next start: %s", error)
    else:
        os.environ[COMPILED] = str(directory)


def _fold(scale: nn.Module, layer: nn.Linear) -> nn.Module:
    if not isinstance(scale, LayerScale):
        return scale
    with torch.no_grad():
        layer.weight.mul_(scale.gamma[:, None])
        layer.bias.mul_(scale.gamma)
    return nn.Identity()
