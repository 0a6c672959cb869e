"""`vga view`: an episode or a trial in 3D, by Rerun."""
