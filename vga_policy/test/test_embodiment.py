"""What a policy acts with, as data: derived by a cell, written and read back, compared, and how it commands."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.cells import SIM
from vga_policy.cell.compatibility import differences
from vga_policy.embodiment.embodiment import Embodiment, EmbodimentError
from vga_policy.embodiment.space import ChannelKind
from vga_policy.libero.embodiment import LIBERO

ROBOT = SIM.embodiment


def test_a_cell_derives_its_joints_and_its_hand():
    kinds = [ChannelKind.JOINT] * 7 + [ChannelKind.WIDTH]
    for space in (ROBOT.actions, ROBOT.proprioception):
        assert space.names == [*SIM.arm.joint_names, "gripper"]
        assert [channel.kind for channel in space.channels] == kinds
        assert [channel.unit for channel in space.channels] == ["rad"] * 7 + ["m"]
    assert (ROBOT.name, ROBOT.dt, ROBOT.horizon, ROBOT.labels) == ("fr3", SIM.dt, 8, SIM.action.joints)
    assert [(view.name, view.role) for view in ROBOT.views] == [("fixed_1", "fixed"), ("wrist", "wrist")]
    assert {part: where.tolist() for part, where in ROBOT.actions.reported.items()} == {
        "joints_rad": [0, 1, 2, 3, 4, 5, 6],
        "gripper_m": [7],
    }


@pytest.mark.parametrize("embodiment", [ROBOT, LIBERO], ids=["robot", "libero"])
def test_it_is_read_back_as_it_was_written(embodiment):
    assert Embodiment.parsed(embodiment.dumped()) == embodiment


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("horizon", 0, "rate_hz and horizon must be positive"),
        ("horizon", "8", "horizon: Input should be a valid integer"),
        ("views", [], "views: need one at least"),
        ("views", [{"name": "a", "role": "flying"}], "views.0.role: Input should be 'fixed' or 'wrist'"),
        ("actions", {"channels": []}, "actions: channels: need one at least"),
        ("speed", 1.0, "speed: Unexpected keyword argument"),
    ],
)
def test_what_is_no_embodiment_is_refused(key, value, said):
    with pytest.raises(EmbodimentError) as refused:
        Embodiment.parsed(json.dumps({**json.loads(LIBERO.dumped()), key: value}))
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


def test_relative_targets_of_what_is_not_observed_are_refused():
    stranger = replace(ROBOT.actions.channels[0], relative_to="panda_joint1")
    actions = replace(ROBOT.actions, channels=(stranger,))
    with pytest.raises(EmbodimentError, match="relative to 'panda_joint1', which is none of"):
        replace(ROBOT, actions=actions)


def test_joints_are_offsets_from_where_they_are_and_nothing_else_is():
    assert ROBOT.origin(np.arange(1.0, 9.0)).tolist() == [1, 2, 3, 4, 5, 6, 7, 0]
    assert not LIBERO.origin(np.arange(1.0, 9.0)).any()
    assert LIBERO.origin(np.ones((3, 8))).shape == (3, 7)


def test_commands_are_kept_within_bounds_and_signs_are_signs():
    told = np.array([[-1.5, 0.3, 2.0, 0.0, 0.0, 0.0, 0.1], [0.0] * 6 + [-0.1], [0.0] * 7])
    commanded = LIBERO.actions.command(told)
    assert commanded[0].tolist() == [-1.0, 0.3, 1.0, 0.0, 0.0, 0.0, 1.0]
    assert commanded[:, 6].tolist() == [1.0, -1.0, -1.0]
    joints = np.array([9.0, *range(6), 0.5])
    assert ROBOT.actions.command(joints).tolist() == [9.0, *range(6), SIM.gripper.max_width]


def test_both_hands_close():
    assert LIBERO.actions.closed(np.array([[0.0] * 6 + [1.0], [0.0] * 6 + [-1.0]])).tolist() == [True, False]
    assert ROBOT.actions.closed(np.array([[0.0] * 7 + [0.0], [0.0] * 7 + [0.08]])).tolist() == [True, False]


def test_views_are_chosen_by_name():
    assert [view.name for view in LIBERO.with_views(["wrist"]).views] == ["wrist"]
    with pytest.raises(EmbodimentError, match=r"no view 'fixed_1' in 'libero'; it has \['agentview', 'wrist'\]"):
        LIBERO.with_views(["fixed_1"])


def test_a_robot_and_a_benchmark_differ_by_name_and_that_is_said_once():
    for mine, other in ((SIM, LIBERO), (LIBERO, SIM)):
        assert [item.key for item in differences(mine, other)] == ["embodiment"]
    assert not differences(SIM, SIM.embodiment)
    assert not differences(LIBERO, Embodiment.parsed(LIBERO.dumped()))
    assert [item.key for item in differences(replace(LIBERO, rate_hz=10.0), LIBERO)] == ["rate_hz"]
    assert [item.key for item in differences(LIBERO.with_views(["agentview"]), LIBERO)] == ["slot roles"]
