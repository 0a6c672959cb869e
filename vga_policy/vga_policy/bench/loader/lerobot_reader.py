"""How fast LeRobot's own reader gives samples. Runs in an interpreter that has LeRobot, and prints a line of JSON."""

from __future__ import annotations

import argparse
import json

from measure import measure  # type: ignore[import-not-found]
from torchvision_cpu import declare_operators  # type: ignore[import-not-found]


def main() -> None:
    """Measures one dataset: chunks of actions, images of the size asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--size", type=int, default=0, help="of the images; 0 leaves them as stored")
    parser.add_argument("--horizon", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()

    declare_operators()
    from torchvision.transforms import v2  # type: ignore[import-not-found]

    try:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset  # type: ignore[import-not-found]
    except ImportError:
        from ledataset.datasets.lerobot_dataset import LeRobotDataset  # type: ignore[import-not-found]

    resize = v2.Resize((arguments.size, arguments.size), antialias=True) if arguments.size else None
    fps = LeRobotDataset("local/benchmark", root=arguments.root).fps
    ahead = {"action": [step / fps for step in range(arguments.horizon)]}
    dataset = LeRobotDataset("local/benchmark", root=arguments.root, delta_timestamps=ahead, image_transforms=resize)
    speed = measure(dataset, arguments.batch, arguments.workers, arguments.seconds)
    print(json.dumps(speed._asdict()))


if __name__ == "__main__":
    main()
