from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

PACKAGE = Path(__file__).resolve().with_name("package.xml")  # a build by colcon links this file

setup(
    name="vga_teleop",
    version=ElementTree.parse(PACKAGE).findtext("version"),
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/vga_teleop"]),
        ("share/vga_teleop", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="VGA-ROS maintainers",
    maintainer_email="maintainers@vga-ros.org",
    description="Demonstrations: GELLO teleoperation, recording sessions, episodes as rosbag2 MCAP bags.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "recorder_node = vga_teleop.nodes.recorder_node:main",
            "gello_node = vga_teleop.nodes.gello_node:main",
        ],
        "vga.commands": [
            "record = vga_teleop.session.commands:record_command",
            "gello = vga_teleop.gello.commands:gello_command",
        ],
    },
)
