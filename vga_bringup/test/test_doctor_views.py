"""`vga doctor --against`: where its references come from, and the rows it makes of live pictures."""

import shutil

import cv2
import numpy as np
import pytest
from support.cells import SIM, SIM_FILE
from vga_bringup.doctor import views
from vga_bringup.doctor.finding import Health
from vga_policy.checkpoints import locate
from vga_policy.cli import main
from vga_policy.viewpoint.reference import DIRECTORY, References, ViewpointError

NANO = References.load(locate("nano") / DIRECTORY)
SEEN = {reference.name: reference.picture for reference in NANO}
FIXED, WRIST = (camera.name for camera in SIM.views)


@pytest.fixture
def rows(monkeypatch):
    """The rows for pictures by camera, of a hand open so wide (m)."""

    def of(pictures, width=SIM.gripper.max_width, cell=SIM):
        monkeypatch.setattr(views, "_live", lambda path, namespace: (pictures, width))
        return list(views.views(cell, SIM_FILE, "", NANO))

    return of


def test_the_shipped_policy_keeps_its_views():
    assert {(view.name, view.slot) for view in views.references("nano")} == {
        (FIXED, 0), (WRIST, 1), ("fixed_2", None)
    }  # fmt: skip


def test_an_older_checkpoint_says_that_it_keeps_none(tmp_path):
    shutil.copytree(locate("nano"), tmp_path / "old", ignore=shutil.ignore_patterns(DIRECTORY))
    with pytest.raises(ViewpointError, match=r"keeps no picture of its views: .* give the episodes"):
        views.references(str(tmp_path / "old"))


def test_views_as_they_were_are_ready(rows):
    found = rows(SEEN)
    assert [(row.subject, row.state) for row in found] == [
        (f"view 0, {FIXED}", Health.READY), (f"view 1, {WRIST}", Health.READY)
    ]  # fmt: skip


def test_every_change_is_a_row_with_its_remedy(rows):
    shifted = np.roll(SEEN[FIXED], 6, axis=1)
    moved, _ = rows({**SEEN, FIXED: shifted})
    assert moved.state is Health.MISSING
    assert "moved" in moved.seen
    assert "put the camera back" in moved.remedy
    dark, _ = rows({**SEEN, FIXED: cv2.convertScaleAbs(SEEN[FIXED], alpha=0.7)})
    assert "darker" in dark.seen
    assert "exposure_us" in dark.remedy
    other, _ = rows({**SEEN, "fixed_2": SEEN["fixed_2"]}, cell=SIM.with_views(["fixed_2", WRIST]))
    assert other.seen == "fixed_2: wrong camera in slot 0: it shows what fixed_2 showed"
    assert "serial number" in other.remedy


def test_a_silent_camera_and_a_closed_hand_are_unknown(rows):
    silent, closed = rows({WRIST: SEEN[WRIST]}, width=0.02)
    assert (silent.state, silent.seen) == (Health.UNKNOWN, "no picture came")
    assert closed.state is Health.UNKNOWN
    assert "vga home --open" in closed.remedy


def test_a_place_without_data_is_refused_at_once(capsys):
    assert main(["doctor", "--cell", "sim", "--against", "/nowhere"]) == 2
    assert capsys.readouterr().err == "vga doctor: --against /nowhere: no such directory, and no shipped policy\n"
