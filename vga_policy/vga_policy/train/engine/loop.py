"""The training loop, the same for policies and for geometry, on one process or many (Hugging Face accelerate).

A step is a function of the state before it and of (seed, step): a run that was killed and resumed gives the loss curve
of one that was not. Losses are sums over samples divided by the labels of the whole batch, on however many processes:
two processes give the update of one.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, DistributedType
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vga_policy.checkpoints import BEST
from vga_policy.inference.devices import usable_device
from vga_policy.model.weights.save import Whole
from vga_policy.train.config import LoopConfig
from vga_policy.train.engine.activations import checkpoint_activations
from vga_policy.train.engine.ema import Ema
from vga_policy.train.engine.optimizer import build_optimizers, moments, restore_moments, set_lr
from vga_policy.train.engine.precision import round_frozen, warn_of_emulation
from vga_policy.train.engine.sharding import gather_again, in_first, put, shard, whole_value
from vga_policy.train.input.batch import Batch, RawBatch, parts
from vga_policy.train.input.loader import SampleSource, read
from vga_policy.train.input.sampler import BatchSampler
from vga_policy.train.runs.failure import InterruptedRunError, TrainingError
from vga_policy.train.runs.report import Reporter
from vga_policy.train.runs.run import Progress, Run, TrainingCheckpoint

LOG = logging.getLogger(__name__)

SMOOTHING = 0.98
FIRST_STEPS = 20
DIVERGED = 10.0  # times the loss that the run began with
DISTRIBUTED = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)
OTHER_LAUNCHES = tuple(f"ACCELERATE_USE_{name}" for name in ("FSDP", "DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG"))
ACCUMULATION = "ACCELERATE_GRADIENT_ACCUMULATION_STEPS"
NOT_HERE = (
    "no way for processes to train here: they divide the batch (DDP) and, by --shard, the model too (FSDP2); remove it "
    "from accelerate's configuration, env/accelerate/ has examples"
)


def make_accelerator(config: LoopConfig) -> Accelerator:
    """The processes and devices that this process was started to be one of. Raises TrainingError."""
    _refuse_other_launches()
    _refuse_missing_gpus(config)
    if config.shard and config.optimizer.muon:
        raise TrainingError("--shard: Muon needs whole matrices, of which processes have parts: give --muon 0 with it")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    if config.device not in ("auto", "cpu"):
        torch.cuda.set_device(usable_device(config.device))
    mixed = "bf16" if config.precision == "bf16" else "no"
    try:
        # Gradients are in the buckets that processes exchange, not beside them.
        ddp = DistributedDataParallelKwargs(gradient_as_bucket_view=True)
        accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision=mixed, kwargs_handlers=[ddp])
    except (RuntimeError, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(
            f"{reason}: is accelerate configured for this machine? env/accelerate/ has examples"
        ) from None
    if accelerator.distributed_type not in DISTRIBUTED:
        raise TrainingError(f"{accelerator.distributed_type.value}: {NOT_HERE}")
    if mixed == "bf16" and accelerator.device.type == "cpu" and accelerator.is_main_process:
        warn_of_emulation()
    processes, parts = accelerator.num_processes, config.accumulate
    if config.batch % (processes * parts):
        each = f", each in {parts} parts (--accumulate)" if parts > 1 else ""
        raise TrainingError(f"--batch {config.batch}: cannot be shared evenly by {processes} processes{each}")
    if not accelerator.is_main_process:  # what all of them find is told by one
        logging.getLogger("vga_policy").setLevel(logging.ERROR)
    return accelerator


def _refuse_other_launches() -> None:
    """What a launcher asked for by the environment and accelerate would do only in part, without a word."""
    for name in OTHER_LAUNCHES:
        if os.environ.get(name, "").lower() in ("1", "true", "yes", "on"):
            raise TrainingError(f"{name}={os.environ[name]}: {NOT_HERE}")
    if (parts := os.environ.get(ACCUMULATION, "1")) != "1":
        raise TrainingError(
            f"{ACCUMULATION}={parts}: gradients are accumulated by --accumulate {parts} alone; remove it from the "
            "environment and from accelerate's configuration"
        )


def _refuse_missing_gpus(config: LoopConfig) -> None:
    """Else processes would share a GPU, or compute on the CPU, without a word."""
    processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if config.device != "cpu" and processes > max(1, gpus):
        raise TrainingError(
            f"accelerate's configuration starts {processes} processes on this machine, which has {gpus} usable GPUs: "
            "give it as many as there are (--num_processes N), or compute on the CPU with --device cpu"
        )


@dataclass(frozen=True)
class StepRng:
    """What a step draws from: `rng` for the whole batch, of which this process has the samples in `share`."""

    rng: np.random.Generator
    batch: int
    share: slice


@dataclass(frozen=True)
class TrainingTask:
    """What is learned, from what.

    objective: a module from a Batch to the terms of its loss; its `measure` gives metrics besides, its `labels` says
    beforehand how many labels each term rests on. weights: of the terms in the loss. criterion: the validation metric
    by which the best checkpoint is chosen, lowest best. prepare: samples to a batch, distorted at random if given what
    to draw from. export: writes a checkpoint into a directory, given what puts tensors of `objective` together.
    """

    objective: nn.Module
    weights: Mapping[str, float]
    criterion: str
    training: SampleSource
    validation: SampleSource
    prepare: Callable[[RawBatch, StepRng | None], Batch]
    export: Callable[[Path, Whole], None]


def fit(task: TrainingTask, config: LoopConfig, run: Run, accelerator: Accelerator) -> Progress:
    """Trains to the end of `config.steps`, from where `run` is.

    Raises TrainingError when the loss is no number or runs away, when memory is too small, and when a checkpoint cannot
    be saved; what was saved before stays. Raises InterruptedRunError on SIGINT or SIGTERM, after saving.
    """
    with enough_memory():
        fitting = _Fit(task, config, run, accelerator)
    return fitting.run()


@contextmanager
def enough_memory() -> Iterator[None]:
    """Inside, a model is built and moved. Raises TrainingError when there is too little memory for that alone."""
    try:
        yield
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
        raise TrainingError(
            f"out of memory before the first step ({str(error).splitlines()[0]:.80}): the model itself does not fit; "
            "take a smaller --preset, --updates lora or an --ablation without 3D heads; vga model --plan says what fits"
        ) from None


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class _Fit:
    def __init__(self, task: TrainingTask, config: LoopConfig, run: Run, accelerator: Accelerator) -> None:
        self._task, self._config, self._run, self._accelerator = task, config, run, accelerator
        self._sharded = config.shard and accelerator.num_processes > 1
        self._bare = task.objective if self._sharded else task.objective.to(accelerator.device)
        self._on_cpu = accelerator.device.type == "cpu"
        if self._on_cpu:
            torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # also a CPU's: bf16 formulas stay in bf16
            if not self._sharded:  # FSDP2 takes no weights that are laid out otherwise
                self._bare.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.precision == "bf16":
            round_frozen(self._bare)
        if config.checkpoint_activations:
            checkpoint_activations(self._bare)
        if self._sharded:  # before anything is made of the weights
            shard(self._bare, accelerator.device)
        self._progress = Progress()
        self._ema = Ema(self._bare, config.ema)
        optimizers = build_optimizers(config.optimizer, self._bare)
        if (checkpoint := run.last_checkpoint()) is not None:
            self._restore(checkpoint, optimizers)
        self._objective = accelerator.prepare_model(self._bare, evaluation_mode=self._sharded)  # without DDP, that is
        self._optimizers = [accelerator.prepare_optimizer(optimizer) for optimizer in optimizers]
        self._trained = [parameter for parameter in self._bare.parameters() if parameter.requires_grad]
        size = config.batch // accelerator.num_processes
        self._size = size // config.accumulate  # samples of one pass
        self._share = slice(accelerator.process_index * size, (accelerator.process_index + 1) * size)
        self._asked_to_stop = False  # this process
        self._stop = False  # what all processes have agreed on
        self._save_due = False

    def run(self) -> Progress:
        config = self._config
        sampler = BatchSampler(len(self._task.training), config.batch, config.seed)
        batches = sampler.batches(self._progress.step, config.steps, self._share)
        pin = self._accelerator.device.type == "cuda"
        samples = read(self._task.training, batches, workers=config.workers, pin=pin)
        main = self._accelerator.is_main_process
        try:
            if main:
                self._run.forget_after(self._progress.step)
                LOG.info("%s", self._described())
            with Reporter(self._run, self._progress.step, config.steps, active=main) as reporter, self._stopping():
                while self._progress.step < config.steps:
                    started = time.perf_counter()
                    metrics = self._gradient(next(samples))
                    # Only now have the weights shown that they are worth keeping.
                    if self._save_due or self._stop:
                        self._save()
                    if self._stop:
                        break
                    self._update(metrics["loss"])
                    reporter.step(self._progress.step, {**metrics, "seconds": time.perf_counter() - started})
                    self._keep(reporter)
        except OSError as error:
            reason = f"{self._run.directory}: cannot be written: {error}"
            raise TrainingError(self._stopped(reason, "make room, then --resume it")) from None
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            raise TrainingError(self._stopped(*self._advice_on_memory(error))) from None
        if self._progress.step < config.steps:
            where = f"step {self._progress.step} of {config.steps}"
            raise InterruptedRunError(f"stopped at {where}; go on with --resume {self._run.directory}")
        return self._progress

    def _gradient(self, samples: RawBatch) -> dict[str, float]:
        """Learns from a batch what the next update is. Returns the metrics of the whole batch, all finite."""
        config, step = self._config, self._progress.step
        step_rng = StepRng(np.random.default_rng((config.seed, step, 1)), config.batch, self._share)
        batch = self._task.prepare(samples, step_rng)
        self._objective.train()
        metrics = self._learn(batch)
        self._refuse_nonsense(metrics)
        scale = config.optimizer.lr_scale_at(step, config.steps)
        set_lr(self._optimizers, scale)
        norm = float(whole_value(torch.nn.utils.clip_grad_norm_(self._trained, config.optimizer.clip)))
        if not math.isfinite(norm):
            raise TrainingError(self._stopped(f"the gradient is not finite at step {step + 1}"))
        return {**metrics, "rate": scale * config.optimizer.lr, "norm": norm}

    def _learn(self, batch: Batch) -> dict[str, float]:
        """Adds the gradient of this process's samples, part by part. Returns the metrics of the whole batch."""
        labels = self._over_processes(self._bare.labels(batch))  # type: ignore[operator]
        labels = {name: count.clamp(min=1) for name, count in labels.items()}
        sums: dict[str, Tensor] = {}
        for number, part in enumerate(parts(batch, self._config.accumulate), 1):
            # What checkpointing computes again has to be computed alike; and gradients are exchanged once.
            with self._attention(), self._exchanged(last=number == self._config.accumulate):
                terms = self._objective(part)
                own = {name: (term.values * term.labels).sum() for name, term in terms.items()}
                self._accelerator.backward(self._loss(own, labels))
            for name, value in own.items():
                sums[name] = sums.get(name, 0.0) + value.detach()
        totals = self._over_processes(sums)
        metrics = {name: float(total / labels[name]) for name, total in totals.items()}
        metrics["loss"] = sum(self._task.weights[name] * value for name, value in metrics.items())
        return metrics

    def _loss(self, sums: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Tensor:
        """The share of some samples in a loss whose gradient, averaged over the processes, is that of the batch."""
        weights = self._task.weights
        loss = sum(weights[name] * value / labels[name] for name, value in sums.items())
        assert isinstance(loss, Tensor)
        return loss * self._accelerator.num_processes

    def _exchanged(self, *, last: bool) -> AbstractContextManager[None]:
        """Inside, processes keep their gradients to themselves, but for the last part of a step.

        Where they divide the model they exchange each part's: else each would keep all of them.
        """
        return nullcontext() if last or self._sharded else self._accelerator.no_sync(self._objective)

    def _update(self, loss: float) -> None:
        for optimizer in self._optimizers:
            optimizer.step()
        self._bare.zero_grad()  # now: nothing of the next pass shall find them in memory
        progress = self._progress
        self._ema.update(progress.step + 1)
        smooth = loss if progress.smooth is None else SMOOTHING * progress.smooth + (1 - SMOOTHING) * loss
        first = smooth if progress.step < FIRST_STEPS else progress.first
        self._progress = replace(progress, step=progress.step + 1, smooth=smooth, first=first)

    def _attention(self) -> AbstractContextManager[None]:
        """Inside, attention is the formula on a CPU: the gradient of torch's fused kernel takes longer there."""
        return sdpa_kernel(SDPBackend.MATH) if self._on_cpu else nullcontext()

    def _over_processes(self, mine: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Sums over samples and over all processes; what tells them to stop goes along."""
        stop = torch.tensor(float(self._asked_to_stop), device=self._accelerator.device)
        values = [value.sum().float() for value in mine.values()]
        *together, stops = self._accelerator.reduce(torch.stack([*values, stop]), reduction="sum")
        self._stop = bool(stops > 0)
        return dict(zip(mine, together, strict=True))

    def _refuse_nonsense(self, metrics: Mapping[str, float]) -> None:
        if not all(map(math.isfinite, metrics.values())):
            culprits = ", ".join(name for name, value in metrics.items() if not math.isfinite(value))
            raise TrainingError(self._stopped(f"the loss is not finite at step {self._progress.step + 1} ({culprits})"))
        first, smooth = self._progress.first, self._progress.smooth
        if first is not None and smooth is not None and smooth > DIVERGED * max(abs(first), 0.1):
            raise TrainingError(self._stopped(f"the loss runs away: {smooth:.3g} now, {first:.3g} at first"))

    def _described(self) -> str:
        """How many samples a step takes, of what processes."""
        processes, device = self._accelerator.num_processes, self._accelerator.device.type
        count = "1 process" if processes == 1 else f"{processes} processes"
        parts = f", {self._size} at a time" if self._config.accumulate > 1 else ""
        each = self._share.stop - self._share.start
        told = f"{count} on {device}: {self._config.batch} samples a step, {each} in each process{parts}"
        divided = "; the model is divided among them" if self._sharded else "; --shard: one has nothing to divide"
        return told + (divided if self._config.shard else "")

    def _advice_on_memory(self, error: Exception) -> tuple[str, str]:
        config, where = self._config, f"out of memory at step {self._progress.step + 1}"
        options = [] if config.checkpoint_activations else ["--checkpoint-activations"]
        if self._size > 1:
            options.append(f"--accumulate {2 * config.accumulate}")
        if self._accelerator.num_processes > 1 and not (config.shard or config.optimizer.muon):
            options.append("--shard")
        fewer = "or a smaller --preset" if options else "a smaller --preset"
        advice = f"begin a new run with {', '.join([*options, fewer])} and --out OTHER; vga model --plan says what fits"
        return f"{where} ({str(error).splitlines()[0]:.80})", advice

    def _stopped(self, reason: str, advice: str | None = None) -> str:
        directory = self._run.directory
        if advice is None:
            best = f"--init {directory} " if (directory / BEST).exists() else ""
            advice = f"begin a new run, its options as before but for {best}--lr LOWER --out OTHER"
        return f"{reason}. What was saved before is intact in {directory}; {advice}"

    def _keep(self, reporter: Reporter) -> None:
        """Validates and saves where it is time to. All but the last wait for the next step to show them good."""
        config, step = self._config, self._progress.step
        last = step == config.steps
        if last or step % config.validate_every == 0:
            metrics = self._validate()
            criterion = metrics[self._task.criterion]
            if not math.isfinite(criterion):
                reason = f"validation's {self._task.criterion} is not finite at step {step}"
                raise TrainingError(self._stopped(reason))
            reporter.validation(step, metrics)
            if self._progress.best is None or criterion < self._progress.best:
                self._progress = replace(self._progress, best=criterion, best_step=step)
                self._export(self._run.save_best)
        if config.keep_every is not None and step % config.keep_every == 0:
            self._export(self._run.keep)
        self._save_due = step % config.save_every == 0
        if last:
            self._save()

    def _export(self, save: Callable[[int, Callable[[Path], None]], None]) -> None:
        """Has the run save a policy with the averaged weights of this step."""
        step = self._progress.step
        with self._ema.applied():
            self._in_first(lambda whole: save(step, lambda target: self._task.export(target, whole)))

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Metrics of the validation samples, by the averaged weights."""
        source, config = self._task.validation, self._config
        count = min(len(source), config.validation_samples)
        chosen = np.linspace(0, len(source) - 1, count).round().astype(int)
        processes = self._accelerator.num_processes
        # Where there is not one for each, each takes them all: the means are the same.
        mine = chosen[self._accelerator.process_index :: processes] if count >= processes else chosen
        most = math.ceil(count / processes) if count >= processes else count
        until = math.inf
        if config.validation_seconds is not None:
            mine = np.random.default_rng(config.seed).permutation(mine)  # so that any first part is spread evenly
            until = time.monotonic() + config.validation_seconds
        sums: dict[str, Tensor] = {}
        # All processes make as many passes, as they have to where they divide the model.
        starts = range(0, most, self._size)
        batches = (mine[start : start + self._size].tolist() or mine[:1].tolist() for start in starts)
        self._bare.eval()
        with self._ema.applied():
            for start, samples in zip(starts, read(source, batches, workers=0), strict=True):
                with self._accelerator.autocast():
                    terms = self._bare.measure(self._task.prepare(samples, None))  # type: ignore[operator]
                if start >= len(mine):  # a pass for the others' sake
                    terms = {}
                for name, term in terms.items():
                    new = torch.stack([(term.values * term.labels).sum(), term.labels.sum()])
                    sums[name] = sums.get(name, torch.zeros_like(new)) + new
                if until < math.inf and self._anywhere(time.monotonic() > until):
                    break
            gather_again(self._bare)
        together = self._accelerator.reduce(torch.stack(list(sums.values())), reduction="sum")
        return {name: float(row[0] / row[1]) for name, row in zip(sums, together, strict=True) if row[1] > 0}

    def _save(self) -> None:
        self._save_due = False
        weights: dict[str, Tensor] = dict(self._bare.named_parameters())
        frozen = frozenset(name for name, value in weights.items() if not value.requires_grad)
        memory = moments(self._optimizers, self._bare)
        state = TrainingCheckpoint(self._progress, weights, self._ema.tensors, memory, frozen)
        self._in_first(lambda whole: self._run.save_checkpoint(state, whole))
        self._accelerator.wait_for_everyone()

    def _in_first(self, write: Callable[[Whole], None]) -> None:
        """Has the first process write what it puts together of the weights and of what is made of them."""
        made = [*self._ema.tensors.values(), *moments(self._optimizers, self._bare).values()]
        in_first(write, [*self._bare.parameters(), *made], self._accelerator)

    def _anywhere(self, this: bool) -> bool:
        """Whether it is so in any process; all have to ask."""
        mine = torch.tensor(float(this), device=self._accelerator.device)
        return bool(self._accelerator.reduce(mine, reduction="sum") > 0)

    def _restore(self, checkpoint: TrainingCheckpoint, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self._refuse_other_model(checkpoint)
        self._progress = checkpoint.progress
        for name, parameter in self._bare.named_parameters():
            put(checkpoint.weights[name], parameter)
        for name, tensor in self._ema.tensors.items():
            put(checkpoint.ema[name], tensor)
        restore_moments(optimizers, self._bare, checkpoint.optimizer)

    def _refuse_other_model(self, checkpoint: TrainingCheckpoint) -> None:
        """Another version of the code may build another model of the same configuration."""
        here = {name: parameter.shape for name, parameter in self._bare.named_parameters()}
        saved = {name: tensor.shape for name, tensor in checkpoint.weights.items()}
        if differing := sorted(name for name in here.keys() | saved.keys() if here.get(name) != saved.get(name)):
            raise TrainingError(
                f"{self._run.directory}: saved by version {self._run.origin()['code']} of this code, where "
                f"{len(differing)} tensors were others, {differing[0]} the first: "
                "go on with that version, or train anew"
            )

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """Inside, SIGINT and SIGTERM end the run before the next update."""

        def stop(*_: Any) -> None:
            self._asked_to_stop = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
