"""Whether the cameras still show what they showed in a checkpoint's training data, or in episodes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from vga_policy.cell.schema import Cell
from vga_policy.checkpoints import locate
from vga_policy.observation.resampler import JpegImage
from vga_policy.viewpoint.compare import Place, ViewComparison
from vga_policy.viewpoint.reference import DIRECTORY, OPEN, Pixels, References, ViewpointError

from vga_bringup.doctor.finding import Finding, Health

PATIENCE = 15.0  # s
NO_REFERENCE = "keeps no picture of its views: it was trained before checkpoints did"


def references(against: str) -> References:
    """Those of a checkpoint, or made of episodes. Raises ViewpointError, or what cannot be read of an episode."""
    directory = locate(against)
    if (found := References.load(directory / DIRECTORY)) is not None:
        return found
    if (directory / "config.json").is_file():
        raise ViewpointError(f"{against} {NO_REFERENCE}; give the episodes that it learned from")
    from vga_policy.dataset.reference_views import reference_views
    from vga_policy.episodes.listing import find_episodes

    return reference_views(find_episodes([directory]))


def views(cell: Cell, path: Path, namespace: str, known: References) -> Iterator[Finding]:
    """A row for every view. path: of the cell's file. namespace: of the running graph, which the pictures come from."""
    pictures, width = _live(path, namespace)
    comparison = ViewComparison(known)
    hand_open = width is not None and width >= OPEN * cell.gripper.max_width
    for slot, camera in enumerate(cell.views):
        subject = f"view {slot}, {camera.name}"
        if camera.name not in pictures:
            remedy = "it comes from the running graph: vga sim, or lab.launch.py"
            yield Finding(subject, Health.UNKNOWN, "no picture came", remedy)
            continue
        verdict = comparison.judge(camera.name, slot, pictures[camera.name], hand_open=hand_open)
        if verdict is None:
            yield Finding(subject, Health.UNKNOWN, "no reference picture of this slot", "give data with this slot")
        elif verdict.place is Place.UNSEEN:
            yield Finding(subject, Health.UNKNOWN, str(verdict), verdict.remedy or "vga home --open opens the hand")
        else:
            yield Finding(subject, Health.READY if verdict.same else Health.MISSING, str(verdict), verdict.remedy)


def _live(path: Path, namespace: str) -> tuple[dict[str, Pixels], float | None]:
    """What the cameras show now, by name, and the hand's opening, m. Asked in a process of its own, which ends."""
    with TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "vga_bringup.nodes.picture_probe", str(path), directory, namespace]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return {}, None
        found = {file.stem: JpegImage(file.read_bytes()).decode() for file in Path(directory).glob("*.jpg")}
    return found, float(answer.stdout) if answer.returncode == 0 and answer.stdout.strip() else None
