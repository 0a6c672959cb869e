"""`vga export policy` and `vga geometry`: heavy imports wait until one of them runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vga_policy.checkpoints import CELL, GEOMETRY, locate
from vga_policy.cli_options import CHECKPOINT, add_out
from vga_policy.cli_types import add_former_name, last_as_out, positive

Subparsers = argparse._SubParsersAction


def export_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga export policy`."""
    parser = subparsers.add_parser(
        "policy",
        help="a trained policy with its weights in half the bytes, to hand on",
        description="Writes the policy of a checkpoint or a run of vga train as a checkpoint in float16. It is used as "
        "the one it was made of; vga eval open-loop on both shows what the rounding costs.",
    )
    parser.add_argument("places", nargs="+", metavar="CHECKPOINT", help=CHECKPOINT)
    add_out(parser, "The directory of the new checkpoint, which must not exist.")
    parser.set_defaults(run=_export)


def geometry_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga geometry`."""
    parser = subparsers.add_parser("geometry", help="depth and cameras that VGGT predicts for images, as a picture")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="Images of one scene.")
    parser.add_argument(
        "--weights",
        required=True,
        metavar="VGGT",
        help="The public weights of VGGT: a file, or its directory. A policy's geometry: vga eval geometry.",
    )
    add_former_name(parser, "--checkpoint", "--weights")
    add_out(parser, "The picture, a PNG or JPEG.", default="geometry.png", endings=(".png", ".jpg", ".jpeg"))
    parser.add_argument(
        "--width", type=positive, default=518, metavar="PIXELS", help="The width of each image. Default: 518."
    )
    parser.set_defaults(run=_geometry)


def _export(arguments: argparse.Namespace) -> int:
    import torch

    from vga_policy.checkpoints.checkpoint import WEIGHTS, load, save

    try:
        out = Path(last_as_out("export policy", arguments, arguments.places))
        if len(arguments.places) > 1:
            raise ValueError(f"one policy at a time, found {len(arguments.places)}")
        save(load(arguments.places[0]), out, torch.float16)
    except (ValueError, OSError) as error:
        print(f"vga export policy: {error}", file=sys.stderr)
        return 1
    print(f"{out}: {(out / WEIGHTS).stat().st_size / 1e6:.1f} MB of weights")
    return 0


def _geometry(arguments: argparse.Namespace) -> int:
    import cv2

    from vga_policy.model.plot import draw_geometry, read_images
    from vga_policy.model.vggt import InputError
    from vga_policy.model.weights.convert import WeightsError, load_vggt

    try:
        _refuse_ours(arguments.weights)
        images = read_images(arguments.images, arguments.width)
        picture = draw_geometry(load_vggt(arguments.weights), images)
        written = cv2.imwrite(str(arguments.out), picture)
    except (InputError, WeightsError, cv2.error) as error:
        print(f"vga geometry: {error}", file=sys.stderr)
        return 1
    if not written:
        print(f"vga geometry: {arguments.out}: cannot be written", file=sys.stderr)
        return 1
    print(arguments.out)
    return 0


def _refuse_ours(weights: str) -> None:
    """Raises WeightsError for what this repository has trained: it is no VGGT."""
    from vga_policy.model.weights.convert import WeightsError

    path = locate(weights)
    if (path / CELL).is_file():
        raise WeightsError(f"{weights}: a policy of this repository: vga eval geometry --checkpoint {weights}")
    if (path / GEOMETRY).is_file():
        raise WeightsError(f"{weights}: made by vga pretrain, a start for policies: vga train --init {weights}")
