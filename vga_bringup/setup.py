from glob import glob
from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

PACKAGE = Path(__file__).resolve().with_name("package.xml")  # a build by colcon links this file

setup(
    name="vga_bringup",
    version=ElementTree.parse(PACKAGE).findtext("version"),
    packages=find_packages(exclude=["test"]),
    package_data={"vga_bringup.panel": ["*.css", "*.html", "*.js"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/vga_bringup"]),
        ("share/vga_bringup", ["package.xml"]),
        ("share/vga_bringup/launch", glob("launch/*.launch.py")),
        ("share/vga_bringup/config/cells", glob("config/cells/*.yaml")),
        ("share/vga_bringup/config/viewers", glob("config/viewers/*")),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="VGA-ROS maintainers",
    maintainer_email="maintainers@vga-ros.org",
    description="The robot cell: camera and Franka driver nodes, launch files, cell files and the simulated cell.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "camera_node = vga_bringup.nodes.camera_node:main",
            "franka_driver_node = vga_bringup.nodes.franka_driver_node:main",
            "sim_cell = vga_bringup.nodes.sim_cell:main",
            "sim_camera = vga_bringup.nodes.sim_camera:main",
            "robot_state_publisher = vga_bringup.nodes.robot_state_publisher:main",
            "sim_leader = vga_bringup.nodes.sim_leader:main",
        ],
        "vga.tasks": [
            "board_in_hand = vga_bringup.calibration.simulated:IN_HAND",
            "board_on_table = vga_bringup.calibration.simulated:ON_TABLE",
        ],
        "vga.commands": [
            "calibrate = vga_bringup.calibration.commands:calibrate_command",
            "collect = vga_bringup.collect.commands:collect_command",
            "doctor = vga_bringup.doctor:command",
            "sim = vga_bringup.cli.commands:sim",
            "run = vga_bringup.cli.commands:run",
            "arrange = vga_bringup.cli.commands:arrange",
            "panel = vga_bringup.panel.commands:panel_command",
            "home = vga_bringup.cli.commands:home",
            "leader = vga_bringup.cli.commands:leader",
            "recover = vga_bringup.cli.commands:recover",
            "view = vga_bringup.view.commands:view_command",
            "stop = vga_bringup.cli.commands:stop",
            "demo = vga_bringup.cli.commands:demo",
            "scenes = vga_bringup.sim.random_scenes.commands:scenes_command",
        ],
        "vga.commands.bench": [
            "safety = vga_bringup.bench.safety:safety_command",
            "record = vga_bringup.bench.recording:record_command",
        ],
        "vga.commands.eval": [
            "sim = vga_bringup.trials.commands:sim_command",
            "ablation = vga_bringup.trials.commands:ablation_command",
            "robot = vga_bringup.study.commands:robot_command",
        ],
    },
)
