"""`vga train`, `vga pretrain`, `vga ablate` and `vga export geometry`: heavy imports wait until one of them runs."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vga_policy.checkpoints import BEST, CELL, EMBODIMENT
from vga_policy.cli_options import CHECKPOINT, add_data, add_out
from vga_policy.cli_types import add_former_name, positive, seed
from vga_policy.plugins import TASKS
from vga_policy.train.config import (
    AugmentationConfig,
    GeometryConfig,
    LoopConfig,
    OptimizerConfig,
    PolicyConfig,
    loop_defaults,
)
from vga_policy.train.options import add_options, doc, given, in_words
from vga_policy.train.runs.failure import InterruptedRunError, TrainingError

if TYPE_CHECKING:
    from vga_policy.train.runs.run import Progress

Subparsers = argparse._SubParsersAction

RESUME = "Goes on with a run that was interrupted, as it began."
OUT = "The run's directory, which must be new or empty."
CURVES = "curves.png"
SHOW = "Trains nothing; lists every option with the value that it has with this preset and these options."


def train_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga train`."""
    parser = subparsers.add_parser(
        "train",
        help="a policy from demonstrations",
        epilog="On several GPUs or machines: accelerate launch [its options] -m vga_policy train [these options].",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--data", nargs="+", metavar="DIR", help=doc(PolicyConfig, "data"))
    where.add_argument("--resume", type=Path, metavar="RUN", help=RESUME)
    where.add_argument("--show-options", action="store_true", help=SHOW)
    add_out(parser, OUT)
    add_options(parser, PolicyConfig)
    _add_loop_options(parser)
    parser.set_defaults(run=partial(_train, parser))


def pretrain_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga pretrain`."""
    parser = subparsers.add_parser("pretrain", help="the geometry of scenes, for policies to start from")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--scenes", metavar="DIR", help=doc(GeometryConfig, "scenes"))
    where.add_argument("--resume", type=Path, metavar="RUN", help=RESUME)
    where.add_argument("--show-options", action="store_true", help=SHOW)
    add_out(parser, OUT)
    add_options(parser, GeometryConfig)
    _add_loop_options(parser)
    parser.set_defaults(run=partial(_pretrain, parser))


def ablate_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga ablate`."""
    parser = subparsers.add_parser("ablate", help="parts of the policy switched off one at a time, as in Table 2")
    add_data(parser, doc(PolicyConfig, "data"))
    add_out(
        parser,
        "The directory of all runs. One that was interrupted is gone on with, and one that is finished is not trained "
        "again.",
        required=True,
    )
    parser.add_argument(
        "--seeds",
        type=seed,
        nargs="+",
        default=[0],
        metavar="N",
        help="Every row is trained with each of these seeds. Default: 0.",
    )
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="The rows to train. Default: all.")
    parser.add_argument(
        "--sizes",
        type=positive,
        nargs="+",
        default=[],
        metavar="N",
        help="Rows that train on so many episodes only. Default: none.",
    )
    parser.add_argument(
        "--ranks",
        type=positive,
        nargs="+",
        default=[],
        metavar="N",
        help="Rows with low-rank updates of these ranks. Default: none.",
    )
    add_options(parser, PolicyConfig, without=("ablation",))
    _add_loop_options(parser, without=("seed",))
    parser.set_defaults(run=_ablate)


def export_geometry_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga export geometry`."""
    parser = subparsers.add_parser(
        "geometry",
        help="what a trained policy knows of depth and cameras, for a policy of another embodiment to start from",
        description="Writes the backbone and the 3D heads of a policy, as vga pretrain does. vga train --init begins "
        "with them, whatever embodiment the policy was trained for.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=CHECKPOINT)
    add_out(parser, "The directory that is written, which must not exist.", required=True)
    parser.set_defaults(run=_export_geometry)


def _add_loop_options(parser: argparse.ArgumentParser, without: tuple[str, ...] = ()) -> None:
    group = parser.add_argument_group("training (for the preset paper: Table 6)")
    loops = {"nano": loop_defaults("nano"), "the other presets": loop_defaults("paper")}
    add_options(group, LoopConfig, without=without, defaults=loops)
    add_former_name(group, "--average", "--ema")
    add_options(group, OptimizerConfig, defaults={preset: loop.optimizer for preset, loop in loops.items()})
    add_options(group, AugmentationConfig)
    group.add_argument("--no-augmentation", action="store_true", help="Shows the views as they were recorded.")


def _train(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    def run() -> None:
        from vga_policy.train import trainer
        from vga_policy.train.runs.run import Run

        if arguments.resume:
            _refuse_beside_resume(parser, arguments)
            progress, out = trainer.resume(arguments.resume), arguments.resume
            data = " ".join(Run.open(out).config()["data"])
        else:
            out = _out(arguments)
            progress = trainer.train(config := _policy(arguments), out)
            data = " ".join(config.data)
        _tell_end(out, progress, *_evaluations(out, data))

    return _report("train", (lambda: _show_options(_policy(arguments))) if arguments.show_options else run)


def _evaluations(run: Path, data: str) -> list[str]:
    """The commands that tell how good a policy is; the tasks it has learned are tried where they can be simulated."""
    from vga_policy.cell.loading import load_cell
    from vga_policy.checkpoints.checkpoint import load_contract
    from vga_policy.train.runs.run import Run

    if (run / BEST / EMBODIMENT).is_file():  # of a benchmark: its trials go by its name
        return [f"vga eval {load_contract(run / BEST).name} --checkpoint {run}"]
    open_loop = f"vga eval open-loop --checkpoint {run} --data {data}"
    tasks = [task for task in Run.open(run).origin()["data"].get("tasks", ()) if task in TASKS.names()]
    if not tasks:
        return [open_loop]
    cell = run / BEST / CELL
    elsewhere = f" --cell {cell}" if cell.is_file() and load_cell(cell).name != "sim" else ""
    return [open_loop, f"vga eval sim --checkpoint {run} --task {' '.join(tasks)} --in-process{elsewhere}"]


def _export_geometry(arguments: argparse.Namespace) -> int:
    from vga_policy.checkpoints import locate
    from vga_policy.checkpoints.checkpoint import digest, load
    from vga_policy.files import whole_directory
    from vga_policy.train.runs.start import save_geometry

    try:
        model = load(arguments.checkpoint).model
        if model.camera_head is None or model.depth_head is None:
            raise ValueError(f"{arguments.checkpoint}: was trained without its 3D heads")
        if arguments.out.exists():
            raise ValueError(f"{arguments.out} exists already: choose another --out")
        about = {"policy": arguments.checkpoint, "weights": digest(locate(arguments.checkpoint))}
        with whole_directory(arguments.out) as unfinished:
            save_geometry(model, unfinished, about)
    except (ValueError, OSError) as error:
        print(f"vga export geometry: {error}", file=sys.stderr)
        return 1
    print(f"next: vga train --data DATA --init {arguments.out} --out RUN")
    return 0


def _policy(arguments: argparse.Namespace) -> PolicyConfig:
    asked = given(arguments, PolicyConfig)
    loop = _loop(arguments, asked.get("preset", PolicyConfig.preset))
    return PolicyConfig(data=tuple(arguments.data or ()), augmentation=_augmentation(arguments), loop=loop, **asked)


def _ablate(arguments: argparse.Namespace) -> int:
    def run() -> None:
        from vga_policy.train import trainer
        from vga_policy.train.ablation.study import CURVES, TABLE, ablate, variants

        rows = variants(_policy(arguments), arguments.sizes, arguments.ranks)
        if unknown := [name for name in arguments.rows or () if name not in rows]:
            raise TrainingError(f"--rows: {', '.join(unknown)}: none of {', '.join(map(repr, rows))}")
        with _said_once(trainer.LOG):
            ablate(rows, arguments.seeds, arguments.out, arguments.rows)
        print((arguments.out / TABLE).read_text())
        _say(f"table and curves: {arguments.out / TABLE}, {arguments.out / CURVES}")
        _say(f"next: vga eval ablation {arguments.out}")

    return _report("ablate", run)


def _pretrain(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    def new() -> GeometryConfig:
        asked = given(arguments, GeometryConfig)
        loop = _loop(arguments, asked.get("preset", GeometryConfig.preset))
        return GeometryConfig(scenes=arguments.scenes or "", augmentation=_augmentation(arguments), loop=loop, **asked)

    def run() -> None:
        from vga_policy.train import pretraining

        if arguments.resume:
            _refuse_beside_resume(parser, arguments)
            progress, out = pretraining.resume(arguments.resume), arguments.resume
        else:
            out = _out(arguments)
            progress = pretraining.pretrain(new(), out)
        _tell_end(out, progress, f"vga train --data episodes --init {out} --out run")

    return _report("pretrain", (lambda: _show_options(new())) if arguments.show_options else run)


def _report(command: str, run: Callable[[], None]) -> int:
    """Runs a training: 0 at its end, 130 when interrupted; 1 or 2, with a line that says why, when it fails."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # of its fonts, when it is used for the first time
    # Before torch is imported. Threads that spin while they wait take the processors from those that work: beside two
    # other busy processes a step of nano took twice as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        run()
    except (TrainingError, ValueError) as error:
        print(f"vga {command}: {error}", file=sys.stderr)
        return 130 if isinstance(error, InterruptedRunError) else 1 if isinstance(error, TrainingError) else 2
    return 0


def _tell_end(out: Path, progress: Progress, *commands: str) -> None:
    """Where the result is, how good it is, and what to type next."""
    best = f"{progress.best:.4g} at step {progress.best_step} of {progress.step}, in {out / BEST}"
    _say(f"best by validation: {best}")
    _say(f"curves: {out / CURVES}; tensorboard --logdir {out}")
    for command in commands:
        _say(f"next: {command}")


def _say(text: str) -> None:
    from accelerate import PartialState

    if PartialState().is_main_process:
        print(text)


@contextmanager
def _said_once(log: logging.Logger) -> Iterator[None]:
    """Inside, `log` says the same but once: the runs of an ablation have the same episodes."""
    said: set[str] = set()

    def new(record: logging.LogRecord) -> bool:
        known = record.getMessage() in said
        said.add(record.getMessage())
        return not known

    log.addFilter(new)
    try:
        yield
    finally:
        log.removeFilter(new)


def _show_options(config: PolicyConfig | GeometryConfig) -> None:
    if isinstance(config, PolicyConfig):
        from vga_policy.presets.presets import ABLATIONS, PRESETS  # they are models: heavy

        preset = PRESETS[config.preset]()
        preset = ABLATIONS[config.ablation](preset) if config.ablation else preset
        recipe = preset.recipe
        config = replace(
            config,
            strategy=config.strategy or recipe.strategy,
            rank=config.rank or recipe.rank,
            text_encoder=config.text_encoder or preset.text_encoder,
            keyframe=recipe.losses.keyframe if config.keyframe is None else config.keyframe,
        )
    parts = [config, config.loop, config.loop.optimizer, *([config.augmentation] if config.augmentation else [])]
    print("\n".join(line for part in parts for line in in_words(part)))


def _refuse_beside_resume(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """A run goes on as it began, whatever else is asked for."""
    beside = [
        action.option_strings[0]
        for action in parser._actions
        if action.dest != "resume" and action.help != argparse.SUPPRESS
        if getattr(arguments, action.dest, action.default) != action.default
    ]
    if beside:
        raise TrainingError(
            f"{', '.join(beside)}: --resume goes on as {arguments.resume} began and takes no other option; for another "
            f"run that starts from it: --out OTHER --init {arguments.resume}, and all its options"
        )


def _out(arguments: argparse.Namespace) -> Path:
    if arguments.out is None:
        raise TrainingError("--out RUN is missing: a new directory for the run")
    return arguments.out


def _loop(arguments: argparse.Namespace, preset: str) -> LoopConfig:
    defaults = loop_defaults(preset)
    optimizer = replace(defaults.optimizer, **given(arguments, OptimizerConfig))
    return replace(defaults, optimizer=optimizer, **given(arguments, LoopConfig))


def _augmentation(arguments: argparse.Namespace) -> AugmentationConfig | None:
    return None if arguments.no_augmentation else AugmentationConfig(**given(arguments, AugmentationConfig))
