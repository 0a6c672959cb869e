"""`vga collect`: demonstrations by the scripted expert."""
