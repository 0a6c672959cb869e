"""Light meshes of the arm for software rendering, derived once from the installed franky-sim package.

The package's visual meshes hold 240 000 faces: 100 ms an image without a GPU. Decimated to a few percent they look the
same at camera resolution. `python -m vga_bringup.sim.scene.meshes` derives them ahead of time; otherwise the first use
does.
"""

from __future__ import annotations

import os
import shutil
import xml.etree.ElementTree as ET
from importlib.metadata import version
from pathlib import Path

import franky_sim

from vga_policy import files

LIGHT = 500  # meshes of up to this many faces stay as they are
KEEP = 0.06  # share of the faces kept of the others …
FEWEST_FACES = 200  # … but never fewer than this
WELD = 0.001  # m; the meshes are torn into shells, whose borders a decimation keeps unless they are welded first
RECIPE = 1  # raise when the recipe changes, so that old caches are not used

ASSETS = Path(franky_sim.__file__).parent / "assets"


def cache_directory() -> Path:
    """Where the derived meshes of this franky-sim version lie."""
    return files.cache_directory(f"franky-sim-{version('franky-sim')}-{RECIPE}")


def light_meshes() -> Path:
    """Directory with every mesh file the arm's model names, visual ones decimated; derived if missing."""
    directory = cache_directory()
    if not directory.is_dir():
        derive(directory)
    return directory


def derive(directory: Path) -> None:
    """Writes the light meshes. `directory` appears complete or not at all, whoever else is deriving it."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    work = directory.with_name(f"{directory.name}.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        for mesh in ET.parse(ASSETS / "fr3.xml").iter("mesh"):
            _lighten(ASSETS / "meshes" / mesh.attrib["file"], work)
        try:
            work.rename(directory)
        except OSError:
            if not directory.is_dir():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _lighten(source: Path, directory: Path) -> None:
    if source.suffix != ".obj":  # collision hulls, light already
        shutil.copy(source, directory)
        return
    import trimesh  # only here: half a second that a start with a filled cache does not pay

    mesh = trimesh.load_mesh(source)
    if len(mesh.faces) > LIGHT:
        wanted = max(FEWEST_FACES, round(KEEP * len(mesh.faces)))
        mesh.vertices = (mesh.vertices / WELD).round() * WELD
        mesh.merge_vertices(merge_norm=True, merge_tex=True)
        mesh.update_faces(mesh.nondegenerate_faces() & mesh.unique_faces())
        if wanted < len(mesh.faces):
            mesh = mesh.simplify_quadric_decimation(face_count=wanted)
    # Without normals: MuJoCo then computes smooth ones from the decimated faces.
    mesh.export(directory / source.name, include_normals=False, include_texture=False)


if __name__ == "__main__":
    print(light_meshes())
