"""Poses, point maps, and how far predicted geometry is from the truth."""
