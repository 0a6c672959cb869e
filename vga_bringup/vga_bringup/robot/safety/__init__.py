"""What may be asked of the arm: its modes and the filter of chunks."""
