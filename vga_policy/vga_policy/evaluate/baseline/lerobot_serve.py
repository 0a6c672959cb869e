"""Serves a policy trained by LeRobot over standard input and output, one observation after the other.

Usage: lerobot_serve.py CHECKPOINT HORIZON EXECUTE. CHECKPOINT: a `pretrained_model` directory. The policy is asked
anew after EXECUTE steps of a chunk (paper, Table 7: 25 of 50), or when the stamps begin again; in between, the rest of
the chunk is the answer. HORIZON: steps of an answer.

First it sends `ready` [number of cameras]. A request holds image_0, image_1, … (uint8 [H, W, 3]), state [8],
instruction (UTF-8), stamp_ns and dt; an answer holds actions [HORIZON, 8], rad and m.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision_cpu import declare_operators  # type: ignore[import-not-found]
from wire import receive, send, words  # type: ignore[import-not-found]

IMAGES = "observation.images."


class Server:
    """One policy, and the chunk it is at."""

    def __init__(self, checkpoint: Path, horizon: int, execute: int) -> None:
        declare_operators()
        from lerobot.configs.policies import PreTrainedConfig  # type: ignore[import-not-found]
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors  # type: ignore[import-not-found]

        torch.set_num_threads(1)
        config = PreTrainedConfig.from_pretrained(checkpoint)
        config.device = "cpu"
        self.policy = get_policy_class(config.type).from_pretrained(checkpoint, config=config).eval()
        overrides = {"device_processor": {"device": "cpu"}}
        self.prepare, self.finish = make_pre_post_processors(config, checkpoint, preprocessor_overrides=overrides)
        features = config.input_features
        self.cameras = {name: features[name].shape[1:] for name in features if name.startswith(IMAGES)}
        self.horizon, self.execute = horizon, execute
        self.chunk: NDArray[Any] | None = None
        self.began_ns, self.instruction = 0, ""

    @torch.inference_mode()
    def answer(self, request: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Actions [horizon, 8] for one observation."""
        stamp, dt, instruction = int(request["stamp_ns"][0]), float(request["dt"][0]), words(request["instruction"])
        step = round((stamp - self.began_ns) / 1e9 / dt)
        goes_on = self.chunk is not None and 0 < step < self.execute and instruction == self.instruction
        if self.chunk is None or not goes_on or step + self.horizon > len(self.chunk):
            self.chunk, step = self._ask(request, instruction), 0
            self.began_ns, self.instruction = stamp, instruction
        return self.chunk[step : step + self.horizon]

    def _ask(self, request: dict[str, NDArray[Any]], instruction: str) -> NDArray[Any]:
        observation: dict[str, Any] = {"observation.state": torch.from_numpy(request["state"]).float()}
        for slot, (name, (height, width)) in enumerate(self.cameras.items()):
            image = request[f"image_{slot}"].copy()
            if image.shape[:2] != (height, width):  # the demonstrations were exported smaller
                image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            observation[name] = torch.from_numpy(image).permute(2, 0, 1).float() / 255.0
        batch = self.prepare({**observation, "task": instruction})
        return self.finish(self.policy.predict_action_chunk(batch))[0].float().cpu().numpy()


def main(checkpoint: str, horizon: str, execute: str) -> None:
    """Serves until the other side closes the pipe."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what libraries print is no answer
    server = Server(Path(checkpoint), int(horizon), int(execute))
    send(answers, {"ready": np.array([len(server.cameras)])})
    while (request := receive(requests)) is not None:
        send(answers, {"actions": server.answer(request)})


if __name__ == "__main__":
    main(*sys.argv[1:])
