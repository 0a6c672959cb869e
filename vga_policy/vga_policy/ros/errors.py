"""What can go wrong with a running graph."""


class GraphError(RuntimeError):
    """A graph that cannot be run or does not do what was asked. The message says why and what to do."""
