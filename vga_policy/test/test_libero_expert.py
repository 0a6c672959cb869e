"""The expert's choice of a grasp, and its movements where something is in the way."""

import mujoco
import numpy as np
import pytest
from libero_worlds import settled
from vga_policy.libero.expert.expert import demonstrate
from vga_policy.libero.expert.grasps import choose
from vga_policy.libero.expert.hand import CLOSE, OPEN, Hand, aim
from vga_policy.libero.expert.shapes import points_of
from vga_policy.libero.expert.skills import Skills

NOTHING = np.zeros((0, 3))
NOW = aim([0.0, 1.0, 0.0])


def box(center, size):
    """Points in a box, 1 cm apart."""
    axes = [np.linspace(-side / 2, side / 2, max(2, round(side / 0.01) + 1)) for side in size]
    return np.stack(np.meshgrid(*axes), -1).reshape(-1, 3) + center


def ring(radius, height):
    """Points of an open cylinder with a floor, on the table."""
    angles, levels = np.meshgrid(np.linspace(0, 2 * np.pi, 72), np.linspace(0, height, 8))
    wall = np.stack([radius * np.cos(angles), radius * np.sin(angles), levels], -1).reshape(-1, 3)
    return np.concatenate([wall, wall * [0.5, 0.5, 0.0]])


def test_a_box_is_taken_across_its_narrow_side_from_above():
    grasp = choose(box([0.0, 0.0, 0.02], (0.12, 0.04, 0.04)), NOTHING, NOTHING, NOW, 0.03)
    assert np.allclose(np.abs(grasp.rotation[:, 0]), [0, 1, 0], atol=1e-6)
    assert np.allclose(grasp.out, [0, 0, -1])
    assert np.allclose(grasp.position[:2], 0, atol=1e-6)


def test_a_bowl_is_taken_by_its_rim():
    grasp = choose(ring(0.06, 0.05), NOTHING, NOTHING, NOW, 0.03)
    assert np.linalg.norm(grasp.position[:2]) == pytest.approx(0.054, abs=0.003)


def test_a_thing_without_a_rim_is_not_taken_as_if_it_had_one():
    """Across the direction that would need least turning it is too wide, and solid."""
    grasp = choose(box([0.0, 0.0, 0.02], (0.05, 0.09, 0.04)), NOTHING, NOTHING, NOW, 0.03)
    assert abs(grasp.rotation[0, 0]) > 0.9
    assert np.linalg.norm(grasp.position[:2]) < 0.02


def test_after_a_grasp_in_vain_a_thing_is_taken_elsewhere():
    first = choose(ring(0.06, 0.05), NOTHING, NOTHING, NOW, 0.03)
    second = choose(ring(0.06, 0.05), NOTHING, NOTHING, NOW, 0.03, [first.position])
    assert np.linalg.norm(second.position - first.position) > 0.03


def test_after_a_grasp_in_vain_the_palm_may_keep_above_what_it_struck():
    """A wall around a bowl, as of a drawer, that is nearly as high."""
    bowl, drawer = ring(0.06, 0.05), ring(0.08, 0.055)
    wall = drawer[np.linalg.norm(drawer[:, :2], axis=1) > 0.07]
    first = choose(bowl, wall, NOTHING, NOW, 0.03)
    second = choose(bowl, wall, NOTHING, NOW, 0.03, [first.position])
    assert _inside_palm(wall, first).any()
    assert not _inside_palm(wall, second).any()


@pytest.mark.parametrize("where", ["here", "there"])
def test_the_hand_keeps_clear_of_what_stands_beside(where):
    """A carton where the palm, which is wider than the fingers, would be."""
    carton = box([0.0, 0.09, 0.07], (0.06, 0.04, 0.14))
    thing = box([0.0, 0.0, 0.02], (0.12, 0.04, 0.04))
    free = choose(thing, NOTHING, NOTHING, NOW, 0.03)
    grasp = choose(thing, *((carton, NOTHING) if where == "here" else (NOTHING, carton)), NOW, 0.03)
    assert _inside_palm(carton, free).any()
    assert not _inside_palm(carton, grasp).any()


def test_a_movement_that_is_stuck_ends():
    hand = Hand(settled("libero_object", 1))
    below = hand.position - [0, 0, 0.5]
    steps = [hand.world.step(action) for action in hand.go(below, hand.rotation, CLOSE, limit=200)]
    assert hand.position[2] > below[2] + 0.1  # the floor is in the way
    assert len(steps) < 80


def test_the_fingers_close_where_they_are_told():
    hand = Hand(settled("libero_object", 1))
    at = hand.position - [0, 0, 0.01]
    for action in hand.grip(CLOSE, hand.rotation, at=at):
        hand.world.step(action)
    assert np.linalg.norm(hand.position - at) < 0.003
    assert hand.world.fingers()[0] < 0.005


def test_nothing_is_grasped_before_it_lies():
    world = settled("libero_object", 1)
    name = next(goal[1] for goal in world.goals())
    joint = world.data.joint(world.model.joint(world.model.body_jntadr[world.body(name)]).id)
    lying = points_of(world, name)[:, 2].min()
    joint.qpos[2] += 0.3
    joint.qvel[2] = -0.5
    mujoco.mj_forward(world.model, world.data)
    assert points_of(world, name)[:, 2].min() > lying + 0.2
    for action in Skills(Hand(world)).begin():
        assert action[-1] == OPEN
        world.step(action)
    assert points_of(world, name)[:, 2].min() == pytest.approx(lying, abs=0.01)


@pytest.mark.parametrize("task", [1, 9])
def test_what_is_in_the_hand_is_not_let_go(task):
    """Whoever takes over goes on with it: a flat thing deep between the fingers, a carton between their tips."""
    world = settled("libero_object", task)
    name = next(goal[1] for goal in world.goals())
    hand, lying = Hand(world), world.region(name)[2]
    assert not hand.holds(name)
    for action in demonstrate(world):
        world.step(action)
        if world.region(name)[2] > lying + 0.05:
            break
    assert hand.holds(name)
    actions = []
    for action in demonstrate(world, begun=True):
        actions.append(action)
        if world.step(action):
            break
    told = [action[-1] for action in actions]
    assert world.done()
    assert len(told) < 70
    assert told == sorted(told, reverse=True)  # closed, and then opened for good


def test_a_low_thing_is_put_down_before_a_high_one_beside_it():
    """The mug on its plate would be in the way of the hand that puts the pudding next to it."""
    world = settled("libero_10", 6)
    begun = {name: world.region(name) for name in ("chocolate_pudding_1", "porcelain_mug_1")}
    for action in demonstrate(world):
        world.step(action)
        moved = [name for name, before in begun.items() if np.linalg.norm(world.region(name) - before) > 0.05]
        if moved:
            break
    assert moved == ["chocolate_pudding_1"]


def _inside_palm(points, grasp):
    x, y, back = ((points - grasp.position) @ grasp.rotation * [1, 1, -1]).T
    return (np.abs(x) < 0.104) & (np.abs(y) < 0.032) & (back > 0.031) & (back < 0.3)
