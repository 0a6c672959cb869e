"""A camera that moved, was dimmed or swapped is named as that; one that was not is left alone. At a small count."""

from moved_cameras import count


def test_what_happened_to_a_camera_is_named():
    counted = count(scenes=2, each=1)
    assert len(counted) == 3 * 5 + 3
    assert {what: wrong for what, (right, total, wrong) in counted.items() if right != total} == {}
