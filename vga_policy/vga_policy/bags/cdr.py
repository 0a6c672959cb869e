"""Messages as plain objects and as CDR bytes, without rclpy.

A type is what its definition text says: that of the installed package when writing, that inside the bag when reading.
So an old bag stays readable after a message has changed, and reading needs no ROS.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.base import TypesysError

from vga_policy.bags.definitions import definition
from vga_policy.bags.writer import OfferedQos, Topic
from vga_policy.units import sec_and_nanosec

TIMES = ("builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration")
DTYPES = {"bool": "bool", "byte": "uint8", "char": "uint8", "octet": "uint8"}  # others are called as in NumPy


class CdrError(ValueError):
    """Bytes that are no message of the type, or a definition that is none."""


class Codec:
    """Makes, writes and reads messages of one type: dataclasses whose numeric sequences are NumPy arrays."""

    def __init__(self, type_name: str, definition_text: str) -> None:
        """Raises CdrError when the text does not define the type. Use :func:`codec`, which caches."""
        self.type_name = type_name
        self._store = get_typestore(Stores.EMPTY)
        try:
            self._store.register(get_types_from_msg(definition_text, type_name))
        except (TypesysError, SyntaxError, KeyError, ValueError, RecursionError) as error:
            at = str(error).splitlines()[-1:] or [""]  # the parser quotes all of the text, and last what it stopped at
            raise CdrError(f"{type_name}: its definition cannot be parsed at {at[0][:60]!r}") from None
        self._check_references(type_name, ())
        self.message_class: Any = self._store.types[type_name]  # its constants are class attributes
        first = next(iter(self._store.fielddefs[type_name][1]), None)
        self.fields = frozenset(name for name, _ in self._store.fielddefs[type_name][1])
        self.has_header = first is not None and first[1] == (Nodetype.NAME, "std_msgs/msg/Header")

    def new(self, **fields: Any) -> Any:
        """A message; fields not given are zero or empty.

        A nested message may be given as a dict of its fields, a time or duration as ns. Raises TypeError naming a
        field that the type does not have.
        """
        return self._make(self.type_name, fields)

    def encode(self, message: Any) -> bytes:
        """The message as CDR, little-endian."""
        return bytes(self._store.serialize_cdr(message, self.type_name, little_endian=True))

    def decode(self, data: bytes | memoryview) -> Any:
        """The message in `data`; its arrays are views of `data`. Raises CdrError."""
        try:
            return self._store.deserialize_cdr(data, self.type_name)
        except Exception as error:  # of any kind: code made from a foreign definition reads foreign bytes
            raise CdrError(f"cannot be decoded: {(str(error) or type(error).__name__).splitlines()[0][:100]}") from None

    def _check_references(self, type_name: str, within: tuple[str, ...]) -> None:
        """Raises CdrError where a type refers to one that the definition does not have, or contains itself."""
        if type_name not in self._store.fielddefs or type_name in within:
            fault = "contains itself" if type_name in within else "is not in its definition"
            raise CdrError(f"{self.type_name}: {type_name[:60]} {fault}; record it where the type is installed")
        for _, kind in self._store.fielddefs[type_name][1]:
            element: Any = kind if kind[0] in (Nodetype.BASE, Nodetype.NAME) else kind[1][0]
            if element[0] is Nodetype.NAME:
                self._check_references(element[1], (*within, type_name))

    def _make(self, type_name: str, values: dict[str, Any]) -> Any:
        fields = dict(self._store.fielddefs[type_name][1])
        if unknown := values.keys() - fields.keys():
            raise TypeError(f"{type_name} has no field {', '.join(sorted(unknown))}; it has {', '.join(fields)}")
        filled = {name: self._value(kind, values.get(name)) for name, kind in fields.items()}
        return self._store.types[type_name](**filled)

    def _value(self, kind: Any, value: Any) -> Any:
        """A field's value, or its default for None, as the type store wants it."""
        node, detail = kind
        if node is Nodetype.BASE:
            default = "" if detail[0] == "string" else _dtype(detail[0]).type(0).item()
            return default if value is None else value
        if node is Nodetype.NAME:
            if isinstance(value, int | np.integer) and detail in TIMES:
                seconds, rest = sec_and_nanosec(int(value))
                value = {"sec": seconds, "nanosec": rest}
            return self._make(detail, value or {}) if value is None or isinstance(value, dict) else value
        element, length = detail
        count = length if node is Nodetype.ARRAY else 0
        if element[0] is Nodetype.BASE and element[1][0] != "string":
            dtype = _dtype(element[1][0])
            if isinstance(value, bytes | bytearray | memoryview):
                return np.frombuffer(value, dtype=dtype)
            return np.zeros(count, dtype) if value is None else np.asarray(value, dtype=dtype)
        return [self._value(element, item) for item in ([None] * count if value is None else value)]


@cache
def codec(type_name: str, definition_text: str = "") -> Codec:
    """The codec of a type as this text defines it, by default as its installed package does.

    Raises CdrError, and UnknownTypeError when the package is not installed.
    """
    return Codec(type_name, definition_text or definition(type_name).text)


def new(type_name: str, **fields: Any) -> Any:
    """A message of an installed type; see :meth:`Codec.new`."""
    return codec(type_name).new(**fields)


def encode(message: Any) -> bytes:
    """A message made by :func:`new`, as CDR."""
    return codec(message.__msgtype__).encode(message)


def topic(name: str, type_name: str, qos: OfferedQos | None = None) -> Topic:
    """A topic of an installed type, for BagWriter.add_topic."""
    described = definition(type_name)
    return Topic(name, type_name, described.text, described.type_hash, qos or OfferedQos())


def _dtype(name: str) -> np.dtype[Any]:
    return np.dtype(DTYPES.get(name, name))
