"""`vga eval robot`: the paper's protocol as a locked study of fieldtrial's, on whatever robot the graph has."""
