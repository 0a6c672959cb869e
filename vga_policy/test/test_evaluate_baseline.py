"""A foreign policy behind a pipe: the messages, how its end is told, and which steps of a chunk it answers with."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from support.cells import SIM
from vga_policy.evaluate.baseline import client, wire
from vga_policy.evaluate.baseline.client import Baseline, BaselineError, cameras
from vga_policy.observation.observation import Observation

HERE = Path(client.__file__).parent

# Answers with what it was told, in place of LeRobot's policy.
SERVER = """
import sys
sys.path.insert(0, {here!r})
import numpy as np
from wire import receive, send, words
print("noise on the error stream" * 10_000, file=sys.stderr)
send(sys.stdout.buffer, {{"ready": np.array([{cameras}])}})
while (request := receive(sys.stdin.buffer)) is not None:
    if words(request["instruction"]) == "die":
        raise SystemExit("out of order")
    answer = np.zeros((int(sys.argv[2]), 8))
    answer[:, 0] = request["image_0"].mean()
    answer[:, 1] = request["image_1"].mean()
    answer[:, 2] = request["stamp_ns"][0] / 1e9
    answer[:, 7] = request["state"].sum()
    send(sys.stdout.buffer, {{"actions": answer.astype(np.float32)}})
"""


@pytest.fixture
def server(tmp_path, monkeypatch):
    def make(cameras: int = 2) -> Path:
        script = tmp_path / "server.py"
        script.write_text(SERVER.format(here=str(HERE), cameras=cameras))
        monkeypatch.setattr(client, "SERVER", script)
        return tmp_path

    return make


def observation(instruction="go", state=0.01):
    images = (np.full((4, 6, 3), 10, np.uint8), np.full((6, 4, 3), 20, np.uint8))
    return Observation(3 * 10**9, images, (0, 0), np.full(8, state), instruction)


def test_an_observation_goes_over_and_a_chunk_comes_back(server):
    with Baseline(server(), sys.executable, SIM) as baseline:
        chunk = baseline.act(observation("pick up the “red” cube"))
        process = baseline._process
    assert chunk.joints.shape == (SIM.action.horizon, 7)
    assert chunk.joints[0, :3].tolist() == [10.0, 20.0, 3.0]
    assert chunk.gripper_width[0] == pytest.approx(0.08)
    assert process.returncode == 0, "it ends when its pipe is closed"


def test_a_width_beyond_the_gripper_means_its_end(server):
    with Baseline(server(), sys.executable, SIM) as baseline:
        assert baseline.act(observation(state=1.0)).gripper_width.max() == SIM.gripper.max_width


def test_a_server_that_dies_says_why(server):
    with (
        Baseline(server(), sys.executable, SIM) as baseline,
        pytest.raises(BaselineError, match="server ended: out of order"),
    ):
        baseline.act(observation("die"))


def test_an_interpreter_without_lerobot_is_told(tmp_path):
    with pytest.raises(BaselineError, match="No module named"):
        Baseline(tmp_path, sys.executable, SIM)
    with pytest.raises(BaselineError, match="nowhere: cannot be run"):
        Baseline(tmp_path, "nowhere", SIM)


def test_another_number_of_cameras_is_refused(server):
    with pytest.raises(BaselineError, match="trained with 3 cameras, the cell shows 2"):
        Baseline(server(cameras=3), sys.executable, SIM)


def test_cameras_of_a_checkpoint_are_read_in_order(tmp_path):
    features = {"observation.images.fixed_1": {}, "observation.state": {}, "observation.images.wrist": {}}
    (tmp_path / "config.json").write_text(json.dumps({"type": "act", "input_features": features}))
    assert cameras(tmp_path) == ["fixed_1", "wrist"]
    (tmp_path / "config.json").write_text(json.dumps({"format": 1, "model": {}}))
    assert cameras(tmp_path) is None
    assert cameras(tmp_path / "nowhere") is None


def test_messages_survive_the_pipe():
    stream = io.BytesIO()
    sent = {"a": np.arange(6).reshape(2, 3)[:, ::2], "b": wire.text("grün"), "c": np.zeros((0, 4), np.float32)}
    wire.send(stream, sent)
    wire.send(stream, {"last": np.array([1.5])})
    stream.seek(0)
    first, second = wire.receive(stream), wire.receive(stream)
    assert first is not None
    assert second is not None
    assert (first["a"] == sent["a"]).all()
    assert wire.words(first["b"]) == "grün"
    assert first["c"].shape == (0, 4)
    assert second["last"].tolist() == [1.5]
    assert wire.receive(stream) is None


def test_what_is_cut_off_or_no_message_is_noticed():
    stream = io.BytesIO()
    wire.send(stream, {"a": np.zeros(100)})
    assert wire.receive(io.BytesIO(stream.getvalue()[:-1])) is None
    with pytest.raises(ValueError, match="does not speak this protocol"):
        wire.receive(io.BytesIO(b"Traceback (most recent call last)"))


def test_a_chunk_is_executed_for_so_many_steps(monkeypatch):
    """LeRobot's side, with a stand-in for the policy: chunk n holds 100 n + step."""
    monkeypatch.syspath_prepend(str(HERE))
    from lerobot_serve import Server

    server, asked = object.__new__(Server), []

    def ask(request, instruction):
        asked.append(instruction)
        return 100.0 * len(asked) + np.tile(np.arange(50.0)[:, None], (1, 8))

    server._ask, server.chunk, server.horizon, server.execute = ask, None, 8, 25
    server.began_ns, server.instruction = 0, ""

    def first(step, instruction="go"):
        stamp = np.array([5 * 10**9 + step * 10**8])
        answer = server.answer({"stamp_ns": stamp, "dt": np.array([0.1]), "instruction": wire.text(instruction)})
        assert answer.shape == (8, 8)
        return answer[0, 0]

    assert [first(step) for step in (0, 1, 24, 25, 26)] == [100, 101, 124, 200, 201]
    assert first(0) == 300, "a new trial begins"
    assert first(1, "stop") == 400, "another instruction"
    assert first(90) == 500, "a long pause"
    assert asked == ["go", "go", "go", "stop", "go"]
