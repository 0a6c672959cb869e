"""demo.mp4: what the cameras saw, side by side, in step with time."""

from __future__ import annotations

from pathlib import Path

import av
import simplejpeg
from PIL import Image, ImageDraw, ImageFont
from vga_policy.cell.schema import Camera
from vga_policy.units import SECOND

from vga_bringup.demo.bag import Recording, read_images
from vga_bringup.demo.report import Window

HEIGHT = 360  # pixels of every view
BAR = 36  # pixels of the line below the views
INK, PAPER = (31, 41, 51), (255, 255, 255)


def write_video(recording: Recording, window: Window, path: Path) -> None:
    """Writes the views over the window, at the frame rate of the slowest camera, each frame with its time."""
    rate = min(camera.color.fps for camera in recording.cell.cameras)
    views = [_View(recording.path, camera) for camera in recording.cell.cameras]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
        stream.pix_fmt = "yuv420p"
        stream.width, stream.height = sum(view.width for view in views), HEIGHT + BAR
        for time in range(window.start, window.end, SECOND // rate):
            picture = _frame(views, time, (time - window.start) / SECOND)
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


class _View:
    """One camera's images, asked for in order of time."""

    def __init__(self, path: Path, camera: Camera) -> None:
        self.name = camera.name
        self.width = 2 * round(camera.color.width * HEIGHT / camera.color.height / 2)  # even, as the format asks
        self._images = read_images(path, camera.name)
        self._next = next(self._images, None)
        self._shown = Image.new("RGB", (self.width, HEIGHT), INK)

    def at(self, time: int) -> Image.Image:
        """The newest image captured at or before `time` (ns)."""
        newest = None
        while self._next is not None and self._next[0] <= time:
            newest, self._next = self._next[1], next(self._images, None)
        if newest is not None:
            image = Image.fromarray(simplejpeg.decode_jpeg(newest))
            self._shown = image.resize((self.width, HEIGHT), Image.Resampling.BICUBIC)
        return self._shown


def _frame(views: list[_View], time: int, seconds: float) -> Image.Image:
    frame = Image.new("RGB", (sum(view.width for view in views), HEIGHT + BAR), PAPER)
    draw, font = ImageDraw.Draw(frame), ImageFont.load_default(18)
    left = 0
    for view in views:
        frame.paste(view.at(time), (left, 0))
        draw.text((left + 10, HEIGHT + 7), view.name, INK, font)
        left += view.width
    draw.text((frame.width - 10, HEIGHT + 7), f"{seconds:.1f} s", INK, font, anchor="ra")
    return frame
