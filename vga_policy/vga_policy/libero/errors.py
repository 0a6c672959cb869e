"""What can be wrong with the benchmark, its files or a machine that is to run it."""

from concurrent.futures import BrokenExecutor


class LiberoError(Exception):
    """LIBERO cannot do what is asked. The message is one line that says what, where and what to do."""


def told(error: BaseException) -> str:
    """A fault in one line, for the list of what went wrong."""
    if isinstance(error, BrokenExecutor):
        return "a process died, perhaps for want of memory: give fewer --jobs; the same command goes on"
    text = str(error) if isinstance(error, LiberoError) else f"{type(error).__name__}: {error}"
    return text.splitlines()[0]
