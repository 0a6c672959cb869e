"""Which libfranka is installed, and what is said when it does not speak to the arm."""

import sys
from importlib.metadata import PackageNotFoundError

import franky
import pytest
from vga_bringup.robot import libfranka
from vga_bringup.robot.faults import explain
from vga_bringup.robot.libfranka import PROTOCOLS, build_problem, libfranka_version, protocol_of


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts franky's metadata in front of the installed one's, as a wheel with these files leaves it."""

    def put(*files):
        info = tmp_path / "franky_control-2.0.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: franky-control\nVersion: 2.0.0\n")
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    return put


def library(version):
    return "franky/libfranky.so", f"franky_control.libs/libfranka-b351eea7.so.{version}"


def test_the_installed_franky_tells_its_libfranka_which_is_for_an_fr3():
    assert protocol_of(libfranka_version()).model == "fr3"
    assert build_problem("fr3") == ""


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.wheel)
def test_each_of_frankys_wheels_speaks_to_one_model(install, protocol):
    install(*library(protocol.wheel))
    assert libfranka_version() == protocol.wheel
    assert protocol_of(protocol.wheel) is protocol
    other = {"fr3": "panda", "panda": "fr3"}[protocol.model]
    assert build_problem(protocol.model) == ""
    assert build_problem(other).startswith(f"arm.model is {other}, but franky has libfranka {protocol.wheel}, which")


def test_a_build_for_the_other_arm_is_refused_with_the_remedy(install):
    assert build_problem("panda").endswith(
        "set arm.model to what the robot is, or install franky's wheel for libfranka 0.9.2 (docs/how-to/panda.md)"
    )
    install(*library("0.9.2"))
    assert build_problem("fr3") == (
        "arm.model is fr3, but franky has libfranka 0.9.2, which speaks to a Franka Emika Robot (Panda) of system "
        "4.2.1 or later: set arm.model to what the robot is, or install franky's wheel for libfranka 0.21.2 "
        "(docs/how-to/panda.md)"
    )


def test_a_franky_that_does_not_tell_is_left_to_the_robot(install):
    install("franky/libfranky.so")
    assert libfranka_version() == ""
    assert build_problem("panda") == build_problem("fr3") == ""


def test_no_franky_is_no_version(monkeypatch):
    monkeypatch.setattr(libfranka, "PACKAGE", "no-such-franky")
    with pytest.raises(PackageNotFoundError):
        libfranka_version()


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (5, "a Franka Emika Robot (Panda) of system 4.2.1 or later, to which the installed franky does not speak "
            "(server version: 5, library version: 10): set arm.model: panda and install franky's wheel for "
            "libfranka 0.9.2 (docs/how-to/panda.md)"),
        (9, "set arm.model: fr3 and install franky's wheel for libfranka 0.17.0"),
        (2, "server version: 2, library version: 10). See the table): bring robot and franky up to date"),
    ],
)  # fmt: skip
def test_a_robot_that_refuses_the_version_is_named_with_the_wheel_it_takes(server, words):
    said = f"libfranka: Incompatible library version (server version: {server}, library version: 10). See the table"
    fault = explain(franky.IncompatibleVersionException(said))
    assert words in str(fault)
    assert fault.lost
