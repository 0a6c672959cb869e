"""`vga geometry`; heavy imports wait until it runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vga_policy.cli_types import positive

Subparsers = argparse._SubParsersAction


def geometry_command(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Adds `vga geometry`."""
    parser = subparsers.add_parser("geometry", help="depth and cameras that VGGT predicts for images, as a picture")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMG")
    parser.add_argument("--checkpoint", required=True, type=Path, metavar="DIR", help="of VGGT: a directory or a file")
    parser.add_argument("--out", type=Path, default=Path("geometry.png"), help="default: %(default)s")
    parser.add_argument("--width", type=positive, default=518, help="of each image, pixels (default: %(default)s)")
    parser.set_defaults(run=_geometry)


def _geometry(arguments: argparse.Namespace) -> int:
    import cv2

    from vga_policy.model.plot import draw_geometry, read_images
    from vga_policy.model.vggt import InputError
    from vga_policy.model.weights.convert import WeightsError, load_vggt

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
