"""`vga model`; heavy imports wait until it runs."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

from vga_policy.cli_options import add_json, add_preset
from vga_policy.cli_types import positive
from vga_policy.names import ABLATION_NAMES

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
    parser.set_defaults(run=_model)


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
