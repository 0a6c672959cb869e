"""Renders the node graph for `ros2 launch`."""

from __future__ import annotations

from collections.abc import Callable

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from vga_bringup.graph.spec import OPTIONS, Graph, NodeSpec, Value, from_text, options, to_text


def describe(graph: Callable[..., Graph]) -> LaunchDescription:
    """Launch description of a graph, its options as launch arguments."""

    def nodes(context: LaunchContext) -> list[Node]:
        values = {name: LaunchConfiguration(name).perform(context) for name in options(graph)}
        return [render(spec) for spec in from_text(graph, values)]

    arguments = [
        DeclareLaunchArgument(name, default_value=to_text(default), description=OPTIONS[name])
        for name, default in options(graph).items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=nodes)])


def render(spec: NodeSpec) -> Node:
    """The launch action of one node."""
    return Node(
        package=spec.package,
        executable=spec.executable,
        name=spec.name,
        namespace=spec.namespace,
        exec_name=spec.name,
        parameters=[{name: _as_it_is(value) for name, value in spec.parameters.items()}],
        remappings=list(spec.remappings),
        additional_env=dict(spec.environment),
        output="screen",
    )


def _as_it_is(value: Value) -> Value | ParameterValue:
    """Texts as texts: launch would look for YAML in them."""
    return ParameterValue(value, value_type=str) if isinstance(value, str) else value
