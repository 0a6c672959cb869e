"""`vga check`: what a file or directory is, whether it is whole, and what is wrong with it."""
