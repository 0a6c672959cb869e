"""`vga model`; heavy imports wait until it runs."""

from __future__ import annotations

import argparse
import json
import resource
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vga_policy.cli_options import add_json, add_preset
from vga_policy.cli_types import above_zero, positive
from vga_policy.names import ABLATION_NAMES
from vga_policy.train.config import LoopConfig, loop_defaults
from vga_policy.train.options import add_options, given

if TYPE_CHECKING:
    from vga_policy.presets.presets import Preset

NOT_PLANNED = (
    *("steps", "seed", "validate_every", "save_every", "keep_every"),
    *("validation_samples", "validation_seconds", "device", "workers", "threads"),
)
LIBRARIES = "Python and libraries"
IMPORTED = (
    *("torch._dynamo", "torch.utils.tensorboard"),
    *("transformers.models.bert.modeling_bert", "vga_policy.train.trainer"),
)
USABLE = 0.85  # of a GPU's memory: the rest is CUDA's own, workspaces and fragments

Subparsers = argparse._SubParsersAction


def model_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga model`."""
    parser = subparsers.add_parser("model", help="modules and parameters of a model, against the paper's Table 5")
    add_preset(parser)
    parser.add_argument(
        "--ablation",
        choices=ABLATION_NAMES,
        help="A row of the paper's Table 2: a part of the policy left out. Default: none.",
    )
    parser.add_argument(
        "--rank", type=positive, metavar="RANK", help="The rank of the low-rank updates. Default: the preset's."
    )
    parser.add_argument(
        "--actions", type=positive, default=8, metavar="N",
        help="The numbers of a step: 8 are joints and gripper, LIBERO has 7. Default: 8.",
    )  # fmt: skip
    parser.add_argument("--tensors", action="store_true", help="Lists every tensor that trains.")
    add_json(parser)
    group = parser.add_argument_group("the memory of its training")
    group.add_argument(
        "--plan", action="store_true", help="Predicts what a step of vga train holds at its peak, in each process."
    )
    loops = {"nano": loop_defaults("nano"), "the other presets": loop_defaults("paper")}
    add_options(group, LoopConfig, without=NOT_PLANNED, defaults=loops)
    group.add_argument("--gpus", type=positive, metavar="N", help="The number of GPUs. Default: none, a CPU.")
    group.add_argument(
        "--memory", type=_gigabytes, metavar="SIZE", help="What each has, as 24GB: says what to turn on."
    )
    parser.set_defaults(run=_model)


def _gigabytes(text: str) -> float:
    return above_zero(text.upper().removesuffix("B").removesuffix("G"))


def _plan(arguments: argparse.Namespace, preset: Preset) -> int:
    from vga_policy.train.plan import saving, step_memory

    loop = replace(loop_defaults(arguments.preset), **given(arguments, LoopConfig))
    processes, formula = arguments.gpus or 1, arguments.gpus is None
    if loop.batch % (processes * loop.accumulate):
        print(f"vga model: --batch {loop.batch}: cannot be shared evenly by {processes} GPUs", file=sys.stderr)
        return 2
    own = {LIBRARIES: _resident()} if formula else {}
    parts = step_memory(preset, loop, processes, formula=formula) | own
    told: dict[str, Any] = {"bytes": parts, "total": sum(parts.values()), "predicted": True}
    if arguments.memory is not None:
        limit = round(1e9 * arguments.memory * (1.0 if formula else USABLE)) - parts.get(LIBRARIES, 0)
        found = saving(preset, loop, processes, limit, formula=formula)
        told |= {"memory_gb": arguments.memory, "advice": _advice(loop, found)}
    print(json.dumps(told, indent=2) if arguments.json else _described(told, loop, processes, formula=formula))
    return 0


def _advice(loop: LoopConfig, found: LoopConfig | None) -> str:
    if found is None:
        return "no option keeps a step below that: take more GPUs, a smaller preset, or an ablation without 3D heads"
    options = [f"--accumulate {found.accumulate}"] if found.accumulate != loop.accumulate else []
    if found.checkpoint_activations != loop.checkpoint_activations:
        options.append("--checkpoint-activations")
    if found.shard != loop.shard:
        options.append("--shard")
    return f"turn on {' '.join(options)}: the same update in less memory" if options else "it fits as it is"


def _described(told: dict[str, Any], loop: LoopConfig, processes: int, *, formula: bool) -> str:
    where = "on a CPU" if formula else f"in each of {processes} GPUs" if processes > 1 else "on a GPU"
    size = loop.batch // processes // loop.accumulate
    lines = [f"predicted peak of a step {where}, {size} samples at a time, {loop.precision}:", ""]
    lines += [f"{part:44}{count / 1e9:>8.2f} GB" for part, count in told["bytes"].items()]
    lines.append(f"{'together':44}{told['total'] / 1e9:>8.2f} GB")
    if not formula:
        lines += ["", "What CUDA and its kernels take, about 1 GB and a tenth of the rest, comes on top."]
    if "advice" in told:
        lines += ["", f"{told['memory_gb']:g} GB: {told['advice']}"]
    return "\n".join(lines)


def _resident() -> int:
    """Bytes of memory that this process has with all that a training imports."""
    for module in IMPORTED:
        import_module(module)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _model(arguments: argparse.Namespace) -> int:
    from vga_policy.objective.lora import make_trainable, trainable
    from vga_policy.presets.presets import ABLATIONS, PRESETS
    from vga_policy.presets.table import BACKBONE_NOTE, table

    preset = PRESETS[arguments.preset]()
    preset = replace(preset, model=replace(preset.model, actions=arguments.actions))
    if arguments.ablation:
        preset = ABLATIONS[arguments.ablation](preset)
    if arguments.rank:
        preset = replace(preset, recipe=replace(preset.recipe, rank=arguments.rank))
    if arguments.plan:
        return _plan(arguments, preset)
    against_paper = arguments.preset.startswith("paper")
    counts: dict[str, Any] = {"preset": arguments.preset, "ablation": arguments.ablation}
    counts |= {"strategy": preset.recipe.strategy, "initialisation": preset.recipe.initialization}
    counts |= table(preset, against_paper=against_paper)
    if against_paper:
        counts["backbone_note"] = BACKBONE_NOTE
    if arguments.tensors:
        import torch

        with torch.device("meta"):
            model = preset.model.build()
            make_trainable(model, preset.recipe)
        counts["trainable_tensors"] = trainable(model)
    print(json.dumps(counts, indent=2) if arguments.json else _describe(counts))
    return 0


def _describe(counts: dict[str, Any]) -> str:
    lines = [f"{'module':32}{'parameters':>12}{'trainable':>12}{'paper':>20}"]

    def line(count: dict[str, Any], indent: str = "") -> str:
        paper = "{:.1f} M / {:.1f} M".format(*count["paper"]) if count["paper"] else ""
        numbers = f"{count['parameters'] / 1e6:>10.1f} M{count['trainable'] / 1e6:>10.1f} M{paper:>20}"
        return f"{indent + count['name']:32}{numbers}".rstrip()

    for count in counts["rows"]:
        lines.append(line(count))
        if count["name"] == "Transformer backbone":
            lines += [line(part, "  ") for part in counts["backbone"]]
    lines.append(line(counts["total"]))
    lines += ["", *(f"{name:32}{count / 1e6:>10.1f} M" for name, count in counts["variants"].items())]
    if note := counts.get("backbone_note"):
        lines += ["", f"{note}."]
    lines += [f"trains {name} ({count})" for name, count in counts.get("trainable_tensors", {}).items()]
    return "\n".join(lines)
