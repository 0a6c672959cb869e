"""The arm's light meshes."""

import xml.etree.ElementTree as ET

import mujoco
import pytest
from vga_bringup.sim.physics.simulator import CellSimulator
from vga_bringup.sim.scene import meshes


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_derived_once_and_light(cache):
    directory = meshes.light_meshes()
    assert cache in directory.parents
    names = {mesh.attrib["file"] for mesh in ET.parse(meshes.ASSETS / "fr3.xml").iter("mesh")}
    assert {file.name for file in directory.iterdir()} == names
    before = directory.stat().st_mtime_ns
    assert meshes.light_meshes() == directory
    assert directory.stat().st_mtime_ns == before

    simulator = CellSimulator((0.0,) * 7)
    simulator.init()
    model = mujoco.MjModel.from_xml_string(ET.tostring(simulator.scene, encoding="unicode"))
    assert 5_000 < model.nmeshface < 30_000


def test_two_processes_may_derive_at_the_same_time(cache):
    directory = meshes.cache_directory()
    directory.mkdir(parents=True)
    (directory / "of_the_other").touch()
    meshes.derive(directory)
    assert [file.name for file in directory.iterdir()] == ["of_the_other"]
    assert list(directory.parent.iterdir()) == [directory], "the loser cleans up"
