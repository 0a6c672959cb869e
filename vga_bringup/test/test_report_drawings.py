"""summary.png and demo.mp4: drawn from any bag, healthy or not."""

import av
import numpy as np
import pytest
import simplejpeg
from PIL import Image
from support.synthetic_run import Run
from vga_bringup.demo.bag import read_recording
from vga_bringup.demo.plot import draw_summary
from vga_bringup.demo.report import make_report, motion_window
from vga_bringup.demo.video import write_video

RED = simplejpeg.encode_jpeg(np.full((240, 320, 3), (200, 30, 30), np.uint8))
SECONDS = 3.0


def recording_of(path, **faults):
    return read_recording(Run(seconds=SECONDS, image=RED, **faults).record(path / "bag"))


@pytest.mark.parametrize("rejected", [{}, dict.fromkeys(range(1, 20), "jump"), dict.fromkeys(range(1, 100), "mode")])
def test_a_summary_is_drawn_of_any_run(tmp_path, rejected):
    recording = recording_of(tmp_path, rejected=rejected)
    draw_summary(recording, make_report(recording, SECONDS), "pick up the red cube", tmp_path / "summary.png")
    picture = np.asarray(Image.open(tmp_path / "summary.png").convert("RGB")).astype(int)
    assert picture.shape[1] > 1200
    red = (abs(picture - (200, 30, 30)) < 30).all(axis=2)
    assert red.mean() > 0.05  # the camera views


def test_a_summary_says_whether_the_task_succeeded(tmp_path):
    recording, painted = recording_of(tmp_path), {}
    for outcome in ({}, {"success": False}, {"success": True}):
        report = make_report(recording, SECONDS) | {"healthy": True} | outcome
        draw_summary(recording, report, "pick up the red cube", tmp_path / "summary.png")
        headline = np.asarray(Image.open(tmp_path / "summary.png").convert("RGB"))[:130, 1200:].astype(int)
        badges = {"good": (0x2F, 0x85, 0x5A), "bad": (0xC5, 0x30, 0x30)}
        painted[str(outcome)] = [(abs(headline - color) < 8).all(axis=2).sum() for color in badges.values()]
    unjudged, failed, succeeded = painted.values()
    assert unjudged[0] == failed[0] > 1000
    assert succeeded[0] > 1.8 * unjudged[0]
    assert (unjudged[1], succeeded[1]) == (0, 0)
    assert failed[1] > 1000


def test_the_video_shows_every_view_for_as_long_as_the_motion(tmp_path):
    recording = recording_of(tmp_path)
    window = motion_window(recording)
    write_video(recording, window, tmp_path / "demo.mp4")
    with av.open(str(tmp_path / "demo.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 15
    assert len(frames) == pytest.approx(window.seconds * 15, abs=1)
    height, width, _ = frames[20].shape
    for third in range(3):
        middle = frames[20][height // 3, width * (2 * third + 1) // 6].astype(int)
        assert abs(middle - (200, 30, 30)).max() < 30
