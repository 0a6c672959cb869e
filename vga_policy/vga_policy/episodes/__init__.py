"""An episode on disk: its metadata, what was decided about it, and where episodes are."""
