"""A policy that errs is corrected by a simulated person, and the bag says who commanded at every step."""

from itertools import groupby

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from vga_bringup.collect.in_process import CollectError, Collector, CollectRequest, collect
from vga_bringup.robot.reports import Tick
from vga_bringup.sim.correction import LEFT_ALONE, MISSED_FOR
from vga_policy.cell.loading import load_cell
from vga_policy.cell.shipped import cell_path
from vga_policy.dataset.dataset import EpisodeDataset
from vga_policy.dataset.origins import BEFORE, Origin
from vga_policy.episodes.metadata import load_episode
from vga_policy.message_constants import Mode
from vga_policy.observation.observation import ActionChunk
from vga_policy.units import SECOND

CELL = load_cell(cell_path("sim"))
CLOSES_AT = 1.0  # s
SEED = 3


class Blunder:
    """A policy that stays where it is, and closes the hand on nothing."""

    def act(self, observation):
        width = 0.0 if observation.stamp_ns > CLOSES_AT * SECOND else CELL.gripper.max_width
        horizon = CELL.action.horizon
        return ActionChunk.of_joints(np.tile(observation.proprioception[:7], (horizon, 1)), np.full(horizon, width))


@pytest.fixture(scope="module")
def corrected(tmp_path_factory):
    collector = Collector(CollectRequest(CELL, "pick_cube", 1, tmp_path_factory.mktemp("episodes"), depth=False))
    collector._policy = Blunder()
    ticks: list[Tick] = []
    tell = collector._cell.on_tick
    collector._cell.on_tick = lambda tick: (ticks.append(tick), tell(tick))
    yield collector.episode(SEED).path, ticks
    collector.close()


def test_a_person_takes_over_and_does_the_task_without_a_jump(corrected):
    path, ticks = corrected
    assert load_episode(path).outcome == "success"
    policy, person = ([tick for tick in ticks if tick.mode is mode] for mode in (Mode.POLICY, Mode.TELEOP))
    assert CLOSES_AT + MISSED_FOR < len(policy) / 100 < LEFT_ALONE
    assert len(person) > 200
    velocities = np.array([tick.reference.dq for tick in ticks])
    assert np.abs(np.diff(velocities, axis=0)).max() < 0.1, "rad/s in 10 ms"


def test_another_reader_finds_who_commanded(corrected):
    path, ticks = corrected
    with AnyReader([path]) as reader:
        connections = [c for c in reader.connections if c.topic == "/franka_driver/reference"]
        said = [reader.deserialize(data, c.msgtype) for c, _, data in reader.messages(connections)]
    assert [key for key, _ in groupby(message.mode for message in said)] == [Mode.POLICY, Mode.TELEOP]
    assert [message.mode for message in said] == [tick.mode for tick in ticks]
    assert {bytes(message.goal_id.uuid) for message in said} == {ticks[0].goal}
    assert any(ticks[0].goal), "a correction names the goal that it corrects"
    assert {message.step >= 0 for message in said if message.mode == Mode.TELEOP} == {False}


def test_training_takes_the_corrections_and_leaves_out_what_led_to_them(corrected):
    path, ticks = corrected
    taken_over = load_episode(path).started_ns + next(t.read_ns for t in ticks if t.mode is Mode.TELEOP)
    only = EpisodeDataset([path], 32, origins={Origin.INTERVENTION}).samples.stamps
    assert len(only) > 20
    assert (only >= taken_over).all()
    usual = EpisodeDataset([path], 32, skip_idle=False).samples.stamps
    assert (usual[(usual < taken_over)] <= taken_over - BEFORE * SECOND).all()
    assert set(only) <= set(usual)


def test_a_policy_that_is_none_is_refused_before_anything(tmp_path):
    request = CollectRequest(CELL, "pick_cube", 1, tmp_path / "episodes", policy="no_such_policy")
    with pytest.raises(CollectError, match="no_such_policy"):
        next(iter(collect(request, 1)))
    assert not (tmp_path / "episodes").exists()
