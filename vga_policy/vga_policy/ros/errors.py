"""What can go wrong with a running graph."""

FAILED, REFUSED = 1, 2  # exit codes of a node, which ends by itself or refuses what it was given; 0 after a signal


class GraphError(RuntimeError):
    """A graph that cannot be run or does not do what was asked. The message says why and what to do."""


class RefusedError(GraphError):
    """A node that answered, and did not do what was asked.

    reason: in the node's own words. what: what did not happen, put before the reason; empty: the reason says it.
    """

    def __init__(self, reason: str, what: str = "") -> None:
        super().__init__(f"{what}: {reason}" if what else reason)
        self.reason = reason
