"""`vga model`, `vga geometry`, `vga bench latency` and `vga bench overfit`: heavy imports wait until one runs."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

Subparsers = argparse._SubParsersAction

PRESET_NAMES = ("paper", "paper-dinov2", "small", "nano")
ABLATION_NAMES = ("without-pvm", "without-joint-training", "zeroinit-full", "zeroinit-lora", "full-parameter")


def model_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga model`."""
    parser = subparsers.add_parser("model", help="modules and parameters of a model, against the paper's Table 5")
    parser.add_argument("--preset", choices=PRESET_NAMES, default="nano")
    parser.add_argument("--ablation", choices=ABLATION_NAMES, help="a row of Table 2")
    parser.add_argument("--rank", type=_positive, help="of the low-rank updates (default: the preset's)")
    parser.add_argument(
        "--actions", type=_positive, default=8, help="numbers a step (8: joints and gripper; LIBERO: 7)"
    )
    parser.add_argument("--tensors", action="store_true", help="list every tensor that trains")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_model)


def latency_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga bench latency`."""
    latency = subparsers.add_parser("latency", help="time from camera images to a chunk of actions")
    latency.add_argument("--preset", choices=PRESET_NAMES, default="nano")
    latency.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    latency.add_argument("--views", type=_positive, default=2)
    latency.add_argument("--threads", type=_positive, help="CPU threads (default: torch's)")
    latency.add_argument("--repeats", type=_positive, default=100)
    latency.add_argument("--json", action="store_true")
    latency.set_defaults(run=_latency)


def overfit_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga bench overfit`."""
    parser = subparsers.add_parser("overfit", help="whether a model learns what it is shown: a few samples by heart")
    parser.add_argument("--data", required=True, nargs="+", metavar="DIR", help="directories of episodes")
    parser.add_argument("--preset", choices=PRESET_NAMES, default="nano")
    parser.add_argument("--samples", type=_positive, default=16, help="to learn by heart (default: %(default)s)")
    parser.add_argument("--steps", type=_positive, default=240, help="of training (default: %(default)s)")
    parser.add_argument(
        "--batch",
        type=_positive,
        default=8,
        help="samples a step; the control takes twice as many (default: %(default)s)",
    )
    parser.add_argument(
        "--control", type=int, default=768, metavar="N", help="samples of the control (default: %(default)s; 0: none)"
    )
    parser.add_argument("--threads", type=_positive, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_overfit)


def geometry_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga geometry`."""
    parser = subparsers.add_parser("geometry", help="depth and cameras that VGGT predicts for images, as a picture")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMG")
    parser.add_argument("--checkpoint", required=True, type=Path, metavar="DIR", help="of VGGT: a directory or a file")
    parser.add_argument("--out", type=Path, default=Path("geometry.png"), help="default: %(default)s")
    parser.add_argument("--width", type=_positive, default=518, help="of each image, pixels (default: %(default)s)")
    parser.set_defaults(run=_geometry)


def _model(arguments: argparse.Namespace) -> int:
    from vga_policy.model.lora import make_trainable, trainable
    from vga_policy.model.presets import ABLATIONS, PRESETS
    from vga_policy.model.table import BACKBONE_NOTE, table

    preset = PRESETS[arguments.preset]()
    preset = replace(preset, model=replace(preset.model, actions=arguments.actions))
    if arguments.ablation:
        preset = ABLATIONS[arguments.ablation](preset)
    if arguments.rank:
        preset = replace(preset, recipe=replace(preset.recipe, rank=arguments.rank))
    against_paper = arguments.preset.startswith("paper")
    counts: dict[str, Any] = {"preset": arguments.preset, "ablation": arguments.ablation}
    counts |= {"strategy": preset.recipe.strategy, "initialisation": preset.recipe.initialisation}
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


def _latency(arguments: argparse.Namespace) -> int:
    import torch

    from vga_policy.model.benchmark import latency

    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        print(f"vga bench latency: --device {device}: this torch sees no GPU", file=sys.stderr)
        return 1
    report = latency(
        arguments.preset,
        device=device,
        views=arguments.views,
        threads=arguments.threads,
        repeats=arguments.repeats,
    )
    if arguments.json:
        print(json.dumps(report, indent=2))
        return 0
    print(
        f"{report['preset']} on {report['device']}, {report['dtype']}, {report['threads']} threads, "
        f"{report['views']} views of {report['image_size']} pixels, {report['parameters'] / 1e6:.1f} M parameters"
    )
    print(f"{'ms':24}{'p50':>10}{'p95':>10}{'p99':>10}")
    for mode, times in report["modes"].items():
        for part in ("preprocessing_ms", "inference_ms", "total_ms"):
            figures = "".join(f"{times[part][p]:>10.2f}" for p in ("p50", "p95", "p99"))
            print(f"{mode + ' ' + part.removesuffix('_ms'):24}{figures}")
    return 0


def _overfit(arguments: argparse.Namespace) -> int:
    import torch

    from vga_policy.data.episodes import DatasetError
    from vga_policy.model.presets import PRESETS
    from vga_policy.train.overfit import by_heart, constant_guess, control, draw_samples, table

    torch.set_num_threads(arguments.threads)
    preset, steps, seed = PRESETS[arguments.preset](), arguments.steps, arguments.seed
    try:
        shown = draw_samples(arguments.data, preset, arguments.samples, arguments.control, seed)
    except DatasetError as error:
        print(f"vga bench overfit: {error}", file=sys.stderr)
        return 1
    rows = by_heart(preset, shown.by_heart, steps, arguments.batch, seed)
    if arguments.control:
        rows += control(preset, shown.control, shown.unseen, 2 * arguments.batch, seed)
    guess = constant_guess(shown.control, shown.unseen)
    report = {"preset": arguments.preset, "constant_guess_l1": guess, "runs": [asdict(row) for row in rows]}
    print(json.dumps(report, indent=2) if arguments.json else table(rows, guess))
    return 0


def _geometry(arguments: argparse.Namespace) -> int:
    import cv2

    from vga_policy.model.picture import draw_geometry, read_images
    from vga_policy.model.vggt import InputError
    from vga_policy.model.weights import WeightsError, load_vggt

    try:
        images = read_images(arguments.images, arguments.width)
        picture = draw_geometry(load_vggt(arguments.checkpoint), images)
        written = cv2.imwrite(str(arguments.out), picture)
    except (InputError, WeightsError, cv2.error) as error:
        print(f"vga geometry: {error}", file=sys.stderr)
        return 1
    if not written:
        print(f"vga geometry: {arguments.out}: cannot be written", file=sys.stderr)
        return 1
    print(arguments.out)
    return 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1 (found {value})")
    return value
