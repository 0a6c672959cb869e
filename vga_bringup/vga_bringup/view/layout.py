"""What is seen where: Rerun's blueprint of a robot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vga_bringup.view.sheet import TIME

BACKGROUND = (38, 42, 50)
EYE, TARGET = (0.78, -1.42, 0.9), (0.56, 0.05, 0.4)  # m, of a robot whose base is the origin and that looks along x


def blueprint(rerun: Any, cameras: Mapping[str, str], views: Sequence[str], joints: Sequence[str]) -> Any:
    """The robot in 3D, every camera, what the policy sees; below them curves and the log.

    cameras: the entity of each one's images, by name. views: names of the cameras that the policy sees. joints: names.
    """
    parts = rerun.blueprint
    space = parts.Spatial3DView(
        origin="robot",
        name="robot",
        background=parts.Background(color=BACKGROUND, kind=parts.BackgroundKind.SolidColor),
        eye_controls=parts.EyeControls3D(position=EYE, look_target=TARGET, eye_up=(0, 0, 1)),
        line_grid=parts.LineGrid3D(visible=True, spacing=0.1, color=(90, 96, 108, 90)),
    )
    images = [parts.Spatial2DView(origin=entity, name=name) for name, entity in cameras.items()]
    inputs = [parts.Spatial2DView(origin=f"inputs/{name}", name=f"policy sees: {name}") for name in views]
    curves = [parts.TimeSeriesView(origin=f"joints/{name}", name=name) for name in joints]
    columns = [space, parts.Vertical(*images), *([parts.Vertical(*inputs)] if inputs else [])]
    return parts.Blueprint(
        parts.Vertical(
            parts.Horizontal(*columns, column_shares=[5, 2, 2][: len(columns)]),
            parts.Horizontal(
                parts.Tabs(*curves, name="joints"),
                parts.TimeSeriesView(origin="hand", name="hand"),
                parts.TimeSeriesView(origin="policy", name="age of what the policy saw (ms)"),
                parts.TextLogView(origin="log", name="log"),
                column_shares=[2, 2, 2, 3],
            ),
            row_shares=[5, 2],
        ),
        parts.TimePanel(state="collapsed", timeline=TIME, play_state="following"),
        parts.SelectionPanel(state="hidden"),
        parts.BlueprintPanel(state="hidden"),
    )
