"""Lets torchvision be imported beside a CPU build of torch.

PyPI has torchvision for CUDA only. Its compiled operators do not load there, and it then fails while it describes two
of them to torch. ResNet needs none, so declaring the two is enough.
"""

from __future__ import annotations

import torch

MISSING = ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
           "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # fmt: skip
_declared: list[torch.library.Library] = []  # they last as long as their Library object


def declare_operators() -> None:
    """Call it before anything imports torchvision. Does nothing beside a CUDA build."""
    if torch.version.cuda is not None or _declared:
        return
    library = torch.library.Library("torchvision", "DEF")
    for schema in MISSING:
        library.define(schema)
    _declared.append(library)
