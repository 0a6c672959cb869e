"""Every entrance, and how many inputs a whole run gives it."""

from fuzz import bags, files, lerobot, messages
from fuzz.entrance import Entrance

ENTRANCES = [
    Entrance("bag", 1200, bags.damage, bags.use),
    Entrance("cell file", 1000, files.damage_cell, files.use_cell),
    Entrance("episode.yaml", 1000, files.damage_episode_yaml, files.use_episodes),
    Entrance("curation.yaml", 1000, files.damage_curation_yaml, files.use_episodes),
    Entrance("checkpoint", 1000, files.damage_checkpoint, files.use_checkpoint),
    Entrance("run, scenes, results", 1000, files.damage_run, files.use_run),
    Entrance("LeRobot dataset", 1000, lerobot.damage, lerobot.use),
    *messages.ENTRANCES,
]


def import_all() -> None:
    """Everything that cases import, so that none waits for it and their memory is their own."""
    import pyarrow.parquet  # noqa: F401
    import vga_teleop.nodes.recorder_node  # noqa: F401
