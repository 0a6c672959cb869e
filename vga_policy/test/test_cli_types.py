"""Types of the commands' arguments: what they take, and in which words they refuse the rest."""

import argparse

import pytest
from vga_policy.cli_types import above_zero, at_least, between, decay, natural, new_file, positive, seed, share


def parsed(kind, text):
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--x", type=kind)
    return parser.parse_args([f"--x={text}"]).x


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (positive, "1", 1),
        (natural, "0", 0),
        (at_least(2.5, float), "2.5", 2.5),
        (between(0, 0.5), "0.5", 0.5),
        (between(1, 9, int), "9", 9),
        (seed, "9223372036854775807", 2**63 - 1),
        (above_zero, "1e-9", 1e-9),
        (share, "1", 1.0),
    ],
)
def test_taken(kind, text, value):
    found = parsed(kind, text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (positive, "0", "must be at least 1 (found 0)"),
        (positive, "many", "must be a whole number (found 'many')"),
        (positive, "1.5", "must be a whole number (found '1.5')"),
        (natural, "-1", "must be at least 0 (found -1)"),
        (at_least(0, float), "nan", "must be finite (found nan)"),
        (between(0, 0.5, unit="s"), "1", "must be between 0 and 0.5 s (found 1.0)"),
        (between(0, 0.5), "half", "must be a number (found 'half')"),
        (seed, "9223372036854775808", "must be between 0 and 2^63 - 1 (found 9223372036854775808)"),
        (above_zero, "0", "must be above 0 (found 0.0)"),
        (above_zero, "inf", "must be finite (found inf)"),
        (above_zero, "nan", "must be finite (found nan)"),
        (at_least(0, float), "inf", "must be finite (found inf)"),
        (decay, "1", "must be at least 0 and below 1 (found 1.0)"),
        (new_file(".html"), "episode.yaml", "must end in .html (found 'episode.yaml')"),
        (share, "1.1", "must be above 0, and 1 at most (found 1.1)"),
    ],
)
def test_refused(kind, text, words):
    with pytest.raises(argparse.ArgumentError, match="argument --x: ") as refusal:
        parsed(kind, text)
    assert str(refusal.value) == f"argument --x: {words}"
