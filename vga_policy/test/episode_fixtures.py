"""Old name of `support.episodes`, until the last test says the new one."""

from support.episodes import *  # noqa: F403
