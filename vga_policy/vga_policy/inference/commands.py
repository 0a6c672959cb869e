"""`vga export policy`: heavy imports wait until it runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

Subparsers = argparse._SubParsersAction


def export_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga export policy`."""
    parser = subparsers.add_parser(
        "policy",
        help="a trained policy with its weights in half the bytes, to hand on",
        description="Writes the policy of a checkpoint or a run of vga train as a checkpoint in float16. It is used as "
        "the one it was made of; vga eval open-loop on both shows what the rounding costs.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="DIR", help="the policy's checkpoint, or its run")
    parser.add_argument("out", type=Path, metavar="OUT", help="must not exist")
    parser.set_defaults(run=_export)


def _export(arguments: argparse.Namespace) -> int:
    import torch

    from vga_policy.checkpoints.checkpoint import WEIGHTS, CheckpointError, load, save

    try:
        save(load(arguments.checkpoint), arguments.out, torch.float16)
    except (CheckpointError, OSError) as error:
        print(f"vga export policy: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.out}: {(arguments.out / WEIGHTS).stat().st_size / 1e6:.1f} MB of weights")
    return 0
