"""VERSION is the number of the whole; whatever must say it in its own way says the same."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
NUMBER = (ROOT / "VERSION").read_text().strip()
PACKAGES = ("vga_msgs", "vga_policy", "vga_teleop", "vga_bringup")


def test_it_is_a_number_of_three_parts():
    assert re.fullmatch(r"\d+\.\d+\.\d+", NUMBER)


@pytest.mark.parametrize("package", PACKAGES)
def test_ros_is_told_the_same(package):
    assert ElementTree.parse(ROOT / package / "package.xml").findtext("version") == NUMBER


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_what_is_installed_has_the_number_of_its_package_xml(package):
    asked = [sys.executable, "setup.py", "--version"]
    said = subprocess.run(asked, cwd=ROOT / package, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.split()[-1] == NUMBER
    assert version(package) == NUMBER, "run make setup"


def test_the_command_says_it():
    said = subprocess.run(["vga", "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said == f"vga {NUMBER}\n"


def test_the_newest_release_of_the_changelog_has_it():
    releases = re.findall(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases[0] == NUMBER
