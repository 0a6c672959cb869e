"""A training run on disk: its files, its report, and how another begins from it."""
