"""The arm's capsules against MuJoCo and the collision meshes that come with the simulator."""

from pathlib import Path

import mujoco
import numpy as np
import pytest
from vga_bringup.robot.bounds.kinematics import LINKS, Kinematics
from vga_bringup.robot.bounds.self_collision import (
    HAND,
    LINK_PARTS,
    Capsules,
    SelfCollision,
    between_segments,
    box_capsules,
    capsules_touch_box,
    problems,
)
from vga_bringup.sim.scene.link_capsules import DIRECTIONS, collision_model, link_hulls, sticking_out, uncovered
from vga_policy.cell.loading import load_cell
from vga_policy.cell.schema import Box, Cell

CELLS = Path(__file__).parents[1] / "config/cells"


def cell_with(cell: Cell, **keys) -> Cell:
    config = cell.arm.self_collision.model_copy(update=keys)
    return cell.model_copy(update={"arm": cell.arm.model_copy(update={"self_collision": config})})


CELL = cell_with(load_cell(CELLS / "sim.yaml"), mounted=[])
HOME = np.array(CELL.arm.home)
KINEMATICS = Kinematics(CELL.arm)
CAMERA = Box(name="wrist camera", min=[0.080, -0.050, -0.076], max=[0.105, 0.050, -0.049])
BODIES = (*(f"fr3_link{i}" for i in range(8)), "hand", "left_finger", "right_finger")
PART_OF = dict(zip(BODIES, [*(part.name for part in LINK_PARTS), *[HAND.name] * 3], strict=True))
ROUNDING = 1e-4  # m


@pytest.fixture(scope="module")
def check():
    return SelfCollision(CELL)


@pytest.fixture(scope="module")
def postures():
    return np.random.default_rng(0).uniform(CELL.arm.limits.lower, CELL.arm.limits.upper, (1000, 7))


@pytest.fixture(scope="module")
def at():
    """The arm's collision meshes with joint angles `q` and open fingers, as MuJoCo's model and data."""
    model = collision_model()
    data = mujoco.MjData(model)

    def move(q):
        data.qpos[:] = *q, 0.04, 0.04
        mujoco.mj_forward(model, data)
        return model, data

    return move


def capsules_of(name):
    """Of a link, or of the hand and its fingers: [C, 7]."""
    part = HAND if name in ("hand", "fingers") else LINK_PARTS[LINKS.index(name)]
    return np.array([(*capsule.start, *capsule.end, capsule.radius) for capsule in part.capsules])


@pytest.mark.parametrize(("name", "hull"), link_hulls().items())
def test_capsules_hold_the_links_and_little_more(name, hull):
    capsules = capsules_of(name)
    assert uncovered(capsules, hull.surface(0.004)).max() <= 0
    if name not in ("hand", "fingers"):  # these have one part
        excess = sticking_out(capsules, (hull.corners @ DIRECTIONS.T).max(axis=0))
        assert excess.mean() < 0.016
        assert excess.max() < (0.06 if name == "link0" else 0.03)  # the base's lies below its foot


def test_distances_are_those_of_the_hulls_or_less(check, postures, at):
    some = postures[:150]
    found = check.distances(check.place(KINEMATICS.links(some)))
    for q, distances in zip(some, found, strict=True):
        model, data = at(q)
        geoms = {name: model.body(name).geomadr[0] for name in BODIES}
        hulls = dict.fromkeys(check.pairs, np.inf)
        for first, one in PART_OF.items():
            for second, other in PART_OF.items():
                if (pair := f"{one} and {other}") in hulls:
                    apart = mujoco.mj_geomDistance(model, data, geoms[first], geoms[second], 2.0, None)
                    hulls[pair] = min(hulls[pair], apart)
        closer = np.array([hulls[pair] for pair in check.pairs]) - distances
        assert closer.min() > -ROUNDING
        assert closer.max() < 0.08


def test_links_that_touch_are_found(check, postures, at):
    """Neighbors touch by themselves, and hulls fill the forearm's hollow, which flange and hand reach into."""
    capsules = check.place(KINEMATICS.links(postures))
    met = dict(zip(check.pairs, check.distances(capsules).T < 0, strict=True))
    touching = 0
    for n, q in enumerate(postures):
        model, data = at(q)
        for contact in data.contact:
            one, other = sorted(model.geom_bodyid[contact.geom])
            pair = f"{PART_OF[model.body(one).name]} and {PART_OF[model.body(other).name]}"
            if pair in met:
                touching += 1
                assert met[pair][n], f"{pair} at {q}"
            else:
                assert pair in ("base and shoulder", "hand and hand", "forearm and flange", "forearm and hand")
    assert touching > 20


def test_every_pair_that_can_meet_is_monitored(check):
    assert len(check.pairs) == 20
    assert {"base and elbow", "shoulder and forearm", "upper forearm and hand"} <= {*check.pairs}
    assert not {"forearm and hand", "base and upper arm", "flange and hand"} & {*check.pairs}
    assert (check.clearance == CELL.arm.self_collision.clearance).all()


def test_many_at_once_are_as_one_by_one(check, postures):
    some = postures[:40]
    together = check.distances(check.place(KINEMATICS.links(some.reshape(8, 5, 7)))).reshape(40, -1)
    alone = [check.distances(check.place(KINEMATICS.links(q))) for q in some]
    np.testing.assert_allclose(together, alone, atol=1e-12)


def test_what_is_far_need_not_be_told_exactly(check, postures):
    capsules = check.place(KINEMATICS.links(postures))
    exact, quick = check.distances(capsules), check.distances(capsules, within=0.1)
    near = exact <= 0.1
    assert near.any()
    np.testing.assert_array_equal(exact[near], quick[near])
    assert (quick[~near] > 0.1).all()
    assert (quick <= exact + 1e-12).all()


@pytest.mark.parametrize("file", sorted(CELLS.glob("*.yaml")), ids=lambda file: file.stem)
def test_arms_that_come_with_the_stack_are_at_ease_at_home(file):
    cell = cell_with(load_cell(file), mounted=[])
    assert problems(cell) == []
    check = SelfCollision(cell)
    assert check.distances(check.place(Kinematics(cell.arm).links(np.array(cell.arm.home)))).min() > 0.1


def test_too_near_names_the_pair_and_its_distance(check):
    folded = np.array((0.0, 0.0, 0.0, -2.99, 0.0, 0.6, 0.785))
    distances = check.distances(check.place(KINEMATICS.links(folded)))
    assert check.too_near(distances)[check.pairs.index("upper arm and hand")]
    assert check.describe(distances) == "upper arm and hand overlap by 0.072 m, clearance 0.05 m"
    beside = check.pairs.index("base and elbow")
    assert check.describe(distances, beside).startswith("base and elbow are 0.")
    assert not check.too_near(distances)[beside]


def test_what_begins_too_near_may_stay_or_leave_but_not_come_nearer(check):
    way = np.full((4, len(check.pairs)), 0.3)
    way[:, 3] = 0.02, 0.02, 0.04, 0.01
    way[:, 5] = 0.3, 0.3, 0.3, 0.03
    found = check.too_near(way, since=way[0])
    assert not found[:3].any()
    assert np.flatnonzero(found[3]).tolist() == [3, 5]
    assert check.too_near(way[1], since=np.maximum.accumulate(way)[2])[3], "and not come back"


def test_mounted_box_is_monitored_against_the_whole_arm():
    check = SelfCollision(cell_with(CELL, mounted=[CAMERA]))
    assert check.parts[-1] == "wrist camera"
    assert {"base and wrist camera", "forearm and wrist camera", "wrist and wrist camera"} <= {*check.pairs}
    assert "flange and wrist camera" not in check.pairs
    assert problems(cell_with(CELL, mounted=[CAMERA])) == []

    def meets(joint_7):
        q = np.array((*HOME[:6], joint_7))
        distances = check.distances(check.place(KINEMATICS.links(q)))
        return {check.pairs[pair] for pair in np.flatnonzero(check.too_near(distances))}

    assert meets(HOME[6]) == set()
    assert "forearm and wrist camera" in meets(-1.5), "it is turned towards the forearm there"


@pytest.mark.parametrize("size", [(0.099, 0.02, 0.023), (0.1, 0.1, 0.1), (0.02, 0.15, 0.12), (0.3, 0.01, 0.02)])
def test_capsules_of_a_box_hold_it(size):
    low = np.array((0.05, -0.03, -0.1))
    box = Box(min=low.tolist(), max=(low + size).tolist())
    capsules = np.array([(*capsule.start, *capsule.end, capsule.radius) for capsule in box_capsules(box)])
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 21)] * 3), axis=-1).reshape(-1, 3)
    assert uncovered(capsules, low + grid * size).max() <= 1e-9
    support = np.maximum(low * DIRECTIONS, (low + size) * DIRECTIONS).sum(axis=1)
    assert sticking_out(capsules, support).max() < 0.6 * min(size)


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        (
            cell_with(CELL, clearance=0.2),
            "arm.self_collision.clearance: at arm.home upper arm and forearm are 0.139 m apart, clearance 0.2 m: "
            "lower arm.self_collision.clearance below 0.139 or move arm.home",
        ),
        (
            cell_with(CELL, mounted=[Box(name="stick", min=[-0.01, -0.01, -0.5], max=[0.01, 0.01, 0.0])]),
            "arm.self_collision.mounted: at arm.home wrist and stick overlap by 0.069 m, clearance 0 m: "
            "correct the box (in the hand's frame) or move arm.home",
        ),
        (
            CELL.model_copy(update={"keep_out": [Box(name="shelf", min=[0.25, -0.1, 0.6], max=[0.6, 0.1, 0.8])]}),
            "keep_out.0 ('shelf'): the forearm is in it at arm.home: move arm.home or shrink the box",
        ),
    ],
)
def test_home_that_is_refused(cell, complaint):
    found = [problem for problem in problems(cell) if problem.startswith(complaint)]
    assert len(found) == 1, problems(cell)
    assert found[0].endswith(("move arm.home", "shrink the box"))


def test_base_may_stand_in_a_box_and_the_shoulder_not(check):
    home = check.place(KINEMATICS.links(HOME))
    table = np.array((-0.5, -0.5, -0.5)), np.array((0.5, 0.5, 0.05))
    assert capsules_touch_box(home, *table).any()
    assert not check.touch_box(home, *table).any()
    post = np.array((-0.1, -0.2, 0.2)), np.array((0.1, -0.06, 0.26))
    assert {check.parts[part] for part in np.flatnonzero(check.touch_box(home, *post))} == {"shoulder"}


def test_longer_tool_is_part_of_the_hand(check):
    longer = SelfCollision(
        CELL.model_copy(update={"arm": CELL.arm.model_copy(update={"end_effector_xyz": [0, 0, 0.1]})})
    )
    below = KINEMATICS.tcp(HOME).position - (0, 0, 0.07)
    box = below - 0.01, below + 0.01

    def touches(arm):
        return arm.touch_box(arm.place(KINEMATICS.links(HOME)), *box).any()

    assert touches(longer)
    assert not touches(check)


def test_between_segments_is_the_shortest_way():
    rng = np.random.default_rng(1)
    a, b, c, d = rng.uniform(-1, 1, (4, 60, 3))
    b[:10], d[:5] = a[:10] + 1e-9, c[:5]  # points
    d[10:20] = c[10:20] + 0.7 * (b - a)[10:20]  # parallel
    share = np.linspace(0, 1, 201)[:, None]
    for n, found in enumerate(between_segments(a, b, c, d)):
        one, other = a[n] + share * (b - a)[n], c[n] + share * (d - c)[n]
        sampled = np.linalg.norm(one[:, None] - other, axis=-1).min()
        assert sampled - 0.01 < found < sampled + 1e-6


def test_capsules_touch_box_as_their_points_do():
    rng = np.random.default_rng(2)
    start, end = rng.uniform(-1.2, 1.2, (2, 400, 3))
    end[:10] = start[:10]
    radius = rng.uniform(0.05, 0.4, 400)
    low, high = np.array((-0.5, -0.3, -0.4)), np.array((0.2, 0.4, 0.6))
    line = start + np.linspace(0, 1, 401)[:, None, None] * (end - start)
    apart = np.linalg.norm(line - line.clip(low, high), axis=-1).min(axis=0) - radius
    touching = capsules_touch_box(Capsules(start, end, radius), low, high)
    clear = np.abs(apart) > 1e-3
    assert 50 < touching.sum() < 350
    np.testing.assert_array_equal(touching[clear], apart[clear] < 0)
