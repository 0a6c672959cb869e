"""How fast LeRobot's own reader gives samples. Runs in an interpreter that has LeRobot, and imports nothing from here.

Prints one line of JSON: samples, seconds.
"""

from __future__ import annotations

import argparse
import json
import time


def main() -> None:
    """Reads a dataset as training would: shuffled batches, chunks of actions, images of the size asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--size", type=int, default=0, help="of the images; 0 leaves them as stored")
    parser.add_argument("--horizon", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    from torchvision_cpu import declare_operators  # type: ignore[import-not-found]

    declare_operators()
    from torchvision.transforms import v2  # type: ignore[import-not-found]

    try:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset  # type: ignore[import-not-found]
    except ImportError:
        from ledataset.datasets.lerobot_dataset import LeRobotDataset  # type: ignore[import-not-found]

    resize = v2.Resize((arguments.size, arguments.size), antialias=True) if arguments.size else None
    plain = LeRobotDataset("local/benchmark", root=arguments.root)
    ahead = {"action": [step / plain.fps for step in range(arguments.horizon)]}
    dataset = LeRobotDataset("local/benchmark", root=arguments.root, delta_timestamps=ahead, image_transforms=resize)
    loader = torch.utils.data.DataLoader(
        dataset,
        arguments.batch,
        shuffle=True,
        num_workers=arguments.workers,
        drop_last=True,
        persistent_workers=arguments.workers > 0,
    )
    batches = iter(loader)
    next(batches)  # the workers are up
    samples, started = 0, time.perf_counter()
    while time.perf_counter() - started < arguments.seconds:
        try:
            batch = next(batches)
        except StopIteration:
            batches = iter(loader)
            continue
        samples += len(batch["index"])
    seconds = time.perf_counter() - started
    shapes = {name: list(value.shape[1:]) for name, value in batch.items() if name.startswith(("obs", "action"))}
    print(json.dumps({"samples": samples, "seconds": seconds, "shapes": shapes}))


if __name__ == "__main__":
    main()
