"""Keys of a terminal and buttons of a HID device."""

import os
import pty
import struct
import termios

import evdev
import pytest
from evdev import ecodes
from evdev.eventio import EventIO
from support.waiting import eventually
from vga_teleop.session.buttons import (
    HID_KEYS,
    Button,
    ButtonError,
    HidButtons,
    Several,
    Terminal,
    open_hid,
    parse_keys,
)

INPUT_EVENT = struct.Struct("llHHi")  # linux/input.h


class Pedal(EventIO):
    """A HID device as the kernel shows it: input_event records, read by evdev from a file descriptor."""

    path, name = "/dev/input/event9", "Foot Pedal"

    def __init__(self):
        self.fd, self._writer = os.pipe()
        os.set_blocking(self.fd, False)
        self.grabbed = False

    def fileno(self):
        return self.fd

    def grab(self):
        self.grabbed = True

    def close(self):
        os.close(self.fd)
        self.unplug()

    def unplug(self):
        if self._writer is not None:
            os.close(self._writer)
        self._writer = None

    def send(self, *events):
        os.write(self._writer, b"".join(INPUT_EVENT.pack(0, 0, *event) for event in events))

    def press(self, key):
        code = ecodes.ecodes[key]
        down, held, up = 1, 2, 0
        self.send(*[(ecodes.EV_KEY, code, value) for value in (down, held, held, up)], (ecodes.EV_SYN, 0, 0))


@pytest.fixture
def pedal():
    pedal = Pedal()
    yield pedal
    pedal.unplug()


def pressed(source):
    """What comes within a moment: a terminal's driver passes keys on in its own time."""
    return eventually(source.pressed, "a key is passed on")


@pytest.fixture
def terminal():
    """A terminal, and the end a person types into."""
    typed, own = pty.openpty()
    yield os.fdopen(own, "r"), typed
    os.close(typed)


def test_keys_count_at_once_without_return_and_the_terminal_is_given_back(terminal):
    stream, typed = terminal
    before = termios.tcgetattr(stream)
    with Terminal(stream) as keys:
        assert not termios.tcgetattr(stream)[3] & (termios.ICANON | termios.ECHO)
        assert termios.tcgetattr(stream)[3] & termios.ISIG  # Ctrl-C works
        assert keys.pressed() == []
        os.write(typed, b" sxF\xffdq")
        assert pressed(keys) == [Button.GO, Button.SUCCESS, Button.FAILURE, Button.DISCARD, Button.QUIT]
    assert termios.tcgetattr(stream) == before


def test_escape_is_told_from_the_keys_that_begin_with_it(terminal):
    stream, typed = terminal
    with Terminal(stream) as keys:
        os.write(typed, b"\x1b[At\x1b[1;5C\x1b")
        assert pressed(keys) == [Button.TAKE_OVER, Button.STOP]


def test_a_terminal_that_goes_away_ends_the_session():
    reading, writing = os.pipe()
    os.write(writing, b"s")
    os.close(writing)
    with os.fdopen(reading) as stream, Terminal(stream) as keys:
        assert Several([keys]).pressed() == [Button.SUCCESS, Button.QUIT]


def test_pedals_press_once_and_type_into_nothing_else(pedal):
    with HidButtons(pedal, parse_keys("KEY_A=go, KEY_B=success")) as buttons:
        assert pedal.grabbed
        assert buttons.pressed() == []
        for key in ("KEY_A", "KEY_C", "KEY_B"):
            pedal.press(key)
        pedal.send((ecodes.EV_REL, ecodes.REL_X, 1))
        assert pressed(buttons) == [Button.GO, Button.SUCCESS]


def test_a_pedal_that_is_unplugged_leaves_the_keyboard(pedal, terminal):
    stream, typed = terminal
    with Terminal(stream) as keys, HidButtons(pedal, HID_KEYS) as buttons:
        both = Several([keys, buttons])
        pedal.press("KEY_SPACE")
        assert pressed(both) == [Button.GO]
        pedal.unplug()
        assert both.pressed() == []
        os.write(typed, b"f")
        assert pressed(both) == [Button.FAILURE]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("KEY_NOPE=go", "'KEY_NOPE' is no key"), ("KEY_A=fine", "one of go, success"), ("KEY_A", "KEY=MEANING")],
)
def test_wrong_keys_are_named(text, complaint):
    with pytest.raises(ButtonError, match=complaint):
        parse_keys(text)


def test_devices_are_chosen_by_name_and_missing_ones_named(monkeypatch):
    names = {"/dev/input/event1": "Foot Pedal", "/dev/input/event2": "USB Keyboard"}

    class Device:
        def __init__(self, path):
            self.path, self.name = path, names[path]

    monkeypatch.setattr(evdev, "list_devices", lambda: list(names))
    monkeypatch.setattr(evdev, "InputDevice", Device)
    assert open_hid("pedal", HID_KEYS)
    with pytest.raises(ButtonError, match=r"'mouse': not found.*event2 \(USB Keyboard\)"):
        open_hid("mouse", HID_KEYS)
    with pytest.raises(ButtonError, match="fits several"):
        open_hid("d", HID_KEYS)
    monkeypatch.undo()
    with pytest.raises(ButtonError, match="No such file"):
        open_hid("/dev/input/nothing", HID_KEYS)


def test_a_device_somebody_else_holds_is_refused(pedal, monkeypatch):
    def busy():
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(pedal, "grab", busy)
    with pytest.raises(ButtonError, match="Foot Pedal"), HidButtons(pedal, HID_KEYS):
        pass
