"""What can be wrong with the benchmark, its files or a machine that is to run it."""


class LiberoError(Exception):
    """LIBERO cannot do what is asked. The message is one line that says what, where and what to do."""
