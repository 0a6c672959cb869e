"""`vga scenes`: rendered random scenes, from which a backbone learns geometry."""
