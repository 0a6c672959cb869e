"""The commands that vga_bringup adds to `vga`."""
