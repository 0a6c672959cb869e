"""The loop of a trial, its controls and its video, in a world of one number."""

from __future__ import annotations

import av
import numpy as np
import pytest
from support.toy_environment import DT, Hearing, Seeing, Still, ToyEnvironment, Wild
from vga_policy.evaluate.controls import OTHER_TRIAL, control
from vga_policy.evaluate.rollout import SteppedRollout, run_trial
from vga_policy.evaluate.trials import Outcome
from vga_policy.evaluate.video import TrialVideo
from vga_policy.observation.observation import ActionChunk


def trial(actor, environment=None, max_steps=40, **options):
    return run_trial(SteppedRollout(environment or ToyEnvironment(), actor, max_steps), "go", 7, dt=DT, **options)


def test_a_trial_ends_with_its_success():
    found = trial(Seeing())
    goal = int(np.random.default_rng(7).integers(40, 200))
    assert found.outcome is Outcome.SUCCESS
    assert found.success
    assert found.steps == found.chunks == int(np.ceil((goal - 1.5) / 20))
    assert found.seconds == pytest.approx(found.steps * DT)
    assert found.instruction == f"go to {goal}"
    assert found.grasped == "thing"
    assert found.refused == {"jump": 2}


def test_a_trial_ends_at_its_step_limit():
    found = trial(Still(), max_steps=13)
    assert (found.outcome, found.steps, found.success) == (Outcome.STEP_LIMIT, 13, False)


def test_a_trial_ends_when_it_cannot_succeed_any_more():
    found = trial(Wild())
    assert (found.outcome, found.reason) == (Outcome.FAILED, "at 260")


def test_a_fault_ends_the_trial_and_is_told():
    found = trial(Seeing(), ToyEnvironment(fault_at=2))
    assert (found.outcome, found.reason, found.steps) == (Outcome.FAULT, "the arm stopped", 2)


def test_the_same_seed_gives_the_same_trial():
    assert trial(Seeing()) == trial(Seeing())


class OpenLoop(ToyEnvironment):
    """Executes a chunk step by step, as a world of commands does: each step goes on by what the chunk says of it."""

    def reset(self, task, seed):
        self.observed = []
        return super().reset(task, seed)

    def execute(self, chunk):
        super().execute(chunk)
        self.since = 0
        self.observed.append(self.step)

    def advance(self):
        self.value += self.chunk.values[self.since, 0]
        self.since, self.step = self.since + 1, self.step + 1


class Pushing:
    """Asks for 2.5 more at every step of a chunk."""

    def act(self, observation):
        return ActionChunk(np.full((8, 7), 2.5))


def test_a_chunk_is_executed_in_open_loop_and_judged_at_every_step():
    environment, watched = OpenLoop(), []
    rollout = SteppedRollout(environment, Pushing(), 80, every=8)
    found = run_trial(rollout, "go", 7, dt=DT, watch=watched.append)
    steps = int(np.ceil((environment.goal - 1.5) / 2.5))
    assert (found.success, found.steps) == (True, steps)
    assert environment.observed == list(range(0, steps, 8))
    assert found.chunks == len(watched) == len(environment.observed)
    assert steps % 8, "the trial ends inside a chunk"


def test_shuffled_images_are_those_of_the_same_step_in_open_loop():
    environment = OpenLoop()
    shuffled = control("shuffled", environment, Pushing(), roles=("fixed",), dt=DT, max_steps=80, every=8)
    run_trial(SteppedRollout(shuffled, Pushing(), 80, every=8), "go", 7, dt=DT)
    assert environment.resets == [7 + OTHER_TRIAL, 7]
    other = int(np.random.default_rng(7 + OTHER_TRIAL).integers(40, 200))
    assert abs(float(shuffled.observe().images[0].mean()) - other) < 2


def under(name, actor):
    environment = ToyEnvironment()
    return environment, control(name, environment, actor, roles=("fixed", "wrist"), dt=DT, max_steps=40)


def test_without_instruction_only_the_one_that_listens_is_lost():
    assert not trial(Hearing(), under("no-instruction", Hearing())[1]).success
    assert trial(Seeing(), under("no-instruction", Seeing())[1]).success


def test_with_shuffled_images_only_the_one_that_looks_is_lost():
    environment, shuffled = under("shuffled", Seeing())
    found = trial(Seeing(), shuffled)
    assert environment.resets == [7 + OTHER_TRIAL, 7]
    other = int(np.random.default_rng(7 + OTHER_TRIAL).integers(40, 200))
    assert not found.success
    assert found.reason == f"at {other}"
    assert trial(Hearing(), under("shuffled", Hearing())[1]).success


@pytest.mark.parametrize(("name", "slot"), [("shuffled-fixed", 0), ("shuffled-wrist", 1)])
def test_one_camera_alone_can_be_shuffled(name, slot):
    _, shuffled = under(name, Seeing())
    shuffled.reset("go", 7)
    images = shuffled.observe().images
    this, other = (int(np.random.default_rng(seed).integers(40, 200)) for seed in (7, 7 + OTHER_TRIAL))
    assert abs(float(images[slot].mean()) - other) < 2
    assert abs(float(images[1 - slot].mean()) - this) < 1


def test_shuffled_images_repeat_when_the_other_trial_was_shorter():
    _, shuffled = under("shuffled", Seeing())
    shuffled.reset("go", 7)
    for _ in range(60):
        image = shuffled.observe().images[0]
        shuffled.execute(Still().act(shuffled.observe()))
        shuffled.advance()
    other = int(np.random.default_rng(7 + OTHER_TRIAL).integers(40, 200))
    assert abs(float(image.mean()) - other) < 2


def test_an_unknown_control_is_refused():
    with pytest.raises(ValueError, match=r"'blind'.*shuffled, shuffled-fixed, shuffled-wrist, no-instruction"):
        control("blind", ToyEnvironment(), Still(), roles=(), dt=DT, max_steps=1)


def test_the_video_shows_both_views_and_ends_with_the_outcome(tmp_path):
    with TrialVideo(tmp_path / "trial.mp4", rate=1 / DT) as video:
        found = trial(Seeing(), watch=video.add)
        assert not (tmp_path / "trial.mp4").exists()
        video.close(found.success, found.outcome)
    with av.open(str(tmp_path / "trial.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == found.steps + 15
    assert frames[0].shape == (284, 640, 3)
    goal = int(found.instruction.split()[-1])
    assert abs(float(frames[0][:240].mean()) - goal) < 4
    red, green, _ = frames[-1][260:].astype(int).reshape(-1, 3).T
    assert (green - red > 40).sum() > 20, "success is written in green"
    assert list(tmp_path.iterdir()) == [tmp_path / "trial.mp4"]


def test_a_video_that_is_not_closed_leaves_nothing(tmp_path):
    with TrialVideo(tmp_path / "trial.mp4", rate=10) as video:
        environment = ToyEnvironment()
        environment.reset("go", 1)
        video.add(environment.observe())
    assert list(tmp_path.iterdir()) == []
