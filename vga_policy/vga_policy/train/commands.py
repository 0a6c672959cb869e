"""`vga train`, `vga pretrain` and `vga ablate`: heavy imports wait until one of them runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vga_policy.names import ABLATION_NAMES, PRESET_NAMES

if TYPE_CHECKING:
    from vga_policy.train.config import GeometryConfig, PolicyConfig
    from vga_policy.train.engine.loop import LoopConfig
    from vga_policy.train.input.augmentation import AugmentationConfig

Subparsers = argparse._SubParsersAction

PRESET = "nano"


def train_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga train`."""
    parser = subparsers.add_parser(
        "train",
        help="a policy from demonstrations",
        epilog="On several GPUs or machines: accelerate launch [its options] -m vga_policy train [these options].",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--data", nargs="+", metavar="DIR", help="directories of episodes")
    where.add_argument("--resume", type=Path, metavar="RUN", help="goes on with a run that was interrupted")
    parser.add_argument("--out", type=Path, metavar="RUN", help="a new directory")
    parser.add_argument("--ablation", choices=ABLATION_NAMES, help="a row of Table 2")
    parser.add_argument("--seed", type=int, help="of all that is drawn at random (default: 0)")
    _add_policy_options(parser)
    _add_loop_options(parser)
    parser.set_defaults(run=partial(_train, parser))


def pretrain_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga pretrain`."""
    parser = subparsers.add_parser("pretrain", help="the geometry of scenes, for policies to start from")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--scenes", metavar="DIR", help="made by `vga scenes`")
    where.add_argument("--resume", type=Path, metavar="RUN", help="goes on with a run that was interrupted")
    parser.add_argument("--out", type=Path, metavar="RUN", help="a new directory")
    _add_preset(parser)
    parser.add_argument("--init", metavar="CHECKPOINT", help="another pretraining, or public weights of VGGT")
    parser.add_argument("--scene-views", type=_positive, metavar="N", help="views of a sample (default: 2)")
    parser.add_argument("--seed", type=int, help="of all that is drawn at random (default: 0)")
    _add_loop_options(parser)
    parser.set_defaults(run=partial(_pretrain, parser))


def ablate_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga ablate`."""
    parser = subparsers.add_parser("ablate", help="parts of the policy switched off one at a time, as in Table 2")
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="directories of episodes")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="goes on there if it was interrupted")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of training (default: 0)")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--sizes", type=_positive, nargs="+", default=[], metavar="N", help="numbers of episodes")
    parser.add_argument("--ranks", type=_positive, nargs="+", default=[], metavar="N", help="of low-rank updates")
    _add_policy_options(parser)
    _add_loop_options(parser)
    parser.set_defaults(run=_ablate, seed=None, ablation=None)


def _add_preset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", choices=PRESET_NAMES, help=f"a model and how it is trained (default: {PRESET})")


def _add_policy_options(parser: argparse.ArgumentParser) -> None:
    _add_preset(parser)
    parser.add_argument("--init", metavar="CHECKPOINT", help="a run, a policy, or public weights of VGGT")
    parser.add_argument(
        "--encoders", nargs=2, metavar=("DINOV2", "SIGLIP"), help="timm's weights, for the paper's vision encoder"
    )
    parser.add_argument("--strategy", choices=("lora", "full"), help="what trains (default: the preset's)")
    parser.add_argument("--rank", type=_positive, help="of low-rank updates")
    parser.add_argument("--text-encoder", choices=("hashed_ngrams", "minilm", "qwen_gte"))
    parser.add_argument("--targets", choices=("relative", "absolute"), help="joints (default: relative)")
    parser.add_argument("--views", nargs="+", metavar="CAMERA", help="for slots 0, 1, … (default: the cell's)")
    parser.add_argument("--episodes", type=_positive, help="train on so many at most")
    parser.add_argument("--starts", type=_positive, metavar="N", help="show an episode's first 2 s N times as often")
    parser.add_argument("--geometry-share", type=_positive, metavar="N", help="3D heads see one sample in N")
    parser.add_argument(
        "--keyframe", type=float, metavar="WEIGHT", help="of where the hand next opens or closes; 0 for none"
    )


def _add_loop_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training (defaults depend on the preset; Table 6's for `paper`)")
    group.add_argument("--steps", type=_positive)
    group.add_argument("--batch", type=_positive, help="samples a step, over all processes")
    group.add_argument("--lr", type=float, metavar="RATE", help="the highest learning rate")
    group.add_argument("--muon", type=float, metavar="RATE", help="of hidden matrices, by Muon; 0: AdamW")
    group.add_argument("--warm-up", type=int, metavar="STEPS")
    group.add_argument("--average", type=float, metavar="DECAY", help="of the weights' moving average; 0 for none")
    group.add_argument("--validation", type=float, metavar="SHARE", help="of the data, held out")
    group.add_argument("--validate-every", type=_positive, metavar="STEPS")
    group.add_argument("--save-every", type=_positive, metavar="STEPS")
    group.add_argument("--crop", type=float, nargs=2, metavar=("LEAST", "MOST"), help="share of a view's area kept")
    group.add_argument("--no-augmentation", action="store_true")
    group.add_argument("--precision", choices=("fp32", "bf16"))
    group.add_argument("--device", choices=("cpu", "auto"))
    group.add_argument("--threads", type=_positive, help="of the CPU")
    group.add_argument("--workers", type=int, help="processes that decode ahead")
    group.add_argument("--cache", metavar="DIR", help="keeps decoded samples there: no JPEG is decoded twice")


def _train(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    def run() -> None:
        from vga_policy.train import policy as trainer

        if arguments.resume:
            _refuse_beside_resume(parser, arguments)
            trainer.resume(arguments.resume)
        else:
            trainer.train(_policy(arguments), _out(arguments))

    return _report("train", run)


def _policy(arguments: argparse.Namespace) -> PolicyConfig:
    from vga_policy.train.config import PolicyConfig, loop_defaults

    fields = _given(arguments, "ablation", "init", "strategy", "rank", "text_encoder", "targets", "episodes")
    fields |= _given(arguments, "starts", "geometry_share", "keyframe", "validation", "cache")
    preset = arguments.preset or PRESET
    return PolicyConfig(
        data=tuple(arguments.data),
        preset=preset,
        views=tuple(arguments.views or ()),
        encoders=tuple(arguments.encoders) if arguments.encoders else None,
        augmentation=_augmentation(arguments),
        loop=_loop(arguments, loop_defaults(preset)),
        **fields,
    )


def _ablate(arguments: argparse.Namespace) -> int:
    def run() -> None:
        from vga_policy.train.ablation.study import TABLE, ablate, variants
        from vga_policy.train.runs.failure import TrainingError

        rows = variants(_policy(arguments), arguments.sizes, arguments.ranks)
        if unknown := [name for name in arguments.rows or () if name not in rows]:
            raise TrainingError(f"--rows: {', '.join(unknown)}: none of {', '.join(map(repr, rows))}")
        ablate(rows, arguments.seeds, arguments.out, arguments.rows)
        print((arguments.out / TABLE).read_text())

    return _report("ablate", run)


def _pretrain(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    def new() -> GeometryConfig:
        from vga_policy.train.config import GeometryConfig, loop_defaults

        fields = _given(arguments, "init", "validation", "cache")
        fields |= {} if arguments.scene_views is None else {"views": arguments.scene_views}
        preset = arguments.preset or PRESET
        return GeometryConfig(
            scenes=arguments.scenes,
            preset=preset,
            augmentation=_augmentation(arguments),
            loop=_loop(arguments, loop_defaults(preset)),
            **fields,
        )

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
    import logging

    from vga_policy.train.runs.failure import InterruptedRunError, TrainingError

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run()
    except (TrainingError, ValueError) as error:
        print(f"vga {command}: {error}", file=sys.stderr)
        return 130 if isinstance(error, InterruptedRunError) else 1 if isinstance(error, TrainingError) else 2
    return 0


def _refuse_beside_resume(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """A run goes on as it began, whatever else is asked for."""
    from vga_policy.train.runs.failure import TrainingError

    given = [
        action.option_strings[0]
        for action in parser._actions
        if action.dest != "resume" and getattr(arguments, action.dest, action.default) != action.default
    ]
    if given:
        raise TrainingError(
            f"{', '.join(given)}: --resume goes on as {arguments.resume} began and takes no other option; for another "
            f"run that starts from it: --out OTHER --init {arguments.resume}, and all its options"
        )


def _out(arguments: argparse.Namespace) -> Path:
    from vga_policy.train.runs.failure import TrainingError

    if arguments.out is None:
        raise TrainingError("--out RUN is missing: a new directory for the run")
    return arguments.out


def _loop(arguments: argparse.Namespace, defaults: LoopConfig) -> LoopConfig:
    optimizer = replace(defaults.optimizer, **_given(arguments, "lr", "muon", "warm_up"))
    fields = _given(arguments, "steps", "batch", "ema", "validate_every", "save_every", "seed", "precision")
    return replace(defaults, optimizer=optimizer, **fields, **_given(arguments, "device", "threads", "workers"))


def _augmentation(arguments: argparse.Namespace) -> AugmentationConfig | None:
    from vga_policy.train.input.augmentation import AugmentationConfig

    if arguments.no_augmentation:
        return None
    return AugmentationConfig(crop=tuple(arguments.crop)) if arguments.crop else AugmentationConfig()


def _given(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1 (found {value})")
    return value
