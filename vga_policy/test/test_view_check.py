"""When a running policy compares its views, what it says of them, and when it refuses tasks."""

import numpy as np
import pytest
from support.cells import SIM, observation
from vga_policy.inference.view_check import NO_REFERENCE, ViewCheck
from vga_policy.viewpoint.compare import ViewComparison
from vga_policy.viewpoint.reference import Reference, References

FIXED, WRIST = (camera.name for camera in SIM.views)
STRICT = SIM.model_copy(update={"inputs": SIM.inputs.model_copy(update={"changed_view": "refuse"})})
OPEN = SIM.gripper.max_width


def textured(seed):
    """Patches of many sizes, as a room has."""
    random = np.random.default_rng(seed)
    picture = np.full((240, 320, 3), 120, np.uint8)
    for _ in range(300):
        x, y, width, height = random.integers((0, 0, 5, 5), (310, 230, 40, 40))
        picture[y : y + height, x : x + width] = random.integers(30, 220, 3)
    return picture


PICTURES = textured(0), textured(1)


@pytest.fixture(scope="module")
def references():
    everywhere = np.ones((240, 320), bool)
    slots = enumerate(((FIXED, "fixed"), (WRIST, "wrist")))
    return References(tuple(Reference(*what, slot, PICTURES[slot], everywhere) for slot, what in slots), 24, 24)


def check(references, *pictures, cell=SIM, width=OPEN):
    made = ViewCheck(cell, references)
    seen = observation(width=width)
    assert made.offer(type(seen)(seen.stamp_ns, pictures, seen.image_stamps_ns, seen.proprioception, ""))
    return made, made.compare()


def test_a_checkpoint_without_references_says_so_and_looks_at_nothing():
    silent = ViewCheck(STRICT, None)
    silent.again()
    assert not silent.offer(observation())
    assert (silent.compare(), silent.refusal) == ("", "")
    assert silent.report().fine == NO_REFERENCE


def test_views_as_they_were_are_fine(references):
    same, said = check(references, *PICTURES, cell=STRICT)
    assert (said, same.changed, same.refusal) == ("", "", "")
    assert same.report().fine == "as in the training data"
    assert str(same.report().values[FIXED]) == f"{FIXED}: unmoved"


def test_before_the_first_comparison_nothing_is_claimed(references):
    assert ViewCheck(SIM, references).report().fine == "not compared yet"


def test_a_moved_view_warns_with_its_remedy_and_refuses_only_where_asked(references):
    moved = np.roll(PICTURES[0], 8, axis=1), PICTURES[1]
    warning, said = check(references, *moved)
    assert said == warning.changed == warning.report().warning
    assert f"{FIXED}: moved" in said
    assert "put the camera back" in said
    assert warning.refusal == ""
    strict, _ = check(references, *moved, cell=STRICT)
    assert strict.refusal == f"a view is not what the policy was trained on: {strict.changed}"


def test_what_was_said_is_not_said_again_and_what_is_mended_is_forgotten(references):
    node, said = check(references, np.roll(PICTURES[0], 8, axis=1), PICTURES[1], cell=STRICT)
    assert said
    seen = observation(width=OPEN)
    for pictures in ((np.roll(PICTURES[0], 8, axis=1), PICTURES[1]), PICTURES):
        node.again()
        assert node.offer(type(seen)(seen.stamp_ns, pictures, seen.image_stamps_ns, seen.proprioception, ""))
        assert node.compare() == ""
    assert node.refusal == ""


def test_one_observation_is_looked_at_until_it_is_asked_for_again(references):
    node, _ = check(references, *PICTURES)
    assert not node.offer(observation())
    node.again()
    assert node.offer(observation())


def test_the_wrist_camera_is_not_compared_while_the_hand_is_closed(references):
    node, said = check(references, PICTURES[0], textured(7), width=0.5 * OPEN)
    assert said == ""
    assert "the hand is not open" in str(node.report().values[WRIST])


def test_a_wrist_view_that_most_of_is_covered_has_not_another_light(references):
    covered = PICTURES[1].copy()
    covered[:, :180] = (60, 60, 220)  # a cube passes beneath: nine columns of sixteen
    verdict = ViewComparison(references).judge(WRIST, 1, covered, hand_open=True)
    assert verdict.light is None or not (verdict.darker or verdict.tinted)
