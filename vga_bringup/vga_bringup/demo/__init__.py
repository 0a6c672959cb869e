"""`vga demo`: one recorded task and the report made of its recording."""
