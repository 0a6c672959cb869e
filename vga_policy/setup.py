from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

PACKAGE = Path(__file__).resolve().with_name("package.xml")  # a build by colcon links this file

setup(
    name="vga_policy",
    version=ElementTree.parse(PACKAGE).findtext("version"),
    packages=find_packages(exclude=["test"]),
    package_data={
        "vga_policy.checkpoints": ["*/*", "*/views/*"],
        "vga_policy.curation": ["*.j2"],
        "vga_policy.bench.loader": ["*.txt"],
        "vga_policy.evaluate.baseline": ["*.txt"],
        "vga_policy.libero": ["*.txt"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/vga_policy"]),
        ("share/vga_policy", ["package.xml"]),
        ("share/vga_policy/config", ["config/fastdds.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="VGA-ROS maintainers",
    maintainer_email="maintainers@vga-ros.org",
    description="The Vision-Geometry-Action policy, from bag to action chunk.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "vga = vga_policy.cli:main",
            "policy_node = vga_policy.nodes.policy_node:main",
            "replay_node = vga_policy.nodes.replay_node:main",
        ],
        "vga.commands": [
            "cell = vga_policy.cell.commands:cell_command",
            "check = vga_policy.check.commands:check_command",
            "model = vga_policy.train.model_commands:model_command",
            "geometry = vga_policy.inference.commands:geometry_command",
            "curate = vga_policy.curation.commands:curate_command",
            "replay = vga_policy.nodes.commands:replay_command",
            "import = vga_policy.lerobot.commands:import_command",
            "train = vga_policy.train.commands:train_command",
            "pretrain = vga_policy.train.commands:pretrain_command",
            "ablate = vga_policy.train.commands:ablate_command",
        ],
        "vga.commands.bench": [
            "latency = vga_policy.bench.commands:latency_command",
            "overfit = vga_policy.bench.commands:overfit_command",
            "loader = vga_policy.bench.loader:loader_command",
        ],
        "vga.commands.eval": [
            "open-loop = vga_policy.evaluate.commands:open_loop_command",
            "geometry = vga_policy.evaluate.commands:geometry_command",
            "libero = vga_policy.libero.commands:eval_command",
            "table = vga_policy.evaluate.commands:table_command",
        ],
        "vga.commands.libero": [
            "collect = vga_policy.libero.commands:collect_command",
            "import = vga_policy.libero.commands:import_command",
            "table = vga_policy.libero.commands:table_command",
        ],
        "vga.commands.export": [
            "lerobot = vga_policy.lerobot.commands:export_command",
            "policy = vga_policy.inference.commands:export_command",
            "geometry = vga_policy.train.commands:export_geometry_command",
        ],
    },
)
