"""References of views: made of pictures, kept beside a checkpoint, and what is said where there is none."""

import cv2
import numpy as np
import pytest
from vga_policy.viewpoint.compare import Place, ViewComparison
from vga_policy.viewpoint.light import compare_light
from vga_policy.viewpoint.reference import Reference, References, ViewpointError, made_of


def room(seed=0, size=(240, 320)):
    """A wall with shapes that nothing repeats."""
    random = np.random.default_rng(seed)
    picture = np.full((*size, 3), 150, np.uint8)
    for _ in range(150):
        corner = random.integers(0, (size[1], size[0]))
        color = random.integers(30, 220, 3).tolist()
        cv2.rectangle(picture, corner.tolist(), (corner + random.integers(4, 40, 2)).tolist(), color, -1)
    return picture


def with_thing(picture, at):
    changed = picture.copy()
    cv2.circle(changed, at, 15, (250, 20, 20), -1)
    return changed


@pytest.fixture(scope="module")
def references():
    seen = {
        "left": [with_thing(room(0), (40 + 30 * k, 120)) for k in range(6)],
        "right": [with_thing(room(1), (40 + 30 * k, 120)) for k in range(6)],
    }
    return made_of(seen, [("left", "fixed", 0), ("right", "fixed", 1)], episodes=3)


def test_what_moved_is_not_part_of_a_reference(references):
    left = references.views[0]
    assert np.array_equal(left.picture[left.still], room(0)[left.still])
    assert not left.still[120, 40:190:30].any()
    assert left.still.mean() > 0.8


def test_references_are_read_as_they_were_written(references, tmp_path):
    references.save(tmp_path / "views")
    loaded = References.load(tmp_path / "views")
    assert (loaded.pictures, loaded.episodes) == (6, 3)
    for read, written in zip(loaded, references, strict=True):
        assert (read.name, read.role, read.slot) == (written.name, written.role, written.slot)
        assert np.array_equal(read.picture, written.picture)
        assert np.array_equal(read.still, written.still)


def test_no_references_are_none(tmp_path):
    assert References.load(tmp_path / "views") is None


@pytest.mark.parametrize("damage", ["{", '{"format": 9}', '{"format": 1, "pictures": 1, "episodes": 1, "views": [{}]}'])
def test_damaged_references_name_their_file(references, tmp_path, damage):
    references.save(tmp_path / "views")
    (tmp_path / "views/views.json").write_text(damage)
    with pytest.raises(ViewpointError, match=r"views\.json"):
        References.load(tmp_path / "views")


def test_a_damaged_picture_is_named(references, tmp_path):
    references.save(tmp_path / "views")
    (tmp_path / "views/left.png").write_bytes(b"\x89PNG")
    with pytest.raises(ViewpointError, match=r"left\.png"):
        References.load(tmp_path / "views")


def test_few_pictures_are_no_reference():
    with pytest.raises(ViewpointError, match="view left: 2 pictures"):
        Reference.of("left", "fixed", 0, [room()] * 2)


def test_a_shifted_picture_has_moved_by_its_own_pixels(references):
    shifted = cv2.warpAffine(room(0), np.float64([[1, 0, 7], [0, 1, 0]]), (320, 240), borderMode=cv2.BORDER_REPLICATE)
    large = cv2.resize(shifted, (640, 480))
    verdict = ViewComparison(references).judge("left", 0, large, hand_open=True)
    assert verdict.place in (Place.MOVED, Place.TURNED)
    assert verdict.pixels == pytest.approx(14, abs=1)


def test_views_in_each_others_slots_are_told_apart(references):
    verdict = ViewComparison(references).judge("right", 0, room(1), hand_open=True)
    assert str(verdict) == "right: wrong camera in slot 0: it shows what right showed"


def test_a_covered_lens_is_not_recognized(references):
    verdict = ViewComparison(references).judge("left", 0, np.full((240, 320, 3), 9, np.uint8), hand_open=True)
    assert verdict.place is Place.UNKNOWN
    assert not verdict.same


def test_where_the_camera_moved_in_training_nothing_is_compared():
    wandering = [np.roll(room(0), 25 * k, axis=1) for k in range(8)]
    references = made_of({"left": wandering}, [("left", "fixed", 0)], episodes=8)
    verdict = ViewComparison(references).judge("left", 0, room(0), hand_open=True)
    assert verdict.place is Place.UNSEEN
    assert "too little stood still" in str(verdict)


def test_light_is_counted_in_light_and_not_in_codes():
    dim, bright = np.full((20, 20, 3), 98, np.uint8), np.full((20, 20, 3), 137, np.uint8)  # 0.123 and 0.25 of white
    light = compare_light(bright, dim, np.ones((20, 20), bool))
    assert light.green == pytest.approx(0.49, abs=0.01)
    assert (light.red, light.blue) == pytest.approx((1, 1))
