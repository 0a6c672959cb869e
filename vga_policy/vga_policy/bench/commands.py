"""`vga bench latency` and `vga bench overfit`; heavy imports wait until one runs."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from vga_policy.cli_types import positive
from vga_policy.names import PRESET_NAMES

Subparsers = argparse._SubParsersAction


def latency_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga bench latency`."""
    latency = subparsers.add_parser("latency", help="time from camera images to a chunk of actions")
    latency.add_argument("--preset", choices=PRESET_NAMES, default="nano")
    latency.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    latency.add_argument("--views", type=positive, default=2)
    latency.add_argument("--threads", type=positive, help="CPU threads (default: torch's)")
    latency.add_argument("--repeats", type=positive, default=100)
    latency.add_argument("--json", action="store_true")
    latency.set_defaults(run=_latency)


def overfit_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga bench overfit`."""
    parser = subparsers.add_parser("overfit", help="whether a model learns what it is shown: a few samples by heart")
    parser.add_argument("--data", required=True, nargs="+", metavar="DIR", help="directories of episodes")
    parser.add_argument("--preset", choices=PRESET_NAMES, default="nano")
    parser.add_argument("--samples", type=positive, default=16, help="to learn by heart (default: %(default)s)")
    parser.add_argument("--steps", type=positive, default=240, help="of training (default: %(default)s)")
    parser.add_argument(
        "--batch",
        type=positive,
        default=8,
        help="samples a step; the control takes twice as many (default: %(default)s)",
    )
    parser.add_argument(
        "--control", type=int, default=768, metavar="N", help="samples of the control (default: %(default)s; 0: none)"
    )
    parser.add_argument("--threads", type=positive, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_overfit)


def _latency(arguments: argparse.Namespace) -> int:
    import torch

    from vga_policy.bench.latency import latency

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

    from vga_policy.bench.overfit import by_heart, constant_guess, control, draw_samples, table
    from vga_policy.episodes.listing import DatasetError
    from vga_policy.presets.presets import PRESETS

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
