"""What an operator presses: keys of the terminal, also over SSH, and buttons of HID devices such as foot pedals."""

from __future__ import annotations

import argparse
import os
import re
import select
import sys
import termios
import tty
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from types import TracebackType
from typing import Any, Protocol


class Button(StrEnum):
    """What a press means."""

    GO = "go"  # start, or stop and ask for the label
    SUCCESS = "success"
    FAILURE = "failure"
    DISCARD = "discard"
    QUIT = "quit"
    TAKE_OVER = "takeover"  # take over from the policy, or hand back to it
    STOP = "stop"  # the arm, at once


ESCAPE = "\x1b"
KEYS = {
    " ": Button.GO,
    "s": Button.SUCCESS,
    "f": Button.FAILURE,
    "d": Button.DISCARD,
    "q": Button.QUIT,
    "t": Button.TAKE_OVER,
    ESCAPE: Button.STOP,
}
SEQUENCE = re.compile(ESCAPE + r"[\[O][0-9;]*[A-Za-z~]")  # of an arrow, say: Escape was not pressed
HID_KEYS = {
    "KEY_SPACE": Button.GO,
    "KEY_S": Button.SUCCESS,
    "KEY_F": Button.FAILURE,
    "KEY_D": Button.DISCARD,
    "KEY_Q": Button.QUIT,
    "KEY_T": Button.TAKE_OVER,
    "KEY_ESC": Button.STOP,
}


class ButtonError(ValueError):
    """A device or a key that cannot be used. The message says why and what to do."""


class Buttons(Protocol):
    """A source of presses."""

    def pressed(self) -> list[Button]:
        """What was pressed since the last call. Never waits."""


class Terminal:
    """The terminal's keys, each at once. A context manager: the terminal is as it was afterwards.

    stream: a terminal, or a file or pipe that holds keys.
    """

    def __init__(self, stream: Any = None) -> None:
        self._fd = (sys.stdin if stream is None else stream).fileno()
        self._former: list[Any] | None = None
        self.closed = False  # nothing more can come

    def __enter__(self) -> Terminal:
        if os.isatty(self._fd):
            self._former = termios.tcgetattr(self._fd)
            tty.setcbreak(self._fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._former is not None:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._former)

    def pressed(self) -> list[Button]:
        """What was pressed since the last call; other keys are ignored."""
        return [KEYS[key] for key in SEQUENCE.sub("", self.typed()).lower() if key in KEYS]

    def typed(self) -> str:
        """All that was typed since the last call."""
        text = ""
        while not self.closed and select.select([self._fd], [], [], 0.0)[0]:
            try:
                data = os.read(self._fd, 64)
            except OSError:  # the terminal has gone
                data = b""
            self.closed = not data
            text += data.decode("ascii", "ignore")
        return text


class HidButtons:
    """Keys of one HID device, which types into nothing else meanwhile. A context manager.

    device: an evdev InputDevice. keys: what its keys mean, by their names in linux/input-event-codes.h.
    """

    def __init__(self, device: Any, keys: Mapping[str, Button]) -> None:
        from evdev import ecodes

        self._device = device
        self._codes = {ecodes.ecodes[name]: button for name, button in keys.items()}
        self.closed = False  # unplugged

    def __enter__(self) -> HidButtons:
        try:
            self._device.grab()
        except OSError as error:
            raise ButtonError(f"{self._device.path} ({self._device.name}): {error.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._device.close()

    def pressed(self) -> list[Button]:
        """What was pressed since the last call; keys that are held or released do not count."""
        from evdev import ecodes

        presses: list[Button] = []
        while not self.closed and select.select([self._device.fileno()], [], [], 0.0)[0]:
            try:
                events = list(self._device.read())
            except OSError:
                events = []
            self.closed = not events  # readable, yet nothing to read: unplugged
            down = [event.code for event in events if event.type == ecodes.EV_KEY and event.value == 1]
            presses += [self._codes[code] for code in down if code in self._codes]
        return presses


class Several:
    """Several sources as one."""

    def __init__(self, sources: Sequence[Terminal | HidButtons]) -> None:
        self._sources = list(sources)
        self.any = bool(sources)  # whether anything could be pressed

    def pressed(self) -> list[Button]:
        """What was pressed on any of them. Where no source is left, nobody can go on: QUIT."""
        presses = [button for source in self._sources for button in source.pressed()]
        self._sources = [source for source in self._sources if not source.closed]
        return presses if self._sources or not self.any else [*presses, Button.QUIT]


def add_buttons(parser: argparse.ArgumentParser) -> None:
    """Adds `--buttons` and `--keys`."""
    parser.add_argument(
        "--buttons",
        metavar="DEVICE",
        help="A foot pedal or other HID device: its path, or part of its name. Default: none.",
    )
    meanings = f"{', '.join(list(Button)[:-1])} or {list(Button)[-1]}"
    parser.add_argument(
        "--keys",
        default=",".join(f"{key}={button}" for key, button in HID_KEYS.items()),
        metavar="KEY=MEANING,...",
        help=f"What its keys mean: {meanings}. Default: %(default)s.",
    )


@contextmanager
def open_buttons(args: argparse.Namespace, terminal: bool) -> Iterator[Several]:
    """Those of `add_buttons`, and the terminal's keys where they are wanted. Raises ButtonError."""
    with ExitStack() as stack:
        sources: list[Terminal | HidButtons] = [stack.enter_context(Terminal())] if terminal else []
        if args.buttons:
            sources.append(stack.enter_context(open_hid(args.buttons, parse_keys(args.keys))))
        yield Several(sources)


def open_hid(name: str, keys: Mapping[str, Button]) -> HidButtons:
    """The HID device at the path `name`, or the one whose name contains it. Raises ButtonError."""
    import evdev

    try:
        if name.startswith("/"):
            return HidButtons(evdev.InputDevice(name), keys)
        found = [evdev.InputDevice(path) for path in evdev.list_devices()]
    except OSError as error:
        raise ButtonError(f"{name}: {error.strerror or error}: are you in the group 'input'?") from None
    chosen = [device for device in found if name.lower() in device.name.lower()]
    if len(chosen) == 1:
        return HidButtons(chosen[0], keys)
    names = ", ".join(f"{os.fsdecode(device.path)} ({device.name})" for device in chosen or found)
    reason = "fits several, give the path of one" if chosen else "not found"
    raise ButtonError(f"button device {name!r}: {reason}; readable devices: {names or 'none: are you in group input?'}")


def parse_keys(text: str) -> dict[str, Button]:
    """Reads "KEY_A=success,KEY_B=go". Raises ButtonError naming what is wrong."""
    from evdev import ecodes

    keys: dict[str, Button] = {}
    for part in filter(None, text.split(",")):
        key, _, meaning = part.strip().partition("=")
        if key not in ecodes.ecodes:
            raise ButtonError(f"keys: {key!r} is no key; names as in linux/input-event-codes.h, e.g. KEY_A, BTN_LEFT")
        try:
            keys[key] = Button(meaning)
        except ValueError:
            raise ButtonError(f"keys: {part!r}: use KEY=MEANING with one of {', '.join(Button)}") from None
    return keys
