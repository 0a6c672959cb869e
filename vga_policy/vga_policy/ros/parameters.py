"""Parameters of a node, each one line of its class: `threads = NodeParameter(1, "cores the model computes on")`."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, overload

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

T = TypeVar("T")


class NodeParameter(Generic[T]):
    """A described parameter; as an attribute of the node it is the value.

    default: also the type; an empty list is one of strings. name: as ROS knows it, by default the attribute's.
    read_only: whether it is settled when the node starts. constraints: more fields of its ParameterDescriptor.
    """

    def __init__(
        self, default: T, description: str, *, name: str = "", read_only: bool = True, **constraints: Any
    ) -> None:
        self.default, self.name = default, name
        self.descriptor = ParameterDescriptor(description=description, read_only=read_only, **constraints)

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.name = self.name or attribute

    @overload
    def __get__(self, node: None, owner: type) -> NodeParameter[T]: ...
    @overload
    def __get__(self, node: Node, owner: type) -> T: ...
    def __get__(self, node: Node | None, owner: type) -> NodeParameter[T] | T:
        if node is None:
            return self
        value = node.get_parameter_or(self.name).value
        return self.default if value is None else value

    def declare(self, node: Node) -> None:
        """Raises rclpy's ParameterException when the node was given what the parameter cannot be."""
        default = Parameter.Type.STRING_ARRAY if self.default == [] else self.default
        node.declare_parameter(self.name, default, self.descriptor)


def declare_parameters(node: Node) -> None:
    """Declares every NodeParameter of the node's class and of those it inherits from."""
    for part in reversed(type(node).__mro__):
        for attribute in vars(part).values():
            if isinstance(attribute, NodeParameter):
                attribute.declare(node)
