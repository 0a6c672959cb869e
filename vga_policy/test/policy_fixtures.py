"""Old name of `support.cells`, until the last test says the new one."""

from support.cells import *  # noqa: F403
