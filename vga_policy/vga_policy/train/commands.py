"""`vga train`, `vga pretrain` and `vga ablate`: heavy imports wait until one of them runs."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from vga_policy.cli_types import add_former_name, positive
from vga_policy.train.config import (
    AugmentationConfig,
    GeometryConfig,
    LoopConfig,
    OptimizerConfig,
    PolicyConfig,
    loop_defaults,
)
from vga_policy.train.options import add_options, doc, given
from vga_policy.train.runs.failure import InterruptedRunError, TrainingError

Subparsers = argparse._SubParsersAction

RESUME = "Goes on with a run that was interrupted, as it began."
OUT = "The run's directory, which must be new or empty."


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
    parser.add_argument("--out", type=Path, metavar="RUN", help=OUT)
    add_options(parser, PolicyConfig)
    _add_loop_options(parser)
    parser.set_defaults(run=partial(_train, parser))


def pretrain_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga pretrain`."""
    parser = subparsers.add_parser("pretrain", help="the geometry of scenes, for policies to start from")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--scenes", metavar="DIR", help=doc(GeometryConfig, "scenes"))
    where.add_argument("--resume", type=Path, metavar="RUN", help=RESUME)
    parser.add_argument("--out", type=Path, metavar="RUN", help=OUT)
    add_options(parser, GeometryConfig)
    _add_loop_options(parser)
    parser.set_defaults(run=partial(_pretrain, parser))


def ablate_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga ablate`."""
    parser = subparsers.add_parser("ablate", help="parts of the policy switched off one at a time, as in Table 2")
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help=doc(PolicyConfig, "data"))
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="The directory of all runs. One that was interrupted "
        "is gone on with, and one that is finished is not trained again.",
    )
    parser.add_argument(
        "--seeds",
        type=int,
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

        if arguments.resume:
            _refuse_beside_resume(parser, arguments)
            trainer.resume(arguments.resume)
        else:
            trainer.train(_policy(arguments), _out(arguments))

    return _report("train", run)


def _policy(arguments: argparse.Namespace) -> PolicyConfig:
    asked = given(arguments, PolicyConfig)
    loop = _loop(arguments, asked.get("preset", PolicyConfig.preset))
    return PolicyConfig(data=tuple(arguments.data), augmentation=_augmentation(arguments), loop=loop, **asked)


def _ablate(arguments: argparse.Namespace) -> int:
    def run() -> None:
        from vga_policy.train.ablation.study import TABLE, ablate, variants

        rows = variants(_policy(arguments), arguments.sizes, arguments.ranks)
        if unknown := [name for name in arguments.rows or () if name not in rows]:
            raise TrainingError(f"--rows: {', '.join(unknown)}: none of {', '.join(map(repr, rows))}")
        ablate(rows, arguments.seeds, arguments.out, arguments.rows)
        print((arguments.out / TABLE).read_text())

    return _report("ablate", run)


def _pretrain(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    def new() -> GeometryConfig:
        asked = given(arguments, GeometryConfig)
        loop = _loop(arguments, asked.get("preset", GeometryConfig.preset))
        return GeometryConfig(scenes=arguments.scenes, augmentation=_augmentation(arguments), loop=loop, **asked)

    def run() -> None:
        from vga_policy.train import pretraining

        if arguments.resume:
            _refuse_beside_resume(parser, arguments)
            pretraining.resume(arguments.resume)
        else:
            pretraining.pretrain(new(), _out(arguments))

    return _report("pretrain", run)


def _report(command: str, run: Callable[[], None]) -> int:
    """Runs a training: 0 at its end, 130 when interrupted; 1 or 2, with a line that says why, when it fails."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run()
    except (TrainingError, ValueError) as error:
        print(f"vga {command}: {error}", file=sys.stderr)
        return 130 if isinstance(error, InterruptedRunError) else 1 if isinstance(error, TrainingError) else 2
    return 0


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
