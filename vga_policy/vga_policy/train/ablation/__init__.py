"""Several trainings that differ in one thing, side by side."""
