"""Measurements of `vga bench`."""
