"""`vga bench latency` and `vga bench overfit`; heavy imports wait until one runs."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from vga_policy.cli_options import (
    add_data,
    add_device,
    add_json,
    add_preset,
    add_seed,
    add_threads,
)
from vga_policy.cli_types import above_zero, add_former_name, natural, positive

Subparsers = argparse._SubParsersAction


def latency_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga bench latency`."""
    latency = subparsers.add_parser(
        "latency",
        help="time from camera images to a chunk of actions",
        description="Times a model of random weights in each way of running it: eager is torch's operations one by "
        "one; traced (on a CPU) and recorded (on a GPU, as a CUDA graph) are a whole pass as one call, and compiled is "
        "recorded with fused kernels. The policy node on the robot runs the last. total is from a camera's pixels in "
        "memory to joint targets there; of it, preprocessing is the host's resizing and inference the rest, with "
        "copies to and from a GPU. model is the network's pass alone, between tensors on the device.",
    )
    add_preset(latency)
    add_device(latency)
    latency.add_argument(
        "--view-count", type=positive, default=2, metavar="N", help="How many views a sample has. Default: 2."
    )
    add_former_name(latency, "--views", "--view-count")
    add_threads(latency)
    latency.add_argument(
        "--repeats", type=positive, default=100, metavar="N", help="How many times each part is timed. Default: 100."
    )
    latency.add_argument(
        "--duration",
        type=above_zero,
        default=60.0,
        metavar="S",
        help="The longest time, s, for which each way of running the model is timed. Default: 60.",
    )
    latency.add_argument(
        "--time-limit",
        type=above_zero,
        metavar="S",
        help="The longest time, s, for all of it: what it does not reach is not measured. Default: none.",
    )
    add_json(latency)
    latency.set_defaults(run=_latency)


def overfit_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga bench overfit`."""
    parser = subparsers.add_parser("overfit", help="whether a model learns what it is shown: a few samples by heart")
    add_data(parser)
    add_preset(parser)
    parser.add_argument(
        "--samples", type=positive, default=16, metavar="N", help="The samples to learn by heart. Default: 16."
    )
    parser.add_argument(
        "--steps", type=positive, default=240, metavar="STEPS", help="The number of training steps. Default: 240."
    )
    parser.add_argument(
        "--batch",
        type=positive,
        default=8,
        metavar="SAMPLES",
        help="The number of samples of a step; the control takes twice as many. Default: 8.",
    )
    parser.add_argument(
        "--control-samples", type=natural, default=768, metavar="N",
        help="The samples of the control, which are not learned by heart; 0 leaves it out. Default: 768.",
    )  # fmt: skip
    add_former_name(parser, "--control", "--control-samples")
    add_threads(parser, default=2)
    add_seed(parser, "The seed of everything that is drawn at random.")
    add_json(parser)
    parser.set_defaults(run=_overfit)


def _latency(arguments: argparse.Namespace) -> int:
    from vga_policy.bench.latency import latency
    from vga_policy.inference.devices import DeviceError, usable_device

    try:
        device = usable_device(arguments.device)
    except DeviceError as error:
        print(f"vga bench latency: {error}", file=sys.stderr)
        return 1
    report = latency(
        arguments.preset,
        device=device,
        views=arguments.view_count,
        threads=arguments.threads,
        repeats=arguments.repeats,
        seconds=arguments.duration,
        limit=arguments.time_limit or float("inf"),
        say=lambda words: print(words, file=sys.stderr, flush=True),
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
        for part in ("model", "preprocessing", "inference", "total"):
            figures = (
                [f"{times[f'{part}_ms'][p]:>10.2f}" for p in ("p50", "p95", "p99")] if times else ["  not measured"]
            )
            print(f"{mode + ' ' + part:24}{''.join(figures)}")
    print(f"the robot's policy node runs {mode}: a whole pass as one call; eager is one operation at a time")
    return 0


def _overfit(arguments: argparse.Namespace) -> int:
    import torch

    from vga_policy.bench.overfit import by_heart, constant_guess, control, draw_samples, table
    from vga_policy.episodes.listing import DatasetError
    from vga_policy.presets.presets import PRESETS

    torch.set_num_threads(arguments.threads)
    preset, steps, seed = PRESETS[arguments.preset](), arguments.steps, arguments.seed
    try:
        shown = draw_samples(arguments.data, preset, arguments.samples, arguments.control_samples, seed)
    except DatasetError as error:
        print(f"vga bench overfit: {error}", file=sys.stderr)
        return 1
    rows = by_heart(preset, shown.by_heart, steps, arguments.batch, seed)
    if arguments.control_samples:
        rows += control(preset, shown.control, shown.unseen, 2 * arguments.batch, seed)
    guess = constant_guess(shown.control, shown.unseen)
    report = {"preset": arguments.preset, "constant_guess_l1": guess, "runs": [asdict(row) for row in rows]}
    print(json.dumps(report, indent=2) if arguments.json else table(rows, guess))
    return 0
