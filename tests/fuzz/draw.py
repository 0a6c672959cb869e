"""Mutations of plain values, trees of them, bytes and texts. Everything is drawn from the Random given."""

import copy
import math
from random import Random

VALUES = (
    None, True, False, "", " ", "x", "nan", "1", "\u2028\ufeff", "../../x", "a\nb", "\x00", -1, 0, 1, 2, 3, 7, 8, 255,
    2**31, 2**63 - 1, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e-300, 1e30, 1e308, math.inf, -math.inf, math.nan, [], {},
    [[]], [0], {"a": 1}, [None], "9" * 5000,
)  # fmt: skip


def count(rng: Random) -> int:
    """How many mutations: one to three, one most often."""
    return rng.choice((1, 1, 2, 3))


def value(rng: Random, old):
    """Something else in place of `old`: of its own kind half of the time."""
    if rng.random() < 0.5:
        if isinstance(old, bool):
            return not old
        if isinstance(old, int | float):
            return rng.choice((-old, old + 1, old - 1, old * 1000, old / 1000, old * 1e9, old + 0.5, str(old), [old]))
        if isinstance(old, str):
            return rng.choice(
                (old[:-1], old * 2, old.upper(), f"{old}\n{old}", f" {old} ", [old], old * 300, old[::-1])
            )
        if isinstance(old, list):
            return rng.choice((old[:-1], old + old, old[::-1], old[:1], old * 500, {"a": old}, tuple(old) and old[0:2]))
        if isinstance(old, dict):
            return rng.choice(
                (list(old), dict(reversed(old.items())), {**old, "extra": 1}, {str(k): None for k in old})
            )
    return copy.deepcopy(rng.choice(VALUES))


def tree(rng: Random, data):
    """A copy of plain data with one place in it changed, gone, renamed or added."""
    data = copy.deepcopy(data)
    holders = [holder for holder in _holders(data) if holder]
    if not holders or rng.random() < 0.02:
        return value(rng, data)
    holder = rng.choice(holders)
    key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    way = rng.random()
    if way < 0.7:
        holder[key] = value(rng, holder[key])
    elif way < 0.85:
        del holder[key]
    elif isinstance(holder, dict):
        holder[rng.choice((f"{key}x", "x", "", 7 if rng.random() < 0.5 else "7"))] = holder.pop(key)
    else:
        holder.insert(key, value(rng, holder[key]))
    return data


def data(rng: Random, old: bytes) -> bytes:
    """Bytes with one fault: a bit or a few, a number, a piece that is gone, doubled, moved or blank, an early end."""
    if not old:
        return rng.randbytes(rng.choice((1, 8, 100)))
    new, at = bytearray(old), rng.randrange(len(old))
    size = rng.choice((1, 2, 4, 8, 100, 5000))
    way = rng.randrange(8)
    if way == 0:
        new[at] ^= 1 << rng.randrange(8)
    elif way == 1:
        new[at : at + size] = rng.randbytes(min(size, len(old) - at))
    elif way == 2:
        del new[at:]
    elif way == 3:
        del new[at : at + size]
    elif way == 4:
        new[at:at] = new[at : at + size]
    elif way == 5:
        new[at : at + size] = bytes(min(size, len(old) - at))
    elif way == 6:
        new[at : at + 8] = number(rng)[: len(old) - at]
    else:
        other = rng.randrange(len(old))
        new[at : at + size], new[other : other + size] = new[other : other + size], new[at : at + size]
    return bytes(new)


def number(rng: Random) -> bytes:
    """Eight bytes that are a length or a time at the edge of what there is."""
    edge = rng.choice((0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1))
    return edge.to_bytes(8, rng.choice(("little", "little", "big")))


SNIPPETS = (
    "\t", ": ", "- ", "&a ", "*a", "!!python/object:os.system ", "!!binary x", "---\n", "...\n", "\x00", "\x85", "{",
    "[", "}", "'", '"', "|", ">", "#", "%", "@", "012", "1_000", "1:30:00", "yes", "2020-13-45", ".inf", ".nan", "~",
    "<<: ", "? ", "\ufeff", "\ud7ff", "0x1F", "9" * 5000, "1e999", "2020-01-01", "9999-12-31T23:59:59+14:00", "NaN",
    "-Infinity",
)  # fmt: skip
NEST = 20_000


def text(rng: Random, old: bytes) -> bytes:
    """A text with one fault that a person, an editor or a disk makes, or somebody who means harm."""
    way = rng.random()
    lines = old.split(b"\n")
    at = rng.randrange(len(lines))
    if way < 0.25:
        return data(rng, old)
    if way < 0.6:
        place = rng.randrange(len(old) + 1)
        return old[:place] + rng.choice(SNIPPETS).encode() + old[place:]
    if way < 0.7:
        lines.insert(at, lines[rng.randrange(len(lines))])
    elif way < 0.8:
        del lines[at]
    elif way < 0.9:
        lines[at] = b" " * rng.randrange(1, 4) + lines[at]
    elif way < 0.94:
        lines[at] += rng.choice((b"[", b'{"a":')) * rng.choice((10, 100, NEST))
    elif way < 0.97:
        bomb = [b"b0: &b0 [x, x, x, x, x, x, x, x, x]"]
        bomb += [f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]".encode() for n in range(1, 9)]
        lines += bomb
    else:
        lines[at] += rng.choice((b"\xff\xfe", b"\xc3", b"\xed\xa0\x80"))
    return b"\n".join(lines)


def _holders(data):
    if isinstance(data, dict | list):
        yield data
        for child in data.values() if isinstance(data, dict) else data:
            yield from _holders(child)
