"""What a training step will hold in memory, found by making one of tensors that have no contents.

The step is the run's own: its model, objective, optimizers and options. Every storage that an operation makes is
counted while it lives, and on a CPU is given a place as the C library would, which leaves holes. What kernels need
inside of themselves is not counted.
"""

from __future__ import annotations

import weakref
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vga_policy.checkpoints.normalization import Range
from vga_policy.embodiment.embodiment import Embodiment, View
from vga_policy.embodiment.space import Channel, ChannelKind, Space
from vga_policy.model.vga import VGAConfig
from vga_policy.objective.lora import make_trainable
from vga_policy.objective.losses import TrainingLabels
from vga_policy.presets.presets import Preset
from vga_policy.train.config import LoopConfig
from vga_policy.train.engine.activations import checkpoint_activations, units
from vga_policy.train.engine.ema import Ema
from vga_policy.train.engine.optimizer import build_optimizers
from vga_policy.train.engine.precision import round_frozen
from vga_policy.train.input.batch import Batch
from vga_policy.train.objectives import PolicyObjective

TRAINED, FROZEN, AVERAGE, MOMENTS = "weights that train", "frozen weights", "their average", "optimizer's memory"
GRADIENTS, ACTIVATIONS = "gradients", "activations and what is computed with"
GATHERED = "a block's weights and gradients, gathered"
DIVIDED = (TRAINED, FROZEN, AVERAGE, MOMENTS, GRADIENTS)  # among processes, with --shard
COPIES = 5  # of the largest block: it and the next one, gathered; its gradients; what each of the two is sent in
HOLES = "holes between them"
VIEWS = 2


class _Heap:
    """How much memory glibc takes for storages that come and go. size: bytes taken by now.

    A large one is taken from the system and given back. The others lie in a heap that does not shrink, each in the
    smallest hole that has room. An aligned one is asked for with ALIGNING bytes more (before glibc 2.38), and what is
    left over of them goes to small objects: a storage does not fit where one of the same size was.
    """

    LARGE = 32 << 20  # bytes, where the bound comes to that is raised by every large one that is freed
    ALIGNING = 64 + 32
    HEADER = 16

    def __init__(self) -> None:
        self.size = 0
        self._top = 0
        self._places: dict[int, tuple[int, int]] = {}
        self._holes: list[tuple[int, int]] = []  # sizes and starts, in order
        self._ends: dict[int, int] = {}  # of holes, by their starts
        self._starts: dict[int, int] = {}  # and the other way round

    def take(self, key: int, size: int) -> None:
        """Finds a place for a storage."""
        if size >= self.LARGE:
            self.size += size
            self._places[key] = -1, size
            return
        size = -(-size // self.HEADER) * self.HEADER + self.HEADER
        place = bisect_left(self._holes, (size + self.ALIGNING, 0))
        if place < len(self._holes):
            start = self._holes[place][1]
            end = self._close(start)
            self._open(start + size, end)
        else:
            start = self._starts.get(self._top, self._top)
            if start < self._top:
                self._close(start)
            top = max(self._top, start + size + self.ALIGNING)
            self.size += top - self._top
            self._top = top
        self._places[key] = start, size

    def give_back(self, key: int) -> None:
        """Leaves a hole where the storage was, one with those beside it."""
        start, size = self._places.pop(key)
        if start < 0:
            self.size -= size
            return
        end = start + size
        if end in self._ends:
            end = self._close(end)
        if start in self._starts:
            start = self._starts[start]
            self._close(start)
        self._open(start, end)

    def _open(self, start: int, end: int) -> None:
        if start < end:
            insort(self._holes, (end - start, start))
            self._ends[start], self._starts[end] = end, start

    def _close(self, start: int) -> int:
        """Takes the hole away that begins there; its end."""
        end = self._ends.pop(start)
        del self._starts[end]
        del self._holes[bisect_left(self._holes, (end - start, start))]
        return end


class _Counter(TorchDispatchMode):
    """Bytes that live, by what they are for; `peak` has those of the moment when they were most.

    taken: the most that they took with the holes between them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self.taken = 0
        self._heap = _Heap()
        self._known: dict[int, tuple[str, int, Any]] = {}

    def label(self, part: str, tensors: Iterable[Tensor]) -> None:
        """Counts these tensors as this part from now on, whether they were counted before or not."""
        for tensor in tensors:
            self._count(part, tensor)
            key = tensor.untyped_storage()._cdata
            before, size, reference = self._known[key]
            self.now[before] -= size
            self.now[part] += size
            self._known[key] = part, size, reference

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._count(ACTIVATIONS, value)
        if self.now.total() > self.peak.total():
            self.peak = self.now.copy()
        return result

    def _count(self, part: str, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if (key := storage._cdata) not in self._known:
            size = storage.nbytes()
            self._known[key] = part, size, weakref.ref(storage, lambda _: self._forget(key))
            self.now[part] += size
            self._heap.take(key, size)
            self.taken = max(self.taken, self._heap.size)

    def _forget(self, key: int) -> None:
        part, size, _ = self._known.pop(key)
        self.now[part] -= size
        self._heap.give_back(key)


def step_memory(preset: Preset, loop: LoopConfig, processes: int = 1, *, formula: bool = False) -> dict[str, int]:
    """Bytes of each part at the fullest moment of the second step, in one of `processes`.

    formula: as on a CPU, where attention's matrices are kept, and the C library places storages; else as on a GPU.
    """
    with torch.device("meta"):
        model = preset.model.build()
        make_trainable(model, preset.recipe)
        unit = Range.of([-1.0] * preset.model.actions, [1.0] * preset.model.actions)
        body = _body(preset.model)
        objective = PolicyObjective(model, preset.recipe, body, unit)
    counter = _Counter()
    with FakeTensorMode(allow_non_fake_inputs=True):
        _materialize(objective)
        if loop.precision == "bf16":
            round_frozen(objective)
        if loop.checkpoint_activations:
            checkpoint_activations(objective)
        average = Ema(objective, loop.ema)
        optimizers = build_optimizers(loop.optimizer, objective)
        trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        for parameter in trained:
            parameter.register_post_accumulate_grad_hook(lambda p: counter.label(GRADIENTS, [p.grad]))
        counter.label(TRAINED, trained)
        counter.label(FROZEN, (parameter for parameter in objective.parameters() if not parameter.requires_grad))
        counter.label(AVERAGE, average.tensors.values())
        with counter:
            batch = _batch(preset, loop.batch // processes // loop.accumulate, len(body.proprioception.arm))
            for step in range(2):  # the first has no moments yet
                for _ in range(min(loop.accumulate, 2)):  # the first part has no gradients yet
                    _pass(objective, batch, loop, formula=formula)
                torch.nn.utils.clip_grad_norm_(trained, loop.optimizer.clip)
                for optimizer in optimizers:
                    optimizer.step()
                    state = optimizer.state.values()
                    counter.label(MOMENTS, (x for moments in state for x in moments.values() if isinstance(x, Tensor)))
                objective.zero_grad()
                average.update(step + 1)
    peak = dict(counter.peak)
    if processes > 1:  # the buckets that gradients are exchanged in are kept
        peak[GRADIENTS] = sum(parameter.numel() * parameter.element_size() for parameter in trained)
    if loop.shard and processes > 1:
        peak |= {part: -(-peak.get(part, 0) // processes) for part in DIVIDED}
        peak[GATHERED] = _gathered(objective)
    if formula:
        peak[HOLES] = counter.taken - counter.peak.total()
    return {part: size for part, size in peak.items() if size}


def _gathered(objective: nn.Module) -> int:
    """Bytes of what a process has whole of a divided model: the largest unit, and all that is in none."""
    whole = sum(parameter.nbytes for parameter in objective.parameters())
    blocks = [sum(parameter.nbytes for parameter in unit.parameters()) for unit in units(objective)]
    return COPIES * max(blocks) + 2 * (whole - sum(blocks))


def saving(preset: Preset, loop: LoopConfig, processes: int, limit: int, *, formula: bool = False) -> LoopConfig | None:
    """`loop` with the options, of least cost in time, that keep a step below `limit` bytes; None where none do.

    What a step holds is taken to be linear in the samples of a pass.
    """
    own = loop.batch // processes
    dividable = processes > 1 and not loop.optimizer.muon
    for shard, again in product(
        sorted({loop.shard, loop.shard or dividable}), sorted({loop.checkpoint_activations, True})
    ):
        same = replace(loop, shard=shard, checkpoint_activations=again)
        one, two = (
            sum(step_memory(preset, _of(same, size * processes), processes, formula=formula).values())
            for size in (1, 2)
        )
        for parts in (count for count in range(loop.accumulate, own + 1) if own % count == 0):
            if one + (own // parts - 1) * (two - one) <= limit:
                return replace(same, accumulate=parts)
    return None


def _of(loop: LoopConfig, batch: int) -> LoopConfig:
    return replace(loop, batch=2 * batch, accumulate=2)


def _materialize(module: nn.Module) -> None:
    """Puts tensors on the CPU in place of those on the meta device."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                made = torch.empty(parameter.shape, dtype=parameter.dtype)
                part._parameters[name] = nn.Parameter(made, requires_grad=parameter.requires_grad)


def _body(model: VGAConfig) -> Embodiment:
    """Any with as many numbers."""

    def space(numbers: int) -> Space:
        joints = (Channel(f"joint_{number}", ChannelKind.JOINT, "rad") for number in range(1, numbers))
        return Space((*joints, Channel("gripper", ChannelKind.WIDTH, "m", bounds=(0.0, 1.0))))

    views = tuple(View(f"camera_{number}", "fixed") for number in range(VIEWS))
    return Embodiment(
        name="any",
        actions=space(model.actions),
        proprioception=space(model.proprioception),
        rate_hz=10.0,
        horizon=model.horizon,
        views=views,
    )


def _batch(preset: Preset, size: int, arm: int) -> Batch:
    model, views, side = preset.model, (size, VIEWS), preset.model.image_size
    labels = TrainingLabels(
        actions=torch.zeros(size, model.horizon, model.actions),
        action_mask=torch.ones(size, model.horizon, dtype=torch.bool),
        cameras=torch.zeros(*views, 9),
        camera_mask=torch.ones(*views, dtype=torch.bool),
        depth=torch.ones(*views, side, side),
        depth_mask=torch.ones(*views, side, side, dtype=torch.bool),
    )
    images, language = torch.zeros(*views, 3, side, side), torch.zeros(size, model.language_width)
    return Batch(images, language, torch.zeros(size, model.proprioception), labels, torch.zeros(size, arm))


def _pass(objective: PolicyObjective, batch: Batch, loop: LoopConfig, *, formula: bool) -> None:
    cast: AbstractContextManager[Any] = nullcontext()
    if loop.precision == "bf16":
        cast = torch.autocast("cpu", torch.bfloat16)
    with sdpa_kernel(SDPBackend.MATH) if formula else nullcontext():
        with cast:
            terms = objective(batch)
        loss = sum((term.values * term.labels).sum() / term.labels.sum() for term in terms.values())
        del terms
        assert isinstance(loss, Tensor)
        loss.backward()
