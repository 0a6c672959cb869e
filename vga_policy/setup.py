from setuptools import find_packages, setup

setup(
    name="vga_policy",
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/vga_policy"]),
        ("share/vga_policy", ["package.xml"]),
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
        ],
        "vga.commands": [
            "model = vga_policy.model.commands:model_command",
            "bench = vga_policy.model.commands:bench_command",
            "geometry = vga_policy.model.commands:geometry_command",
        ],
    },
)
