"""`lerobot-train` as it is, on machines without CUDA too. Its options are LeRobot's own."""

from __future__ import annotations

from torchvision_cpu import declare_operators  # type: ignore[import-not-found]

if __name__ == "__main__":
    declare_operators()
    from lerobot.scripts.lerobot_train import main  # type: ignore[import-not-found]

    main()
