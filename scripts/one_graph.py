#!/usr/bin/env python3
"""Whether what a preset computes for a chunk can be compiled and recorded on a GPU, asked without one.

From packed uint8 pixels, embedding and joints to targets, in bfloat16 on PyTorch's meta device, which has shapes and no
values: a wait for a value, or a copy to another device, is an error there. Ends with 0 when it is one graph.

eval "$(make -s env)" && scripts/one_graph.py paper
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from vga_policy.bench.latency import CAMERA, stand_in
from vga_policy.inference import compile as making
from vga_policy.inference.function import ChunkFunction
from vga_policy.inference.packing import PackedFunction, Packing
from vga_policy.presets.presets import PRESETS

VIEWS = 2


def whole(preset: str) -> tuple[PackedFunction, torch.Tensor]:
    """The function of a preset and bytes for it, on the meta device."""
    config = replace(PRESETS[preset]().model, camera_head=None, depth_head=None)
    with patch.object(making, "inference_dtype", return_value=torch.bfloat16), torch.device("meta"):
        network = making.fixed(config.build(), "meta", VIEWS)
    packing = Packing(config.proprioception, config.language_width, (CAMERA,) * VIEWS)
    function = ChunkFunction(network, *stand_in(config, VIEWS))
    return PackedFunction(function, packing, config.image_size).to("meta"), packing.empty(pinned=False).to("meta")


def main(preset: str) -> int:
    """Says what each of PyTorch's ways makes of it."""
    function, packed = whole(preset)
    print(
        f"{preset}: {sum(p.numel() for p in function.parameters()) / 1e6:.1f} M parameters, {packed.numel()} bytes in"
    )
    graphs: list[Any] = []

    def keep(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    started = time.perf_counter()
    with torch.inference_mode():
        chunk = torch.compile(function, backend=keep, fullgraph=True, dynamic=False)(packed)
    nodes = [len(graph.graph.nodes) for graph in graphs]
    print(f"torch.compile, full graph: {nodes} nodes, {time.perf_counter() - started:.0f} s, out {list(chunk.shape)}")
    started = time.perf_counter()
    with torch.no_grad():
        exported = torch.export.export(function, (packed,))
    print(f"torch.export: {len(exported.graph.nodes)} nodes, {time.perf_counter() - started:.0f} s")
    return 0 if len(graphs) == 1 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
