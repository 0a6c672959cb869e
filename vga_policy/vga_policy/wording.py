"""How messages are kept short."""


def shortened(text: str, room: int) -> str:
    """The beginning of a text that is longer than `room` characters, else all of it."""
    return text if len(text) <= room else f"{text[: room - 1]}…"
